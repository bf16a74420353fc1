//! Recipients of saved messages, and the table of the messages that wait in backlogs.

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
    /// The index that was returned last.
    last: u32,
}

impl HeldTable {
    /// Returns the index of a message in the table. It is added if it isn't there yet.
    fn index_of(&mut self, held: &Arc<HeldMessage>) -> u32 {
        let is_it = |other: &Arc<HeldMessage>| Arc::ptr_eq(other, held) || other == held;
        // Most backlogs hold the messages that the one before holds, in the same order.
        let next = self.last.wrapping_add(1);
        if self.messages.get(next as usize).is_some_and(is_it) {
            self.last = next;
            return next;
        }
        // A message takes more memory than its index, so that there are fewer than 2^32.
        let new = self.messages.len() as u32;
        let place = *self.by_digest.entry(held.digest).or_insert(new);
        // If two messages had one digest, the second one wouldn't be shared.
        self.last = if self.messages.get(place as usize).is_some_and(is_it) { place } else { new };
        if self.last == new {
            self.messages.push(Arc::clone(held));
        }
        self.last
    }

    /// Returns the indexes of a backlog's messages as runs of indexes that follow one another: the first, and how many.
    pub(super) fn runs(&mut self, backlog: &Backlog) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for held in backlog.iter() {
            let place = self.index_of(held);
            match runs.last_mut() {
                Some((first, count)) if *first + *count == place => *count += 1,
                _ => runs.push((place, 1)),
            }
        }
        runs
    }
}
