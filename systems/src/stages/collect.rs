//! Stage `Collect`: records that the intake deferred are processed in the order of the agents' ids: bounces, faults, memberships,
//! inference jobs, log lines, outputs, counters.

use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::{BounceReason, InferenceStatus, MessageHeader, Op, OutboxRecord, RecordType};
use wasm_engine_components::{
    Action, AgentId, AgentSlot, Command, GroupCounters, GroupId, GroupIndex, InferenceJob, Issuer, JobData, JobId,
    LifecycleAction, LogLine, ModelId, NamedOutput, OutputValue, Recipient, RunTable, TopicId, text_row_bytes,
};

use crate::frame::{FrameClock, FrameReport};
use crate::stages::swap::SwapsInHand;
use crate::world::budget::JobBudgets;
use crate::world::chunk::{DeferredRecord, OutputChunk};
use crate::world::commands::PendingCommands;
use crate::world::digest::LaneSums;
use crate::world::directory::Directory;
use crate::world::fuel::FrameFuel;
use crate::world::groups::GroupRange;
use crate::world::intentions::{Intentions, MembershipChange, NextJob};
use crate::world::mailroom::{AgentOutputs, Mailroom};
use crate::world::models::ModelTable;
use crate::world::outbox::OutboxIntake;
use crate::world::records::{lines_digest, record_at};
use crate::world::scheduler::Scheduler;
use crate::world::table_budget::{TableBudgets, note, row_of};

/// Processes the records that the intake deferred. Messages stay in their chunks.
pub(crate) fn collect_outputs(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    models: Res<ModelTable>,
    outputs: Res<AgentOutputs>,
    mut mailroom: ResMut<Mailroom>,
    mut intentions: ResMut<Intentions>,
    mut next_job: ResMut<NextJob>,
    mut report: ResMut<FrameReport>,
    mut lanes: ResMut<LaneSums>,
    mut scheduler: ResMut<Scheduler>,
    mut commands: ResMut<PendingCommands>,
    mut tables: ResMut<TableBudgets>,
    swaps: Res<SwapsInHand>,
    mut counters: Query<&mut GroupCounters>,
) {
    tables.open(&directory, &scheduler);
    lanes.outboxes.fill(0);
    lanes.memories.fill(0);
    lanes.logs.fill(0);
    let bounces_before = mailroom.bounces.0.len();
    let mut collector = OutboxCollector {
        intake: OutboxIntake { frame: clock.frame, directory: &directory },
        models: &models,
        mailroom: &mut mailroom,
        intentions: &mut intentions,
        next_job: &mut next_job,
        report: &mut report,
        budgets: JobBudgets::open(&directory, &scheduler),
        scheduler: &mut scheduler,
        commands: &mut commands,
        tables: &mut tables,
    };
    let mut fuel = vec![FrameFuel::default(); directory.groups.len()];
    swaps.add_fuel(&mut fuel);
    let mut chunks: Vec<&OutputChunk> = outputs.now.chunks.iter().collect();
    // The chunks themselves stay in the order of the waves, because inboxes of this frame refer to them by index.
    chunks.sort_by_key(|chunk| chunk.group);
    for chunk in chunks {
        let Some(group_index) = directory.group_index(chunk.group) else { continue };
        let group = &directory.groups[group_index];
        lanes.outboxes[group_index.index()] = lanes.outboxes[group_index.index()].wrapping_add(chunk.outbox_sum);
        lanes.memories[group_index.index()] = lanes.memories[group_index.index()].wrapping_add(chunk.memory_sum);
        for lines in chunk.log_lines.chunk_by(|a, b| a.agent == b.agent) {
            lanes.logs[group_index.index()] = lanes.logs[group_index.index()].wrapping_add(lines_digest(lines));
        }
        let inference_jobs = collector.collect(group_index, group, chunk);
        fuel[group_index.index()].add(FrameFuel { used: chunk.fuel, uncounted: chunk.uncounted });
        collector.report.counts.steps += chunk.steps;
        collector.report.counts.messages += chunk.sent;
        if let Ok(mut counters) = counters.get_mut(group.entity) {
            let sums = &mut counters.0;
            sums.steps += chunk.steps;
            sums.fuel = sums.fuel.wrapping_add(chunk.fuel);
            sums.messages += chunk.sent;
            sums.inference_jobs += inference_jobs;
        }
    }
    scheduler.book(&directory, &fuel);
    // An agent's bounces come in the order of its records.
    mailroom.bounces.0[bounces_before..].sort_by_key(|(to, bounce)| {
        let index = match *to {
            Recipient::Agent(slot) => slot.0,
            Recipient::Topic(topic) => topic.0,
            Recipient::Group(group) => group.0,
        };
        (index, bounce.header.sequence)
    });
    // The sort is stable: an agent's lines stay in their order, those of the import before those of its outbox.
    report.logs.sort_by_key(|line| line.agent);
}

