//! Stage `Deliver`: what was sent in the last frame, results that are due and events of this frame are sorted into lists by
//! recipient. A message is stored once, however many its recipients are; a list holds positions.
//!
//! The order in a mailbox is canonical: what waited from earlier frames, then by sender (engine, outside, native systems,
//! agents by id), then by sequence.

use std::collections::BTreeMap;
use std::sync::Arc;

use bevy_ecs::change_detection::Mut;
use bevy_ecs::entity::Entity;
use bevy_ecs::system::{Commands, Query, Res, ResMut, SystemParam};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{InferenceStatus, MessageHeader};
use wasm_engine_components::limits::delivery_units;
use wasm_engine_components::{
    Address, AgentId, Backlog, HeldMessage, InferenceJob, JobData, MailboxCounters, Members, Recipient, Trigger,
};

use crate::frame::{FrameClock, FrameReport};
use crate::ports::Delivery;
use crate::stages::overflow::{Mailboxes, Overflow, is_to_many};
use crate::stages::schedule::Calls;
use crate::world::backlog::{WaitingMailboxes, held_message};
use crate::world::delivery_budget::DeliveryBudgets;
use crate::world::directory::Directory;
use crate::world::inbox::Inboxes;
use crate::world::mailroom::{Mailroom, Outputs};
use crate::world::recipients::{Audiences, Edge, Part, Sent};
use crate::world::requests::Requests;

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

/// Sorts the messages into lists by recipient, within what each mailbox holds and the frame's deliveries.
pub fn sort_messages(mut router: Router, mut outputs: ResMut<Outputs>) {
    router.mailroom.inboxes.clear();
    let Router { clock, directory, report, mailroom, waiting, requests, budgets, audiences, members, mailboxes } =
        &mut router;
    audiences.clear();
    let Mailroom { host, inboxes, bounces, .. } = mailroom.as_mut();
    let sent = Sent { directory, members, chunks: &outputs.before.chunks, current: &[], host };
    let overflow = Overflow::new(mailboxes, waiting, requests);
    let mut sorter = Sorter::new(&sent, inboxes, overflow, budgets, audiences);
    sorter.sort();
    let Sorter { overflow, dropped, .. } = sorter;
    overflow.settle(&sent, inboxes, bounces, report, clock.frame);
    // Whoever looks at what was published in this frame doesn't see what nobody gets.
    for at in dropped {
        let addresses = match at.chunk {
            Delivery::HOST => &mut host.addresses,
            chunk => &mut outputs.before.chunks[chunk as usize].addresses,
        };
        take_back(at.at, addresses);
    }
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
    budgets: ResMut<'w, DeliveryBudgets>,
    audiences: ResMut<'w, Audiences>,
    members: Query<'w, 's, &'static Members>,
    mailboxes: Mailboxes<'w, 's>,
}

impl Router<'_, '_> {
    /// Brings what was sent in this frame's earlier waves to the groups of `wave` that come after the senders'.
    pub(crate) fn deliver_edges(&mut self, outputs: &mut Outputs, wave: u32) {
        let Self { clock, directory, report, mailroom, waiting, requests, budgets, audiences, members, mailboxes } =
            self;
        let Mailroom { host, inboxes, bounces, .. } = mailroom.as_mut();
        inboxes.begin_wave();
        let (chunks, current) = (&outputs.before.chunks, &outputs.now.chunks);
        let sent = Sent { directory, members, chunks, current, host };
        let overflow = Overflow::new(mailboxes, waiting, requests);
        let mut sorter = Sorter::new(&sent, inboxes, overflow, budgets, audiences);
        sorter.sort_edges(wave);
        let Sorter { overflow, dropped, .. } = sorter;
        overflow.settle(&sent, inboxes, bounces, report, clock.frame);
        // What is over a budget reaches nobody in the frame after, either.
        for at in dropped {
            take_back(at.at, &mut outputs.now.chunks[(at.chunk & !Delivery::CURRENT) as usize].addresses);
        }
    }

    /// What waited in agents' backlogs goes to the heads of their inboxes. What several of them waited with is there once.
    pub(crate) fn release(&mut self, indices: &[u32]) {
        let Self { directory, mailroom, waiting, mailboxes, .. } = self;
        let Mailroom { host, inboxes, .. } = mailroom.as_mut();
        let mut placed = Shared::<usize, (Arc<HeldMessage>, Delivery)>::default();
        let mut list = Vec::new();
        for &index in indices {
            if !waiting.release(index) {
                continue;
            }
            let Ok((_, mut backlog)) = mailboxes.get_mut(directory.mailboxes[index as usize]) else { continue };
            for (held, nth) in backlog.drain().zip(0..) {
                let mut put = || Delivery { chunk: Delivery::HOST, at: host.messages.push(held.header, &held.payload) };
                let at = match Arc::strong_count(&held) {
                    1 => put(),
                    // It stays alive in the table, so nothing else can have its address.
                    _ => placed.get(nth, Arc::as_ptr(&held).addr(), || (Arc::clone(&held), put())).1,
                };
                list.push(at);
            }
            inboxes.release(index, list.drain(..));
        }
    }

