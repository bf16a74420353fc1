//! The frames in which agents asked to be woken.

use std::collections::{BTreeMap, BTreeSet};

use wasm_engine_components::{AgentId, AgentSlot, Lifecycle};

use crate::codec::{self, digest_small};
use crate::world::directory::Directory;

/// Timers: each agent has one at most. State.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// For each agent that has one, the frame of its timer, and its id.
    timers: BTreeMap<AgentSlot, (u64, AgentId)>,
    /// The timers whose frames haven't come, by frame.
    due: BTreeSet<(u64, AgentSlot)>,
    /// The timers whose frames came while their agents weren't active: each waits until its agent is active again.
    overdue: BTreeSet<AgentSlot>,
    /// Value of [`Directory::changes`] when `overdue` was last gone through: until it changes, none of those agents is active.
    overdue_seen: u64,
    /// Sum of the digests of all timers. Carried.
    sum: u128,
}

impl Timers {
    /// Sets the timer of the agent in a slot, in place of the one that it had. `None` takes it away.
    pub(crate) fn set(&mut self, slot: AgentSlot, timer: Option<(u64, AgentId)>) {
        let before = match timer {
            Some(timer) => self.timers.insert(slot, timer),
            None => self.timers.remove(&slot),
        };
        if let Some((frame, agent)) = before {
            self.due.remove(&(frame, slot));
            self.overdue.remove(&slot);
            self.sum = self.sum.wrapping_sub(digest_small::<codec::Timers, 8>(agent.0, frame));
        }
        if let Some((frame, agent)) = timer {
            self.due.insert((frame, slot));
            self.sum = self.sum.wrapping_add(digest_small::<codec::Timers, 8>(agent.0, frame));
        }
    }

    /// Removes the timers of active agents whose frames have come, and returns the agents. The timer of any other agent waits until it is active.
    pub(crate) fn ring(&mut self, frame: u64, directory: &Directory) -> Vec<AgentSlot> {
        let is_active = |slot: &AgentSlot| directory.lifecycles[slot.index()] == Lifecycle::Active;
        let mut rung = Vec::new();
        if self.overdue_seen != directory.changes {
            self.overdue_seen = directory.changes;
            rung.extend(self.overdue.iter().copied().filter(is_active));
        }
        while let Some(&(due_frame, slot)) = self.due.first()
            && due_frame <= frame
        {
            self.due.pop_first();
            if is_active(&slot) {
                rung.push(slot);
            } else {
                self.overdue.insert(slot);
            }
        }
        for &slot in &rung {
            self.set(slot, None);
        }
        rung
    }

    /// Returns the frame of each timer and the agent that has it, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, AgentId)> + '_ {
        self.timers.values().copied()
    }

    /// Returns the sum of the digests of all timers.
    pub(crate) const fn sum(&self) -> u128 {
        self.sum
    }
}
