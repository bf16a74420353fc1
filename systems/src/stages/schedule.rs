//! Stages `Schedule` and `Step`: the first opens the frame's budgets; each wave of the second chooses the agents that it calls. Agents that
//! are due are put in order; those that no longer fit into the budgets are deferred, and are due again in the next frame.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::CallKind;
use wasm_engine_components::{
    AgentSlot, GroupCounters, GroupLimits, Lifecycle, SchedulerMode, SchedulerSettings, Trigger,
};

use crate::frame::FrameClock;
use crate::world::backlog::Backlogs;
use crate::world::calls::{Calls, call_for};
use crate::world::chunk::StepRequest;
use crate::world::directory::Directory;
use crate::world::inbox::Inboxes;
use crate::world::scheduler::{Scheduler, set_up};

const UNBOUNDED: u64 = GroupLimits::UNBOUNDED;

/// Opens the frame's budgets.
pub(crate) fn open_budgets(
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
    if !calls.is_selective {
        // All active agents are called anyway, so that timers only have to be removed.
        scheduler.timers.ring(clock.frame, &directory);
    }
    if scheduler.is_bounded {
        scheduler.open(&directory, &counters);
    }
    for group in directory.groups.iter_mut() {
        let tenant = group.spec.tenant.map(|tenant| scheduler.tenants[tenant.0 as usize].messages_per_frame_max);
        group.credits = group.spec.limits.messages_per_frame_max.min(tenant.unwrap_or(UNBOUNDED));
    }
}

/// Tables that selecting a wave's calls needs.
pub(crate) struct Selection<'a> {
    pub frame: u64,
    pub wave: u32,
    pub directory: &'a mut Directory,
    pub inboxes: &'a Inboxes,
    pub backlogs: &'a Backlogs,
}

impl Scheduler {
    /// Adds the calls of a wave to `calls`. Returns the number of agents that were due and don't fit.
    ///
    /// Agents that are due when the frame begins are chosen before the first wave, for all waves: so budgets go to the highest
    /// priority, and not to the first wave. Later waves only add agents that messages of this frame wake.
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
        for &slot in &chosen {
            let index = slot.index();
            let Some(call) = call_for(selection.directory.lifecycles[index]) else { continue };
            calls.has_lifecycle_calls |= call != CallKind::Step;
            if call != CallKind::Init {
                calls.handed[index] = selection.frame + 1;
            }
            calls.requests.push(StepRequest { agent: selection.directory.ids[index], slot, call });
        }
        self.chosen[wave] = chosen;
        deferred
    }

    /// Chooses the agents that fit into the remaining budget. Returns the number of those that are deferred.
    fn choose(&mut self, mut candidates: Vec<AgentSlot>, selection: &Selection<'_>) -> u64 {
        let mut deferred = 0;
        if self.is_bounded {
            self.sort_by_rank(&mut candidates, selection);
        }
        for slot in candidates {
            if self.is_bounded && !self.take(selection.directory, slot) {
                self.deferred.entry(slot).or_insert(selection.frame);
                deferred += 1;
                continue;
            }
            self.deferred.remove(&slot);
            // The next round begins with the first agent for which there was no room, even if later ones were served.
            if self.is_bounded && deferred == 0 {
                self.cursor = Some(slot);
            }
            self.chosen[selection.directory.group_at(slot).wave as usize].push(slot);
        }
        deferred
    }

    /// Returns the agents that are due when a frame begins, in the order of their ids.
    fn candidates(&mut self, selection: &mut Selection<'_>) -> Vec<AgentSlot> {
        let Selection { frame, ref mut directory, inboxes, backlogs, .. } = *selection;
        let mut due: Vec<AgentSlot> = Vec::new();
        let mut some_are_due_by_message = false;
        for group in directory.groups.iter().filter(|group| group.alive > group.inactive) {
            match group.spec.schedule.trigger {
                Trigger::Every { period, phase } if frame % u64::from(period) == u64::from(phase) => {
                    due.extend(group.slots());
                }
                trigger => some_are_due_by_message |= trigger == Trigger::Message,
            }
        }
        let mut pending = std::mem::take(&mut directory.pending);
        let is_pending = |state| matches!(state, Lifecycle::Initialising | Lifecycle::Terminating);
        pending.retain(|&slot| is_pending(directory.lifecycles[slot.index()]));
        pending.sort_unstable();
        pending.dedup();
        due.extend(&pending);
        // An agent that is deferred now is still pending in the next frame.
        directory.pending = pending;
        if some_are_due_by_message {
            let wakes = |slot: &AgentSlot| directory.group_at(*slot).spec.schedule.trigger == Trigger::Message;
            due.extend(inboxes.touched().filter(wakes));
            due.extend(backlogs.waking.iter());
        }
        due.extend(self.deferred.keys());
        due.extend(self.timers.ring(frame, directory));
        due.retain(|&slot| call_for(directory.lifecycles[slot.index()]).is_some());
        due.sort_unstable();
        due.dedup();
        due
    }

    /// Returns the agents of a later wave that messages of this frame wake.
    fn woken(&self, selection: &Selection<'_>) -> Vec<AgentSlot> {
        let Selection { wave, directory, inboxes, .. } = selection;
        let wakes = |slot: &AgentSlot| {
            let group = directory.group_at(*slot);
            group.wave == *wave
                && group.spec.schedule.trigger == Trigger::Message
                && directory.lifecycles[slot.index()] == Lifecycle::Active
                && !self.deferred.contains_key(slot)
        };
        // Agents that were woken earlier were chosen before the first wave.
        let mut found: Vec<AgentSlot> = inboxes.touched_in_wave().filter(wakes).collect();
        if !found.is_empty() {
            let chosen: BTreeSet<AgentSlot> = self.chosen[*wave as usize].iter().copied().collect();
            found.retain(|slot| !chosen.contains(slot));
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// Sorts agents that are due into the order in which they are served. Those that are to end come first, so that their slots
    /// are free soon. Then the mode decides; of equal rank, those that waited longer come first.
    fn sort_by_rank(&self, candidates: &mut [AgentSlot], selection: &Selection<'_>) {
        let SchedulerSettings { mode, ageing_frames, .. } = self.settings;
        candidates.sort_by_cached_key(|&slot| {
            let is_staying = selection.directory.lifecycles[slot.index()] != Lifecycle::Terminating;
            let due_since = self.deferred.get(&slot).copied().unwrap_or(selection.frame);
            let (priority, is_behind) = match mode {
                SchedulerMode::RoundRobin => (0, self.cursor.is_some_and(|last| slot <= last)),
                SchedulerMode::Priority => {
                    let waited = (selection.frame - due_since).checked_div(u64::from(ageing_frames)).unwrap_or(0);
                    (u64::from(selection.directory.group_at(slot).spec.schedule.priority) + waited, false)
                }
            };
            (is_staying, Reverse(priority), due_since, is_behind, slot)
        });
    }
}
