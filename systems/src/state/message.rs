//! Messages between two frames: those of agents in flight, those of the host, and those that wait in backlogs.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasm_engine_abi::MessageHeader;
use wasm_engine_components::frame::EventTarget;
use wasm_engine_components::{AgentId, GroupId, Recipient, StoredMessage, TopicId};

use super::section::Reader;
use crate::directory::Directory;

/// A message in a saved state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SavedMessage<'a> {
    /// For whom it is.
    pub to: EventTarget,
    /// Its header. The length in that of a host's message is 0 until it is delivered.
    pub header: MessageHeader,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> SavedMessage<'a> {
    pub(super) fn decode(value: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(value);
        let (tag, id) = (reader.u8()?, reader.u64()?);
        let to = match tag {
            0 => EventTarget::Agent(AgentId(id)),
            1 => EventTarget::Topic(TopicId(id)),
            2 => EventTarget::Group(GroupId(u32::try_from(id).ok()?)),
            _ => return None,
        };
        Some(Self { to, header: read_header(&mut reader)?, payload: reader.rest() })
    }

    pub(super) fn encode(bytes: &mut Vec<u8>, to: EventTarget, header: &MessageHeader, payload: &[u8]) {
        let (tag, id) = match to {
            EventTarget::Agent(id) => (0, id.0),
            EventTarget::Topic(id) => (1, id.0),
            EventTarget::Group(id) => (2, u64::from(id.0)),
        };
        bytes.push(tag);
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(bytemuck::bytes_of(header));
        bytes.extend_from_slice(payload);
    }
}

fn read_header(reader: &mut Reader<'_>) -> Option<MessageHeader> {
    bytemuck::try_pod_read_unaligned(reader.take(size_of::<MessageHeader>())?).ok()
}

/// For whom a message is, by stable id; `None` for nobody.
pub(super) fn target_of(directory: &Directory, recipient: Recipient) -> Option<EventTarget> {
    Some(match recipient {
        Recipient::Agent(at) => EventTarget::Agent(*directory.ids.get(at as usize)?),
        Recipient::Topic(at) => EventTarget::Topic(directory.topics.get(at as usize)?.0),
        Recipient::Group(at) => EventTarget::Group(directory.groups.get(at as usize)?.id),
        Recipient::Nobody => return None,
    })
}

/// The same by position.
///
/// # Errors
/// There is no such agent, topic or group.
pub(super) fn recipient_of(directory: &Directory, to: EventTarget) -> Result<Recipient, String> {
    match to {
        EventTarget::Agent(id) => {
            directory.index(id).map(Recipient::Agent).ok_or_else(|| format!("it is for agent {id}, whom nobody knows"))
        }
        EventTarget::Topic(id) => {
            let found = directory.topic(id).map(Recipient::Topic);
            found.ok_or_else(|| format!("it is for topic {:#018x}, which the scenario lacks", id.0))
        }
        EventTarget::Group(id) => {
            let found = directory.group_position(id).and_then(|at| u32::try_from(at).ok()).map(Recipient::Group);
            found.ok_or_else(|| format!("it is for group {}, which the scenario lacks", id.0))
        }
    }
}

/// The payloads of backlogs that are stored once, by content: which backlogs share them in memory is no state.
#[derive(Debug, Default)]
pub(super) struct PayloadTable {
    /// The payloads in the order of their first use.
    pub payloads: Vec<Arc<[u8]>>,
    by_content: BTreeMap<Arc<[u8]>, u32>,
    /// Where one lies says nothing of its content, but the same place has the same: it saves comparing.
    by_place: BTreeMap<usize, u32>,
}

/// Payloads up to this length stand with their messages: their place in the table would cost as much.
pub(super) const INLINE_BYTES: usize = 64;

impl PayloadTable {
    /// A payload's place in the table. It is put there if it isn't yet.
    pub fn place(&mut self, payload: &Arc<[u8]>) -> u32 {
        let address = payload.as_ptr().addr();
        if let Some(&place) = self.by_place.get(&address) {
            return place;
        }
        // One takes more than the bytes of a place: they are fewer than 2^32.
        let next = self.payloads.len() as u32;
        let place = *self.by_content.entry(Arc::clone(payload)).or_insert(next);
        if place == next {
            self.payloads.push(Arc::clone(payload));
        }
        self.by_place.insert(address, place);
        place
    }
}

/// A message of a backlog: its header, then its payload or the place of that.
pub(super) fn encode_stored(bytes: &mut Vec<u8>, stored: &StoredMessage, table: &mut PayloadTable) {
    bytes.extend_from_slice(bytemuck::bytes_of(&stored.header));
    if stored.payload.len() > INLINE_BYTES {
        bytes.extend_from_slice(&table.place(&stored.payload).to_le_bytes());
    } else {
        bytes.extend_from_slice(&stored.payload);
    }
}

/// A header, and a payload or the place of one: the header's length says which.
pub(super) fn decode_stored<'a>(reader: &mut Reader<'a>) -> Option<(MessageHeader, Result<&'a [u8], u32>)> {
    let header = read_header(reader)?;
    if header.payload_bytes as usize > INLINE_BYTES {
        return Some((header, Err(reader.u32()?)));
    }
    Some((header, Ok(reader.take(header.payload_bytes as usize)?)))
}
