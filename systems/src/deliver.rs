//! Stage `Deliver`: what was sent in the last frame, results that are due and events of this frame are sorted into lists by
//! recipient. A message is stored once, however many its recipients are; a list holds positions.
//!
//! The order in a mailbox is canonical: what waited from earlier frames, then by sender (engine, outside, native systems,
//! agents by id), then by sequence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bevy_ecs::entity::Entity;
use bevy_ecs::system::{Commands, Query, Res, ResMut, SystemParam};
use wasm_engine_abi::message::{kind, sender, status};
use wasm_engine_abi::{BounceReason, InferenceStatus, MessageHeader};
use wasm_engine_components::{
    Address, AgentFault, AgentId, Backlog, FaultKind, GroupId, InferenceJob, JobData, Lifecycle, Mailbox,
    MailboxCounters, Members, OverflowPolicy, Recipient, StoredMessage, Trigger,
};

use crate::directory::{Directory, GroupRange};
use crate::frame::{FrameClock, FrameReport};
use crate::hold::WaitingMailboxes;
use crate::inboxes::Inboxes;
use crate::mailroom::{HostMessages, Mailroom, Outputs};
use crate::packed::record_bytes;
use crate::ports::{Delivery, HostInbox, OutputChunk, messages_of};
use crate::request::Requests;
use crate::schedule::Calls;

