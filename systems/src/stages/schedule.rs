//! Stages `Schedule` and `Step`: what the frame may cost, which is opened in the first, and who is called, which is decided in the waves of
//! the second. The agents that are due are put in order; those that no longer fit into the frame's budgets are deferred, and due again in
//! the next one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::CallKind;
use wasm_engine_components::{
    AgentId, GroupCounters, GroupLimits, Lane, Lifecycle, SchedulerMode, SchedulerSettings, Tenant, Trigger,
};

use crate::frame::FrameClock;
use crate::ports::StepRequest;
use crate::world::backlog::WaitingMailboxes;
use crate::world::digest::part_digest;
use crate::world::directory::{Directory, GroupRange};
use crate::world::inbox::Inboxes;

/// The calls of this frame. Transient.
#[derive(Resource, Debug, Default)]
pub struct Calls {
    /// The calls: wave after wave, each in the order of the agents' ids.
    pub requests: Vec<StepRequest>,
    /// Whether one of them isn't a step.
    pub others: bool,
    /// For each agent, by position, the last frame, plus one, in which it was handed its inbox. Kept only where `selects`.
    pub handed: Vec<u64>,
    /// Whether some agents may not be due in some frames.
    pub selects: bool,
    /// The changes of lifecycles from which `requests` were made, where all active agents are called: [`Directory::changes`].
    made_from: Option<u64>,
}

/// Who waits for what, and what frames have cost. State.
#[derive(Resource, Debug, Default)]
pub struct Scheduler {
    /// Who goes first, and what a frame may cost. Fixed.
    pub settings: SchedulerSettings,
    /// The tenants. Fixed.
    pub tenants: Vec<Tenant>,
    /// How many waves a frame has, at least 1. Fixed.
    pub waves: u32,
    /// The frames for which agents asked to be woken, and who asked; the same by frame; and the sum of their digests.
    pub(crate) timers: BTreeMap<u32, (u64, AgentId)>,
    due: BTreeSet<(u64, u32)>,
    /// Those whose time came while their agent wasn't active; and the changes of lifecycles up to which they were looked at.
    overdue: BTreeSet<u32>,
    overdue_seen: u64,
    timer_sum: u128,
    /// Since when agents that were due wait to be called.
    pub(crate) deferred: BTreeMap<u32, u64>,
    /// After whom the round goes on: the last one before the first that didn't fit; `u32::MAX` before the first round.
    pub(crate) cursor: u32,
    /// Fuel that is owed for the frames so far: by all, by each group, by each tenant. See [`crate::stages::debts`].
    pub(crate) debt: u64,
    pub(crate) group_debts: Vec<u64>,
    pub(crate) tenant_debts: Vec<u64>,
    /// What is left of this frame's budgets. Transient.
    left: Left,
    /// Who is called in this frame, by wave. Transient.
    chosen: Vec<Vec<u32>>,
    /// Whether fuel is bounded at all. Fixed.
    pub(crate) bounded: bool,
}

/// What is left of a frame's budgets.
#[derive(Debug, Default)]
struct Left {
    steps: u64,
    fuel: u64,
    groups: Vec<u64>,
    tenants: Vec<u64>,
    /// What a call of each group is expected to cost: the mean so far, before its first step what it used so far, and before its first call its limit.
    costs: Vec<u64>,
}

const UNBOUNDED: u64 = GroupLimits::UNBOUNDED;

/// Opens the frame's budgets.
pub fn open_budgets(
    clock: Res<FrameClock>,
    mut scheduler: ResMut<Scheduler>,
    mut calls: ResMut<Calls>,
    mut directory: ResMut<Directory>,
    counters: Query<&GroupCounters>,
) {
    let scheduler = scheduler.as_mut();
    if scheduler.waves == 0 {
        set_up(scheduler, &mut calls, &directory);
    }
    calls.requests_for_all(&mut directory);
    if !calls.selects {
        // Everybody is called anyway.
        scheduler.ring(clock.frame, &directory);
    }
    if scheduler.bounded {
        scheduler.open(&directory, &counters);
    }
    for group in &mut directory.groups {
        let tenant = group.tenant.map(|tenant| scheduler.tenants[tenant.0 as usize].messages_per_frame_max);
        group.credits = group.limits.messages_per_frame_max.min(tenant.unwrap_or(UNBOUNDED));
    }
}

