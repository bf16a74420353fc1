//! The frame's messages, and the ranges into which they are sorted by recipient.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::message::sender;
use wasm_engine_abi::{BounceReason, MessageHeader, RECORD_ALIGN, kind, padded};
use wasm_engine_components::{Message, PayloadRef, Recipient, StoredMessage};

use crate::ports::{InboxView, StepResults};

/// What a mailbox was given in this frame, and what it holds at most. Four of them share two cache lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// Messages for it.
    pub messages: u32,
    /// Bytes of those, headers and padding included; saturates.
    pub bytes: u32,
    /// Messages that it holds at most; 0 while its agent takes none.
    pub messages_max: u32,
    /// Bytes that it holds at most.
    pub bytes_max: u32,
    /// Start of its range in [`Mailroom::deliveries`].
    pub start: u32,
    /// Messages that were put into the range: the length of the inbox.
    pub filled: u32,
}

/// All messages between two frames. What is in flight is state; slots and ranges are transient.
#[derive(Resource, Debug, Default)]
pub struct Mailroom {
    /// Messages that are delivered in this frame: first those of agents, then those of the host.
    pub messages: Vec<Message>,
    /// How many of `messages` are of agents.
    pub from_agents: usize,
    /// Payloads of the host's messages of this frame, each padded to 8 bytes.
    pub host_bytes: Vec<u8>,
    /// Positions in `messages`; those of one recipient side by side.
    pub deliveries: Vec<u32>,
    /// One for each mailbox.
    pub slots: Vec<Slot>,
    /// The slots that were given something in this frame.
    pub touched: Vec<u32>,
    /// Messages of agents that are delivered in the next frame. Their payloads lie in [`Outputs::now`].
    pub next: Vec<Message>,
    /// Bounces that are delivered in the next frame.
    pub bounces: HostMessages,
    /// External events that are delivered in this frame.
    pub events: HostMessages,
    /// Messages of native systems that are delivered in the next frame.
    pub native: HostMessages,
}

/// Messages of the host, with their payloads.
#[derive(Debug, Default)]
pub struct HostMessages(pub Vec<(Recipient, StoredMessage)>);

impl HostMessages {
    /// Adds a message.
    pub fn push(&mut self, recipient: Recipient, header: MessageHeader, payload: Vec<u8>) {
        self.0.push((recipient, StoredMessage { header, payload }));
    }

    /// Adds the bounce of the message `of` to its sender, which is the agent at position `to`.
    pub fn bounce(&mut self, of: &MessageHeader, meant_for: u64, to: u32, reason: BounceReason, frame: u64) {
        let header = MessageHeader {
            sender: sender::ENGINE,
            topic: meant_for,
            correlation: of.correlation,
            frame,
            sequence: of.sequence,
            kind: kind::BOUNCE,
            status: reason as u32,
            payload_bytes: 0,
        };
        self.push(Recipient::Agent(to), header, Vec::new());
    }
}

/// The agents' outputs of this frame, and of the frame before, whose payloads this frame's messages refer to: `Deliver` swaps
/// them. State, as far as messages in flight refer to it.
#[derive(Resource, Debug, Default)]
pub struct Outputs {
    /// Of this frame.
    pub now: StepResults,
    /// Of the frame before.
    pub before: StepResults,
}

/// Bytes that a message takes in an inbox, header and padding included.
#[inline]
pub fn record_bytes(header: &MessageHeader) -> u32 {
    // Payloads are far below 4 GiB; a length that isn't fills any mailbox.
    padded(header.payload_bytes).map_or(u32::MAX, |payload| payload.saturating_add(MessageHeader::BYTES))
}

impl Mailroom {
    /// Adds a message of the host to those that are delivered in this frame. `false` if there is no room: the payloads of
    /// one frame take 32 GiB at most.
    pub fn add_host(&mut self, recipient: Recipient, header: &MessageHeader, payload: &[u8]) -> bool {
        let (Ok(offset), Ok(payload_bytes)) =
            (u32::try_from(self.host_bytes.len() / RECORD_ALIGN as usize), u32::try_from(payload.len()))
        else {
            return false;
        };
        let header = MessageHeader { payload_bytes, ..*header };
        self.host_bytes.extend_from_slice(payload);
        self.host_bytes.resize(self.host_bytes.len().next_multiple_of(RECORD_ALIGN as usize), 0);
        self.messages.push(Message { header, payload: PayloadRef { chunk: PayloadRef::HOST, offset }, recipient });
        true
    }

    /// This frame's messages as the runtime reads them. `before` is [`Outputs::before`].
    pub fn view<'a>(&'a self, before: &'a StepResults) -> InboxView<'a> {
        InboxView {
            deliveries: &self.deliveries,
            messages: &self.messages,
            chunks: &before.chunks,
            host: &self.host_bytes,
        }
    }

    /// What was published in the last frame to the topic at position `topic` of [`crate::directory::Directory::topics`], lowest sender first.
    pub(crate) fn published<'a>(
        &'a self,
        outputs: &'a Outputs,
        topic: u32,
    ) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> {
        let view = self.view(&outputs.before);
        let (agents, host) = self.messages.split_at(self.from_agents);
        host.iter()
            .chain(agents)
            .filter(move |message| message.recipient == Recipient::Topic(topic))
            .map(move |message| (&message.header, view.payload(message)))
    }

    /// The inbox of the agent at position `index`, in this frame.
    pub(crate) fn inbox<'a>(
        &'a self,
        outputs: &'a Outputs,
        index: u32,
    ) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> {
        let slot = self.slots[index as usize];
        let view = self.view(&outputs.before);
        let range = slot.start as usize..(slot.start + slot.filled) as usize;
        self.deliveries[range].iter().map(move |&at| {
            let message = &self.messages[at as usize];
            (&message.header, view.payload(message))
        })
    }
}