/// Gathers this frame's messages of the host in canonical order. Those of agents lie in canonical order where they were sent.
pub fn gather_messages(
    mut commands: Commands,
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    mut mailroom: ResMut<Mailroom>,
    mut outputs: ResMut<Outputs>,
    jobs: Query<(Entity, &InferenceJob, &JobData)>,
) {
    let Outputs { now, before } = outputs.as_mut();
    std::mem::swap(now, before);
    // They came wave by wave. Each group is in one wave; the order of waves is no order of ids.
    before.chunks.sort_by_key(|chunk| chunk.group);
    let room = mailroom.as_mut();
    let host = &mut room.host;
    host.clear();
    for (recipient, stored) in room.bounces.0.drain(..) {
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
    for (recipient, stored) in room.events.0.drain(..).chain(room.native.0.drain(..)) {
        host.push(recipient, &stored.header, &stored.payload);
    }
}

/// Sorts the messages into lists by recipient, within what each mailbox holds.
pub fn sort_messages(mut router: Router, outputs: Res<Outputs>) {
    router.mailroom.inboxes.clear();
    let Router { clock, directory, report, mailroom, waiting, requests, members, mailboxes } = &mut router;
    let Mailroom { host, inboxes, bounces, .. } = mailroom.as_mut();
    let sorter = Sorter { directory, members, chunks: &outputs.before.chunks, current: &[], host };
    let mut overflow = Overflow::new(mailboxes, waiting, requests);
    sorter.sort(inboxes, &mut overflow);
    overflow.settle(&sorter, bounces, report, clock.frame);
}

/// What it takes to bring messages to mailboxes.
#[derive(SystemParam)]
pub struct Router<'w, 's> {
    pub(crate) clock: Res<'w, FrameClock>,
    pub(crate) directory: ResMut<'w, Directory>,
    pub(crate) report: ResMut<'w, FrameReport>,
    pub(crate) mailroom: ResMut<'w, Mailroom>,
    pub(crate) waiting: ResMut<'w, WaitingMailboxes>,
    pub(crate) requests: ResMut<'w, Requests>,
    members: Query<'w, 's, &'static Members>,
    mailboxes: Mailboxes<'w, 's>,
}

type Mailboxes<'w, 's> = Query<'w, 's, (&'static Mailbox, &'static mut MailboxCounters, &'static mut Backlog)>;

impl Router<'_, '_> {
    /// Brings what was sent in this frame's earlier waves to the groups of `wave` that come after the senders'.
    pub(crate) fn deliver_edges(&mut self, outputs: &Outputs, wave: u32) {
        let Self { clock, directory, report, mailroom, waiting, requests, members, mailboxes } = self;
        let Mailroom { host, inboxes, bounces, .. } = mailroom.as_mut();
        let (chunks, current) = (&outputs.before.chunks, &outputs.now.chunks);
        let sorter = Sorter { directory, members, chunks, current, host };
        let mut overflow = Overflow::new(mailboxes, waiting, requests);
        sorter.each_edge(wave, |index, bytes, at| overflow.put(&sorter, inboxes, (index, bytes, at)));
        overflow.settle(&sorter, bounces, report, clock.frame);
    }

    /// What waited in an agent's backlog goes to the head of its inbox.
    pub(crate) fn release(&mut self, index: u32) {
        if !self.waiting.release(index) {
            return;
        }
        let Ok((_, _, mut backlog)) = self.mailboxes.get_mut(self.directory.mailboxes[index as usize]) else { return };
        let Mailroom { host, inboxes, .. } = self.mailroom.as_mut();
        let put = |stored: StoredMessage| Delivery {
            chunk: Delivery::HOST,
            at: host.messages.push(stored.header, &stored.payload),
        };
        let held: Vec<_> = backlog.0.drain(..).map(put).collect();
        inboxes.release(index, held.into_iter());
    }

    /// Copies what wasn't handed over in this frame into the mailboxes' backlogs.
    pub(crate) fn hold(&mut self, outputs: &Outputs, calls: &Calls) {
        let Self { clock, directory, report, mailroom, waiting, mailboxes, .. } = self;
        let is_called = |index| calls.was_handed(directory, index, clock.frame);
        let waits: Vec<u32> = mailroom.inboxes.touched.iter().copied().filter(|&index| !is_called(index)).collect();
        let mut shared: BTreeMap<(u32, u32), Arc<[u8]>> = BTreeMap::new();
        for index in waits {
            let Ok((_, _, mut backlog)) = mailboxes.get_mut(directory.mailboxes[index as usize]) else { continue };
            let before = backlog.0.len();
            let view = mailroom.view(&outputs.before, &outputs.now.chunks);
            for at in view.deliveries(index) {
                let (header, payload) = view.message(at);
                // What went to many is kept once.
                let payload = match is_to_many(header) {
                    true => Arc::clone(shared.entry(at.place()).or_insert_with(|| payload.into())),
                    false => payload.into(),
                };
                backlog.0.push_back(StoredMessage { header: *header, payload });
            }
            report.counts.delivered -= (backlog.0.len() - before) as u64;
            mailroom.inboxes.hold(index);
            waiting.hold(index, directory.group_at(index).schedule.trigger == Trigger::Message);
        }
    }
}

/// Whether a message has more than one recipient.
const fn is_to_many(header: &MessageHeader) -> bool {
    header.status == status::BROADCAST
        || (header.topic != 0 && header.kind < kind::RESERVED)
        || header.kind == kind::NOTICE
}

/// A message of an agent to one other that a mailbox didn't take, or dropped.
#[derive(Debug)]
struct Refusal {
    index: u32,
    /// Where it lies; `None` for one of the backlog.
    at: Option<Delivery>,
    header: MessageHeader,
    reason: BounceReason,
}

/// What becomes of messages for which there is no room.
struct Overflow<'a, 'w, 's> {
    mailboxes: &'a mut Mailboxes<'w, 's>,
    waiting: &'a mut WaitingMailboxes,
    requests: &'a mut Requests,
    /// All that weren't taken, in the order of [`BounceReason::ALL`].
    counts: [u64; BounceReason::COUNT],
    /// Those of which somebody is told. One to many may be refused by any number of its recipients: it is counted alone.
    refusals: Vec<Refusal>,
    /// Agents whose mailboxes are full, and may not be.
    overflowed: BTreeSet<u32>,
}

impl<'a, 'w, 's> Overflow<'a, 'w, 's> {
    fn new(
        mailboxes: &'a mut Mailboxes<'w, 's>,
        waiting: &'a mut WaitingMailboxes,
        requests: &'a mut Requests,
    ) -> Self {
        let (counts, refusals, overflowed) = ([0; BounceReason::COUNT], Vec::new(), BTreeSet::new());
        Self { mailboxes, waiting, requests, counts, refusals, overflowed }
    }

    /// Adds a message to a recipient's list, or deals with it.
    fn put(&mut self, sorter: &Sorter<'_, '_, '_>, inboxes: &mut Inboxes, message: (u32, u32, Delivery)) {
        let (index, bytes, at) = message;
        if let Err(reason) = inboxes.put(index, bytes, at) {
            self.handle(sorter, inboxes, message, reason);
        }
    }

    /// Deals with a message that a mailbox doesn't take, as the mailbox's policy says.
    #[cold]
    fn handle(
        &mut self,
        sorter: &Sorter<'_, '_, '_>,
        inboxes: &mut Inboxes,
        message: (u32, u32, Delivery),
        reason: BounceReason,
    ) {
        let (index, _, at) = message;
        let entity = sorter.directory.mailboxes[index as usize];
        let Ok((mailbox, mut counters, mut backlog)) = self.mailboxes.get_mut(entity) else { return };
        let mut refused = Vec::new();
        if mailbox.overflow == OverflowPolicy::DropOldest {
            // Results and bounces stay: nothing that agents send pushes them out.
            let stays = |at| sorter.message(at).sender == sender::ENGINE;
            let bytes_of = |at| record_bytes(sorter.message(at).payload_bytes);
            let (mut dropped, mut kept) = (Vec::new(), 0);
            let drop_held = || {
                kept += backlog.0.range(kept..).position(|stored| stored.header.sender != sender::ENGINE)?;
                let header = backlog.0.remove(kept)?.header;
                refused.push((None, header, BounceReason::MailboxFull));
                Some(record_bytes(header.payload_bytes))
            };
            let put = inboxes.put_dropping(message, drop_held, stays, bytes_of, &mut dropped);
            if backlog.0.is_empty() {
                self.waiting.release(index);
            }
            refused.extend(dropped.into_iter().map(|at| (Some(at), *sorter.message(at), BounceReason::MailboxFull)));
            refused.extend(put.err().map(|reason| (Some(at), *sorter.message(at), reason)));
        } else {
            refused.push((Some(at), *sorter.message(at), reason));
            if reason == BounceReason::MailboxFull && mailbox.overflow == OverflowPolicy::Fault {
                self.overflowed.insert(index);
            }
        }
        counters.dropped += refused.len() as u64;
        self.waiting.changed.insert(index);
        for (at, header, reason) in refused {
            self.counts[reason as usize - 1] += 1;
            if header.sender > sender::NATIVE && !is_to_many(&header) {
                self.refusals.push(Refusal { index, at, header, reason });
            }
        }
    }

    /// Tells the senders, and those who wait for an answer that won't come.
    fn settle(mut self, sorter: &Sorter<'_, '_, '_>, bounces: &mut HostMessages, report: &mut FrameReport, frame: u64) {
        for (reason, count) in BounceReason::ALL.into_iter().zip(self.counts) {
            report.counts.drop_messages(reason, count);
        }
        // In canonical order: a mailbox that drops the oldest refuses it later than it was looked at.
        self.refusals.sort_by_key(|refusal| (refusal.at.map_or((0, 0), Delivery::place), refusal.index));
        for Refusal { index, header, reason, .. } in &self.refusals {
            let meant_for = sorter.directory.ids[*index as usize];
            bounces.return_to_sender(sorter.directory, header, meant_for.0, *reason, frame);
            self.requests.give_up(header);
            // Who asked hears that there is no answer, if its mailbox takes that much.
            if header.status == status::REPLY {
                bounces.time_out(sorter.directory, meant_for, (header.sender, header.correlation), frame);
            }
        }
        for index in self.overflowed {
            // An agent that isn't called for its messages, or wasn't, can't help it: its mailbox just takes no more.
            let directory = sorter.directory;
            let group = directory.group_at(index);
            let reads = group.is_steady() || group.schedule.trigger == Trigger::Message;
            let is_called = reads && directory.lifecycles[index as usize] == Lifecycle::Active;
            if is_called && !self.waiting.holding.contains(&index) {
                let agent = directory.ids[index as usize];
                report.faults.push(AgentFault { agent, kind: FaultKind::MailboxFull, detail: 0 });
            }
        }
    }
}

/// All messages of a frame, and who gets them.
struct Sorter<'a, 'w, 's> {
    directory: &'a Directory,
    members: &'a Query<'w, 's, &'static Members>,
    chunks: &'a [OutputChunk],
    current: &'a [OutputChunk],
    host: &'a HostInbox,
}

