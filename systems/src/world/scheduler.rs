//! What frames may cost, what they have cost, and who waits to be called: for a time, for room in a frame's budgets, or for a restart.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::resource::Resource;
use bevy_ecs::system::Query;
use wasm_engine_components::{AgentId, AgentSlot, GroupCounters, GroupLimits, Lifecycle, SchedulerSettings, Tenant};

use crate::codec::{Timers, digest_small};
use crate::world::calls::Calls;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;

const UNBOUNDED: u64 = GroupLimits::UNBOUNDED;

/// Timers, agents that wait to be called, and debts of budgets. State.
#[derive(Resource, Debug, Default)]
pub(crate) struct Scheduler {
    /// Order and budgets. Fixed.
    pub settings: SchedulerSettings,
    /// The tenants. Fixed.
    pub tenants: Vec<Tenant>,
    /// How many waves a frame has, at least 1. Fixed.
    pub waves: u32,
    /// The frames for which agents asked to be woken, and who asked; the same by frame; and the sum of their digests.
    pub(crate) timers: BTreeMap<AgentSlot, (u64, AgentId)>,
    due: BTreeSet<(u64, AgentSlot)>,
    /// Those whose time came while their agent wasn't active; and the changes of lifecycles up to which they were looked at.
    overdue: BTreeSet<AgentSlot>,
    overdue_seen: u64,
    timer_sum: u128,
    /// Since when agents that were due wait to be called.
    pub(crate) deferred: BTreeMap<AgentSlot, u64>,
    /// Last agent before the first one that didn't fit: the next round begins after it. `None` before the first round.
    pub(crate) cursor: Option<AgentSlot>,
    /// Fuel that is owed for the frames so far: by all, by each group, by each tenant. See [`crate::world::fuel`].
    pub(crate) debt: u64,
    pub(crate) group_debts: Vec<u64>,
    pub(crate) tenant_debts: Vec<u64>,
    /// What is left of this frame's budgets. Transient.
    pub(crate) remaining: RemainingBudget,
    /// Who is called in this frame, by wave. Transient.
    pub(crate) chosen: Vec<Vec<AgentSlot>>,
    /// Whether fuel is bounded at all. Fixed.
    pub(crate) bounded: bool,
}

/// What is left of a frame's budgets.
#[derive(Debug, Default)]
pub(crate) struct RemainingBudget {
    steps: u64,
    fuel: u64,
    groups: Vec<u64>,
    tenants: Vec<u64>,
    /// Expected cost of a call, by group: the mean so far; before the group's first step, the fuel that it used; before its first
    /// call, its limit.
    costs: Vec<u64>,
}

/// Works out what is fixed for a run: in its first frame, or before a saved state is loaded.
pub(crate) fn set_up(scheduler: &mut Scheduler, calls: &mut Calls, directory: &Directory) {
    scheduler.set_up(directory);
    let steady = directory.groups.iter().all(|group| group.is_steady());
    calls.is_selective = !steady || scheduler.bounded || scheduler.waves > 1;
}

impl Scheduler {
    /// The scheduler of a world before its first frame.
    pub(crate) fn new(settings: SchedulerSettings, tenants: Vec<Tenant>) -> Self {
        Self { settings, tenants, ..Self::default() }
    }

    fn set_up(&mut self, directory: &Directory) {
        self.waves = 1 + directory.groups.iter().map(|group| group.wave).max().unwrap_or(0);
        self.cursor = None;
        self.group_debts = vec![0; directory.groups.len()];
        self.tenant_debts = vec![0; self.tenants.len()];
        let bounds = directory.groups.iter().map(|group| group.spec.limits.fuel_per_frame_max);
        let bounds = bounds.chain(self.tenants.iter().map(|tenant| tenant.fuel_per_frame_max));
        let SchedulerSettings { steps_per_frame_max, fuel_per_frame_max, .. } = self.settings;
        self.bounded = bounds.chain([steps_per_frame_max, fuel_per_frame_max]).any(|bound| bound < UNBOUNDED);
    }

