//! Messages of native systems.

use bevy_ecs::system::{Res, ResMut, SystemParam};
use wasm_engine_abi::MessageHeader;
use wasm_engine_abi::message::{kind, sender, status};
use wasm_engine_components::{AgentId, GroupId, Recipient, TopicId, limits};

use crate::frame::FrameClock;
use crate::world::directory::Directory;
use crate::world::mailroom::Mailroom;

/// Messages from native systems: they are delivered in the next frame, under the sender [`sender::NATIVE`]. Two systems that
/// post need an order between them, because it is the order of delivery.
#[derive(SystemParam)]
pub struct Post<'w> {
    clock: Res<'w, FrameClock>,
    directory: Res<'w, Directory>,
    mailroom: ResMut<'w, Mailroom>,
}

/// Why a native system's message wasn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// There is no such agent (any more), topic or group.
    Unknown,
    /// The kind is [`kind::RESERVED`] or above.
    ReservedKind,
    /// The payload is longer than [`limits::PAYLOAD_BYTES_MAX`].
    TooLarge,
}

impl std::fmt::Display for PostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "there is no such agent, topic or group",
            Self::ReservedKind => "kinds from 0x80000000 on are the engine's",
            Self::TooLarge => "the payload is longer than a message's limit",
        })
    }
}

impl std::error::Error for PostError {}

impl Post<'_> {
    /// Sends a message to an agent.
    ///
    /// # Errors
    /// There is no such agent, or the message breaks a limit.
    pub fn send(&mut self, to: AgentId, kind: u32, payload: &[u8]) -> Result<(), PostError> {
        let index = self.directory.alive(to).ok_or(PostError::Unknown)?;
        self.post(Recipient::Agent(index), 0, kind, payload)
    }

    /// Sends a message to all agents of a group.
    ///
    /// # Errors
    /// There is no such group, or the message breaks a limit.
    pub fn broadcast(&mut self, group: GroupId, kind: u32, payload: &[u8]) -> Result<(), PostError> {
        let at =
            self.directory.group_position(group).and_then(|at| u32::try_from(at).ok()).ok_or(PostError::Unknown)?;
        self.post(Recipient::Group(at), 0, kind, payload)
    }

    /// Publishes a message to the members of a topic.
    ///
    /// # Errors
    /// There is no such topic, or the message breaks a limit.
    pub fn publish(&mut self, topic: TopicId, kind: u32, payload: &[u8]) -> Result<(), PostError> {
        let at = self.directory.topic(topic).ok_or(PostError::Unknown)?;
        self.post(Recipient::Topic(at), topic.0, kind, payload)
    }

    fn post(&mut self, to: Recipient, topic: u64, kind: u32, payload: &[u8]) -> Result<(), PostError> {
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

/// What a message is held to.
pub(super) fn check_message(kind: u32, payload: &[u8]) -> Result<(), PostError> {
    if kind >= kind::RESERVED {
        return Err(PostError::ReservedKind);
    }
    if payload.len() > limits::PAYLOAD_BYTES_MAX as usize {
        return Err(PostError::TooLarge);
    }
    Ok(())
}
