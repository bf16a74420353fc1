//! The frame's messages, and the ranges into which they are sorted by recipient.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::message::sender;
use wasm_engine_abi::{BounceReason, MessageHeader, kind};
use wasm_engine_components::{Recipient, StoredMessage};

use crate::ports::{Delivery, HostInbox, InboxRange, InboxView, StepResults};

/// All messages between two frames, but for those of agents, which stay in their chunks: see [`Outputs`]. What is in flight is
/// state; loads and ranges are transient.
#[derive(Resource, Debug, Default)]
pub struct Mailroom {
    /// The host's messages of this frame.
    pub host: HostInbox,
    /// Where the delivered messages lie; those of one recipient side by side.
    pub deliveries: Vec<Delivery>,
    /// Each agent's range of `deliveries`. Apart from `loads`, because all threads of the step read it.
    pub ranges: Vec<InboxRange>,
    /// What there is for each mailbox.
    pub loads: Vec<Load>,
    /// The mailboxes for which there was something in this frame.
    pub touched: Vec<u32>,
    /// Bounces that are delivered in the next frame.
    pub bounces: HostMessages,
    /// External events that are delivered in this frame.
    pub events: HostMessages,
    /// Messages of native systems that are delivered in the next frame.
    pub native: HostMessages,
}

/// What there is for a mailbox in this frame, and what it holds at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Messages for it.
    pub messages: u32,
    /// Bytes of those, headers and padding included; saturates.
    pub bytes: u32,
    /// Messages that it holds at most; 0 while its agent takes none.
    pub messages_max: u32,
    /// Bytes that it holds at most.
    pub bytes_max: u32,
}

/// The agents' outputs of this frame, and of the frame before, which are delivered in this one: `Deliver` swaps them. State, as
/// far as messages in flight lie in it.
#[derive(Resource, Debug, Default)]
pub struct Outputs {
    /// Of this frame.
    pub now: StepResults,
    /// Of the frame before.
    pub before: StepResults,
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

impl Mailroom {
    /// This frame's messages as the runtime reads them. `before` is [`Outputs::before`].
    pub fn view<'a>(&'a self, before: &'a StepResults) -> InboxView<'a> {
        InboxView { ranges: &self.ranges, deliveries: &self.deliveries, chunks: &before.chunks, host: &self.host }
    }

    /// What was published in the last frame to the topic at position `topic` of
    /// [`crate::directory::Directory::topics`], lowest sender first.
    pub(crate) fn published<'a>(
        &'a self,
        outputs: &'a Outputs,
        topic: u32,
    ) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> {
        let view = self.view(&outputs.before);
        let host =
            self.host.addresses.iter().zip(0..).map(|(address, at)| (address, Delivery { chunk: Delivery::HOST, at }));
        let agents = outputs.before.chunks.iter().zip(0..).flat_map(|(chunk, number)| {
            chunk.addresses.iter().zip(0..).map(move |(address, at)| (address, Delivery { chunk: number, at }))
        });
        host.chain(agents)
            .filter(move |(address, _)| address.recipient() == Recipient::Topic(topic))
            .map(move |(_, at)| view.message(at))
    }

    /// The inbox of the agent at position `index`, in this frame.
    pub(crate) fn inbox<'a>(
        &'a self,
        outputs: &'a Outputs,
        index: u32,
    ) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> {
        self.view(&outputs.before).of(index)
    }
}
