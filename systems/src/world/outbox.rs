//! The intake of agents' outboxes. The runtime calls it right after each call, on the thread that made the call and
//! while the bytes are in its cache; what it does is the same for every runtime. It checks the whole outbox, finds the
//! recipients of its messages, and leaves both in the chunk, so that little remains for one thread to do.

use wasm_engine_abi::message::status;
use wasm_engine_abi::{
    BounceReason, Capabilities, MessageHeader, Op, OutboxError, OutboxHeader, OutboxReader, OutboxRecord, kind, padded,
};
use wasm_engine_components::{
    Address, AgentId, AgentSlot, FaultKind, GroupId, GroupLimits, Recipient, RecipientSlot, TopicId,
};

use crate::world::chunk::{AddressIndex, DeferredRecord, Mark, OutputChunk, RecordOffset, Refused, Route, StepRequest};
use crate::world::digest::outbox_digest;
use crate::world::directory::Directory;
use crate::world::fault::{CallFault, OverLimit};
use crate::world::regions::check_record;
use crate::world::table_budget::StepTables;

/// The outbox that a call left. All of it comes from the guest, except `log_lines` and `log_bytes`.
#[derive(Clone, Copy, Debug)]
pub struct Outbox<'a> {
    /// The bytes of the records.
    pub bytes: &'a [u8],
    /// Number of records that it is said to hold.
    pub records: u32,
    /// Number of lines that the import `log` wrote in the call.
    pub log_lines: u32,
    /// Number of bytes that those lines count for.
    pub log_bytes: u32,
}

/// The limits and capabilities that an outbox is checked against.
#[derive(Clone, Copy, Debug)]
pub struct OutboxRules {
    /// The group's limits.
    pub limits: GroupLimits,
    /// Capabilities that were granted to the group.
    pub capabilities: Capabilities,
}

/// Takes outboxes in.
#[derive(Clone, Copy, Debug)]
pub struct OutboxIntake<'a> {
    /// Number of the frame.
    pub frame: u64,
    /// The dense tables.
    pub directory: &'a Directory,
}

