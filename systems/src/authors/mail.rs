//! Mail of native systems: they read what agents are given, and send messages of their own.

use bevy_ecs::system::{Query, Res, ResMut, SystemParam};
use wasm_engine_abi::MessageHeader;
use wasm_engine_abi::message::{kind, sender, status};
use wasm_engine_components::{AgentId, Backlog, GroupId, Recipient, RecipientSlot, TopicId, limits};

use crate::frame::FrameClock;
use crate::world::directory::Directory;
use crate::world::mailroom::{AgentOutputs, Mailroom};

/// Reads what agents are about to read, for systems in [`crate::AuthorSystems::Sense`].
#[derive(SystemParam)]
pub struct MailReader<'w, 's> {
    backlogs: Query<'w, 's, &'static Backlog>,
    directory: Res<'w, Directory>,
    mailroom: Res<'w, Mailroom>,
    outputs: Res<'w, AgentOutputs>,
}

impl MailReader<'_, '_> {
    /// Returns an agent's mailbox in this frame, in the order in which the agent sees it: headers and payloads of the messages
    /// that waited, then of those that arrived. Empty for an agent that doesn't exist.
    pub fn inbox(&self, agent: AgentId) -> impl Iterator<Item = (&MessageHeader, &[u8])> {
        let slot = self.directory.slot(agent);
        let backlog = slot.and_then(|slot| self.backlogs.get(self.directory.mailboxes[slot.index()]).ok());
        let held = backlog.into_iter().flat_map(Backlog::iter);
        let held = held.map(|held| (&held.header, &*held.payload));
        held.chain(slot.into_iter().flat_map(|slot| self.mailroom.inbox(&self.outputs, slot)))
    }

    /// Returns the messages that reach the members of a topic in this frame, lowest sender first. This is how a native system
    /// listens to agents.
    pub fn published(&self, topic: TopicId) -> impl Iterator<Item = (&MessageHeader, &[u8])> {
        let topic = self.directory.topic(topic);
        topic.into_iter().flat_map(|topic| self.mailroom.published(&self.outputs, topic))
    }
}

/// Sends messages from native systems. They are delivered in the next frame, from the sender [`sender::NATIVE`]. Two systems that
/// write need an order between them, because it is the order of delivery.
#[derive(SystemParam)]
pub struct MailWriter<'w> {
    clock: Res<'w, FrameClock>,
    directory: Res<'w, Directory>,
    mailroom: ResMut<'w, Mailroom>,
}

/// Why a message of a native system was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// There is no such agent (any more), topic or group.
    #[error("there is no such agent, topic or group")]
    Unknown,
    /// The kind is [`kind::RESERVED`] or above.
    #[error("kinds from 0x80000000 on are the engine's")]
    ReservedKind,
    /// The payload is longer than [`limits::PAYLOAD_BYTES_MAX`].
    #[error("the payload is longer than a message's limit")]
    TooLarge,
}

impl MailWriter<'_> {
    /// Sends a message to an agent.
    ///
    /// # Errors
    /// There is no such agent, or the message breaks a limit.
    pub fn send(&mut self, to: AgentId, kind: u32, payload: &[u8]) -> Result<(), MailError> {
        let slot = self.directory.alive(to).ok_or(MailError::Unknown)?;
        self.post(Recipient::Agent(slot), 0, kind, payload)
    }

    /// Sends a message to all agents of a group.
    ///
    /// # Errors
    /// There is no such group, or the message breaks a limit.
    pub fn broadcast(&mut self, group: GroupId, kind: u32, payload: &[u8]) -> Result<(), MailError> {
        let at = self.directory.group_index(group).ok_or(MailError::Unknown)?;
        self.post(Recipient::Group(at), 0, kind, payload)
    }

    /// Publishes a message to the members of a topic.
    ///
    /// # Errors
    /// There is no such topic, or the message breaks a limit.
    pub fn publish(&mut self, topic: TopicId, kind: u32, payload: &[u8]) -> Result<(), MailError> {
        let at = self.directory.topic(topic).ok_or(MailError::Unknown)?;
        self.post(Recipient::Topic(at), topic.0, kind, payload)
    }

    fn post(&mut self, to: RecipientSlot, topic: u64, kind: u32, payload: &[u8]) -> Result<(), MailError> {
        check_message(kind, payload)?;
        let header = MessageHeader {
            sender: sender::NATIVE,
            topic,
            frame: self.clock.frame,
            sequence: u32::try_from(self.mailroom.native.0.len()).unwrap_or(u32::MAX),
            kind,
            status: if matches!(to, Recipient::Group(_)) { status::BROADCAST } else { status::PLAIN },
            ..MessageHeader::default()
        };
        self.mailroom.native.push(to, header, payload.to_vec());
        Ok(())
    }
}

/// Checks the limits of a message.
pub(super) fn check_message(kind: u32, payload: &[u8]) -> Result<(), MailError> {
    if kind >= kind::RESERVED {
        return Err(MailError::ReservedKind);
    }
    if payload.len() > limits::PAYLOAD_BYTES_MAX as usize {
        return Err(MailError::TooLarge);
    }
    Ok(())
}