    /// Puts what wasn't handed over in this frame into the mailboxes' backlogs. What is for many is kept once.
    pub(crate) fn hold(&mut self, outputs: &Outputs, calls: &Calls) {
        let Self { clock, directory, report, mailroom, waiting, mailboxes, .. } = self;
        let (mailroom, waiting) = (mailroom.as_mut(), waiting.as_mut());
        let is_called = |index| calls.was_handed(directory, index, clock.frame);
        let waits: Vec<u32> = mailroom.inboxes.touched().filter(|&index| !is_called(index)).collect();
        let view = mailroom.view(&outputs.before, &outputs.now.chunks);
        let mut shared = Shared::<(u32, u32), Stock>::default();
        let mut held = 0;
        let mut add = |index: u32, counters: &MailboxCounters, backlog: &mut Backlog| {
            let before = backlog.len();
            for (at, nth) in view.deliveries(index).zip(0..) {
                let (header, payload) = view.message(at);
                let hold = || Arc::new(held_message(*header, payload));
                backlog.push(match is_to_many(header) {
                    true => shared.get(nth, at.place(), || Stock::new(hold())).take(),
                    false => hold(),
                });
            }
            held += (backlog.len() - before) as u64;
            waiting.digest(index, directory.ids[index as usize], (backlog, counters));
        };
        let entity = |index: u32| directory.mailboxes[index as usize];
        let (some, rest) = waits.as_chunks::<STORED_AT_ONCE>();
        for some in some {
            // An author's system that despawned one took more than what it has of its own.
            let mut mailboxes = mailboxes.get_many_mut(some.map(entity)).expect(HAS_MAILBOX);
            if store_now(some[0], clock.frame) {
                store(&mut mailboxes);
            }
            for (&index, (counters, backlog)) in some.iter().zip(&mut mailboxes) {
                add(index, counters, backlog);
            }
        }
        for &index in rest {
            let (counters, mut backlog) = mailboxes.get_mut(entity(index)).expect(HAS_MAILBOX);
            add(index, &counters, &mut backlog);
        }
        report.counts.delivered -= held;
        for &index in &waits {
            mailroom.inboxes.hold(index);
            waiting.hold(index, directory.group_at(index).schedule.trigger == Trigger::Message);
        }
    }
}

const HAS_MAILBOX: &str =
    "an agent keeps its mailbox: a native system ends one by the order Terminate, and despawns none";

/// How many backlogs are stored together.
const STORED_AT_ONCE: usize = 16;

/// Whether the backlogs from a position on are stored in a frame. Each is before it is full if it gets a message in each frame; not all are in
/// the same frame, so that no frame pays for others.
const fn store_now(position: u32, frame: u64) -> bool {
    (position as u64 / STORED_AT_ONCE as u64 + frame).is_multiple_of(Backlog::NEWEST as u64)
}

/// Stores what is newest in some backlogs. Where they end is read of all of them before any is written to: the processor waits for many reads at a
/// time, but its writes leave in their order, and one that waits for memory holds up all that come after it.
fn store(mailboxes: &mut [(Mut<'_, MailboxCounters>, Mut<'_, Backlog>)]) {
    core::hint::black_box(mailboxes.iter().fold(0, |all, (_, backlog)| all ^ backlog.fetch()));
    for (_, backlog) in mailboxes {
        backlog.store();
    }
}

/// What was made for one mailbox, and serves others. Mostly the next one wants the same at the same place of its list.
#[derive(Debug)]
struct Shared<K, T> {
    all: Vec<T>,
    by_place: Vec<Option<(K, usize)>>,
    by_key: BTreeMap<K, usize>,
}