    pub(crate) fn open(&mut self, directory: &Directory, counters: &Query<&GroupCounters>) {
        let groups = directory.groups.iter().zip(&self.group_debts);
        let groups = groups.map(|(group, debt)| self.budget(group).saturating_sub(*debt)).collect();
        let remaining = &mut self.remaining;
        remaining.groups = groups;
        remaining.steps = self.settings.steps_per_frame_max;
        remaining.fuel = self.settings.fuel_per_frame_max.saturating_sub(self.debt);
        let tenants = self.tenants.iter().zip(&self.tenant_debts);
        remaining.tenants = tenants.map(|(tenant, debt)| tenant.fuel_per_frame_max.saturating_sub(*debt)).collect();
        let cost = |group: &GroupRange| match counters.get(group.entity) {
            Ok(counters) if counters.0.steps > 0 => (counters.0.fuel / counters.0.steps).max(1),
            // The sum of its first calls is no less than the cost of one of them.
            Ok(counters) if counters.0.fuel > 0 => counters.0.fuel.min(group.spec.limits.fuel_per_step_max),
            _ => group.spec.limits.fuel_per_step_max,
        };
        remaining.costs = directory.groups.iter().map(cost).collect();
    }

    /// Returns the fuel that a group may use in a frame: its own bound, or else the lower one of its tenant's and of all groups
    /// together.
    fn budget(&self, group: &GroupRange) -> u64 {
        let own = group.spec.limits.fuel_per_frame_max;
        let tenant = group.spec.tenant.map_or(UNBOUNDED, |tenant| self.tenants[tenant.0 as usize].fuel_per_frame_max);
        if own < UNBOUNDED { own } else { tenant.min(self.settings.fuel_per_frame_max) }
    }

    /// Sets the frame in which an agent is woken; `None` forgets it.
    pub(crate) fn wake(&mut self, slot: AgentSlot, wish: Option<(u64, AgentId)>) {
        let before = match wish {
            Some(wish) => self.timers.insert(slot, wish),
            None => self.timers.remove(&slot),
        };
        if let Some((frame, agent)) = before {
            self.due.remove(&(frame, slot));
            self.overdue.remove(&slot);
            self.timer_sum = self.timer_sum.wrapping_sub(digest_small::<Timers, 8>(agent.0, frame));
        }
        if let Some((frame, agent)) = wish {
            self.due.insert((frame, slot));
            self.timer_sum = self.timer_sum.wrapping_add(digest_small::<Timers, 8>(agent.0, frame));
        }
    }

    /// Forgets an agent that has ended.
    pub(crate) fn forget(&mut self, slot: AgentSlot) {
        self.wake(slot, None);
        self.deferred.remove(&slot);
    }

    /// Removes and returns the timers of active agents that are due. The timer of a paused agent waits until it is resumed.
    pub(crate) fn ring(&mut self, frame: u64, directory: &Directory) -> Vec<AgentSlot> {
        let is_active = |slot: &AgentSlot| directory.lifecycles[slot.index()] == Lifecycle::Active;
        let mut rung = Vec::new();
        if self.overdue_seen != directory.changes {
            self.overdue_seen = directory.changes;
            rung.extend(self.overdue.iter().copied().filter(is_active));
        }
        while let Some(&(at, slot)) = self.due.first()
            && at <= frame
        {
            self.due.pop_first();
            if is_active(&slot) {
                rung.push(slot);
            } else {
                self.overdue.insert(slot);
            }
        }
        for &slot in &rung {
            self.wake(slot, None);
        }
        rung
    }

    /// Takes a call of an agent off the remaining budget, if it fits.
    pub(crate) fn take(&mut self, directory: &Directory, slot: AgentSlot) -> bool {
        let id: AgentId = directory.ids[slot.index()];
        let Some(at) = directory.group_index(id.group()) else { return false };
        let tenant = directory.groups[at].spec.tenant.map(|tenant| tenant.0 as usize);
        let RemainingBudget { steps, fuel, groups, tenants, costs } = &mut self.remaining;
        let open = *steps > 0 && *fuel > 0 && groups[at.index()] > 0 && tenant.is_none_or(|tenant| tenants[tenant] > 0);
        if open {
            *steps -= 1;
            let cost = costs[at.index()];
            *fuel = fuel.saturating_sub(cost);
            groups[at.index()] = groups[at.index()].saturating_sub(cost);
            if let Some(tenant) = tenant {
                tenants[tenant] = tenants[tenant].saturating_sub(cost);
            }
        }
        open
    }

    /// The sum of the digests of all timers.
    pub(crate) const fn timer_sum(&self) -> u128 {
        self.timer_sum
    }
}

/// Faulted agents and the frames in which they start again, as (frame, slot), sorted. Transient: made from components.
#[derive(Resource, Debug, Default)]
pub(crate) struct Restarts(pub BTreeSet<(u64, AgentSlot)>);