/// Which of a publication's or a broadcast's recipients.
#[derive(Clone, Copy)]
enum Part {
    /// Those that get it in the frame after.
    Later,
    /// Those that get it in the frame in which it is sent, in this wave.
    Wave(u32),
}

impl Sorter<'_, '_, '_> {
    /// Brings all messages to their recipients, in canonical order.
    fn sort(&self, inboxes: &mut Inboxes, overflow: &mut Overflow<'_, '_, '_>) {
        let mut recipients = Vec::new();
        let chunks = (0..).zip(self.chunks).map(|(number, chunk)| (number, &chunk.addresses));
        for (chunk, addresses) in core::iter::once((Delivery::HOST, &self.host.addresses)).chain(chunks) {
            // Mostly all of them.
            let added = inboxes.put_all(addresses, chunk);
            for address in &addresses[added..] {
                let at = Delivery { chunk, at: address.at };
                match address.recipient() {
                    Recipient::Agent(index) => overflow.put(self, inboxes, (index, address.bytes, at)),
                    _ => {
                        self.find_recipients(address, at, Part::Later, &mut recipients);
                        recipients.iter().for_each(|&to| overflow.put(self, inboxes, (to, address.bytes, at)));
                    }
                }
            }
        }
    }

    /// Calls `visit` for each recipient of each message that was sent in this frame to agents of `wave`, in canonical order: with
    /// the recipient's position, the message's bytes in an inbox, and where it lies.
    fn each_edge(&self, wave: u32, mut visit: impl FnMut(u32, u32, Delivery)) {
        let mut chunks: Vec<_> = (0..).zip(self.current).filter(|(_, chunk)| !chunk.edges.is_empty()).collect();
        // The waves' chunks come one after another.
        chunks.sort_by_key(|(number, chunk)| (chunk.group, *number));
        let mut recipients = Vec::new();
        for (number, chunk) in chunks {
            for address in &chunk.edges {
                let at = Delivery { chunk: number | Delivery::CURRENT, at: address.at };
                self.find_recipients(address, at, Part::Wave(wave), &mut recipients);
                recipients.iter().for_each(|&index| visit(index, address.bytes, at));
            }
        }
    }

    /// Who gets a message. Members that don't take messages from the sender's group don't, nor does the sender of a broadcast.
    #[inline(never)]
    fn find_recipients(&self, address: &Address, at: Delivery, part: Part, found: &mut Vec<u32>) {
        found.clear();
        let from = AgentId(self.message(at).sender);
        match address.recipient() {
            Recipient::Agent(index) => {
                found.extend(self.is_in(part, from.group(), self.directory.group_at(index)).then_some(index));
            }
            Recipient::Topic(topic) => {
                let (_, entity) = self.directory.topics[topic as usize];
                let Ok(members) = self.members.get(entity) else { return };
                let find = |&member: &AgentId| self.directory.find(member).filter(|(group, _)| group.takes_from(from));
                let find = members.0.iter().filter_map(find).filter(|(group, _)| self.is_in(part, from.group(), group));
                found.extend(find.map(|(_, index)| index));
            }
            Recipient::Group(group) => {
                let group = &self.directory.groups[group as usize];
                if !group.takes_from(from) || !self.is_in(part, from.group(), group) {
                    return;
                }
                let lives = |&index: &u32| {
                    let at = index as usize;
                    self.directory.lifecycles[at].is_alive() && self.directory.ids[at] != from
                };
                found.extend(group.positions().filter(lives));
            }
            Recipient::Nobody => {}
        }
    }

    fn is_in(&self, part: Part, from: GroupId, group: &GroupRange) -> bool {
        match part {
            Part::Later => !group.comes_after(from),
            Part::Wave(wave) => group.comes_after(from) && group.wave == wave,
        }
    }

    fn message(&self, at: Delivery) -> &MessageHeader {
        messages_of(at.chunk, self.chunks, self.current, self.host).message(at.at).0
    }
}
