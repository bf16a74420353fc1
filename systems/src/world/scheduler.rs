//! Budgets and costs of frames, and the agents that wait to be called: for a timer, for room in a frame's budgets, or for a restart.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::resource::Resource;
use bevy_ecs::system::Query;
use wasm_engine_components::{AgentId, AgentSlot, GroupCounters, GroupLimits, SchedulerSettings, Tenant, TenantId};

use crate::world::calls::Calls;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::timers::Timers;

const UNBOUNDED: u64 = GroupLimits::UNBOUNDED;

/// Timers, agents that wait to be called, and debts of budgets. State, but for what says otherwise.
#[derive(Resource, Debug, Default)]
pub(crate) struct Scheduler {
    /// Order and budgets. Fixed.
    pub settings: SchedulerSettings,
    /// The tenants. Fixed.
    pub tenants: Vec<Tenant>,
    /// Number of waves of a frame, at least 1; 0 before [`set_up`]. Fixed.
    pub waves: u32,
    /// Whether any budget bounds steps or fuel. Fixed.
    pub(crate) is_bounded: bool,
    pub(crate) timers: Timers,
    /// Agents that were due and found no room in the budgets, and the frames since which they wait.
    pub(crate) deferred: BTreeMap<AgentSlot, u64>,
    /// The last agent before the first one that found no room: the next round begins after it. `None` before the first round.
    pub(crate) cursor: Option<AgentSlot>,
    /// Fuel that is owed for the frames so far by all groups together: see [`crate::world::fuel`].
    pub(crate) debt: u64,
    /// The same by each group.
    pub(crate) group_debts: Vec<u64>,
    /// The same by each tenant.
    pub(crate) tenant_debts: Vec<u64>,
    /// Remaining budgets of this frame. Transient.
    pub(crate) remaining: RemainingBudget,
    /// Agents that are called in this frame, by wave. Transient.
    pub(crate) chosen: Vec<Vec<AgentSlot>>,
}

/// Remaining budgets of a frame.
#[derive(Debug, Default)]
pub(crate) struct RemainingBudget {
    /// Steps of all groups together.
    steps: u64,
    /// Fuel of all groups together.
    fuel: u64,
    /// Fuel of each group.
    groups: Vec<u64>,
    /// Fuel of each tenant.
    tenants: Vec<u64>,
    /// Fuel that a call of each group is expected to use.
    costs: Vec<u64>,
}

/// Works out what is fixed for a run: in its first frame, or before a saved state is loaded.
pub(crate) fn set_up(scheduler: &mut Scheduler, calls: &mut Calls, directory: &Directory) {
    scheduler.set_up(directory);
    let steady = directory.groups.iter().all(|group| group.is_steady());
    calls.is_selective = !steady || scheduler.is_bounded || scheduler.waves > 1;
}

impl Scheduler {
    /// Returns the scheduler of a world before its first frame.
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
        self.is_bounded = bounds.chain([steps_per_frame_max, fuel_per_frame_max]).any(|bound| bound < UNBOUNDED);
    }

    /// Opens the frame's budgets: each is what its bound leaves after what is owed for earlier frames.
    pub(crate) fn open(&mut self, directory: &Directory, counters: &Query<&GroupCounters>) {
        let after_debt = |(bound, debt): (u64, &u64)| bound.saturating_sub(*debt);
        let groups = directory.groups.iter().map(|group| self.fuel_bound(group)).zip(&self.group_debts);
        let tenants = self.tenants.iter().map(|tenant| tenant.fuel_per_frame_max).zip(&self.tenant_debts);
        let SchedulerSettings { steps_per_frame_max, fuel_per_frame_max, .. } = self.settings;
        self.remaining = RemainingBudget {
            steps: steps_per_frame_max,
            fuel: after_debt((fuel_per_frame_max, &self.debt)),
            groups: groups.map(after_debt).collect(),
            tenants: tenants.map(after_debt).collect(),
            costs: directory.groups.iter().map(|group| expected_cost(group, counters)).collect(),
        };
    }

    /// Returns the fuel that a group may use in a frame: its own bound, or else the lower one of its tenant's and of all groups
    /// together.
    fn fuel_bound(&self, group: &GroupRange) -> u64 {
        let own = group.spec.limits.fuel_per_frame_max;
        let tenant = group.spec.tenant.map_or(UNBOUNDED, |tenant| self.tenants[tenant.0 as usize].fuel_per_frame_max);
        if own < UNBOUNDED { own } else { tenant.min(self.settings.fuel_per_frame_max) }
    }

    /// Forgets an agent that has ended.
    pub(crate) fn forget(&mut self, slot: AgentSlot) {
        self.timers.set(slot, None);
        self.deferred.remove(&slot);
    }

    /// Takes a call of an agent off the remaining budgets. Returns `false`, and takes nothing, if one of them is used up. A call may cost more than is
    /// left: what it uses beyond that is owed.
    pub(crate) fn take(&mut self, directory: &Directory, slot: AgentSlot) -> bool {
        let id: AgentId = directory.ids[slot.index()];
        let Some(index) = directory.group_index(id.group()) else { return false };
        let tenant = directory.groups[index].spec.tenant;
        let RemainingBudget { steps, fuel, groups, tenants, costs } = &mut self.remaining;
        let (of_group, cost) = (&mut groups[index.index()], costs[index.index()]);
        let of_tenant = tenant.map(|TenantId(tenant)| &mut tenants[tenant as usize]);
        let is_left = *steps > 0 && *fuel > 0 && *of_group > 0 && of_tenant.as_ref().is_none_or(|left| **left > 0);
        if is_left {
            *steps -= 1;
            for left in [fuel, of_group].into_iter().chain(of_tenant) {
                *left = left.saturating_sub(cost);
            }
        }
        is_left
    }
}

/// Returns the fuel that a call of a group's agents is expected to use: the mean of its steps so far. Before its first step it is what its first calls
/// used, which is no less than one of them did; before its first call, its limit.
fn expected_cost(group: &GroupRange, counters: &Query<&GroupCounters>) -> u64 {
    let most = group.spec.limits.fuel_per_step_max;
    match counters.get(group.entity) {
        Ok(counters) if counters.0.steps > 0 => (counters.0.fuel / counters.0.steps).max(1),
        Ok(counters) if counters.0.fuel > 0 => counters.0.fuel.min(most),
        _ => most,
    }
}

/// Faulted agents and the frames in which they start again, as (frame, slot), sorted. Transient: made from components.
#[derive(Resource, Debug, Default)]
pub(crate) struct Restarts(pub BTreeSet<(u64, AgentSlot)>);