impl OutboxIntake<'_> {
    /// Returns how many messages any one agent of a group may send in this frame at most, as budgets are when the frame begins.
    pub fn credits(&self, group: GroupId) -> u64 {
        self.directory.group(group).map_or(u64::MAX, |group| group.credits)
    }

    /// Checks an outbox, and puts what it holds into `chunk`. Of an outbox that is refused, nothing stays.
    ///
    /// # Errors
    /// The fault: its form, a limit or a capability.
    #[inline]
    pub fn take(
        &self,
        request: &StepRequest,
        outbox: Outbox<'_>,
        rules: &OutboxRules,
        chunk: &mut OutputChunk,
    ) -> Result<(), CallFault> {
        match only_message(outbox, rules) {
            Some((record, payload)) => {
                chunk.sent += 1;
                self.send(request, record, payload, 0, status::PLAIN, chunk);
            }
            None => self.take_records(request, outbox, rules, chunk)?,
        }
        if !outbox.bytes.is_empty() {
            chunk.outbox_sum = chunk.outbox_sum.wrapping_add(outbox_digest(request.agent, outbox.bytes));
        }
        Ok(())
    }

    /// Takes any outbox. If it is refused after some of its records were put into the chunk, those are removed again.
    #[inline(never)]
    fn take_records(
        &self,
        request: &StepRequest,
        outbox: Outbox<'_>,
        rules: &OutboxRules,
        chunk: &mut OutputChunk,
    ) -> Result<(), CallFault> {
        let records_max = rules.limits.records_per_step_max;
        if outbox.records > records_max {
            return Err(CallFault::over(OverLimit::Records, outbox.records, records_max));
        }
        let mark = Mark::of(chunk);
        let taken = self.put_records(request, outbox, rules, chunk);
        if taken.is_err() {
            mark.restore(chunk);
        }
        taken
    }

    fn put_records(
        &self,
        request: &StepRequest,
        outbox: Outbox<'_>,
        rules: &OutboxRules,
        chunk: &mut OutputChunk,
    ) -> Result<(), CallFault> {
        let mut lines = outbox.log_lines;
        let mut tables = StepTables::open(&rules.limits, outbox.log_bytes);
        for (record, sequence) in OutboxReader::new(outbox.bytes, outbox.records).zip(0_u32..) {
            let record = record.map_err(bad_outbox)?;
            self.check(request, &record, rules)?;
            lines += u32::from(record.op == Op::Log);
            if tables.take(&record, &mut chunk.excess) {
                self.put(request, &record, sequence, chunk);
            }
        }
        let lines_max = rules.limits.log_lines_per_step_max;
        if lines > lines_max {
            return Err(CallFault::over(OverLimit::LogLines, lines, lines_max));
        }
        Ok(())
    }

    /// Checks a record by itself.
    fn check(&self, request: &StepRequest, record: &OutboxRecord<'_>, rules: &OutboxRules) -> Result<(), CallFault> {
        if !rules.capabilities.has(record.op.capability()) {
            return Err(CallFault::new(FaultKind::Denied, record.op.capability() as u32));
        }
        let (bytes, bytes_max) = (record.header.payload_bytes, rules.limits.payload_bytes_max);
        if bytes > bytes_max {
            return Err(CallFault::over(OverLimit::PayloadBytes, bytes, bytes_max));
        }
        // A region is written by its owner alone, and not beyond its end.
        if record.op == Op::WriteRegion {
            check_record(&self.directory.regions, request.agent.group(), record)
        } else {
            Ok(())
        }
    }

    /// Puts a record into the chunk.
    fn put(&self, request: &StepRequest, record: &OutboxRecord<'_>, sequence: u32, chunk: &mut OutputChunk) {
        chunk.sent += u64::from(record.op.is_message());
        match record.op {
            Op::Send => {
                self.send(request, record.header, record.payload, sequence, status::PLAIN, chunk);
            }
            Op::Publish => self.publish(request, record, sequence, chunk),
            _ => self.defer(request, record, sequence, chunk),
        }
    }

    /// Sends a message to one agent. Returns where its address stands.
    #[inline]
    fn send(
        &self,
        from: &StepRequest,
        record: OutboxHeader,
        payload: &[u8],
        sequence: u32,
        status: u32,
        chunk: &mut OutputChunk,
    ) -> AddressIndex {
        let header = MessageHeader { status, ..self.header(from.agent, &record, 0, sequence) };
        let known = chunk.route.find(record.target).map(|slot| (slot, false));
        match known.map_or_else(|| self.route(from.agent, record.target, chunk), Ok) {
            Ok((slot, edge)) => post(chunk, header, Recipient::Agent(slot), edge, payload),
            Err(reason) => {
                chunk.refused.push(Refused { from: from.slot, meant_for: record.target, header, reason });
                AddressIndex::NONE
            }
        }
    }

    /// Finds the recipient of a message, and whether it is reached in this frame. Notes the route to its group, if that holds for
    /// each of its agents.
    #[inline(never)]
    fn route(&self, from: AgentId, to: u64, chunk: &mut OutputChunk) -> Result<(AgentSlot, bool), BounceReason> {
        assert_eq!(from.group(), chunk.group, "a chunk holds what agents of one group sent");
        let to = AgentId(to);
        // Even if the agent has ended, its group says whose messages it accepts.
        if self.directory.group(to.group()).is_some_and(|group| !group.takes_from(from)) {
            return Err(BounceReason::Refused);
        }
        let (group, slot) = self.directory.find(to).ok_or_else(|| self.directory.absence(to))?;
        if group.grows && self.directory.lifecycles[slot.index()].is_ending() {
            return Err(BounceReason::Terminated);
        }
        let edge = group.comes_after(from.group());
        if !group.grows && !edge {
            chunk.route =
                Route { first: AgentId::new(group.id, 0).0, agents: group.spec.agents_max, start: group.start };
        }
        Ok((slot, edge))
    }

    fn publish(&self, from: &StepRequest, record: &OutboxRecord<'_>, sequence: u32, chunk: &mut OutputChunk) {
        let topic = record.header.target;
        let header = self.header(from.agent, &record.header, topic, sequence);
        match self.directory.topic(TopicId(topic)) {
            Some(index) => self.post_to_many(chunk, header, Recipient::Topic(index), record.payload),
            None => {
                let reason = BounceReason::UnknownTopic;
                chunk.refused.push(Refused { from: from.slot, meant_for: topic, header, reason });
            }
        }
    }

    fn broadcast(&self, from: &StepRequest, record: &OutboxRecord<'_>, sequence: u32, chunk: &mut OutputChunk) {
        let header = self.header(from.agent, &record.header, 0, sequence);
        let header = MessageHeader { status: status::BROADCAST, ..header };
        let group = u32::try_from(record.header.target).ok().and_then(|id| self.directory.group_index(GroupId(id)));
        match group {
            Some(index) if self.directory.groups[index].takes_from(from.agent) => {
                self.post_to_many(chunk, header, Recipient::Group(index), record.payload);
            }
            found => {
                let reason = found.map_or(BounceReason::UnknownRecipient, |_| BounceReason::Refused);
                let meant_for = record.header.target;
                chunk.refused.push(Refused { from: from.slot, meant_for, header, reason });
            }
        }
    }

    /// Sends a message to many. Recipients in groups that come after the sender's get it in this frame, the others in the next.
    fn post_to_many(&self, chunk: &mut OutputChunk, header: MessageHeader, to: RecipientSlot, payload: &[u8]) {
        post(chunk, header, to, false, payload);
        if self.directory.has_edges
            && let Some(&address) = chunk.addresses.last()
        {
            chunk.edges.push(address);
        }
    }

    /// Defers a record that isn't a plain message to the stages `Step` and `Collect`.
    fn defer(&self, from: &StepRequest, record: &OutboxRecord<'_>, sequence: u32, chunk: &mut OutputChunk) {
        let address = match record.op {
            Op::Broadcast => return self.broadcast(from, record, sequence, chunk),
            Op::Request => self.send(from, record.header, record.payload, sequence, status::REQUEST, chunk),
            Op::Reply => self.send(from, record.header, record.payload, sequence, status::REPLY, chunk),
            _ => AddressIndex::NONE,
        };
        // The runtime bounds the outboxes so that 32 bits address them all.
        let offset = u32::try_from(chunk.deferred_bytes.len()).expect("a chunk's outboxes are bounded");
        let offset = RecordOffset(offset);
        chunk.deferred.push(DeferredRecord { agent: from.agent, slot: from.slot, sequence, offset, address });
        chunk.deferred_bytes.extend_from_slice(bytemuck::bytes_of(&record.header));
        chunk.deferred_bytes.extend_from_slice(record.payload);
    }

    /// Returns the header that the recipient of a record sees.
    #[inline]
    pub(crate) fn header(&self, agent: AgentId, record: &OutboxHeader, topic: u64, sequence: u32) -> MessageHeader {
        MessageHeader {
            sender: agent.0,
            topic,
            correlation: record.correlation,
            frame: self.frame,
            sequence,
            kind: record.kind,
            status: 0,
            payload_bytes: record.payload_bytes,
        }
    }
}

