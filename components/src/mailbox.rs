//! Mailboxes: entities of their own, one for each agent. What a mailbox was given in a frame is a list of the frame's
//! messages; only what its agent couldn't take yet is kept apart, in its [`Backlog`].

use std::collections::VecDeque;
use std::sync::Arc;

use bevy_ecs::component::Component;
use bevy_ecs::entity::Entity;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::MessageHeader;

/// The mailbox belongs to this agent.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[relationship(relationship_target = OwnedMailbox)]
pub struct MailboxOf(pub Entity);

/// The agent's mailbox.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[relationship_target(relationship = MailboxOf, linked_spawn)]
pub struct OwnedMailbox(Entity);

/// How much a mailbox holds, and what happens to what it doesn't.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Messages.
    pub capacity_messages: u32,
    /// Bytes, headers and padding included.
    pub capacity_bytes: u32,
    /// What happens to a message that doesn't fit.
    pub overflow: OverflowPolicy,
}

/// What happens to a message for which a mailbox has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OverflowPolicy {
    /// It is dropped, and its sender is told by a bounce.
    #[default]
    Reject,
    /// The oldest messages are dropped to make room.
    DropOldest,
    /// It is dropped, and the mailbox's owner faults.
    Fault,
}

/// What became of a mailbox's messages. State.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MailboxCounters {
    /// Messages that were dropped, whether or not the sender was told.
    pub dropped: u64,
}

/// Messages that wait because their agent isn't stepped. Oldest first. State.
#[derive(Component, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog(pub VecDeque<StoredMessage>);

/// A message with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its header.
    pub header: MessageHeader,
    /// Its payload, without padding. Mailboxes that wait with the same publication share it.
    pub payload: Arc<[u8]>,
}

impl Serialize for StoredMessage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (bytemuck::bytes_of(&self.header), &self.payload[..]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredMessage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (header, payload) = <(Vec<u8>, Vec<u8>)>::deserialize(deserializer)?;
        let header =
            bytemuck::try_pod_read_unaligned(&header).map_err(|_| serde::de::Error::custom("a header has 48 bytes"))?;
        Ok(Self { header, payload: payload.into() })
    }
}
