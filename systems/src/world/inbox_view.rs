//! Positions of a frame's messages, and the lists by which their recipients find them.

use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{Address, AgentSlot, MessageOffset, RecipientSlot};

use crate::world::chunk::OutputChunk;
use crate::world::packed::{PackedMessages, record_bytes, split};

/// Position of a delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Number of the chunk of the frame before, or, with [`Delivery::CURRENT`] added, of this frame; [`Delivery::HOST`] for the
    /// host's messages of this frame.
    pub chunk: u32,
    /// Where its record lies among those messages: see [`PackedMessages`].
    pub offset: MessageOffset,
}

impl Delivery {
    /// Number of the host's messages: events, results, and what waited in backlogs. No agent sent them in the frame before.
    pub const HOST: u32 = u32::MAX;

    /// Bit that is set if the message was sent in this frame, by an agent of an earlier wave.
    pub const CURRENT: u32 = 1 << 31;

    /// Returns what deliveries of one frame are sorted by to be in canonical order: the host's messages come first.
    pub const fn order(self) -> (u32, MessageOffset) {
        (self.chunk.wrapping_add(1), self.offset)
    }
}

/// A message in an agent's inbox, and the one after it.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Position of the message.
    pub delivery: Delivery,
    /// Index of the next link, or [`Link::END`].
    pub next: u32,
}

impl Link {
    /// Stands for the index of the next link where there is none.
    pub const END: u32 = u32::MAX;
}

/// The frame's messages, as a list for each recipient.
#[derive(Clone, Copy, Debug)]
pub struct InboxView<'a> {
    /// For each agent, by slot, where its first message stands in `links`, or [`Link::END`]. What it leads to fits into
    /// the inbox area of the agent's module.
    pub firsts: &'a [u32],
    /// The lists. A message is stored once, however many its recipients are.
    pub links: &'a [Link],
    /// The messages from agents: the output of the frame before.
    pub chunks: &'a [OutputChunk],
    /// The output of this frame's earlier waves.
    pub current: &'a [OutputChunk],
    /// The messages from the host.
    pub host: &'a HostInbox,
}

impl<'a> InboxView<'a> {
    /// Returns where the messages for the agent in a slot lie, oldest and lowest sender first.
    pub fn deliveries(&self, slot: AgentSlot) -> impl Iterator<Item = Delivery> + use<'a> {
        let view = *self;
        let mut next = view.firsts[slot.index()];
        core::iter::from_fn(move || {
            // There is no link `END`.
            let link = view.links.get(next as usize)?;
            next = link.next;
            Some(link.delivery)
        })
    }

    /// Returns the inbox records for the agent in a slot, oldest and lowest sender first, padding included.
    #[inline]
    pub fn records(&self, slot: AgentSlot) -> impl Iterator<Item = &'a [u64]> + use<'a> {
        let view = *self;
        self.deliveries(slot).map(move |delivery| view.messages(delivery.chunk).record(delivery.offset))
    }

    /// Calls `visit` with each of those: as a loop, which takes fewer instructions than an iterator.
    // Always: by itself, what the visitor writes to would lie in memory.
    #[inline(always)]
    pub fn each_record(&self, slot: AgentSlot, mut visit: impl FnMut(&'a [u64])) {
        let mut next = self.firsts[slot.index()];
        while next != Link::END {
            let link = &self.links[next as usize];
            next = link.next;
            visit(self.messages(link.delivery.chunk).record(link.delivery.offset));
        }
    }

    /// Returns the messages for the agent in a slot as headers and payloads, in the same order.
    #[inline]
    pub fn of(&self, slot: AgentSlot) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> + use<'a> {
        self.records(slot).map(split)
    }

    /// Returns a message.
    pub fn message(&self, delivery: Delivery) -> (&'a MessageHeader, &'a [u8]) {
        self.messages(delivery.chunk).message(delivery.offset)
    }

    #[inline]
    fn messages(&self, chunk: u32) -> &'a PackedMessages {
        match self.chunks.get(chunk as usize) {
            Some(chunk) => &chunk.messages,
            None if chunk == Delivery::HOST => &self.host.messages,
            None => &self.current[(chunk & !Delivery::CURRENT) as usize].messages,
        }
    }
}

/// This frame's messages from the host: events, results, bounces, native systems' messages, what waited in backlogs.
#[derive(Debug, Default)]
pub struct HostInbox {
    /// Their addresses, in canonical order.
    pub addresses: Vec<Address>,
    /// The messages.
    pub messages: PackedMessages,
}

impl HostInbox {
    /// Adds a message. Its length is filled in.
    pub fn push(&mut self, to: RecipientSlot, header: &MessageHeader, payload: &[u8]) {
        // Payloads are bounded at every door into the world, far below 4 GiB.
        let header = MessageHeader { payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX), ..*header };
        let offset = self.messages.push(header, payload);
        self.addresses.push(Address::new(to, record_bytes(header.payload_bytes), offset));
    }

    /// Forgets all messages, and keeps the buffers.
    pub fn clear(&mut self) {
        self.addresses.clear();
        self.messages.clear();
    }
}