/// Everything that processing the deferred records of a frame reads and writes.
struct OutboxCollector<'a> {
    intake: OutboxIntake<'a>,
    models: &'a ModelTable,
    mailroom: &'a mut Mailroom,
    intentions: &'a mut Intentions,
    next_job: &'a mut NextJob,
    report: &'a mut FrameReport,
    budgets: JobBudgets,
    scheduler: &'a mut Scheduler,
    commands: &'a mut PendingCommands,
    tables: &'a mut TableBudgets,
}

impl OutboxCollector<'_> {
    /// Processes a chunk of `group`. Returns the number of jobs in it.
    fn collect(&mut self, group_index: GroupIndex, group: &GroupRange, chunk: &OutputChunk) -> u64 {
        self.report.faults.extend_from_slice(&chunk.faults);
        let (payer, mut excess) = ((group_index, group.spec.tenant), chunk.excess);
        for line in &chunk.log_lines {
            let row = (RunTable::Logs, text_row_bytes(line.text.as_bytes()));
            if self.tables.take(payer, row, &mut excess) {
                self.report.logs.push(LogLine { agent: line.agent, level: line.level, text: line.text.clone() });
            }
        }
        for refused in &chunk.refused {
            self.bounce(&refused.header, refused.meant_for, refused.from, refused.reason);
        }
        let (mut jobs, mut jobs_of_agent, mut last_agent) = (0, 0, None);
        for deferred in &chunk.deferred {
            let record = record_at(&chunk.deferred_bytes, deferred.offset);
            if row_of(&record).is_some_and(|row| !self.tables.take(payer, row, &mut excess)) {
                continue;
            }
            match record.op {
                Op::Join | Op::Leave => self.change_membership(deferred, &record),
                Op::Infer => {
                    if last_agent.replace(deferred.agent) != Some(deferred.agent) {
                        jobs_of_agent = 0;
                    }
                    (jobs, jobs_of_agent) = (jobs + 1, jobs_of_agent + 1);
                    let fits = jobs_of_agent <= group.spec.limits.jobs_per_step_max;
                    let fits = fits && self.budgets.take(group_index, group.spec.tenant);
                    self.infer(deferred.agent, &record, fits);
                }
                Op::Log => self.report.logs.push(LogLine {
                    agent: deferred.agent,
                    level: record.header.kind,
                    text: String::from_utf8_lossy(record.payload).into_owned(),
                }),
                Op::Record => self.report.outputs.push(named_output(deferred.agent, &record)),
                Op::Spawn => self.spawn(deferred, &record),
                Op::Pause => self.change_lifecycle(deferred, &record, LifecycleAction::Pause),
                Op::Resume => self.change_lifecycle(deferred, &record, LifecycleAction::Resume),
                Op::Terminate => self.change_lifecycle(deferred, &record, LifecycleAction::Terminate),
                Op::Restart => self.change_lifecycle(deferred, &record, LifecycleAction::Restart),
                Op::Wake => self.wake(deferred, record.header.target),
                Op::WriteRegion => {}
                // Requests and replies were admitted right after the step.
                Op::Request | Op::Reply => {}
                Op::Send | Op::Publish | Op::Broadcast => unreachable!("the intake keeps messages apart"),
            }
        }
        note(self.report, &excess);
        jobs
    }

    fn bounce(&mut self, header: &MessageHeader, meant_for: u64, to: AgentSlot, reason: BounceReason) {
        self.report.counts.drop_messages(reason, 1);
        self.mailroom.bounces.bounce(header, meant_for, to, reason, self.intake.frame);
    }

    fn change_membership(&mut self, from: &DeferredRecord, record: &OutboxRecord<'_>) {
        let topic = record.header.target;
        match self.intake.directory.topic(TopicId(topic)) {
            Some(topic) => {
                let change = MembershipChange { agent: from.agent, topic, joins: record.op == Op::Join };
                self.intentions.memberships.push(change);
            }
            None => {
                let header = self.intake.header(from.agent, &record.header, topic, from.sequence);
                self.bounce(&header, topic, from.slot, BounceReason::UnknownTopic);
            }
        }
    }

    /// Makes an inference job. One that can't be carried out has its failure for a result.
    fn infer(&mut self, agent: AgentId, record: &OutboxRecord, within_limit: bool) {
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
        // A failure is told in the next frame, whatever the latency of the model.
        let latency = known.filter(|_| failure.is_none()).map_or(1, |model| model.spec.latency_frames);
        let due_frame = self.intake.frame + u64::from(latency);
        let job = InferenceJob { id, agent, model, correlation: record.header.correlation, due_frame };
        self.intentions.jobs.push((job, data));
    }

    fn spawn(&mut self, from: &DeferredRecord, record: &OutboxRecord<'_>) {
        // A number that no group has is refused when the command is carried out.
        let group = GroupId(u32::try_from(record.header.target).unwrap_or(u32::MAX));
        let action = Action::Spawn { group, kind: record.header.kind, payload: record.payload.to_vec() };
        self.command(from, record, action);
    }

    fn change_lifecycle(&mut self, from: &DeferredRecord, record: &OutboxRecord<'_>, action: LifecycleAction) {
        self.command(from, record, Action::Agent(AgentId(record.header.target), action));
    }

    fn command(&mut self, from: &DeferredRecord, record: &OutboxRecord<'_>, action: Action) {
        let (id, correlation, sequence) = (from.agent, record.header.correlation, from.sequence);
        self.commands.agents.push(Command { issuer: Issuer::Agent { id, correlation, sequence }, action });
    }

    /// Sets the timer of an agent to a frame after this one, or takes it away if `frame` is 0.
    fn wake(&mut self, from: &DeferredRecord, frame: u64) {
        let timer = (frame > 0).then(|| (frame.max(self.intake.frame + 1), from.agent));
        self.scheduler.timers.set(from.slot, timer);
    }
}

/// Decodes a record that passed the reader's checks: its name fits, and its text is UTF-8.
fn named_output(agent: AgentId, record: &OutboxRecord) -> NamedOutput {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let split = || record.payload.split_at(usize::try_from(record.header.target).unwrap_or(usize::MAX));
    let bits = record.header.target;
    let (name, value) = match RecordType::from_number(record.header.kind) {
        Some(RecordType::F64) => (text(record.payload), OutputValue::F64(f64::from_bits(bits))),
        Some(RecordType::Text) => (text(split().0), OutputValue::Text(text(split().1))),
        Some(RecordType::Bytes) => (text(split().0), OutputValue::Bytes(split().1.to_vec())),
        Some(RecordType::I64) | None => (text(record.payload), OutputValue::I64(bits.cast_signed())),
    };
    NamedOutput { agent, name, value }
}
