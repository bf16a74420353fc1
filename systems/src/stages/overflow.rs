//! Handles messages for which there is no room in a mailbox, or in a frame's budgets.

use std::collections::BTreeMap;

use bevy_ecs::system::Query;
use wasm_engine_abi::message::{kind, sender, status};
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::{
    AgentId, AgentSlot, Backlog, FaultKind, Head, HeldMessage, Lifecycle, MailboxCounters, OverflowPolicy, Trigger,
};

use crate::frame::FrameReport;
use crate::world::backlog::Backlogs;
use crate::world::directory::Directory;
use crate::world::fault::{CallFault, MailboxLimit};
use crate::world::inbox::{Inboxes, Load};
use crate::world::inbox_view::Delivery;
use crate::world::mailroom::HostMessages;
use crate::world::packed::record_bytes;
use crate::world::recipients::Sent;
use crate::world::requests::Requests;
use crate::world::slot_set::SlotSet;

pub(crate) type Mailboxes<'w, 's> = Query<'w, 's, (&'static mut MailboxCounters, &'static mut Backlog)>;

/// Whether a message stays in the backlog of a mailbox that drops the oldest. Results and bounces do: nothing that agents send
/// pushes them out.
fn stays_held(held: &HeldMessage) -> bool {
    #[cfg(test)]
    crate::world::looks::look(1);
    held.header.sender == sender::ENGINE
}

/// Whether a message has more than one recipient.
pub(crate) const fn is_to_many(header: &MessageHeader) -> bool {
    header.status == status::BROADCAST
        || (header.topic != 0 && header.kind < kind::RESERVED)
        || header.kind == kind::NOTICE
}

/// A message from one agent to another that a mailbox refused or dropped. It is small, because a frame may have one for each
/// agent.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    slot: AgentSlot,
    reason: BounceReason,
    at: Refused,
}

/// Where a refused message lies. The order is the canonical one: what waited comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It was in a backlog: its place in [`Overflow::unheld`].
    Unheld(u32),
    /// It is one of the frame's.
    Sent(Delivery),
}

impl Refused {
    const fn order(self) -> (bool, (u32, u32)) {
        match self {
            // Those of one mailbox lie there in the order in which they were dropped, and the sort is stable.
            Self::Unheld(_) => (false, (0, 0)),
            Self::Sent(at) => (true, at.place()),
        }
    }
}

/// Handles messages for which there is no room.
pub(crate) struct Overflow<'a, 'w, 's> {
    mailboxes: &'a mut Mailboxes<'w, 's>,
    backlogs: &'a mut Backlogs,
    requests: &'a mut Requests,
    /// Number of messages that were refused or dropped, in the order of [`BounceReason::ALL`].
    counts: [u64; BounceReason::COUNT],
    /// Refused messages to one agent, of which somebody is told. A message to many may be refused by any number of recipients, so
    /// that it is only counted.
    refusals: Vec<Refusal>,
    /// Headers of messages that were dropped from backlogs.
    unheld: Vec<MessageHeader>,
    /// Messages to many that were over a budget, and for whom they were meant, in canonical order.
    over_budget: Vec<(MessageHeader, u64)>,
    /// Number of events among those.
    events_lost: u64,
    /// Mailboxes that refused or dropped messages.
    dropping: SlotSet,
    /// Of those, mailboxes that are full and whose policy is a fault.
    overflowed: SlotSet,
    /// The limit that each of those passed, by the first message that it refused.
    faults: Vec<(AgentSlot, CallFault)>,
    /// For each mailbox that dropped waiting messages, those at the head of its backlog that stay. Each is looked at once.
    kept: BTreeMap<AgentSlot, Head>,
    scratch: Vec<Delivery>,
}

