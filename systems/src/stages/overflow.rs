//! Handles messages for which there is no room in a mailbox, or in a frame's budgets.

use std::collections::BTreeMap;

use bevy_ecs::system::Query;
use wasm_engine_abi::message::{kind, sender, status};
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::{
    AgentId, AgentSlot, Backlog, FaultKind, Head, Lifecycle, MailboxCounters, MessageOffset, OverflowPolicy, Trigger,
};

use crate::frame::FrameReport;
use crate::world::backlog::Backlogs;
use crate::world::directory::Directory;
use crate::world::fault::{CallFault, MailboxLimit};
use crate::world::inbox::{Inboxes, Incoming, Load};
use crate::world::inbox_view::Delivery;
use crate::world::looks::look;
use crate::world::mailroom::HostMessages;
use crate::world::packed::record_bytes;
use crate::world::requests::Requests;
use crate::world::sent::Sent;
use crate::world::slot_set::SlotSet;

/// The mailboxes of agents.
pub(crate) type MailboxQuery<'w, 's> = Query<'w, 's, (&'static mut MailboxCounters, &'static mut Backlog)>;

/// Returns whether a message stays in a mailbox that drops the oldest. Results and bounces do: nothing that agents send pushes them out.
const fn is_kept(header: &MessageHeader) -> bool {
    header.sender == sender::ENGINE
}

/// Returns whether a message has more than one recipient.
pub(crate) const fn is_to_many(header: &MessageHeader) -> bool {
    header.status == status::BROADCAST
        || (header.topic != 0 && header.kind < kind::RESERVED)
        || header.kind == kind::NOTICE
}

/// Returns whether somebody hears that a mailbox refused or dropped a message: its sender, if it is an agent. A message to many may be refused by
/// any number of recipients, so that it is only counted.
const fn is_told(header: &MessageHeader) -> bool {
    header.sender > sender::NATIVE && !is_to_many(header)
}

/// A message from one agent to another that a mailbox refused or dropped. It is small, because a frame may have one for each
/// agent.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    /// Slot of the agent whose mailbox it was.
    slot: AgentSlot,
    reason: BounceReason,
    message: Refused,
}

/// Position of a refused message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It waited in a backlog: index of its header in [`Overflow::unheld`].
    Unheld(u32),
    /// It was delivered in this frame.
    Sent(Delivery),
}

impl Refused {
    /// Returns what refusals are sorted by, so that they come in canonical order: what waited comes first.
    const fn order(self) -> Option<(u32, MessageOffset)> {
        match self {
            // Those of one mailbox are in the order in which they were dropped already, and the sort is stable.
            Self::Unheld(_) => None,
            Self::Sent(delivery) => Some(delivery.order()),
        }
    }
}

/// Handles messages for which there is no room, while messages are sorted into mailboxes. [`Overflow::settle`] then tells the senders.
pub(crate) struct Overflow<'a, 'w, 's> {
    mailboxes: &'a mut MailboxQuery<'w, 's>,
    backlogs: &'a mut Backlogs,
    requests: &'a mut Requests,
    /// Number of messages that were refused or dropped, in the order of [`BounceReason::ALL`].
    counts: [u64; BounceReason::COUNT],
    /// Refused messages of which somebody is told.
    refusals: Vec<Refusal>,
    /// Headers of messages that were dropped from backlogs, of which somebody is told.
    unheld: Vec<MessageHeader>,
    /// Messages to many that were over a budget, and for whom they were meant, in canonical order.
    over_budget: Vec<(MessageHeader, u64)>,
    /// Number of external events that were over a budget.
    events_lost: u64,
    /// Mailboxes that refused or dropped messages.
    dropping: SlotSet,
    /// Of those, mailboxes that are full and whose policy is a fault.
    overflowed: SlotSet,
    /// The limit that each of those passed, by the first message that it refused.
    faults: Vec<(AgentSlot, CallFault)>,
    /// For each mailbox that dropped waiting messages, those at the head of its backlog that stay: so each is looked at once.
    kept_heads: BTreeMap<AgentSlot, Head>,
    /// A buffer that is used again.
    scratch: Vec<Delivery>,
}

