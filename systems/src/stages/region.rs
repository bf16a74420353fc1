//! Stage `Commit`, at its end: a frame's writes to a shared region become its next version. Agents and native
//! systems alike read, for the whole of a frame, what was committed in the last one.

use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::{CheckedOutbox, Op, OutboxRecord};
use wasm_engine_components::{AgentId, GroupId, RegionId, RegionIndex, RegionOwner, RegionSpec, RegionState};

use crate::codec::digest;
use crate::frame::FrameClock;
use crate::ports::SharedRegion;
use crate::world::chunk::OutputChunk;
use crate::world::digest::{LaneSums, PartDigest};
use crate::world::directory::Directory;
use crate::world::mailroom::AgentOutputs;
use crate::world::regions::{NativeWrite, NativeWrites};

/// Returns the regions as the agents of this frame see them, in the order of their ids.
pub(crate) fn shared<'a>(
    directory: &Directory,
    regions: &'a Query<(&RegionSpec, &RegionState)>,
) -> Vec<SharedRegion<'a>> {
    let all = directory.regions.iter().filter_map(|row| regions.get(row.entity).ok());
    all.map(|(region, state)| SharedRegion { region, state }).collect()
}

/// An agent's write that the intake has passed.
struct Write<'a> {
    /// The agent that wrote, and the index of the record in its outbox. Writes are in the order of these.
    order: (AgentId, u32),
    region: RegionIndex,
    record: OutboxRecord<'a>,
}

/// Makes one new version of each region to which there were writes in this frame.
pub(crate) fn commit_regions(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    outputs: Res<AgentOutputs>,
    mut native: ResMut<NativeWrites>,
    mut lanes: ResMut<LaneSums>,
    mut regions: Query<(&mut RegionState, &mut PartDigest)>,
) {
    if directory.regions.is_empty() {
        return;
    }
    let mut changed = Vec::new();
    let mut apply = |region: RegionIndex, start: u64, bytes: &[u8]| {
        if let Ok((mut state, _)) = regions.get_mut(directory.regions[region].entity)
            && state.write(clock.frame, start, bytes)
        {
            changed.push(region);
        }
    };
    for write in writes(&directory, &outputs.now.chunks) {
        apply(write.region, write.record.header.correlation, write.record.payload);
    }
    for NativeWrite { region, start, bytes } in native.0.drain(..) {
        apply(region, start, &bytes);
    }
    for region in changed {
        let row = &directory.regions[region];
        let Ok((state, mut part)) = regions.get_mut(row.entity) else { continue };
        let after = digest::<RegionState>(row.id.0, &state);
        lanes.regions = lanes.regions.wrapping_sub(part.0).wrapping_add(after);
        part.0 = after;
    }
}

/// Returns the agents' writes of a frame in their order: by agent, then by their order in the outbox.
fn writes<'a>(directory: &Directory, chunks: &'a [OutputChunk]) -> Vec<Write<'a>> {
    let writes_regions =
        |group: GroupId| directory.regions.iter().any(|region| region.writer == RegionOwner::Group(group));
    let mut writes = Vec::new();
    let mut last = None;
    for chunk in chunks {
        // Most groups write to no region, and most that do have several chunks.
        if last.is_none_or(|(group, _)| group != chunk.group) {
            last = Some((chunk.group, writes_regions(chunk.group)));
        }
        if !last.is_some_and(|(_, writes)| writes) {
            continue;
        }
        for deferred in &chunk.deferred {
            let record = CheckedOutbox::new(&chunk.deferred_bytes[deferred.offset.0 as usize..]).next();
            if let Some(record) = record.filter(|record| record.op == Op::WriteRegion)
                && let Some(region) = directory.regions.position(RegionId(record.header.target))
            {
                writes.push(Write { order: (deferred.agent, deferred.sequence), region, record });
            }
        }
    }
    // In most frames they are in order already.
    if !writes.is_sorted_by_key(|write| write.order) {
        writes.sort_by_key(|write| write.order);
    }
    writes
}
