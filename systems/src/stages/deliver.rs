//! Stage `Deliver`: messages of the last frame, results that are due and events of this frame are sorted into lists by
//! recipient. A message is stored once, however many its recipients are; a list refers to it.
//!
//! The order in a mailbox is canonical: first what waited from earlier frames, then by sender (engine, outside, native systems,
//! agents by id), then by sequence.

use bevy_ecs::entity::Entity;
use bevy_ecs::system::{Commands, Query, Res, ResMut, SystemParam};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{InferenceStatus, MessageHeader};
use wasm_engine_components::limits::delivery_units;
use wasm_engine_components::{
    Address, AgentId, InferenceJob, JobData, Members, MessageOffset, Recipient, RecipientSlot,
};

use crate::frame::{FrameClock, FrameReport, Inputs};
use crate::stages::overflow::{MailboxQuery, Overflow};
use crate::world::backlog::Backlogs;
use crate::world::delivery_budget::DeliveryBudgets;
use crate::world::directory::Directory;
use crate::world::inbox::{Inboxes, Incoming};
use crate::world::inbox_view::Delivery;
use crate::world::mailroom::{AddressedEvent, AgentOutputs, Mailroom};
use crate::world::recipients::{Audiences, Edge};
use crate::world::requests::Requests;
use crate::world::scheduler::Scheduler;
use crate::world::sent::{Arrival, Sent};

/// Opens the frame's budgets of deliveries.
pub(crate) fn open_delivery_budgets(
    directory: Res<Directory>,
    scheduler: Res<Scheduler>,
    mut budgets: ResMut<DeliveryBudgets>,
) {
    budgets.open(&directory, &scheduler);
}

/// Gathers this frame's messages of the host in canonical order. Those of agents lie in canonical order where they were sent.
pub(crate) fn gather_messages(
    mut commands: Commands,
    clock: Res<FrameClock>,
    inputs: Res<Inputs>,
    directory: Res<Directory>,
    mut mailroom: ResMut<Mailroom>,
    mut outputs: ResMut<AgentOutputs>,
    jobs: Query<(Entity, &InferenceJob, &JobData)>,
) {
    let AgentOutputs { now, before } = outputs.as_mut();
    std::mem::swap(now, before);
    // The chunks come wave by wave. Each group is in one wave, but the waves aren't in the order of the groups' ids.
    before.chunks.sort_by_key(|chunk| chunk.group);
    let Mailroom { host, inboxes, bounces, first_messages, events, native } = mailroom.as_mut();
    host.clear();
    for (recipient, stored) in bounces.0.drain(..) {
        host.push(recipient, &stored.header, &stored.payload);
    }
    let mut due: Vec<_> = jobs.iter().filter(|(_, job, _)| job.due_frame <= clock.frame).collect();
    due.sort_unstable_by_key(|(_, job, _)| job.id);
    for (entity, job, data) in due {
        commands.entity(entity).despawn();
        let (JobData::Output { status, bytes }, Some(slot)) = (data, directory.slot(job.agent)) else { continue };
        let header = MessageHeader {
            sender: sender::ENGINE,
            topic: job.model.0,
            correlation: job.correlation,
            frame: clock.frame,
            kind: kind::INFERENCE,
            status: *status as u32,
            ..MessageHeader::default()
        };
        // A result that doesn't fit into its agent's mailbox becomes a failure, of which the agent is told.
        let payload_bytes_max = inboxes.loads[slot.index()].bytes_max.saturating_sub(MessageHeader::BYTES);
        if bytes.len() > payload_bytes_max as usize {
            let failed = MessageHeader { status: InferenceStatus::Failed as u32, ..header };
            host.push(Recipient::Agent(slot), &failed, &[]);
        } else {
            host.push(Recipient::Agent(slot), &header, bytes);
        }
    }
    for (recipient, stored) in first_messages.0.drain(..) {
        host.push(recipient, &stored.header, &stored.payload);
    }
    for AddressedEvent { recipient, header, index } in events.drain(..) {
        host.push(recipient, &header, &inputs.0.events[index as usize].payload);
    }
    for (recipient, stored) in native.0.drain(..) {
        host.push(recipient, &stored.header, &stored.payload);
    }
}

/// Sorts the messages into lists by recipient, within what each mailbox holds and the frame's deliveries.
pub(crate) fn sort_messages(mut router: Router, mut outputs: ResMut<AgentOutputs>) {
    router.mailroom.inboxes.clear();
    let Router { clock, directory, report, mailroom, backlogs, requests, budgets, audiences, members, mailboxes } =
        &mut router;
    audiences.clear();
    let Mailroom { host, inboxes, bounces, .. } = mailroom.as_mut();
    let sent = Sent { directory, members, chunks: &outputs.before.chunks, current: &[], host };
    let overflow = Overflow::new(mailboxes, backlogs, requests);
    let mut sorter = Sorter::new(&sent, inboxes, overflow, budgets, audiences);
    sorter.sort();
    let Sorter { overflow, dropped, .. } = sorter;
    overflow.settle(&sent, inboxes, bounces, report, clock.frame);
    // A message that was dropped isn't among those that native systems read as published, either.
    for delivery in dropped {
        let addresses = match delivery.chunk {
            Delivery::HOST => &mut host.addresses,
            chunk => &mut outputs.before.chunks[chunk as usize].addresses,
        };
        take_back(delivery.offset, addresses);
    }
}