/// Returns the message of an outbox that is one message to one agent and breaks no rule, as most are. What is wrong with another one is
/// found on the long way.
///
/// By value, field by field: a record that lies in memory is written in small pieces and read in large ones, and that stalls.
#[inline]
fn only_message<'a>(outbox: Outbox<'a>, rules: &OutboxRules) -> Option<(OutboxHeader, &'a [u8])> {
    let (head, body) = outbox.bytes.split_first_chunk()?;
    let header = OutboxHeader::read(head);
    let OutboxRules { limits, capabilities } = rules;
    let is_message = outbox.records == 1 && header.op == Op::Send as u32;
    let is_whole = padded(header.payload_bytes).is_some_and(|room| room as usize == body.len());
    let is_sound = header.kind < kind::RESERVED && header.deadline_frames == 0;
    let is_allowed = limits.records_per_step_max > 0
        && header.payload_bytes <= limits.payload_bytes_max
        && outbox.log_lines <= limits.log_lines_per_step_max
        && capabilities.has(Op::Send.capability());
    (is_message && is_whole && is_sound && is_allowed).then(|| (header, &body[..header.payload_bytes as usize]))
}

fn bad_outbox(error: OutboxError) -> CallFault {
    CallFault::new(FaultKind::BadOutbox, error as u32)
}

/// Puts a message into a chunk. Returns where its address stands.
#[inline]
fn post(chunk: &mut OutputChunk, header: MessageHeader, to: RecipientSlot, edge: bool, payload: &[u8]) -> AddressIndex {
    let offset = chunk.messages.push(header, payload);
    // The same as `record_bytes`. Nothing overflows, because the payload was found in an outbox.
    let bytes = MessageHeader::BYTES + ((payload.len() + 7) & !7) as u32;
    let address = Address::new(to, bytes, offset);
    if edge {
        chunk.edges.push(address);
        AddressIndex::last_edge(chunk)
    } else {
        chunk.addresses.push(address);
        AddressIndex::last_address(chunk)
    }
}