/// Works out what is fixed for a run: in its first frame, or before a saved state is loaded.
pub(crate) fn set_up(scheduler: &mut Scheduler, calls: &mut Calls, directory: &Directory) {
    scheduler.set_up(directory);
    let steady = directory.groups.iter().all(|group| group.is_steady());
    calls.selects = !steady || scheduler.bounded || scheduler.waves > 1;
}

impl Calls {
    /// Where all active agents are called, the calls are those of the frame before unless a lifecycle has changed.
    fn requests_for_all(&mut self, directory: &mut Directory) {
        if self.selects {
            self.requests.clear();
            self.others = false;
            return;
        }
        if self.made_from == Some(directory.changes) {
            return;
        }
        self.made_from = Some(directory.changes);
        directory.pending.clear();
        self.requests.clear();
        let calls = directory.groups.iter().flat_map(GroupRange::positions).filter_map(|slot| {
            let (agent, state) = (directory.ids[slot as usize], directory.lifecycles[slot as usize]);
            Some(StepRequest { agent, slot, call: call_for(state)? })
        });
        self.requests.extend(calls);
        self.others = self.requests.iter().any(|request| request.call != CallKind::Step);
    }

    /// Whether the agent at a position was handed its inbox in this frame.
    pub fn was_handed(&self, directory: &Directory, index: u32, frame: u64) -> bool {
        if self.selects {
            return self.handed.get(index as usize) == Some(&(frame + 1));
        }
        matches!(directory.lifecycles[index as usize], Lifecycle::Active | Lifecycle::Terminating)
    }
}

/// What to call of an agent, if anything.
const fn call_for(state: Lifecycle) -> Option<CallKind> {
    match state {
        Lifecycle::Active => Some(CallKind::Step),
        Lifecycle::Initialising => Some(CallKind::Init),
        Lifecycle::Terminating => Some(CallKind::Shutdown),
        Lifecycle::Paused | Lifecycle::Faulted | Lifecycle::Terminated => None,
    }
}

/// What the selection of a wave's calls looks at.
pub(crate) struct Selection<'a> {
    pub frame: u64,
    pub wave: u32,
    pub directory: &'a mut Directory,
    pub inboxes: &'a Inboxes,
    pub waiting: &'a WaitingMailboxes,
}

impl Scheduler {
    /// The scheduler of a world before its first frame.
    pub fn new(settings: SchedulerSettings, tenants: Vec<Tenant>) -> Self {
        Self { settings, tenants, ..Self::default() }
    }

    fn set_up(&mut self, directory: &Directory) {
        self.waves = 1 + directory.groups.iter().map(|group| group.wave).max().unwrap_or(0);
        self.cursor = u32::MAX;
        self.group_debts = vec![0; directory.groups.len()];
        self.tenant_debts = vec![0; self.tenants.len()];
        let bounds = directory.groups.iter().map(|group| group.limits.fuel_per_frame_max);
        let bounds = bounds.chain(self.tenants.iter().map(|tenant| tenant.fuel_per_frame_max));
        let SchedulerSettings { steps_per_frame_max, fuel_per_frame_max, .. } = self.settings;
        self.bounded = bounds.chain([steps_per_frame_max, fuel_per_frame_max]).any(|bound| bound < UNBOUNDED);
    }

    fn open(&mut self, directory: &Directory, counters: &Query<&GroupCounters>) {
        let groups = directory.groups.iter().zip(&self.group_debts);
        let groups = groups.map(|(group, debt)| self.budget(group).saturating_sub(*debt)).collect();
        let left = &mut self.left;
        left.groups = groups;
        left.steps = self.settings.steps_per_frame_max;
        left.fuel = self.settings.fuel_per_frame_max.saturating_sub(self.debt);
        let tenants = self.tenants.iter().zip(&self.tenant_debts);
        left.tenants = tenants.map(|(tenant, debt)| tenant.fuel_per_frame_max.saturating_sub(*debt)).collect();
        let cost = |group: &GroupRange| match counters.get(group.entity) {
            Ok(counters) if counters.0.steps > 0 => (counters.0.fuel / counters.0.steps).max(1),
            // What its first calls took together is no less than what one of them takes.
            Ok(counters) if counters.0.fuel > 0 => counters.0.fuel.min(group.limits.fuel_per_step_max),
            _ => group.limits.fuel_per_step_max,
        };
        left.costs = directory.groups.iter().map(cost).collect();
    }

    /// Fuel that a group may use in a frame: its own bound, or else what its tenant and all others leave where nobody else uses any.
    fn budget(&self, group: &GroupRange) -> u64 {
        let own = group.limits.fuel_per_frame_max;
        let tenant = group.tenant.map_or(UNBOUNDED, |tenant| self.tenants[tenant.0 as usize].fuel_per_frame_max);
        if own < UNBOUNDED { own } else { tenant.min(self.settings.fuel_per_frame_max) }
    }

