//! The frame's messages, and the lists into which they are sorted by recipient.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::message::{sender, status};
use wasm_engine_abi::{BounceReason, MessageHeader, kind};
use wasm_engine_components::{AgentId, AgentSlot, Recipient, RecipientSlot, StoredMessage, TopicIndex};

use crate::world::chunk::{OutputChunk, StepResults};
use crate::world::directory::Directory;
use crate::world::inbox::Inboxes;
use crate::world::inbox_view::{Delivery, HostInbox, InboxView};

/// All messages between two frames, but for those of agents, which stay in their chunks: see [`AgentOutputs`]. What is in flight is
/// state; the inboxes are transient.
#[derive(Resource, Debug, Default)]
pub struct Mailroom {
    /// The host's messages of this frame.
    pub host: HostInbox,
    /// Inbox of each recipient in this frame.
    pub inboxes: Inboxes,
    /// Bounces that are delivered in the next frame.
    pub bounces: HostMessages,
    /// First messages of agents that are spawned in this frame.
    pub first_messages: HostMessages,
    /// External events that are delivered in this frame.
    pub events: Vec<AddressedEvent>,
    /// Messages of native systems that are delivered in the next frame.
    pub native: HostMessages,
}

/// An external event whose recipient was found.
#[derive(Clone, Copy, Debug)]
pub struct AddressedEvent {
    /// Its recipient.
    pub recipient: RecipientSlot,
    /// Its header.
    pub header: MessageHeader,
    /// Index among the events of the frame's inputs, where its payload lies.
    pub index: u32,
}

/// The agents' outputs of this frame, and of the frame before, which are delivered in this one: `Deliver` swaps them. State, as
/// far as messages in flight lie in it.
#[derive(Resource, Debug, Default)]
pub struct AgentOutputs {
    /// Of this frame.
    pub now: StepResults,
    /// Of the frame before.
    pub before: StepResults,
}

/// Messages of the host, with their payloads.
#[derive(Debug, Default)]
pub struct HostMessages(pub Vec<(RecipientSlot, StoredMessage)>);

impl HostMessages {
    /// Adds a message.
    pub fn push(&mut self, recipient: RecipientSlot, header: MessageHeader, payload: impl Into<Box<[u8]>>) {
        self.0.push((recipient, StoredMessage { header, payload: payload.into() }));
    }

    /// Adds the bounce of a message to its sender, which is the agent in the slot `to`.
    pub fn bounce(&mut self, message: &MessageHeader, meant_for: u64, to: AgentSlot, reason: BounceReason, frame: u64) {
        let header = MessageHeader {
            sender: sender::ENGINE,
            topic: meant_for,
            correlation: message.correlation,
            frame,
            sequence: message.sequence,
            kind: kind::BOUNCE,
            status: reason as u32,
            payload_bytes: 0,
        };
        self.push(Recipient::Agent(to), header, Vec::new());
    }

    /// Tells the agent `asker` that its request to `asked`, of that number, has no answer.
    pub(crate) fn time_out(
        &mut self,
        directory: &Directory,
        asker: AgentId,
        (asked, correlation): (u64, u64),
        frame: u64,
    ) {
        let Some(to) = directory.alive(asker) else { return };
        let header = MessageHeader {
            sender: sender::ENGINE,
            topic: asked,
            correlation,
            frame,
            kind: kind::TIMEOUT,
            ..MessageHeader::default()
        };
        self.push(Recipient::Agent(to), header, Vec::new());
    }

    /// Adds the bounce of a message that was taken before to its sender, if that is an agent that hasn't ended: the slot of one
    /// that has may be another's by the time the bounce arrives.
    pub(crate) fn return_to_sender(
        &mut self,
        directory: &Directory,
        message: &MessageHeader,
        meant_for: u64,
        reason: BounceReason,
        frame: u64,
    ) {
        if message.sender <= sender::NATIVE || message.topic != 0 || message.status == status::BROADCAST {
            return;
        }
        if let Some(to) = directory.alive(AgentId(message.sender)) {
            self.bounce(message, meant_for, to, reason, frame);
        }
    }
}

impl Mailroom {
    /// Returns this frame's messages as the runtime reads them. `before` is [`AgentOutputs::before`].
    pub fn view<'a>(&'a self, before: &'a StepResults, current: &'a [OutputChunk]) -> InboxView<'a> {
        let (firsts, links) = (self.inboxes.firsts.as_slice(), self.inboxes.links.as_slice());
        InboxView { firsts, links, chunks: &before.chunks, current, host: &self.host }
    }

    /// Returns what was published to a topic in the last frame, lowest sender first.
    pub(crate) fn published<'a>(
        &'a self,
        outputs: &'a AgentOutputs,
        topic: TopicIndex,
    ) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> {
        let view = self.view(&outputs.before, &outputs.now.chunks);
        let host = self.host.addresses.iter().map(|address| (Delivery::HOST, address));
        let agents = (0..).zip(&outputs.before.chunks);
        let agents = agents.flat_map(|(chunk, output)| output.addresses.iter().map(move |address| (chunk, address)));
        host.chain(agents)
            .filter(move |(_, address)| address.recipient() == Some(Recipient::Topic(topic)))
            .map(move |(chunk, address)| view.message(Delivery { chunk, offset: address.offset }))
    }

    /// Returns the inbox of the agent in a slot, in this frame.
    pub(crate) fn inbox<'a>(
        &'a self,
        outputs: &'a AgentOutputs,
        slot: AgentSlot,
    ) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> {
        self.view(&outputs.before, &outputs.now.chunks).of(slot)
    }
}
