//! Stage `Deliver`: what was sent in the last frame, results that are due and events of this frame are sorted into ranges by
//! recipient. A message is stored once, however many its recipients are; a range holds positions.
//!
//! The order in a mailbox is canonical: what waited from earlier frames, then by sender (engine, outside, native systems,
//! agents by id), then by sequence.

use std::collections::{BTreeMap, VecDeque};

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
use crate::mailroom::{HostMessages, Load, Mailroom, Outputs};
use crate::ports::{Delivery, HostInbox, InboxRange, OutputChunk};

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
        let room = room.loads[index as usize].bytes_max.saturating_sub(MessageHeader::BYTES) as usize;
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
    let Mailroom { host, deliveries, ranges, loads, touched, bounces, .. } = mailroom.as_mut();
    let (ranges, loads) = (ranges.as_mut_slice(), loads.as_mut_slice());
    for index in touched.drain(..) {
        let load = &mut loads[index as usize];
        (load.messages, load.bytes) = (0, 0);
        ranges[index as usize] = InboxRange::default();
    }
    let sorter = Sorter { directory: &directory, members: &members, chunks: &outputs.before.chunks, host };

    let mut gates = BTreeMap::new();
    sorter.each(|index, bytes, _| {
        let load = &mut loads[index as usize];
        if load.messages == 0 {
            touched.push(index);
        }
        load.messages += 1;
        load.bytes = load.bytes.saturating_add(bytes);
        if load.messages > load.messages_max || load.bytes > load.bytes_max {
            gates.entry(index).or_insert_with(Gate::default);
        }
    });
    if !gates.is_empty() {
        sorter.set_gates(&mut gates, loads, &mailboxes);
    }

    let mut total = 0_u32;
    for &index in touched.iter() {
        let load = &loads[index as usize];
        ranges[index as usize].start = total;
        total = total.saturating_add(load.messages.min(load.messages_max));
    }
    deliveries.resize(total as usize, Delivery::default());
    let sorted = deliveries.as_mut_slice();
    let mut delivered = 0;
    sorter.each(|index, bytes, at| {
        let refusal =
            if gates.is_empty() { None } else { gates.get_mut(&index).and_then(|gate| gate.refuses(bytes, at)) };
        if let Some(reason) = refusal {
            sorter.bounce(bounces, index, at, reason, clock.frame);
            return;
        }
        let range = &mut ranges[index as usize];
        sorted[(range.start + range.messages) as usize] = at;
        range.messages += 1;
        delivered += 1;
    });
    report.counts.delivered = delivered;

    for (index, gate) in gates {
        let Ok((mailbox, mut counters)) = mailboxes.get_mut(directory.mailboxes[index as usize]) else { continue };
        counters.dropped += gate.refused.iter().sum::<u64>();
        waiting.changed.insert(index);
        for (reason, messages) in BounceReason::ALL.into_iter().zip(gate.refused) {
            report.counts.drop_messages(reason, messages);
        }
        // An agent that wasn't stepped can't help it: its mailbox just takes no more.
        let overflowed = gate.refused[BounceReason::MailboxFull as usize - 1] > 0;
        let reads = directory.lifecycles[index as usize] == Lifecycle::Active && !waiting.held.contains(&index);
        if reads && overflowed && mailbox.overflow == OverflowPolicy::Fault {
            let agent = directory.ids[index as usize];
            report.faults.push(AgentFault { agent, kind: FaultKind::MailboxFull, detail: 0 });
        }
    }
}

/// Decides, message by message in canonical order, what a mailbox takes for which there is too much.
#[derive(Debug, Default)]
struct Gate {
    /// What the mailbox holds at most, and what it has taken.
    load: Load,
    /// What a mailbox that drops the oldest doesn't take.
    oldest: Option<BTreeMap<Delivery, BounceReason>>,
    /// Messages that were refused, in the order of [`BounceReason::ALL`].
    refused: [u64; BounceReason::COUNT],
}

impl Gate {
    fn refuses(&mut self, bytes: u32, at: Delivery) -> Option<BounceReason> {
        let Load { messages, bytes: taken, messages_max, bytes_max } = self.load;
        let reason = match &self.oldest {
            Some(oldest) => oldest.get(&at).copied(),
            None if messages_max == 0 => Some(BounceReason::Terminated),
            None if bytes > bytes_max => Some(BounceReason::TooLarge),
            None if messages >= messages_max || bytes > bytes_max - taken => Some(BounceReason::MailboxFull),
            None => None,
        };
        match reason {
            Some(reason) => self.refused[reason as usize - 1] += 1,
            None => {
                self.load.messages += 1;
                self.load.bytes = taken.saturating_add(bytes);
            }
        }
        reason
    }
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
        let host = std::iter::once((Delivery::HOST, &self.host.addresses));
        let chunks = (0..).zip(self.chunks).map(|(number, chunk)| (number, &chunk.addresses));
        for (chunk, addresses) in host.chain(chunks) {
            for (address, at) in addresses.iter().zip(0_u32..) {
                let at = Delivery { chunk, at };
                let one;
                let recipients = match address.recipient() {
                    Recipient::Agent(index) => {
                        one = [index];
                        one.as_slice()
                    }
                    Recipient::Topic(topic) => {
                        self.find_members(topic, at, &mut members);
                        members.as_slice()
                    }
                };
                for &index in recipients {
                    visit(index, address.bytes, at);
                }
            }
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
        match at.chunk {
            Delivery::HOST => self.host.message(at.at as usize).0,
            chunk => &self.chunks[chunk as usize].messages[at.at as usize].header,
        }
    }

