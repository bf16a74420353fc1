//! Stage `Deliver`: what was sent in the last frame, results that are due and events of this frame are sorted into ranges by
//! recipient. A message is stored once, however many its recipients are; a range holds positions.
//!
//! The order in a mailbox is canonical: what waited from earlier frames, then by sender (engine, outside, native systems,
//! agents by id), then by sequence.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bevy_ecs::entity::Entity;
use bevy_ecs::system::{Commands, Query, Res, ResMut};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::{
    Address, AgentFault, AgentId, Backlog, FaultKind, InferenceJob, JobData, Mailbox, MailboxCounters, Members,
    OverflowPolicy, Recipient,
};

use crate::directory::Directory;
use crate::frame::{FrameClock, FrameReport};
use crate::hold::WaitingMailboxes;
use crate::mailroom::{HostMessages, Mailroom, Outputs};
use crate::ports::{Delivery, HostInbox, OutputChunk, Slot};

/// Gathers this frame's messages of the host in canonical order. Those of agents lie in canonical order where they were sent.
pub fn gather_messages(
    mut commands: Commands,
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    mut mailroom: ResMut<Mailroom>,
    mut outputs: ResMut<Outputs>,
    mut waiting: ResMut<WaitingMailboxes>,
    mut backlogs: Query<&mut Backlog>,
    jobs: Query<(Entity, &InferenceJob, &JobData)>,
) {
    let Outputs { now, before } = outputs.as_mut();
    std::mem::swap(now, before);
    let room = mailroom.as_mut();
    let host = &mut room.host;
    host.clear();

    for index in std::mem::take(&mut waiting.holding) {
        waiting.changed.insert(index);
        let Ok(mut backlog) = backlogs.get_mut(directory.mailboxes[index as usize]) else { continue };
        for stored in std::mem::take(&mut backlog.0) {
            host.push(Recipient::Agent(index), &stored.header, &stored.payload);
        }
    }
    for (recipient, stored) in std::mem::take(&mut room.bounces).0 {
        host.push(recipient, &stored.header, &stored.payload);
    }
    let mut due: Vec<_> = jobs.iter().filter(|(_, job, _)| job.due_frame <= clock.frame).collect();
    due.sort_unstable_by_key(|(_, job, _)| job.id);
    for (entity, job, data) in due {
        commands.entity(entity).despawn();
        let (JobData::Output { status, bytes }, Some(index)) = (data, directory.index(job.agent)) else { continue };
        let header = MessageHeader {
            sender: sender::ENGINE,
            topic: job.model.0,
            correlation: job.correlation,
            frame: clock.frame,
            kind: kind::INFERENCE,
            status: *status as u32,
            ..MessageHeader::default()
        };
        host.push(Recipient::Agent(index), &header, bytes);
    }
    for (recipient, stored) in std::mem::take(&mut room.events).0.into_iter().chain(std::mem::take(&mut room.native).0)
    {
        host.push(recipient, &stored.header, &stored.payload);
    }
}