impl<'a, 'w, 's> Overflow<'a, 'w, 's> {
    pub(crate) fn new(
        mailboxes: &'a mut MailboxQuery<'w, 's>,
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
            kept_heads: BTreeMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds a message to a recipient's list, or handles its refusal.
    #[inline]
    pub(crate) fn put(&mut self, sent: &Sent<'_, '_, '_>, inboxes: &mut Inboxes, message: Incoming) {
        if let Err(reason) = inboxes.put(message) {
            self.handle(sent, inboxes, message, reason);
        }
    }

    /// Drops a message to many that doesn't fit into the budgets of its sender, who is told for whom it was meant.
    #[cold]
    pub(crate) fn drop_over_budget(&mut self, header: &MessageHeader, meant_for: u64) {
        self.count(BounceReason::OverBudget);
        self.events_lost += u64::from(header.sender == sender::EXTERNAL);
        if header.sender > sender::NATIVE {
            self.over_budget.push((*header, meant_for));
        }
    }

    /// Handles a message that a mailbox refuses, by the mailbox's policy.
    fn handle(&mut self, sent: &Sent<'_, '_, '_>, inboxes: &mut Inboxes, message: Incoming, reason: BounceReason) {
        let Incoming { slot, bytes, delivery } = message;
        // A message that no mailbox of this size could hold is refused under any policy.
        let is_full = reason == BounceReason::MailboxFull;
        let policy = sent.directory.group_at(slot).mailbox.overflow;
        if is_full && policy == OverflowPolicy::DropOldest {
            return self.make_room(sent, inboxes, message);
        }
        if is_full && policy == OverflowPolicy::Fault && self.overflowed.insert(slot) {
            self.faults.push((slot, full_mailbox(&inboxes.loads[slot.index()], bytes)));
        }
        self.refuse_sent(sent, inboxes, (slot, delivery), reason);
    }

    /// Counts a message of the frame that a mailbox refuses or drops, and notes whom to tell.
    fn refuse_sent(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        inboxes: &mut Inboxes,
        (slot, delivery): (AgentSlot, Delivery),
        reason: BounceReason,
    ) {
        self.count_dropped(inboxes, slot, reason);
        if is_told(sent.message(delivery)) {
            self.refusals.push(Refusal { slot, reason, message: Refused::Sent(delivery) });
        }
    }

    /// Counts a waiting message that a mailbox drops to make room, and notes whom to tell.
    fn refuse_held(&mut self, inboxes: &mut Inboxes, slot: AgentSlot, header: &MessageHeader) {
        let reason = BounceReason::MailboxFull;
        self.count_dropped(inboxes, slot, reason);
        if is_told(header) {
            // Each of them took more than sixteen bytes of memory, so that there are fewer than 2^32.
            let message = Refused::Unheld(self.unheld.len() as u32);
            self.unheld.push(*header);
            self.refusals.push(Refusal { slot, reason, message });
        }
    }

    /// Counts a message that a mailbox refuses or drops.
    fn count_dropped(&mut self, inboxes: &mut Inboxes, slot: AgentSlot, reason: BounceReason) {
        // `settle` adds the counter to the mailbox's component, once for all of them.
        inboxes.loads[slot.index()].dropped += 1;
        self.dropping.insert(slot);
        self.count(reason);
    }

    const fn count(&mut self, reason: BounceReason) {
        // Reasons are numbered from 1.
        self.counts[reason as usize - 1] += 1;
    }

    /// Puts a message into a mailbox after dropping the oldest ones that may be dropped.
    fn make_room(&mut self, sent: &Sent<'_, '_, '_>, inboxes: &mut Inboxes, message: Incoming) {
        let Incoming { slot, delivery, .. } = message;
        let (mut unheld, mut dropped) = (Vec::new(), core::mem::take(&mut self.scratch));
        let put = self.put_dropping(sent, inboxes, message, (&mut unheld, &mut dropped));
        for header in &unheld {
            self.refuse_held(inboxes, slot, header);
        }
        for dropped in dropped.drain(..) {
            self.refuse_sent(sent, inboxes, (slot, dropped), BounceReason::MailboxFull);
        }
        self.scratch = dropped;
        if let Err(reason) = put {
            self.refuse_sent(sent, inboxes, (slot, delivery), reason);
        }
    }

    /// Puts a message into a mailbox after dropping the oldest ones. The headers of those that it dropped from the backlog go to `unheld`, and those
    /// that it dropped from the list to `dropped`.
    fn put_dropping(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        inboxes: &mut Inboxes,
        message: Incoming,
        (unheld, dropped): (&mut Vec<MessageHeader>, &mut Vec<Delivery>),
    ) -> Result<(), BounceReason> {
        let slot = message.slot;
        let mut backlog = None;
        if inboxes.is_holding(slot) {
            let mailbox = self.mailboxes.get_mut(sent.directory.mailboxes[slot.index()]);
            backlog = mailbox.ok().map(|(_, backlog)| backlog);
        }
        let head_before = self.kept_heads.get(&slot).copied().unwrap_or_default();
        let mut head = head_before;
        let drop_held = || {
            let backlog = backlog.as_mut()?;
            backlog.extend(&mut head, |held| {
                look(1);
                is_kept(&held.header)
            });
            let header = backlog.remove_after(head)?.header;
            unheld.push(header);
            Some(record_bytes(header.payload_bytes))
        };
        let stays = |delivery| is_kept(sent.message(delivery));
        let bytes_of = |delivery| record_bytes(sent.message(delivery).payload_bytes);
        let put = inboxes.put_dropping(message, drop_held, stays, bytes_of, dropped);
        if head != head_before {
            self.kept_heads.insert(slot, head);
        }
        if !unheld.is_empty() {
            self.backlogs.changed.insert(slot);
            if backlog.is_some_and(|backlog| backlog.is_empty()) {
                self.backlogs.release(slot);
            }
        }
        put
    }

    /// Ends a sorting: puts what was dropped on the record, and tells the senders, and those who wait for an answer that won't come.
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
        self.count_in_mailboxes(sent.directory, inboxes);
        self.fault_overflowed(sent.directory, report);
    }

