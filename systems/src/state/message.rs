//! For whom saved messages are, and the table of those that wait in backlogs.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasm_engine_components::{Backlog, HeldMessage, Recipient, RecipientSlot};

use crate::world::directory::Directory;

/// Returns the indexes of a recipient.
///
/// # Errors
/// There is no such agent, topic or group.
pub(super) fn recipient_of(directory: &Directory, to: Recipient) -> Result<RecipientSlot, String> {
    match to {
        Recipient::Agent(id) => {
            directory.slot(id).map(Recipient::Agent).ok_or_else(|| format!("it is for agent {id}, whom nobody knows"))
        }
        Recipient::Topic(id) => {
            let found = directory.topic(id).map(Recipient::Topic);
            found.ok_or_else(|| format!("it is for topic {:#018x}, which the scenario lacks", id.0))
        }
        Recipient::Group(id) => {
            let found = directory.group_index(id).map(Recipient::Group);
            found.ok_or_else(|| format!("it is for group {}, which the scenario lacks", id.0))
        }
    }
}

/// The messages of backlogs, each once, by content: which backlogs share one in memory is no state.
#[derive(Debug, Default)]
pub(super) struct HeldTable {
    /// The messages in the order of their first use.
    pub messages: Vec<Arc<HeldMessage>>,
    by_digest: BTreeMap<u128, u32>,
    /// The place that was asked for last.
    last: u32,
}

impl HeldTable {
    /// A message's place in the table. It is put there if it isn't yet.
    fn place(&mut self, held: &Arc<HeldMessage>) -> u32 {
        let is_it = |other: &Arc<HeldMessage>| Arc::ptr_eq(other, held) || other == held;
        // Mostly backlogs hold what the one before holds, in the same order.
        let next = self.last.wrapping_add(1);
        if self.messages.get(next as usize).is_some_and(is_it) {
            self.last = next;
            return next;
        }
        // One takes more than the bytes of a place: they are fewer than 2^32.
        let new = self.messages.len() as u32;
        let place = *self.by_digest.entry(held.digest).or_insert(new);
        // Whatever the odds that two digests are alike: then the second one isn't shared.
        self.last = if self.messages.get(place as usize).is_some_and(is_it) { place } else { new };
        if self.last == new {
            self.messages.push(Arc::clone(held));
        }
        self.last
    }

    /// The places of a backlog's messages, as runs of places that follow one another: the first, and how many.
    pub(super) fn runs(&mut self, backlog: &Backlog) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for held in backlog.iter() {
            let place = self.place(held);
            match runs.last_mut() {
                Some((first, count)) if *first + *count == place => *count += 1,
                _ => runs.push((place, 1)),
            }
        }
        runs
    }
}
