//! Messages between two frames: those of agents in flight, those of the host, and those that wait in backlogs.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{Backlog, HeldMessage, Recipient, RecipientSlot};

use super::section::Reader;
use crate::world::directory::Directory;

/// A message in a saved state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SavedMessage<'a> {
    /// For whom it is.
    pub to: Recipient,
    /// Its header. The length in that of a host's message is 0 until it is delivered.
    pub header: MessageHeader,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> SavedMessage<'a> {
    pub(super) fn decode(value: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(value);
        let (tag, id) = (reader.u8()?, reader.u64()?);
        let to = Recipient::from_parts(tag, id)?;
        Some(Self { to, header: read_header(&mut reader)?, payload: reader.rest() })
    }

    pub(super) fn encode(bytes: &mut Vec<u8>, to: Recipient, header: &MessageHeader, payload: &[u8]) {
        let (tag, id) = to.to_parts();
        bytes.push(tag);
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(bytemuck::bytes_of(header));
        bytes.extend_from_slice(payload);
    }
}

fn read_header(reader: &mut Reader<'_>) -> Option<MessageHeader> {
    bytemuck::try_pod_read_unaligned(reader.take(size_of::<MessageHeader>())?).ok()
}

/// For whom a message is, by position.
///
/// # Errors
/// There is no such agent, topic or group.
pub(super) fn recipient_of(directory: &Directory, to: Recipient) -> Result<RecipientSlot, String> {
    match to {
        Recipient::Agent(id) => {
            directory.index(id).map(Recipient::Agent).ok_or_else(|| format!("it is for agent {id}, whom nobody knows"))
        }
        Recipient::Topic(id) => {
            let found = directory.topic(id).map(Recipient::Topic);
            found.ok_or_else(|| format!("it is for topic {:#018x}, which the scenario lacks", id.0))
        }
        Recipient::Group(id) => {
            let found = directory.group_position(id).and_then(|at| u32::try_from(at).ok()).map(Recipient::Group);
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

/// A message of a backlog, as it is saved: its header and its payload.
pub(super) fn encode_held(bytes: &mut Vec<u8>, held: &HeldMessage) {
    bytes.extend_from_slice(bytemuck::bytes_of(&held.header));
    bytes.extend_from_slice(&held.payload);
}

/// The header and the payload of a message of a backlog.
pub(super) fn decode_held(value: &[u8]) -> Option<(MessageHeader, &[u8])> {
    let mut reader = Reader(value);
    let header = read_header(&mut reader)?;
    let payload = reader.rest();
    (header.payload_bytes as usize == payload.len()).then_some((header, payload))
}

/// A backlog, as it is saved: runs of places in the table of its messages.
pub(super) fn encode_runs(bytes: &mut Vec<u8>, runs: &[(u32, u32)]) {
    for (first, count) in runs {
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
    }
}

/// The places of a backlog's messages in a table of `length`; `None` for what isn't a backlog's.
pub(super) fn decode_places(value: &[u8], length: usize) -> Option<impl Iterator<Item = usize>> {
    let (runs, rest) = value.as_chunks::<8>();
    let range = |run: &[u8; 8]| {
        let (first, count) = run.split_at(4);
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes).map(|number| number as usize);
        let (first, count) = (number(first)?, number(count)?);
        let end = first.checked_add(count).filter(|end| count > 0 && *end <= length)?;
        Some(first..end)
    };
    let ranges = runs.iter().map(range).collect::<Option<Vec<_>>>()?;
    rest.is_empty().then(|| ranges.into_iter().flatten())
}
