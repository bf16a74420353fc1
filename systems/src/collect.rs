//! Stage `Collect`: what the agents asked for is taken apart, in the order of their ids. The runtime has checked the form of
//! each outbox; here it meets the world: recipients, topics, models.

use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::{
    BounceReason, CheckedOutbox, InferenceStatus, MessageHeader, Op, OutboxHeader, OutboxRecord, RecordType,
};
use wasm_engine_abi::{CallKind, message::sender};
use wasm_engine_components::{
    AgentFault, AgentId, GroupCounters, GroupTotals, InferenceJob, JobData, JobId, LogLine, Message, ModelId,
    NamedOutput, OutputValue, PayloadRef, Recipient, TopicId,
};

use crate::digest::LaneSums;
use crate::directory::{Directory, GroupRange};
use crate::frame::{FrameClock, FrameReport};
use crate::infer::Models;
use crate::mailroom::{Mailroom, Outputs};
use crate::ports::{StepOutcome, StepRequest};
use crate::schedule::Calls;

/// What agents asked for that becomes state later in the frame. Transient.
#[derive(Resource, Debug, Default)]
pub struct Intentions {
    /// Jobs for `Infer`, in the order of their ids.
    pub jobs: Vec<(InferenceJob, JobData)>,
    /// Changes of membership for `Commit`, in order: agent, position of the topic, whether it joins.
    pub memberships: Vec<(AgentId, u32, bool)>,
}

/// The number of the next inference job. State.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub struct NextJob(pub u64);

/// Takes the outboxes apart.
pub fn collect_outputs(
    clock: Res<FrameClock>,
    calls: Res<Calls>,
    directory: Res<Directory>,
    models: Res<Models>,
    mut outputs: ResMut<Outputs>,
    mut mailroom: ResMut<Mailroom>,
    mut intentions: ResMut<Intentions>,
    mut next_job: ResMut<NextJob>,
    mut report: ResMut<FrameReport>,
    mut lanes: ResMut<LaneSums>,
    mut counters: Query<&mut GroupCounters>,
) {
    lanes.outboxes.fill(0);
    lanes.memories.fill(0);
    for chunk in &outputs.now.chunks {
        if let Ok(at) = directory.groups.binary_search_by_key(&chunk.group, |group| group.id) {
            lanes.outboxes[at] = lanes.outboxes[at].wrapping_add(chunk.outbox_sum);
            lanes.memories[at] = lanes.memories[at].wrapping_add(chunk.memory_sum);
        }
    }
    collect_imported_lines(&mut outputs, &mut report);

    let mut collector = Collector {
        frame: clock.frame,
        directory: &directory,
        models: &models,
        mailroom: &mut mailroom,
        intentions: &mut intentions,
        next_job: &mut next_job,
        report: &mut report,
        totals: GroupTotals::default(),
    };
    let results = &outputs.now;
    let mut calls = calls.0.iter().zip(&results.outcomes).peekable();
    for group in &directory.groups {
        collector.totals = GroupTotals::default();
        while let Some((request, outcome)) = calls.next_if(|(request, _)| request.agent.group() == group.id) {
            collector.collect(group, request, outcome, &results.chunks[outcome.chunk as usize].bytes);
        }
        if let Ok(mut sums) = counters.get_mut(group.entity) {
            add(&mut sums.0, &collector.totals);
        }
        collector.report.counts.steps += collector.totals.steps;
        collector.report.counts.messages += collector.totals.messages;
    }
}

fn add(sums: &mut GroupTotals, more: &GroupTotals) {
    sums.steps += more.steps;
    sums.fuel = sums.fuel.wrapping_add(more.fuel);
    sums.messages += more.messages;
    sums.inference_jobs += more.inference_jobs;
}

/// Lines of the import `log`. Chunks may hold agents in any order: the lines are put into the order of ids.
fn collect_imported_lines(outputs: &mut Outputs, report: &mut FrameReport) {
    let chunks = outputs.now.chunks.iter_mut();
    let lines = chunks.flat_map(|chunk| chunk.log_lines.drain(..));
    report.logs.extend(lines.map(|line| LogLine { agent: line.agent, level: line.level, text: line.text }));
    report.logs.sort_by_key(|line| line.agent);
}

struct Collector<'a> {
    frame: u64,
    directory: &'a Directory,
    models: &'a Models,
    mailroom: &'a mut Mailroom,
    intentions: &'a mut Intentions,
    next_job: &'a mut NextJob,
    report: &'a mut FrameReport,
    totals: GroupTotals,
}

