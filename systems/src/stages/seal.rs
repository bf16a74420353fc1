//! Stage `Seal`: the frame's digest and its record. Nothing else leaves the world.

use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_components::{Digest, FrameRecord, GroupCounters, GroupRecord, Lane};

use crate::frame::{FrameClock, FrameReport, Inputs, Sealed};
use crate::world::digest::{DigestChain, LaneSums, chain, sum};
use crate::world::directory::Directory;

/// Makes the frame's digest and its record, and ends the frame.
pub(crate) fn seal_frame(
    mut clock: ResMut<FrameClock>,
    mut chains: ResMut<DigestChain>,
    mut report: ResMut<FrameReport>,
    mut inputs: ResMut<Inputs>,
    mut sealed: ResMut<Sealed>,
    directory: Res<Directory>,
    lanes: Res<LaneSums>,
    counters: Query<&GroupCounters>,
) {
    let frame = clock.frame;
    let mut record = FrameRecord { frame, ..FrameRecord::default() };
    for (index, group) in directory.groups.iter().enumerate() {
        let Ok(counters) = counters.get(group.entity) else { continue };
        let parts = [&lanes.agents, &lanes.outboxes, &lanes.memories, &lanes.faults, &lanes.logs, &lanes.groups];
        chains.groups[index] = chain(chains.groups[index], frame, &parts.map(|parts| parts[index]));
        record.groups.push(GroupRecord {
            group: group.id.0,
            agents: group.alive.into(),
            totals: counters.0,
            digest: chains.groups[index],
        });
    }
    // The lanes of state are summed up already. The others are of this frame alone.
    let mut all = lanes.state;
    all[Lane::Inputs] = Digest(lanes.inputs);
    all[Lane::Outboxes] = Digest(sum(&lanes.outboxes));
    all[Lane::Native] = Digest(lanes.native);
    all[Lane::Memories] = Digest(sum(&lanes.memories));
    all[Lane::Faults] = Digest(sum(&lanes.faults));
    all[Lane::Logs] = Digest(sum(&lanes.logs));
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