/// Sorts the messages into ranges by recipient, within what each mailbox holds.
pub fn sort_messages(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    outputs: Res<Outputs>,
    mut report: ResMut<FrameReport>,
    mut mailroom: ResMut<Mailroom>,
    mut waiting: ResMut<WaitingMailboxes>,
    members: Query<&'static Members>,
    mut mailboxes: Query<(&Mailbox, &mut MailboxCounters)>,
) {
    let Mailroom { host, deliveries, slots, touched, bounces, .. } = mailroom.as_mut();
    for index in touched.drain(..) {
        let slot = &mut slots[index as usize];
        (slot.messages, slot.bytes, slot.start, slot.filled) = (0, 0, 0, 0);
    }
    let sorter = Sorter { directory: &directory, members: &members, chunks: &outputs.before.chunks, host };

    let mut over = BTreeSet::new();
    sorter.each(|index, bytes, _| {
        let slot = &mut slots[index as usize];
        if slot.messages == 0 {
            touched.push(index);
        }
        slot.messages += 1;
        slot.bytes = slot.bytes.saturating_add(bytes);
        if slot.messages > slot.messages_max || slot.bytes > slot.bytes_max {
            over.insert(index);
        }
    });

    let mut refused = BTreeMap::new();
    if !over.is_empty() {
        refused = sorter.admit(slots, &over, &mailboxes);
    }
    for (&(index, at), &reason) in &refused {
        slots[index as usize].messages -= 1;
        sorter.turn_away(bounces, index, at, reason, clock.frame);
        let mailbox = directory.mailboxes[index as usize];
        let Ok((mailbox, mut counters)) = mailboxes.get_mut(mailbox) else { continue };
        counters.dropped += 1;
        waiting.changed.insert(index);
        report.counts.dropped += 1;
        if mailbox.overflow == OverflowPolicy::Fault && reason == BounceReason::MailboxFull {
            let agent = directory.ids[index as usize];
            if report.faults.last().map(|fault| fault.agent) != Some(agent) {
                report.faults.push(AgentFault { agent, kind: FaultKind::MailboxFull, detail: 0 });
            }
        }
    }

    let mut total = 0_u32;
    for &index in touched.iter() {
        let slot = &mut slots[index as usize];
        slot.start = total;
        total = total.saturating_add(slot.messages);
    }
    deliveries.resize(total as usize, Delivery::default());
    sorter.each(|index, _, at| {
        if !refused.is_empty() && refused.contains_key(&(index, at)) {
            return;
        }
        let slot = &mut slots[index as usize];
        deliveries[(slot.start + slot.filled) as usize] = at;
        slot.filled += 1;
    });
    report.counts.delivered = u64::from(total);
}

/// All messages of a frame, and who gets them.
struct Sorter<'a, 'w, 's> {
    directory: &'a Directory,
    members: &'a Query<'w, 's, &'static Members>,
    chunks: &'a [OutputChunk],
    host: &'a HostInbox,
}

impl Sorter<'_, '_, '_> {
    /// Calls `visit` for each recipient of each message in canonical order: with the recipient's position, the message's bytes
    /// in an inbox, and where it lies.
    #[inline]
    fn each(&self, mut visit: impl FnMut(u32, u32, Delivery)) {
        self.each_of(Delivery::HOST, &self.host.addresses, &mut visit);
        for (chunk, number) in self.chunks.iter().zip(0..) {
            self.each_of(number, &chunk.addresses, &mut visit);
        }
    }

    #[inline]
    fn each_of(&self, chunk: u32, addresses: &[Address], visit: &mut impl FnMut(u32, u32, Delivery)) {
        for (address, at) in addresses.iter().zip(0_u32..) {
            let at = Delivery { chunk, at };
            match address.recipient() {
                Recipient::Agent(index) => visit(index, address.bytes, at),
                Recipient::Topic(topic) => self.each_member(topic, at, |index| visit(index, address.bytes, at)),
            }
        }
    }

    /// Members that don't take messages from the sender's group aren't recipients.
    fn each_member(&self, topic: u32, at: Delivery, mut visit: impl FnMut(u32)) {
        let (_, entity) = self.directory.topics[topic as usize];
        let Ok(members) = self.members.get(entity) else { return };
        let sender = AgentId(self.message(at).sender);
        for &member in &members.0 {
            if let Some((group, index)) = self.directory.find(member)
                && group.takes_from(sender)
            {
                visit(index);
            }
        }
    }

    fn message(&self, at: Delivery) -> &MessageHeader {
        match at.chunk {
            Delivery::HOST => self.host.message(at.at as usize).0,
            chunk => &self.chunks[chunk as usize].messages[at.at as usize].header,
        }
    }

    /// Decides what the mailboxes in `over` take of what is there for them. Returns what they don't: (mailbox, message) with
    /// the reason.
    fn admit(
        &self,
        slots: &[Slot],
        over: &BTreeSet<u32>,
        mailboxes: &Query<(&Mailbox, &mut MailboxCounters)>,
    ) -> BTreeMap<(u32, Delivery), BounceReason> {
        let mut incoming: BTreeMap<u32, Vec<(Delivery, u32)>> = BTreeMap::new();
        self.each(|index, bytes, at| {
            if over.contains(&index) {
                incoming.entry(index).or_default().push((at, bytes));
            }
        });
        let mut refused = BTreeMap::new();
        for (index, messages) in incoming {
            let policy = mailboxes
                .get(self.directory.mailboxes[index as usize])
                .map_or(OverflowPolicy::Reject, |(mailbox, _)| mailbox.overflow);
            for (at, reason) in over_capacity(&slots[index as usize], policy, &messages) {
                refused.insert((index, at), reason);
            }
        }
        refused
    }

    /// Tells the sender of a message that wasn't taken, where the sender is an agent.
    fn turn_away(&self, bounces: &mut HostMessages, index: u32, at: Delivery, reason: BounceReason, frame: u64) {
        let header = self.message(at);
        let from = AgentId(header.sender);
        if let (true, Some(to)) = (header.sender > sender::NATIVE, self.directory.index(from)) {
            bounces.bounce(header, self.directory.ids[index as usize].0, to, reason, frame);
        }
    }
}