impl Collector<'_> {
    /// One call's outcome. `bytes` is the chunk that holds its outbox.
    #[inline]
    fn collect(&mut self, group: &GroupRange, request: &StepRequest, outcome: &StepOutcome, bytes: &[u8]) {
        self.totals.steps += u64::from(request.call == CallKind::Step);
        self.totals.fuel = self.totals.fuel.wrapping_add(outcome.fuel);
        if let Some(kind) = outcome.fault {
            self.report.faults.push(AgentFault { agent: request.agent, kind, detail: outcome.detail });
        }
        let start = outcome.offset as usize;
        let outbox = &bytes[start..start + outcome.bytes as usize];
        let mut jobs = 0;
        for (record, sequence) in CheckedOutbox::new(outbox).zip(0_u32..) {
            match record.op {
                Op::Send => self.send(request, &record, sequence, outcome),
                Op::Publish => self.publish(request, &record, sequence, outcome),
                Op::Join | Op::Leave => self.change_membership(request, &record, sequence),
                Op::Infer => {
                    jobs += 1;
                    self.infer(request.agent, &record, jobs <= group.jobs_per_step_max);
                }
                Op::Log => self.log(request.agent, &record),
                Op::Record => self.report.outputs.push(named_output(request.agent, &record)),
            }
        }
    }

    fn header(&self, agent: AgentId, record: &OutboxHeader, topic: u64, sequence: u32) -> MessageHeader {
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

    #[inline]
    fn send(&mut self, from: &StepRequest, record: &OutboxRecord, sequence: u32, outcome: &StepOutcome) {
        self.totals.messages += 1;
        let header = self.header(from.agent, &record.header, 0, sequence);
        let to = AgentId(record.header.target);
        let refusal = match self.directory.find(to) {
            Some((group, index)) if group.takes_from(from.agent) => {
                self.push(header, Recipient::Agent(index), record, outcome);
                return;
            }
            Some(_) => BounceReason::Refused,
            None => BounceReason::UnknownRecipient,
        };
        self.refuse(from, &header, to.0, refusal);
    }

    fn publish(&mut self, from: &StepRequest, record: &OutboxRecord, sequence: u32, outcome: &StepOutcome) {
        self.totals.messages += 1;
        let topic = record.header.target;
        let header = self.header(from.agent, &record.header, topic, sequence);
        match self.directory.topic(TopicId(topic)) {
            Some(at) => self.push(header, Recipient::Topic(at), record, outcome),
            None => self.refuse(from, &header, topic, BounceReason::UnknownTopic),
        }
    }

    fn push(&mut self, header: MessageHeader, recipient: Recipient, record: &OutboxRecord, outcome: &StepOutcome) {
        // In range: the offset lies inside the chunk, whose outcome was addressed with u32.
        let offset = outcome.offset + record.offset + OutboxHeader::BYTES;
        self.mailroom.next.push(Message { header, payload: PayloadRef { chunk: outcome.chunk, offset }, recipient });
    }

    fn refuse(&mut self, from: &StepRequest, header: &MessageHeader, meant_for: u64, reason: BounceReason) {
        debug_assert!(header.sender > sender::NATIVE);
        self.report.counts.dropped += 1;
        self.mailroom.bounces.bounce(header, meant_for, from.slot, reason, self.frame);
    }

    fn change_membership(&mut self, from: &StepRequest, record: &OutboxRecord, sequence: u32) {
        let topic = record.header.target;
        match self.directory.topic(TopicId(topic)) {
            Some(at) => self.intentions.memberships.push((from.agent, at, record.op == Op::Join)),
            None => {
                let header = self.header(from.agent, &record.header, topic, sequence);
                self.refuse(from, &header, topic, BounceReason::UnknownTopic);
            }
        }
    }

    fn infer(&mut self, agent: AgentId, record: &OutboxRecord, within_limit: bool) {
        self.totals.inference_jobs += 1;
        let id = JobId(self.next_job.0);
        self.next_job.0 += 1;
        let model = ModelId(record.header.target);
        let known = self.models.get(model);
        let failure = match known {
            _ if !within_limit => Some(InferenceStatus::TooMany),
            None => Some(InferenceStatus::UnknownModel),
            Some(model) if model.row_bytes != record.header.payload_bytes => Some(InferenceStatus::WrongSize),
            Some(_) => None,
        };
        let data = match failure {
            Some(status) => JobData::Output { status, bytes: Vec::new() },
            None => JobData::Input(record.payload.to_vec()),
        };
        let latency = known.map_or(1, |model| model.latency_frames);
        let due_frame = self.frame + u64::from(latency);
        let job = InferenceJob { id, agent, model, correlation: record.header.correlation, due_frame };
        self.intentions.jobs.push((job, data));
    }

    fn log(&mut self, agent: AgentId, record: &OutboxRecord) {
        let text = String::from_utf8_lossy(record.payload).into_owned();
        self.report.logs.push(LogLine { agent, level: record.header.kind, text });
    }
}

/// A record that passed the reader's checks: its name fits, and its text is UTF-8.
fn named_output(agent: AgentId, record: &OutboxRecord) -> NamedOutput {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let split = || record.payload.split_at(usize::try_from(record.header.target).unwrap_or(usize::MAX));
    let bits = record.header.target;
    let (name, value) = match RecordType::from_u32(record.header.kind) {
        Some(RecordType::F64) => (text(record.payload), OutputValue::F64(f64::from_bits(bits))),
        Some(RecordType::Text) => (text(split().0), OutputValue::Text(text(split().1))),
        Some(RecordType::Bytes) => (text(split().0), OutputValue::Bytes(split().1.to_vec())),
        Some(RecordType::I64) | None => (text(record.payload), OutputValue::I64(bits.cast_signed())),
    };
    NamedOutput { agent, name, value }
}
