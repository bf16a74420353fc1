//! Stage `Deliver`: what was sent in the last frame, results that are due and events of this frame are sorted into lists by
//! recipient. A message is stored once, however many its recipients are; a list holds positions.
//!
//! The order in a mailbox is canonical: what waited from earlier frames, then by sender (engine, outside, native systems,
//! agents by id), then by sequence.

use std::collections::BTreeSet;

use bevy_ecs::entity::Entity;
use bevy_ecs::system::{Commands, Query, Res, ResMut};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, InferenceStatus, MessageHeader};
use wasm_engine_components::{
    AgentFault, AgentId, Backlog, FaultKind, InferenceJob, JobData, Lifecycle, Mailbox, MailboxCounters, Members,
    OverflowPolicy, Recipient,
};

use crate::directory::Directory;
use crate::frame::{FrameClock, FrameReport};
use crate::hold::WaitingMailboxes;
use crate::inboxes::Inboxes;
use crate::mailroom::{HostMessages, Mailroom, Outputs};
use crate::packed::record_bytes;
use crate::ports::{Delivery, HostInbox, OutputChunk};

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

    let held = std::mem::take(&mut waiting.holding);
    for &index in &held {
        waiting.changed.insert(index);
        let Ok(mut backlog) = backlogs.get_mut(directory.mailboxes[index as usize]) else { continue };
        for stored in std::mem::take(&mut backlog.0) {
            host.push(Recipient::Agent(index), &stored.header, &stored.payload);
        }
    }
    waiting.held = held;
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
        // A result that no mailbox of its agent can hold is a failure of which the agent hears.
        let room = room.inboxes.loads[index as usize].bytes_max.saturating_sub(MessageHeader::BYTES) as usize;
        if bytes.len() > room {
            let failed = MessageHeader { status: InferenceStatus::Failed as u32, ..header };
            host.push(Recipient::Agent(index), &failed, &[]);
        } else {
            host.push(Recipient::Agent(index), &header, bytes);
        }
    }
    for (recipient, stored) in std::mem::take(&mut room.events).0.into_iter().chain(std::mem::take(&mut room.native).0)
    {
        host.push(recipient, &stored.header, &stored.payload);
    }
}

/// Sorts the messages into lists by recipient, within what each mailbox holds.
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
    let Mailroom { host, inboxes, bounces, .. } = mailroom.as_mut();
    inboxes.clear();
    let sorter = Sorter { directory: &directory, members: &members, chunks: &outputs.before.chunks, host };
    let mut refusals = Vec::new();
    sorter.each(|index, bytes, at| {
        if let Err(reason) = inboxes.put(index, bytes, at) {
            sorter.overflow(inboxes, &mailboxes, (index, bytes, at), reason, &mut refusals);
        }
    });
    report.counts.delivered = inboxes.messages();
    if refusals.is_empty() {
        return;
    }

    // In canonical order: a mailbox that drops the oldest refuses it later than it was looked at.
    refusals.sort_by_key(|refusal| (refusal.at.place(), refusal.index));
    let mut overflowed = BTreeSet::new();
    for &Refusal { index, at, reason } in &refusals {
        sorter.bounce(bounces, index, at, reason, clock.frame);
        report.counts.drop_messages(reason, 1);
        waiting.changed.insert(index);
        if let Ok((mailbox, mut counters)) = mailboxes.get_mut(directory.mailboxes[index as usize]) {
            counters.dropped += 1;
            if reason == BounceReason::MailboxFull && mailbox.overflow == OverflowPolicy::Fault {
                overflowed.insert(index);
            }
        }
    }
    for index in overflowed {
        // An agent that wasn't stepped can't help it: its mailbox just takes no more.
        if directory.lifecycles[index as usize] == Lifecycle::Active && !waiting.held.contains(&index) {
            let agent = directory.ids[index as usize];
            report.faults.push(AgentFault { agent, kind: FaultKind::MailboxFull, detail: 0 });
        }
    }
}

/// A message that a mailbox didn't take, or dropped.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    index: u32,
    at: Delivery,
    reason: BounceReason,
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
    /// in an inbox, and where it lies. There is one place that calls it, so that it is compiled into the loop.
    #[inline]
    fn each(&self, mut visit: impl FnMut(u32, u32, Delivery)) {
        let mut members = Vec::new();
        let mut next = Some((Delivery::HOST, &self.host.addresses));
        let mut chunks = (0..).zip(self.chunks);
        while let Some((chunk, addresses)) = next {
            for address in addresses {
                let at = Delivery { chunk, at: address.at };
                match address.recipient() {
                    Recipient::Agent(index) => visit(index, address.bytes, at),
                    Recipient::Topic(topic) => {
                        self.find_members(topic, at, &mut members);
                        members.iter().for_each(|&index| visit(index, address.bytes, at));
                    }
                }
            }
            next = chunks.next().map(|(number, chunk)| (number, &chunk.addresses));
        }
    }

    /// The members of a topic that get a message. Those that don't take messages from the sender's group don't.
    #[inline(never)]
    fn find_members(&self, topic: u32, at: Delivery, found: &mut Vec<u32>) {
        found.clear();
        let (_, entity) = self.directory.topics[topic as usize];
        let Ok(members) = self.members.get(entity) else { return };
        let sender = AgentId(self.message(at).sender);
        let find = |&member: &AgentId| self.directory.find(member).filter(|(group, _)| group.takes_from(sender));
        found.extend(members.0.iter().filter_map(find).map(|(_, index)| index));
    }

    fn message(&self, at: Delivery) -> &MessageHeader {
        let messages = match at.chunk {
            Delivery::HOST => &self.host.messages,
            chunk => &self.chunks[chunk as usize].messages,
        };
        messages.message(at.at).0
    }

    /// Deals with a message that a mailbox doesn't take, as the mailbox's policy says.
    #[cold]
    fn overflow(
        &self,
        inboxes: &mut Inboxes,
        mailboxes: &Query<(&Mailbox, &mut MailboxCounters)>,
        message: (u32, u32, Delivery),
        reason: BounceReason,
        refusals: &mut Vec<Refusal>,
    ) {
        let (index, _, at) = message;
        let mailbox = mailboxes.get(self.directory.mailboxes[index as usize]);
        let drops_oldest = mailbox.is_ok_and(|(mailbox, _)| mailbox.overflow == OverflowPolicy::DropOldest);
        if !drops_oldest {
            refusals.push(Refusal { index, at, reason });
            return;
        }
        // Results and bounces stay: nothing that agents send pushes them out.
        let stays = |at| self.message(at).sender == sender::ENGINE;
        let bytes_of = |at| record_bytes(self.message(at).payload_bytes);
        let mut dropped = Vec::new();
        let put = inboxes.put_dropping(message, stays, bytes_of, &mut dropped);
        refusals.extend(dropped.into_iter().map(|at| Refusal { index, at, reason: BounceReason::MailboxFull }));
        refusals.extend(put.err().map(|reason| Refusal { index, at, reason }));
    }

    /// Tells the sender of a message to one agent that wasn't taken, where the sender is an agent. A publication is counted
    /// alone: it may be refused by any number of members.
    fn bounce(&self, bounces: &mut HostMessages, index: u32, at: Delivery, reason: BounceReason, frame: u64) {
        let header = self.message(at);
        if header.sender <= sender::NATIVE || header.topic != 0 {
            return;
        }
        if let Some(to) = self.directory.index(AgentId(header.sender)) {
            bounces.bounce(header, self.directory.ids[index as usize].0, to, reason, frame);
        }
    }
}