impl<K, T> Default for Shared<K, T> {
    fn default() -> Self {
        Self { all: Vec::new(), by_place: Vec::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Copy + Ord, T> Shared<K, T> {
    /// What has that key: made, if it isn't there yet. `nth` is its place in the list of the mailbox that wants it.
    fn get(&mut self, nth: usize, key: K, make: impl FnOnce() -> T) -> &mut T {
        let Self { all, by_place, by_key } = self;
        if let Some(&Some((last, at))) = by_place.get(nth)
            && last == key
        {
            return &mut all[at];
        }
        let at = *by_key.entry(key).or_insert_with(|| {
            all.push(make());
            all.len() - 1
        });
        if by_place.len() <= nth {
            by_place.resize_with(nth + 1, || None);
        }
        by_place[nth] = Some((key, at));
        &mut all[at]
    }
}

/// A message that many mailboxes wait with, and references to it that are handed out one by one. They are made many at a time: to count one
/// more is an atomic operation, and between the writes to mailboxes, which are in no cache, each would wait for the write before it.
#[derive(Debug)]
struct Stock {
    message: Arc<HeldMessage>,
    made: Vec<Arc<HeldMessage>>,
}

impl Stock {
    const MADE_AT_ONCE: usize = 256;

    fn new(message: Arc<HeldMessage>) -> Self {
        Self { message, made: Vec::new() }
    }

    fn take(&mut self) -> Arc<HeldMessage> {
        if let Some(made) = self.made.pop() {
            return made;
        }
        self.made.extend((1..Self::MADE_AT_ONCE).map(|_| Arc::clone(&self.message)));
        Arc::clone(&self.message)
    }
}

/// Brings messages to mailboxes.
struct Sorter<'p, 'o, 'a, 'w, 's> {
    sent: &'p Sent<'a, 'w, 's>,
    inboxes: &'p mut Inboxes,
    overflow: Overflow<'o, 'w, 's>,
    budgets: &'p mut DeliveryBudgets,
    audiences: &'p mut Audiences,
    /// Messages that were over a budget.
    dropped: Vec<Delivery>,
}

impl<'p, 'o, 'a, 'w, 's> Sorter<'p, 'o, 'a, 'w, 's> {
    fn new(
        sent: &'p Sent<'a, 'w, 's>,
        inboxes: &'p mut Inboxes,
        overflow: Overflow<'o, 'w, 's>,
        budgets: &'p mut DeliveryBudgets,
        audiences: &'p mut Audiences,
    ) -> Self {
        budgets.begin();
        audiences.begin();
        Self { sent, inboxes, overflow, budgets, audiences, dropped: Vec::new() }
    }

    /// Brings all messages to their recipients, in canonical order.
    fn sort(&mut self) {
        let sent = self.sent;
        let chunks = (0..).zip(sent.chunks).map(|(number, chunk)| (number, &chunk.addresses));
        for (chunk, addresses) in core::iter::once((Delivery::HOST, &sent.host.addresses)).chain(chunks) {
            // Mostly all of them.
            let added = self.inboxes.put_all(addresses, chunk);
            for address in &addresses[added..] {
                let at = Delivery { chunk, at: address.at };
                match address.recipient() {
                    Recipient::Agent(index) => self.overflow.put(sent, self.inboxes, (index, address.bytes, at)),
                    Recipient::Nobody => {}
                    Recipient::Topic(_) | Recipient::Group(_) => {
                        if !self.put_to_many(address, at) {
                            self.dropped.push(at);
                        }
                    }
                }
            }
        }
    }

    /// Brings what was sent in this frame to its recipients in a wave. Notes the messages that are over a budget: their chunks, and where they lie.
    fn sort_edges(&mut self, wave: u32) {
        let Self { sent, inboxes, overflow, budgets, audiences, dropped } = self;
        audiences.index_edges(sent, |edge, header, count| {
            let fits = budgets.take(sent.directory, header, count * delivery_units(edge.address.bytes));
            if !fits {
                overflow.drop_over_budget(header, meant_for(sent, &edge.address, header));
                dropped.push(edge.at);
            }
            fits
        });
        let part = Part::Wave(wave);
        for Edge { address, at } in audiences.take_edges(sent, wave) {
            let from = AgentId(sent.message(at).sender);
            match address.recipient() {
                Recipient::Agent(index) => {
                    if sent.is_in(part, from.group(), sent.directory.group_at(index)) {
                        overflow.put(sent, inboxes, (index, address.bytes, at));
                    }
                }
                Recipient::Nobody => {}
                to @ (Recipient::Topic(_) | Recipient::Group(_)) => {
                    let put = |index| overflow.put(sent, inboxes, (index, address.bytes, at));
                    audiences.each(sent, to, (from, part), put);
                }
            }
        }
    }

    /// Brings one message to all its recipients that get it in the frame after; to none, and `false`, if the frame has too few deliveries left.
    fn put_to_many(&mut self, address: &Address, at: Delivery) -> bool {
        let Self { sent, inboxes, overflow, budgets, audiences, .. } = self;
        let (to, header, part) = (address.recipient(), sent.message(at), Part::Later);
        let from = AgentId(header.sender);
        let count = audiences.count(sent, to, from, false);
        if count == 0 {
            return true;
        }
        if !budgets.take(sent.directory, header, count * delivery_units(address.bytes)) {
            overflow.drop_over_budget(header, meant_for(sent, address, header));
            return false;
        }
        audiences.each(sent, to, (from, part), |index| overflow.put(sent, inboxes, (index, address.bytes, at)));
        true
    }
}

/// Takes back the address of the message at a place. Addresses ascend by it, and a message that arrives in this frame alone has none.
fn take_back(at: u32, addresses: &mut [Address]) {
    if let Ok(found) = addresses.binary_search_by_key(&at, |address| address.at) {
        addresses[found].take_back();
    }
}

/// For whom a message to many is meant: the group, or the topic.
fn meant_for(sent: &Sent<'_, '_, '_>, address: &Address, header: &MessageHeader) -> u64 {
    match address.recipient() {
        Recipient::Group(at) => sent.directory.groups[at as usize].id.0.into(),
        _ => header.topic,
    }
}
