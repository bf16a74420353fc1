//! Stage `Deliver`: what was sent in the last frame, results that are due and events of this frame are sorted into ranges by
//! recipient. A message is stored once, however many its recipients are; a range holds positions.
//!
//! The order in a mailbox is canonical: what waited from earlier frames, then by sender (engine, outside, native systems,
//! agents by id), then by sequence.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::entity::Entity;
use bevy_ecs::system::{Commands, Query, Res, ResMut};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::{
    AgentFault, AgentId, Backlog, FaultKind, InferenceJob, JobData, Mailbox, MailboxCounters, Members, OverflowPolicy,
    Recipient,
};

use crate::directory::Directory;
use crate::frame::{FrameClock, FrameReport};
use crate::hold::WaitingMailboxes;
use crate::mailroom::{Mailroom, Outputs, Slot, record_bytes};

/// Gathers this frame's messages in canonical order. Those of agents were collected in it; the host's come behind them here,
/// and are sorted in first.
pub fn gather_messages(
    mut commands: Commands,
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    mut report: ResMut<FrameReport>,
    mut mailroom: ResMut<Mailroom>,
    mut outputs: ResMut<Outputs>,
    mut waiting: ResMut<WaitingMailboxes>,
    mut backlogs: Query<&mut Backlog>,
    jobs: Query<(Entity, &InferenceJob, &JobData)>,
) {
    let Outputs { now, before } = outputs.as_mut();
    std::mem::swap(now, before);
    let room = mailroom.as_mut();
    std::mem::swap(&mut room.messages, &mut room.next);
    room.next.clear();
    room.from_agents = room.messages.len();
    room.host_bytes.clear();
    let mut lost = 0;

    for index in std::mem::take(&mut waiting.holding) {
        waiting.changed.insert(index);
        let Ok(mut backlog) = backlogs.get_mut(directory.mailboxes[index as usize]) else { continue };
        for stored in std::mem::take(&mut backlog.0) {
            lost += u64::from(!room.add_host(Recipient::Agent(index), &stored.header, &stored.payload));
        }
    }
    for (recipient, stored) in std::mem::take(&mut room.bounces).0 {
        lost += u64::from(!room.add_host(recipient, &stored.header, &stored.payload));
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
        lost += u64::from(!room.add_host(Recipient::Agent(index), &header, bytes));
    }
    for (recipient, stored) in std::mem::take(&mut room.events).0.into_iter().chain(std::mem::take(&mut room.native).0)
    {
        lost += u64::from(!room.add_host(recipient, &stored.header, &stored.payload));
    }
    report.counts.dropped += lost;
}

/// Sorts the messages into ranges by recipient, within what each mailbox holds.
pub fn sort_messages(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    mut report: ResMut<FrameReport>,
    mut mailroom: ResMut<Mailroom>,
    mut waiting: ResMut<WaitingMailboxes>,
    members: Query<&'static Members>,
    mut mailboxes: Query<(&Mailbox, &mut MailboxCounters)>,
) {
    let room = mailroom.as_mut();
    for index in room.touched.drain(..) {
        let slot = &mut room.slots[index as usize];
        (slot.messages, slot.bytes, slot.start, slot.filled) = (0, 0, 0, 0);
    }
    let fan_out = FanOut { directory: &directory, members: &members };

    let mut over = BTreeSet::new();
    for message in &room.messages {
        let bytes = record_bytes(&message.header);
        fan_out.each(message.header.sender, message.recipient, |index| {
            let slot = &mut room.slots[index as usize];
            if slot.messages == 0 {
                room.touched.push(index);
            }
            slot.messages += 1;
            slot.bytes = slot.bytes.saturating_add(bytes);
            if slot.messages > slot.messages_max || slot.bytes > slot.bytes_max {
                over.insert(index);
            }
        });
    }

    let mut refused = BTreeMap::new();
    if !over.is_empty() {
        refused = admit(room, &fan_out, &over, &mailboxes);
    }
    for (&(index, at), &reason) in &refused {
        turn_away(room, &directory, index, at, reason, clock.frame);
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
    for &index in &room.touched {
        let slot = &mut room.slots[index as usize];
        slot.start = total;
        total = total.saturating_add(slot.messages);
    }
    room.deliveries.clear();
    room.deliveries.resize(total as usize, 0);
    let (agents, host) = room.messages.split_at(room.from_agents);
    let host_start = agents.len();
    let in_order = host.iter().zip(host_start..).chain(agents.iter().zip(0..));
    for (message, at) in in_order {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        fan_out.each(message.header.sender, message.recipient, |index| {
            if !refused.is_empty() && refused.contains_key(&(index, at)) {
                return;
            }
            let slot = &mut room.slots[index as usize];
            room.deliveries[(slot.start + slot.filled) as usize] = at;
            slot.filled += 1;
        });
    }
    report.counts.delivered = u64::from(total);
}

/// Who gets a message.
struct FanOut<'a, 'w, 's> {
    directory: &'a Directory,
    members: &'a Query<'w, 's, &'static Members>,
}