    /// Makes the gates know their mailboxes. One that drops the oldest messages must see all of them first.
    fn set_gates(
        &self,
        gates: &mut BTreeMap<u32, Gate>,
        loads: &[Load],
        mailboxes: &Query<(&Mailbox, &mut MailboxCounters)>,
    ) {
        let mut incoming: BTreeMap<u32, Vec<Incoming>> = BTreeMap::new();
        for (&index, gate) in gates.iter_mut() {
            gate.load = Load { messages: 0, bytes: 0, ..loads[index as usize] };
            let mailbox = mailboxes.get(self.directory.mailboxes[index as usize]);
            if mailbox.is_ok_and(|(mailbox, _)| mailbox.overflow == OverflowPolicy::DropOldest) {
                incoming.insert(index, Vec::new());
            }
        }
        if incoming.is_empty() {
            return;
        }
        self.each(|index, bytes, at| {
            if let Some(incoming) = incoming.get_mut(&index) {
                incoming.push(Incoming { at, bytes, from_engine: self.message(at).sender == sender::ENGINE });
            }
        });
        for (index, incoming) in incoming {
            if let Some(gate) = gates.get_mut(&index) {
                gate.oldest = Some(drop_oldest(&gate.load, &incoming));
            }
        }
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

/// A message for a mailbox that drops the oldest.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    at: Delivery,
    bytes: u32,
    from_engine: bool,
}

/// What a mailbox that drops the oldest doesn't take of `incoming`, in canonical order. Results and bounces stay: nothing that
/// agents send pushes them out.
fn drop_oldest(load: &Load, incoming: &[Incoming]) -> BTreeMap<Delivery, BounceReason> {
    let mut out = BTreeMap::new();
    let mut droppable: VecDeque<(Delivery, u32)> = VecDeque::new();
    let (mut held, mut held_bytes) = (0, 0_u32);
    for &Incoming { at, bytes, from_engine } in incoming {
        if load.messages_max == 0 || bytes > load.bytes_max {
            let closed = load.messages_max == 0;
            out.insert(at, if closed { BounceReason::Terminated } else { BounceReason::TooLarge });
            continue;
        }
        let full = |held: u32, held_bytes: u32| held >= load.messages_max || bytes > load.bytes_max - held_bytes;
        while full(held, held_bytes)
            && let Some((oldest, freed)) = droppable.pop_front()
        {
            (held, held_bytes) = (held - 1, held_bytes - freed);
            out.insert(oldest, BounceReason::MailboxFull);
        }
        if full(held, held_bytes) {
            out.insert(at, BounceReason::MailboxFull);
            continue;
        }
        (held, held_bytes) = (held + 1, held_bytes + bytes);
        if !from_engine {
            droppable.push_back((at, bytes));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Load = Load { messages: 0, bytes: 0, messages_max: 2, bytes_max: 100 };

    fn at(at: u32) -> Delivery {
        Delivery { chunk: 0, at }
    }

    fn refused(load: Load, sizes: &[u32]) -> Vec<Option<BounceReason>> {
        let mut gate = Gate { load, ..Gate::default() };
        sizes.iter().zip(0..).map(|(&bytes, n)| gate.refuses(bytes, at(n))).collect()
    }

    fn dropped(load: &Load, messages: &[(u32, bool)]) -> Vec<(u32, BounceReason)> {
        let incoming: Vec<_> =
            (0..).zip(messages).map(|(n, &(bytes, from_engine))| Incoming { at: at(n), bytes, from_engine }).collect();
        drop_oldest(load, &incoming).into_iter().map(|(at, reason)| (at.at, reason)).collect()
    }

    #[test]
    fn reject_keeps_the_oldest_and_what_still_fits() {
        let full = Some(BounceReason::MailboxFull);
        assert_eq!(refused(ROOMY, &[80, 40, 20, 8]), [None, full, None, full]);
    }

    #[test]
    fn drop_oldest_keeps_the_newest() {
        let out = dropped(&ROOMY, &[(80, false), (40, false), (20, false), (8, false)]);
        assert_eq!(out, [(0, BounceReason::MailboxFull), (1, BounceReason::MailboxFull)]);
    }

    #[test]
    fn drop_oldest_never_drops_what_the_engine_says() {
        let out = dropped(&ROOMY, &[(20, true), (20, false), (20, false), (20, true), (20, true)]);
        let full = BounceReason::MailboxFull;
        assert_eq!(out, [(1, full), (2, full), (4, full)]);
    }

    #[test]
    fn what_can_never_fit_is_too_large_and_pushes_nothing_out() {
        assert_eq!(dropped(&ROOMY, &[(80, false), (101, false)]), [(1, BounceReason::TooLarge)]);
        assert_eq!(refused(ROOMY, &[80, 101]), [None, Some(BounceReason::TooLarge)]);
    }

    #[test]
    fn a_closed_mailbox_takes_nothing() {
        let closed = Load { messages_max: 0, ..ROOMY };
        assert_eq!(refused(closed, &[48]), [Some(BounceReason::Terminated)]);
        assert_eq!(dropped(&closed, &[(48, false)]), [(0, BounceReason::Terminated)]);
    }
}
