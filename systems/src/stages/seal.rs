//! Stage `Seal`: the frame's digest and its record. The only door out.

use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_components::{
    Digest, FrameRecord, Group, GroupCounters, GroupRecord, InferenceJob, JobData, Lane, Lanes, Recipient,
};

use crate::frame::{FrameClock, FrameReport, Inputs, Sealed};
use crate::world::commands::PendingCommands;
use crate::world::digest::{DigestChain, LaneSums, chain, part_digest, totals_bytes};
use crate::world::directory::Directory;
use crate::world::intentions::NextJob;
use crate::world::mailroom::{HostMessages, Mailroom};
use crate::world::models::ModelTable;
use crate::world::requests::Requests;
use crate::world::scheduler::Scheduler;
use crate::world::swaps::RequestedSwaps;

/// Makes the frame's digest and its record, and ends the frame.
pub(crate) fn seal_frame(
    mut clock: ResMut<FrameClock>,
    mut chains: ResMut<DigestChain>,
    mut report: ResMut<FrameReport>,
    mut inputs: ResMut<Inputs>,
    mut sealed: ResMut<Sealed>,
    directory: Res<Directory>,
    lanes: Res<LaneSums>,
    mailroom: Res<Mailroom>,
    next_job: Res<NextJob>,
    commands: Res<PendingCommands>,
    swaps: Res<RequestedSwaps>,
    scheduler: Res<Scheduler>,
    requests: Res<Requests>,
    models: Res<ModelTable>,
    jobs: Query<(&InferenceJob, &JobData)>,
    groups: Query<(&Group, &GroupCounters)>,
) {
    let frame = clock.frame;
    let mut record = FrameRecord { frame, ..FrameRecord::default() };
    let mut group_lane = 0_u128;
    for (at, range) in directory.groups.iter().enumerate() {
        let Ok((group, counters)) = groups.get(range.entity) else { continue };
        let totals = part_digest(Lane::Groups, u64::from(group.id.0), &totals_bytes(&counters.0));
        group_lane = group_lane.wrapping_add(totals);
        let parts =
            [lanes.agents[at], lanes.outboxes[at], lanes.memories[at], lanes.faults[at], lanes.logs[at], totals];
        chains.groups[at] = chain(chains.groups[at], frame, &parts);
        record.groups.push(GroupRecord {
            group: group.id.0,
            agents: range.alive.into(),
            totals: counters.0,
            digest: chains.groups[at],
        });
    }
    let sum = |parts: &[u128]| Digest(parts.iter().fold(0_u128, |sum, &part| sum.wrapping_add(part)));
    let mut all = Lanes::default();
    all[Lane::Inputs] = Digest(lanes.inputs);
    all[Lane::Agents] = sum(&lanes.agents);
    all[Lane::Outboxes] = sum(&lanes.outboxes);
    all[Lane::Mailboxes] = Digest(lanes.mailboxes);
    all[Lane::HostMessages] =
        Digest(host_messages(0, &mailroom.bounces).wrapping_add(host_messages(1 << 32, &mailroom.native)));
    all[Lane::Topics] = Digest(lanes.topics);
    let next = part_digest(Lane::Inference, u64::MAX, &next_job.0.to_le_bytes()).wrapping_add(models.digest());
    let jobs = jobs.iter().map(|(job, data)| job_digest(job, data));
    all[Lane::Inference] = Digest(jobs.fold(next, u128::wrapping_add));
    all[Lane::Groups] = Digest(group_lane);
    all[Lane::Native] = Digest(lanes.native);
    all[Lane::Memories] = sum(&lanes.memories);
    all[Lane::Faults] = sum(&lanes.faults);
    all[Lane::Logs] = sum(&lanes.logs);
    all[Lane::Commands] = Digest(commands.digest().wrapping_add(swaps.digest()));
    all[Lane::Schedule] = Digest(scheduler.digest(&directory));
    all[Lane::Requests] = Digest(requests.digest());
    all[Lane::Regions] = Digest(lanes.regions);
    record.native = lanes.native_parts.iter().map(|(name, sum)| (*name, Digest(*sum))).collect();

    chains.world = chain(chains.world, frame, &all.0.map(|digest| digest.0));
    report.counts.agents = directory.groups.iter().map(|group| u64::from(group.alive)).sum();
    record.digest = chains.world;
    record.lanes = all;
    record.counts = report.counts;
    record.faults = std::mem::take(&mut report.faults);
    record.logs = std::mem::take(&mut report.logs);
    record.outputs = std::mem::take(&mut report.outputs);
    record.excess = std::mem::take(&mut report.excess);
    record.swaps = std::mem::take(&mut report.swaps);
    record.inputs = std::mem::take(&mut inputs.0);
    record.inference = std::mem::take(&mut report.inference);
    record.late_rows = report.late_rows.take();
    record.given_up_notices = std::mem::take(&mut report.given_up_notices);
    record.refused_commands = std::mem::take(&mut report.refused_commands);
    sealed.0 = record;
    clock.frame += 1;
}

fn host_messages(domain: u64, messages: &HostMessages) -> u128 {
    let mut bytes = Vec::new();
    messages.0.iter().zip(domain..).fold(0, |sum, ((recipient, stored), at)| {
        let (tag, to) = match *recipient {
            Recipient::Agent(index) => (0_u8, index),
            Recipient::Topic(topic) => (1, topic),
            Recipient::Group(group) => (2, group),
        };
        bytes.clear();
        bytes.push(tag);
        bytes.extend_from_slice(&to.to_le_bytes());
        bytes.extend_from_slice(bytemuck::bytes_of(&stored.header));
        bytes.extend_from_slice(&stored.payload);
        sum.wrapping_add(part_digest(Lane::HostMessages, at, &bytes))
    })
}

fn job_digest(job: &InferenceJob, data: &JobData) -> u128 {
    let mut bytes = Vec::with_capacity(64);
    for number in [job.agent.0, job.model.0, job.correlation, job.due_frame] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    match data {
        JobData::Input(row) => {
            bytes.push(u8::MAX);
            bytes.extend_from_slice(row);
        }
        JobData::Output { status, bytes: output } => {
            bytes.push(*status as u8);
            bytes.extend_from_slice(output);
        }
    }
    part_digest(Lane::Inference, job.id.0, &bytes)
}