impl FanOut<'_, '_, '_> {
    /// Calls `visit` with the position of each recipient, in the order of ids. Members that don't take messages from the
    /// sender's group aren't recipients.
    #[inline]
    fn each(&self, sender: u64, recipient: Recipient, mut visit: impl FnMut(u32)) {
        match recipient {
            Recipient::Agent(index) => visit(index),
            Recipient::Topic(topic) => {
                let (_, entity) = self.directory.topics[topic as usize];
                let Ok(members) = self.members.get(entity) else { return };
                for &member in &members.0 {
                    let takes =
                        self.directory.group(member.group()).is_some_and(|group| group.takes_from(AgentId(sender)));
                    if let (true, Some(index)) = (takes, self.directory.index(member)) {
                        visit(index);
                    }
                }
            }
        }
    }
}

/// Decides what the mailboxes in `over` take of what is there for them. Returns what they don't: (mailbox, message) with the
/// reason.
fn admit(
    room: &Mailroom,
    fan_out: &FanOut,
    over: &BTreeSet<u32>,
    mailboxes: &Query<(&Mailbox, &mut MailboxCounters)>,
) -> BTreeMap<(u32, u32), BounceReason> {
    let mut incoming: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
    let (agents, host) = room.messages.split_at(room.from_agents);
    for (message, at) in host.iter().zip(agents.len()..).chain(agents.iter().zip(0..)) {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        fan_out.each(message.header.sender, message.recipient, |index| {
            if over.contains(&index) {
                incoming.entry(index).or_default().push((at, record_bytes(&message.header)));
            }
        });
    }
    let mut refused = BTreeMap::new();
    for (index, messages) in incoming {
        let slot = &room.slots[index as usize];
        let policy = mailboxes
            .get(fan_out.directory.mailboxes[index as usize])
            .map_or(OverflowPolicy::Reject, |(mailbox, _)| mailbox.overflow);
        for (at, reason) in over_capacity(slot, policy, &messages) {
            refused.insert((index, at), reason);
        }
    }
    refused
}

/// Which of `messages` (position, bytes), in canonical order, a mailbox doesn't take.
fn over_capacity(slot: &Slot, policy: OverflowPolicy, messages: &[(u32, u32)]) -> Vec<(u32, BounceReason)> {
    let mut out = Vec::new();
    let mut held: std::collections::VecDeque<(u32, u32)> = std::collections::VecDeque::new();
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

/// Tells the sender of a message that wasn't taken, where the sender is an agent and the message isn't itself a bounce.
fn turn_away(room: &mut Mailroom, directory: &Directory, index: u32, at: u32, reason: BounceReason, frame: u64) {
    let message = &room.messages[at as usize];
    let slot = &mut room.slots[index as usize];
    slot.messages -= 1;
    let header = message.header;
    let from = AgentId(header.sender);
    if let (true, Some(to)) = (header.sender > sender::NATIVE, directory.index(from)) {
        room.bounces.bounce(&header, directory.ids[index as usize].0, to, reason, frame);
    }
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