    /// Notes that an agent is to be woken in a frame; `None` forgets it.
    pub(crate) fn wake(&mut self, index: u32, wish: Option<(u64, AgentId)>) {
        let before = match wish {
            Some(wish) => self.timers.insert(index, wish),
            None => self.timers.remove(&index),
        };
        if let Some((frame, agent)) = before {
            self.due.remove(&(frame, index));
            self.overdue.remove(&index);
            self.timer_sum = self.timer_sum.wrapping_sub(timer_digest(agent, frame));
        }
        if let Some((frame, agent)) = wish {
            self.due.insert((frame, index));
            self.timer_sum = self.timer_sum.wrapping_add(timer_digest(agent, frame));
        }
    }

    /// Forgets an agent that has ended.
    pub(crate) fn forget(&mut self, index: u32) {
        self.wake(index, None);
        self.deferred.remove(&index);
    }

    /// Adds the calls of a wave to `calls`. Gives the number of agents that were due and don't fit.
    ///
    /// Who is due when the frame begins is chosen with the first wave, over all waves: so a budget goes to the highest priority,
    /// and not to the first wave. Later waves only add those whom messages of this frame wake.
    pub(crate) fn select(&mut self, selection: &mut Selection<'_>, calls: &mut Calls) -> u64 {
        let wave = selection.wave as usize;
        let candidates = if wave == 0 {
            self.chosen.iter_mut().for_each(Vec::clear);
            self.chosen.resize(self.waves as usize, Vec::new());
            self.candidates(selection)
        } else {
            self.woken(selection)
        };
        let deferred = self.choose(candidates, selection);
        let mut chosen = std::mem::take(&mut self.chosen[wave]);
        chosen.sort_unstable();
        calls.handed.resize(selection.directory.ids.len(), 0);
        for &index in &chosen {
            let at = index as usize;
            let Some(call) = call_for(selection.directory.lifecycles[at]) else { continue };
            calls.others |= call != CallKind::Step;
            if call != CallKind::Init {
                calls.handed[at] = selection.frame + 1;
            }
            calls.requests.push(StepRequest { agent: selection.directory.ids[at], slot: index, call });
        }
        self.chosen[wave] = chosen;
        deferred
    }

    /// Chooses those who fit into what is left of the frame. Gives the number of the others, who are deferred.
    fn choose(&mut self, mut candidates: Vec<u32>, selection: &Selection<'_>) -> u64 {
        let mut deferred = 0;
        if self.bounded {
            self.order(&mut candidates, selection);
        }
        for index in candidates {
            if self.bounded && !self.take(selection.directory, index) {
                self.deferred.entry(index).or_insert(selection.frame);
                deferred += 1;
                continue;
            }
            self.deferred.remove(&index);
            // The round goes on with the first for whom there was no room, though others after it may have been served.
            if self.bounded && deferred == 0 {
                self.cursor = index;
            }
            self.chosen[selection.directory.group_at(index).wave as usize].push(index);
        }
        deferred
    }