/// Everything that delivering messages reads and writes.
#[derive(SystemParam)]
pub(crate) struct Router<'w, 's> {
    pub(crate) clock: Res<'w, FrameClock>,
    pub(crate) directory: ResMut<'w, Directory>,
    pub(crate) report: ResMut<'w, FrameReport>,
    pub(crate) mailroom: ResMut<'w, Mailroom>,
    pub(crate) backlogs: ResMut<'w, Backlogs>,
    pub(crate) requests: ResMut<'w, Requests>,
    budgets: ResMut<'w, DeliveryBudgets>,
    audiences: ResMut<'w, Audiences>,
    members: Query<'w, 's, &'static Members>,
    pub(crate) mailboxes: MailboxQuery<'w, 's>,
}

impl Router<'_, '_> {
    /// Delivers messages of this frame's earlier waves to the groups of `wave` that come after the senders'.
    pub(crate) fn deliver_edges(&mut self, outputs: &mut AgentOutputs, wave: u32) {
        let Self { clock, directory, report, mailroom, backlogs, requests, budgets, audiences, members, mailboxes } =
            self;
        let Mailroom { host, inboxes, bounces, .. } = mailroom.as_mut();
        inboxes.begin_wave();
        let (chunks, current) = (&outputs.before.chunks, &outputs.now.chunks);
        let sent = Sent { directory, members, chunks, current, host };
        let overflow = Overflow::new(mailboxes, backlogs, requests);
        let mut sorter = Sorter::new(&sent, inboxes, overflow, budgets, audiences);
        sorter.sort_edges(wave);
        let Sorter { overflow, dropped, .. } = sorter;
        overflow.settle(&sent, inboxes, bounces, report, clock.frame);
        // A message that is over a budget reaches nobody in the next frame, either.
        for delivery in dropped {
            let chunk = &mut outputs.now.chunks[(delivery.chunk & !Delivery::CURRENT) as usize];
            take_back(delivery.offset, &mut chunk.addresses);
        }
    }
}

/// Delivers messages to mailboxes.
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

    /// Delivers all messages, in canonical order.
    fn sort(&mut self) {
        let sent = self.sent;
        let chunks = (0..).zip(sent.chunks).map(|(number, chunk)| (number, &chunk.addresses));
        for (chunk, addresses) in core::iter::once((Delivery::HOST, &sent.host.addresses)).chain(chunks) {
            // In most frames, this adds all of them.
            let added = self.inboxes.put_all(addresses, chunk);
            for address in &addresses[added..] {
                let delivery = Delivery { chunk, offset: address.offset };
                let Some(to) = address.recipient() else { continue };
                if let Recipient::Agent(slot) = to {
                    self.overflow.put(sent, self.inboxes, Incoming { slot, bytes: address.bytes, delivery });
                } else if !self.put_to_many(to, address.bytes, delivery) {
                    self.dropped.push(delivery);
                }
            }
        }
    }

    /// Brings what was sent in this frame to its recipients in a wave. Notes the messages that are over a budget: their chunks, and where they lie.
    fn sort_edges(&mut self, wave: u32) {
        let Self { sent, inboxes, overflow, budgets, audiences, dropped } = self;
        audiences.index_edges(sent, |edge, header, weight| {
            let fits = budgets.take(sent.directory, header, weight * delivery_units(edge.address.bytes));
            if !fits {
                let meant_for = edge.address.recipient().map_or(0, |to| sent.directory.recipient(to).number());
                overflow.drop_over_budget(header, meant_for);
                dropped.push(edge.delivery);
            }
            fits
        });
        let arrival = Arrival::Wave(wave);
        for Edge { address, delivery } in audiences.take_edges(sent, wave) {
            let from = AgentId(sent.message(delivery).sender);
            let mut put = |slot| overflow.put(sent, inboxes, Incoming { slot, bytes: address.bytes, delivery });
            match address.recipient() {
                Some(Recipient::Agent(slot)) if !arrival.is_that_of(from.group(), sent.directory.group_at(slot)) => {}
                Some(Recipient::Agent(slot)) => put(slot),
                Some(to) => audiences.each(sent, to, (from, arrival), put),
                None => {}
            }
        }
    }

    /// Delivers one message to all recipients that get it in the next frame. Delivers it to none, and returns `false`, if the
    /// budgets have too few deliveries left.
    fn put_to_many(&mut self, to: RecipientSlot, bytes: u32, delivery: Delivery) -> bool {
        let Self { sent, inboxes, overflow, budgets, audiences, .. } = self;
        let header = sent.message(delivery);
        let from = AgentId(header.sender);
        let weight = audiences.weight_later(sent, to, from);
        if weight == 0 {
            return true;
        }
        if !budgets.take(sent.directory, header, weight * delivery_units(bytes)) {
            overflow.drop_over_budget(header, sent.directory.recipient(to).number());
            return false;
        }
        let put = |slot| overflow.put(sent, inboxes, Incoming { slot, bytes, delivery });
        audiences.each(sent, to, (from, Arrival::NextFrame), put);
        true
    }
}

/// Takes back the address of the message at an offset. Addresses ascend by offset. A message that arrives in this frame alone has no address here.
fn take_back(offset: MessageOffset, addresses: &mut [Address]) {
    if let Ok(found) = addresses.binary_search_by_key(&offset, |address| address.offset) {
        addresses[found].take_back();
    }
}