    /// Tells the senders of messages to one agent, in canonical order.
    fn tell_senders(&mut self, sent: &Sent<'_, '_, '_>, bounces: &mut HostMessages, frame: u64) {
        let directory = sent.directory;
        // A mailbox that drops its oldest message does so when a later one arrives, so that refusals aren't in order.
        self.refusals.sort_by_key(|refusal| (refusal.message.order(), refusal.slot));
        bounces.0.reserve(self.refusals.len());
        for &Refusal { slot, reason, message } in &self.refusals {
            let header = match message {
                Refused::Unheld(index) => &self.unheld[index as usize],
                Refused::Sent(delivery) => sent.message(delivery),
            };
            let meant_for = directory.ids[slot.index()];
            bounces.return_to_sender(directory, header, meant_for.0, reason, frame);
            self.requests.give_up(header);
            // An agent whose mailbox refused a reply is told that its request has no answer, which takes less room.
            if header.status == status::REPLY {
                bounces.time_out(directory, meant_for, (header.sender, header.correlation), frame);
            }
        }
    }

    /// Adds what was dropped to the mailboxes' own counters, and takes their digests.
    fn count_in_mailboxes(&mut self, directory: &Directory, inboxes: &mut Inboxes) {
        for slot in self.dropping.iter() {
            let dropped = core::mem::take(&mut inboxes.loads[slot.index()].dropped);
            if let Ok((mut counters, backlog)) = self.mailboxes.get_mut(directory.mailboxes[slot.index()]) {
                counters.dropped += u64::from(dropped);
                self.backlogs.digest(slot, directory.ids[slot.index()], (&backlog, &counters));
            }
        }
    }

    /// Puts the faults of agents with full mailboxes on the record.
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

/// Returns the fault of an agent whose mailbox a message of `bytes` bytes would fill beyond its limit.
fn full_mailbox(load: &Load, bytes: u32) -> CallFault {
    let messages = u64::from(load.messages) + 1;
    let (limit, reached, max) = if messages > u64::from(load.messages_max) {
        (MailboxLimit::Messages, messages, load.messages_max)
    } else {
        (MailboxLimit::Bytes, u64::from(load.bytes) + u64::from(bytes), load.bytes_max)
    };
    CallFault::past(FaultKind::MailboxFull, limit as u32, reached, max.into())
}