    /// The agents that are due when a frame begins, in the order of their ids.
    fn candidates(&mut self, selection: &mut Selection<'_>) -> Vec<u32> {
        let Selection { frame, ref mut directory, inboxes, waiting, .. } = *selection;
        let mut found: Vec<u32> = Vec::new();
        let mut by_message = false;
        for group in directory.groups.iter().filter(|group| group.alive > group.inactive) {
            match group.schedule.trigger {
                Trigger::Every { period, phase } if frame % u64::from(period) == u64::from(phase) => {
                    found.extend(group.positions());
                }
                trigger => by_message |= trigger == Trigger::Message,
            }
        }
        let mut pending = std::mem::take(&mut directory.pending);
        let still = |state| matches!(state, Lifecycle::Initialising | Lifecycle::Terminating);
        pending.retain(|&index| still(directory.lifecycles[index as usize]));
        pending.sort_unstable();
        pending.dedup();
        found.extend(&pending);
        // Whoever is deferred now is still pending in the next frame.
        directory.pending = pending;
        if by_message {
            let wakes = |index: &u32| directory.group_at(*index).schedule.trigger == Trigger::Message;
            found.extend(inboxes.touched().filter(wakes));
            found.extend(waiting.waking.iter());
        }
        found.extend(self.deferred.keys());
        found.extend(self.ring(frame, directory));
        found.retain(|&index| call_for(directory.lifecycles[index as usize]).is_some());
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The agents of a later wave that messages of this frame wake.
    fn woken(&self, selection: &Selection<'_>) -> Vec<u32> {
        let Selection { wave, directory, inboxes, .. } = selection;
        let wakes = |index: &u32| {
            let group = directory.group_at(*index);
            group.wave == *wave
                && group.schedule.trigger == Trigger::Message
                && directory.lifecycles[*index as usize] == Lifecycle::Active
                && !self.deferred.contains_key(index)
        };
        // Whom messages woke before was chosen with the first wave.
        let mut found: Vec<u32> = inboxes.touched_in_wave().filter(wakes).collect();
        if !found.is_empty() {
            let chosen: BTreeSet<u32> = self.chosen[*wave as usize].iter().copied().collect();
            found.retain(|index| !chosen.contains(index));
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// Takes out the timers of those active agents whose time has come. A paused agent's wish waits until it is resumed.
    fn ring(&mut self, frame: u64, directory: &Directory) -> Vec<u32> {
        let is_active = |index: &u32| directory.lifecycles[*index as usize] == Lifecycle::Active;
        let mut rung = Vec::new();
        if self.overdue_seen != directory.changes {
            self.overdue_seen = directory.changes;
            rung.extend(self.overdue.iter().copied().filter(is_active));
        }
        while let Some(&(at, index)) = self.due.first()
            && at <= frame
        {
            self.due.pop_first();
            if is_active(&index) {
                rung.push(index);
            } else {
                self.overdue.insert(index);
            }
        }
        for &index in &rung {
            self.wake(index, None);
        }
        rung
    }

    /// Puts the agents that are due into the order in which they are served: those that are to end, so that they don't hold their
    /// places for long; then by the mode, in which those who wait come before others of their rank.
    fn order(&self, candidates: &mut [u32], selection: &Selection<'_>) {
        let SchedulerSettings { mode, ageing_frames, .. } = self.settings;
        candidates.sort_by_cached_key(|&index| {
            let stays = selection.directory.lifecycles[index as usize] != Lifecycle::Terminating;
            let since = self.deferred.get(&index).copied().unwrap_or(selection.frame);
            let (priority, is_behind) = match mode {
                SchedulerMode::RoundRobin => (0, self.cursor != u32::MAX && index <= self.cursor),
                SchedulerMode::Priority => {
                    let waited = (selection.frame - since).checked_div(u64::from(ageing_frames)).unwrap_or(0);
                    (u64::from(selection.directory.group_at(index).schedule.priority) + waited, false)
                }
            };
            (stays, Reverse(priority), since, is_behind, index)
        });
    }

    /// Whether one more call of an agent fits into the frame; if so, it is taken off what is left.
    fn take(&mut self, directory: &Directory, index: u32) -> bool {
        let id: AgentId = directory.ids[index as usize];
        let Some(at) = directory.group_position(id.group()) else { return false };
        let tenant = directory.groups[at].tenant.map(|tenant| tenant.0 as usize);
        let Left { steps, fuel, groups, tenants, costs } = &mut self.left;
        let open = *steps > 0 && *fuel > 0 && groups[at] > 0 && tenant.is_none_or(|tenant| tenants[tenant] > 0);
        if open {
            *steps -= 1;
            let cost = costs[at];
            *fuel = fuel.saturating_sub(cost);
            groups[at] = groups[at].saturating_sub(cost);
            if let Some(tenant) = tenant {
                tenants[tenant] = tenants[tenant].saturating_sub(cost);
            }
        }
        open
    }

    /// The digest of who waits for what, and of what is owed.
    pub(crate) fn digest(&self, directory: &Directory) -> u128 {
        let part = |domain: u64, bytes: &[u8]| part_digest(Lane::Schedule, domain, bytes);
        let mut sum = self.timer_sum;
        for (&index, &since) in &self.deferred {
            sum = sum.wrapping_add(part(!directory.ids[index as usize].0, &since.to_le_bytes()));
        }
        let numbers = [u64::from(self.cursor), self.debt].into_iter();
        let numbers = numbers.chain(self.group_debts.iter().chain(&self.tenant_debts).copied());
        let numbers: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        sum.wrapping_add(part(0, &numbers))
    }
}

fn timer_digest(agent: AgentId, frame: u64) -> u128 {
    part_digest(Lane::Schedule, agent.0, &frame.to_le_bytes())
}