impl<'a, 'w, 's> Overflow<'a, 'w, 's> {
    pub(crate) fn new(
        mailboxes: &'a mut Mailboxes<'w, 's>,
        backlogs: &'a mut Backlogs,
        requests: &'a mut Requests,
    ) -> Self {
        Self {
            mailboxes,
            backlogs,
            requests,
            counts: [0; BounceReason::COUNT],
            refusals: Vec::new(),
            unheld: Vec::new(),
            over_budget: Vec::new(),
            events_lost: 0,
            dropping: SlotSet::default(),
            overflowed: SlotSet::default(),
            faults: Vec::new(),
            kept: BTreeMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds a message to a recipient's list, or handles its refusal.
    #[inline]
    pub(crate) fn put(&mut self, sent: &Sent<'_, '_, '_>, inboxes: &mut Inboxes, message: (AgentSlot, u32, Delivery)) {
        let (slot, bytes, at) = message;
        if let Err(reason) = inboxes.put(slot, bytes, at) {
            self.handle(sent, inboxes, message, reason);
        }
    }

    /// Drops a message to many that doesn't fit into the budgets of its sender, who is told for whom it was meant.
    #[cold]
    pub(crate) fn drop_over_budget(&mut self, header: &MessageHeader, meant_for: u64) {
        self.counts[BounceReason::OverBudget as usize - 1] += 1;
        self.events_lost += u64::from(header.sender == sender::EXTERNAL);
        if header.sender > sender::NATIVE {
            self.over_budget.push((*header, meant_for));
        }
    }

    /// Handles a message that a mailbox refuses, by the mailbox's policy.
    fn handle(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        inboxes: &mut Inboxes,
        message: (AgentSlot, u32, Delivery),
        reason: BounceReason,
    ) {
        let (slot, bytes, at) = message;
        let overflow = sent.directory.group_at(slot).mailbox.overflow;
        if overflow == OverflowPolicy::DropOldest && reason == BounceReason::MailboxFull {
            return self.make_room(sent, inboxes, message);
        }
        let is_fault = overflow == OverflowPolicy::Fault && reason == BounceReason::MailboxFull;
        if is_fault && self.overflowed.insert(slot) {
            self.faults.push((slot, passed(&inboxes.loads[slot.index()], bytes)));
        }
        self.refuse(inboxes, slot, Some(at), sent.message(at), reason);
    }

    /// Counts a message that a mailbox refuses or drops: one at a place, or one of its backlog.
    fn refuse(
        &mut self,
        inboxes: &mut Inboxes,
        slot: AgentSlot,
        at: Option<Delivery>,
        header: &MessageHeader,
        reason: BounceReason,
    ) {
        // The counter is added to the mailbox's component once for all of them.
        inboxes.loads[slot.index()].dropped += 1;
        self.dropping.insert(slot);
        self.counts[reason as usize - 1] += 1;
        if header.sender > sender::NATIVE && !is_to_many(header) {
            let at = at.map_or_else(
                || {
                    self.unheld.push(*header);
                    // Each was a message in memory, of more than sixteen bytes.
                    Refused::Unheld(self.unheld.len() as u32 - 1)
                },
                Refused::Sent,
            );
            self.refusals.push(Refusal { slot, reason, at });
        }
    }

    /// Puts a message into a mailbox after dropping the oldest.
    fn make_room(&mut self, sent: &Sent<'_, '_, '_>, inboxes: &mut Inboxes, message: (AgentSlot, u32, Delivery)) {
        let (slot, _, at) = message;
        let mut backlog = None;
        if inboxes.is_holding(slot) {
            let mailbox = self.mailboxes.get_mut(sent.directory.mailboxes[slot.index()]);
            backlog = mailbox.ok().map(|(_, backlog)| backlog);
        }
        // Results and bounces stay: nothing that agents send pushes them out.
        let stays = |at| sent.message(at).sender == sender::ENGINE;
        let bytes_of = |at| record_bytes(sent.message(at).payload_bytes);
        let kept_before = self.kept.get(&slot).copied().unwrap_or_default();
        let (mut kept, mut unheld, mut dropped) = (kept_before, Vec::new(), core::mem::take(&mut self.scratch));
        let drop_held = || {
            let backlog = backlog.as_mut()?;
            backlog.extend(&mut kept, stays_held);
            let header = backlog.remove_after(kept)?.header;
            unheld.push(header);
            Some(record_bytes(header.payload_bytes))
        };
        let put = inboxes.put_dropping(message, drop_held, stays, bytes_of, &mut dropped);
        if kept != kept_before {
            self.kept.insert(slot, kept);
        }
        let is_empty = backlog.is_some_and(|backlog| backlog.is_empty());
        if !unheld.is_empty() {
            self.backlogs.changed.insert(slot);
            if is_empty {
                self.backlogs.release(slot);
            }
        }
        for header in &unheld {
            self.refuse(inboxes, slot, None, header, BounceReason::MailboxFull);
        }
        for at in dropped.drain(..) {
            self.refuse(inboxes, slot, Some(at), sent.message(at), BounceReason::MailboxFull);
        }
        self.scratch = dropped;
        if let Err(reason) = put {
            self.refuse(inboxes, slot, Some(at), sent.message(at), reason);
        }
    }

    /// Tells the senders, and those who wait for an answer that won't come.
    pub(crate) fn settle(
        mut self,
        sent: &Sent<'_, '_, '_>,
        inboxes: &mut Inboxes,
        bounces: &mut HostMessages,
        report: &mut FrameReport,
        frame: u64,
    ) {
        for (reason, count) in BounceReason::ALL.into_iter().zip(self.counts) {
            report.counts.drop_messages(reason, count);
        }
        report.counts.events_lost += self.events_lost;
        for (header, meant_for) in &self.over_budget {
            if let Some(to) = sent.directory.alive(AgentId(header.sender)) {
                bounces.bounce(header, *meant_for, to, BounceReason::OverBudget, frame);
            }
        }
        self.tell_senders(sent, bounces, frame);
        for slot in self.dropping.iter() {
            let dropped = core::mem::take(&mut inboxes.loads[slot.index()].dropped);
            if let Ok((mut counters, backlog)) = self.mailboxes.get_mut(sent.directory.mailboxes[slot.index()]) {
                counters.dropped += u64::from(dropped);
                self.backlogs.digest(slot, sent.directory.ids[slot.index()], (&backlog, &counters));
            }
        }
        self.fault_overflowed(sent.directory, report);
    }

    fn tell_senders(&mut self, sent: &Sent<'_, '_, '_>, bounces: &mut HostMessages, frame: u64) {
        let directory = sent.directory;
        // In canonical order: a mailbox that drops the oldest refuses it later than it was looked at.
        self.refusals.sort_by_key(|refusal| (refusal.at.order(), refusal.slot));
        bounces.0.reserve(self.refusals.len());
        for &Refusal { slot, reason, at } in &self.refusals {
            let header = match at {
                Refused::Unheld(at) => &self.unheld[at as usize],
                Refused::Sent(at) => sent.message(at),
            };
            let meant_for = directory.ids[slot.index()];
            bounces.return_to_sender(directory, header, meant_for.0, reason, frame);
            self.requests.give_up(header);
            // Who asked hears that there is no answer, if its mailbox takes that much.
            if header.status == status::REPLY {
                bounces.time_out(directory, meant_for, (header.sender, header.correlation), frame);
            }
        }
    }

    fn fault_overflowed(&mut self, directory: &Directory, report: &mut FrameReport) {
        self.faults.sort_unstable_by_key(|(slot, _)| *slot);
        for &(slot, fault) in &self.faults {
            // An agent that isn't called for its messages can't empty its mailbox, so that a full one is no fault of it.
            let group = directory.group_at(slot);
            let reads = group.is_steady() || group.spec.schedule.trigger == Trigger::Message;
            let is_called = reads && directory.lifecycles[slot.index()] == Lifecycle::Active;
            // A mailbox may overflow once by messages of the frame before, and once by those along edges: that is one fault.
            if is_called && !self.backlogs.holding.contains(slot) && self.backlogs.overflowed.insert(slot) {
                report.faults.push(fault.of(directory.ids[slot.index()]));
            }
        }
    }
}

/// Returns the fault of a mailbox that a message of so many bytes would fill beyond its limit.
fn passed(load: &Load, bytes: u32) -> CallFault {
    let messages = u64::from(load.messages) + 1;
    let (limit, reached, max) = if messages > u64::from(load.messages_max) {
        (MailboxLimit::Messages, messages, load.messages_max)
    } else {
        (MailboxLimit::Bytes, u64::from(load.bytes) + u64::from(bytes), load.bytes_max)
    };
    CallFault::past(FaultKind::MailboxFull, limit as u32, reached, max.into())
}
