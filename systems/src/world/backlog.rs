//! Mailboxes with a backlog: messages that weren't handed over in a frame; and the lane of mailboxes.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{AgentId, AgentSlot, Backlog, HeldMessage, MailboxCounters};

use crate::codec::{HeldMessages, MailboxState, Mailboxes, digest, digest_small};
use crate::world::slot_set::SlotSet;

/// The mailboxes that hold back messages, and those that changed in this frame. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct Backlogs {
    /// Mailboxes with a backlog.
    pub holding: SlotSet,
    /// Of those, mailboxes of agents that are called when there are messages for them.
    pub waking: SlotSet,
    /// Mailboxes whose backlog or counters changed in this frame.
    pub changed: SlotSet,
    /// Full mailboxes for which their agents fault in this frame.
    pub overflowed: SlotSet,
    /// Mailboxes that ever changed.
    known: SlotSet,
    /// Contribution of each of those to the lane of mailboxes, by slot.
    digests: Vec<u128>,
    /// Change of the lane by mailboxes whose digest was taken in this frame.
    pub(crate) lane_change: u128,
}

/// Returns what a mailbox contributes to its lane. Each message is hashed once for all mailboxes that
/// hold it, so that a frame costs what changed in it, and not all that waits.
pub(crate) fn mailbox_digest(agent: AgentId, (backlog, counters): (&Backlog, &MailboxCounters)) -> u128 {
    let mailbox = MailboxState::new(counters, backlog);
    if mailbox.is_new() { 0 } else { digest_small::<Mailboxes, 32>(agent.0, mailbox) }
}

/// Returns a message as backlogs hold it.
pub fn held_message(header: MessageHeader, payload: impl Into<Box<[u8]>>) -> HeldMessage {
    let payload = payload.into();
    // The digest depends on the content alone: the index under which the message is saved is no state.
    let digest = digest::<HeldMessages>(0, (&header, &payload));
    HeldMessage { header, payload, digest }
}

impl Backlogs {
    /// Notes that a mailbox holds messages back, and that its digest was taken.
    pub(crate) fn hold(&mut self, slot: AgentSlot, wakes: bool) {
        self.holding.insert(slot);
        if wakes {
            self.waking.insert(slot);
        }
    }

    /// Takes the digest of a mailbox that changed.
    pub(crate) fn digest(&mut self, slot: AgentSlot, agent: AgentId, mailbox: (&Backlog, &MailboxCounters)) {
        let after = mailbox_digest(agent, mailbox);
        let before = self.note(slot, after);
        self.lane_change = self.lane_change.wrapping_sub(before).wrapping_add(after);
    }

    /// Notes that a mailbox holds nothing back any more. Returns `false` if it held nothing back before.
    pub(crate) fn release(&mut self, slot: AgentSlot) -> bool {
        if !self.holding.remove(slot) {
            return false;
        }
        self.waking.remove(slot);
        self.changed.insert(slot);
        true
    }

    /// Notes the digest that a mailbox contributes to the lane. Returns the one that it contributed before.
    pub(crate) fn note(&mut self, slot: AgentSlot, digest: u128) -> u128 {
        let index = slot.index();
        if index >= self.digests.len() {
            self.digests.resize((index + 1).next_power_of_two(), 0);
        }
        self.known.insert(slot);
        core::mem::replace(&mut self.digests[index], digest)
    }

    /// Forgets a mailbox that is despawned. Returns the digest that it contributed to the lane.
    pub(crate) fn forget(&mut self, slot: AgentSlot) -> u128 {
        if self.known.remove(slot) { core::mem::take(&mut self.digests[slot.index()]) } else { 0 }
    }

    /// Returns the mailboxes that ever changed: the others are as they were made.
    pub(crate) fn known(&self) -> impl Iterator<Item = AgentSlot> + '_ {
        self.known.iter()
    }
}