/// Which of `messages` (position, bytes), in canonical order, a mailbox doesn't take.
fn over_capacity<At: Copy>(slot: &Slot, policy: OverflowPolicy, messages: &[(At, u32)]) -> Vec<(At, BounceReason)> {
    let mut out = Vec::new();
    let mut held: VecDeque<(At, u32)> = VecDeque::new();
    let mut held_bytes = 0_u32;
    for &(at, bytes) in messages {
        if slot.messages_max == 0 {
            out.push((at, BounceReason::Terminated));
            continue;
        }
        if bytes > slot.bytes_max {
            out.push((at, BounceReason::TooLarge));
            continue;
        }
        let full = |held: usize, held_bytes: u32| {
            held >= slot.messages_max as usize || held_bytes.saturating_add(bytes) > slot.bytes_max
        };
        if policy == OverflowPolicy::DropOldest {
            while full(held.len(), held_bytes)
                && let Some((oldest, freed)) = held.pop_front()
            {
                held_bytes -= freed;
                out.push((oldest, BounceReason::MailboxFull));
            }
        }
        if full(held.len(), held_bytes) {
            out.push((at, BounceReason::MailboxFull));
        } else {
            held.push_back((at, bytes));
            held_bytes += bytes;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Slot = Slot { messages: 0, bytes: 0, messages_max: 2, bytes_max: 100, start: 0, filled: 0 };

    #[test]
    fn reject_keeps_the_oldest_and_what_still_fits() {
        let out = over_capacity(&ROOMY, OverflowPolicy::Reject, &[(0, 80), (1, 40), (2, 20), (3, 8)]);
        assert_eq!(out, [(1, BounceReason::MailboxFull), (3, BounceReason::MailboxFull)]);
    }

    #[test]
    fn drop_oldest_keeps_the_newest() {
        let out = over_capacity(&ROOMY, OverflowPolicy::DropOldest, &[(0, 80), (1, 40), (2, 20), (3, 8)]);
        assert_eq!(out, [(0, BounceReason::MailboxFull), (1, BounceReason::MailboxFull)]);
    }

    #[test]
    fn what_can_never_fit_is_too_large_and_pushes_nothing_out() {
        let out = over_capacity(&ROOMY, OverflowPolicy::DropOldest, &[(0, 80), (1, 101)]);
        assert_eq!(out, [(1, BounceReason::TooLarge)]);
    }

    #[test]
    fn a_closed_mailbox_takes_nothing() {
        let closed = Slot { messages_max: 0, ..ROOMY };
        let out = over_capacity(&closed, OverflowPolicy::Reject, &[(7, 48)]);
        assert_eq!(out, [(7, BounceReason::Terminated)]);
    }
}
