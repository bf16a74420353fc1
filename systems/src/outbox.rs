//! The desk at which agents' outboxes are taken. The runtime calls it right after each call, on the thread that made the call and
//! while the bytes are in its cache; what it does is the same for every runtime. It checks all that an outbox says, finds the
//! recipients of its messages, and leaves both in the chunk: what remains for one thread to do is little.

use wasm_engine_abi::{BounceReason, Capabilities, MessageHeader, Op, OutboxHeader, OutboxReader, OutboxRecord};
use wasm_engine_components::{Address, AgentId, FaultKind, GroupLimits, Recipient, TopicId};

use crate::digest::outbox_digest;
use crate::directory::Directory;
use crate::packed::record_bytes;
use crate::ports::{OtherRecord, OutputChunk, Refused, StepRequest};
use crate::region::check_record;

/// Which limit a fault of kind [`FaultKind::OverLimit`] is about: its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OverLimit {
    /// `records_per_step_max`.
    Records = 1,
    /// `payload_bytes_max`.
    PayloadBytes = 2,
    /// `log_lines_per_step_max`.
    LogLines = 3,
}

/// A fault, and its detail.
pub type Fault = (FaultKind, u32);

/// What a call left: all of it comes from the guest, but for `log_lines`.
#[derive(Clone, Copy, Debug)]
pub struct Outbox<'a> {
    /// The outbox.
    pub bytes: &'a [u8],
    /// How many records it is said to hold.
    pub records: u32,
    /// How many lines the import `log` wrote in the call.
    pub log_lines: u32,
}

/// What an outbox is held to.
#[derive(Clone, Copy, Debug)]
pub struct OutboxRules {
    /// The group's limits.
    pub limits: GroupLimits,
    /// What the group was granted.
    pub capabilities: Capabilities,
}

/// Where outboxes are taken.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    /// Number of the frame.
    pub frame: u64,
    /// Who is where.
    pub directory: &'a Directory,
}

impl Desk<'_> {
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
    ) -> Result<(), Fault> {
        let mark = Mark::of(chunk);
        let taken = self.take_records(request, outbox, rules, chunk);
        if taken.is_err() {
            mark.restore(chunk);
        } else if !outbox.bytes.is_empty() {
            chunk.outbox_sum = chunk.outbox_sum.wrapping_add(outbox_digest(request.agent, outbox.bytes));
        }
        taken
    }

    #[inline]
    fn take_records(
        &self,
        request: &StepRequest,
        outbox: Outbox<'_>,
        rules: &OutboxRules,
        chunk: &mut OutputChunk,
    ) -> Result<(), Fault> {
        let limits = &rules.limits;
        if outbox.records > limits.records_per_step_max {
            return Err((FaultKind::OverLimit, OverLimit::Records as u32));
        }
        let mut lines = outbox.log_lines;
        for (record, sequence) in OutboxReader::new(outbox.bytes, outbox.records).zip(0_u32..) {
            let record = record.map_err(|error| (FaultKind::BadOutbox, error as u32))?;
            if !rules.capabilities.has(record.op.capability()) {
                return Err((FaultKind::Denied, record.op.capability() as u32));
            }
            if record.header.payload_bytes > limits.payload_bytes_max {
                return Err((FaultKind::OverLimit, OverLimit::PayloadBytes as u32));
            }
            match record.op {
                Op::Send => self.send(request, &record, sequence, chunk),
                Op::Publish => self.publish(request, &record, sequence, chunk),
                Op::WriteRegion => {
                    check_record(self.directory, request.agent.group(), &record)?;
                    keep(request, &record, sequence, chunk);
                }
                _ => {
                    lines += u32::from(record.op == Op::Log);
                    keep(request, &record, sequence, chunk);
                }
            }
        }
        if lines > limits.log_lines_per_step_max {
            return Err((FaultKind::OverLimit, OverLimit::LogLines as u32));
        }
        Ok(())
    }

    #[inline]
    fn send(&self, from: &StepRequest, record: &OutboxRecord<'_>, sequence: u32, chunk: &mut OutputChunk) {
        let header = self.header(from.agent, &record.header, 0, sequence);
        let to = AgentId(record.header.target);
        let reason = match self.directory.find(to) {
            Some((group, index)) if group.takes_from(from.agent) => {
                return post(chunk, header, Recipient::Agent(index), record.payload);
            }
            Some(_) => BounceReason::Refused,
            None => BounceReason::UnknownRecipient,
        };
        chunk.refused.push(Refused { from: from.slot, meant_for: to.0, header, reason });
    }

    fn publish(&self, from: &StepRequest, record: &OutboxRecord<'_>, sequence: u32, chunk: &mut OutputChunk) {
        let topic = record.header.target;
        let header = self.header(from.agent, &record.header, topic, sequence);
        match self.directory.topic(TopicId(topic)) {
            Some(at) => post(chunk, header, Recipient::Topic(at), record.payload),
            None => {
                let reason = BounceReason::UnknownTopic;
                chunk.refused.push(Refused { from: from.slot, meant_for: topic, header, reason });
            }
        }
    }

    /// What the recipient of a record sees.
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

#[inline]
fn post(chunk: &mut OutputChunk, header: MessageHeader, to: Recipient, payload: &[u8]) {
    let at = chunk.messages.push(header, payload);
    chunk.addresses.push(Address::new(to, record_bytes(header.payload_bytes), at));
}

/// Keeps a record that isn't a message for `Collect`.
fn keep(from: &StepRequest, record: &OutboxRecord<'_>, sequence: u32, chunk: &mut OutputChunk) {
    // The runtime bounds the outboxes so that 32 bits address them all.
    let offset = u32::try_from(chunk.other_bytes.len()).expect("a chunk's outboxes are bounded");
    chunk.others.push(OtherRecord { agent: from.agent, slot: from.slot, sequence, offset });
    chunk.other_bytes.extend_from_slice(bytemuck::bytes_of(&record.header));
    chunk.other_bytes.extend_from_slice(record.payload);
}

/// How much a chunk held.
struct Mark {
    addresses: usize,
    messages: u32,
    refused: usize,
    others: usize,
    other_bytes: usize,
}

impl Mark {
    #[inline]
    fn of(chunk: &OutputChunk) -> Self {
        Self {
            addresses: chunk.addresses.len(),
            messages: chunk.messages.place(),
            refused: chunk.refused.len(),
            others: chunk.others.len(),
            other_bytes: chunk.other_bytes.len(),
        }
    }

    #[cold]
    fn restore(&self, chunk: &mut OutputChunk) {
        chunk.addresses.truncate(self.addresses);
        chunk.messages.truncate(self.messages);
        chunk.refused.truncate(self.refused);
        chunk.others.truncate(self.others);
        chunk.other_bytes.truncate(self.other_bytes);
    }
}
