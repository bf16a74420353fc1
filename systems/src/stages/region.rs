//! Shared regions: what the desk holds a write to, and how a frame's writes become a version. Everybody, agents and native
//! systems, reads what was committed in the last frame, for the whole of a frame.

use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res, ResMut, SystemParam};
use bevy_ecs::world::World;
use wasm_engine_abi::{CheckedOutbox, Op, OutboxRecord};
use wasm_engine_components::{AgentId, FaultKind, GroupId, Lane, Region, RegionId, RegionOwner, RegionState};

use crate::frame::FrameClock;
use crate::ports::{OutputChunk, SharedRegion};
use crate::stages::seal::PartDigest;
use crate::world::digest::{LaneSums, part_digest};
use crate::world::directory::Directory;
use crate::world::mailroom::Outputs;
use crate::world::outbox::Fault;

/// Which rule a fault of kind [`FaultKind::BadRegionWrite`] is about: its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BadRegionWrite {
    /// There is no region of that number.
    UnknownRegion = 1,
    /// Somebody else writes it.
    NotOwner = 2,
    /// Not all of the bytes lie inside the region.
    OutOfBounds = 3,
}

/// A region's place in the tables.
#[derive(Clone, Copy, Debug)]
pub struct RegionPlace {
    /// The region.
    pub id: RegionId,
    /// Its entity.
    pub entity: Entity,
    /// Its size in bytes.
    pub bytes: u32,
    /// Who writes it.
    pub writer: RegionOwner,
}

impl Directory {
    /// The position of a region in the order of ids.
    pub fn region_position(&self, id: RegionId) -> Option<usize> {
        self.regions.binary_search_by_key(&id, |region| region.id).ok()
    }

    /// The position of a region to which `writer` may write `bytes` bytes from `start` on.
    fn check_write(
        &self,
        writer: RegionOwner,
        region: RegionId,
        start: u64,
        bytes: usize,
    ) -> Result<usize, BadRegionWrite> {
        let at = self.region_position(region).ok_or(BadRegionWrite::UnknownRegion)?;
        let place = &self.regions[at];
        if place.writer != writer {
            return Err(BadRegionWrite::NotOwner);
        }
        match start.checked_add(bytes as u64) {
            Some(end) if end <= u64::from(place.bytes) => Ok(at),
            _ => Err(BadRegionWrite::OutOfBounds),
        }
    }
}

/// What the desk says to a record of [`Op::WriteRegion`].
#[inline(never)]
pub(crate) fn check_record(directory: &Directory, group: GroupId, record: &OutboxRecord<'_>) -> Result<(), Fault> {
    let (region, start) = (RegionId(record.header.target), record.header.correlation);
    let checked = directory.check_write(RegionOwner::Group(group), region, start, record.payload.len());
    checked.map(drop).map_err(|rule| {
        let (reached, allowed) = match directory.region_position(region) {
            Some(at) if rule == BadRegionWrite::OutOfBounds => {
                (start.saturating_add(record.payload.len() as u64), directory.regions[at].bytes.into())
            }
            _ => (0, 0),
        };
        Fault::past(FaultKind::BadRegionWrite, rule as u32, reached, allowed)
    })
}

/// Spawns regions, all zeros. Gives what they are in their lane.
pub(crate) fn spawn_regions(world: &mut World, mut regions: Vec<Region>, directory: &mut Directory) -> u128 {
    regions.sort_unstable_by_key(|region| region.id);
    assert!(regions.is_sorted_by(|a, b| a.id < b.id), "two regions have one number");
    let mut lane = 0_u128;
    for region in regions {
        let (id, bytes, writer) = (region.id, region.bytes, region.writer);
        let state = region.zeros();
        let part = digest(id, &state);
        lane = lane.wrapping_add(part);
        let entity = world.spawn((region, state, PartDigest(part))).id();
        directory.regions.push(RegionPlace { id, entity, bytes, writer });
    }
    lane
}

/// Two steps, so that the contents need no copy that has the numbers before it.
pub(crate) fn digest(id: RegionId, state: &RegionState) -> u128 {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&state.version.to_le_bytes());
    bytes[8..16].copy_from_slice(&state.since_frame.to_le_bytes());
    bytes[16..].copy_from_slice(&part_digest(Lane::Regions, id.0, &state.bytes).to_le_bytes());
    part_digest(Lane::Regions, id.0, &bytes)
}

/// The regions as the agents of this frame see them, in the order of their ids.
pub(crate) fn shared<'a>(directory: &Directory, regions: &'a Query<(&Region, &RegionState)>) -> Vec<SharedRegion<'a>> {
    let all = directory.regions.iter().filter_map(|place| regions.get(place.entity).ok());
    all.map(|(region, state)| SharedRegion { region, state }).collect()
}

/// Writes of native systems in this frame, in order. Transient: `Commit` takes them.
#[derive(Resource, Debug, Default)]
pub struct NativeWrites(Vec<NativeWrite>);

/// Position of the region, first byte, and bytes.
type NativeWrite = (usize, u64, Vec<u8>);

/// An agent's write that the desk has passed.
struct Write<'a> {
    /// Who wrote, and its place in the outbox: the order of the writes.
    by: (AgentId, u32),
    /// Position of the region.
    region: usize,
    record: OutboxRecord<'a>,
}

/// Makes one new version of each region to which there were writes in this frame.
pub fn commit_regions(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    outputs: Res<Outputs>,
    mut native: ResMut<NativeWrites>,
    mut lanes: ResMut<LaneSums>,
    mut regions: Query<(&mut RegionState, &mut PartDigest)>,
) {
    if directory.regions.is_empty() {
        return;
    }
    let mut changed = Vec::new();
    let mut apply = |at: usize, start: u64, bytes: &[u8]| {
        if let Ok((mut state, _)) = regions.get_mut(directory.regions[at].entity)
            && state.write(clock.frame, start, bytes)
        {
            changed.push(at);
        }
    };
    for write in writes(&directory, &outputs.now.chunks) {
        apply(write.region, write.record.header.correlation, write.record.payload);
    }
    for (at, start, bytes) in native.0.drain(..) {
        apply(at, start, &bytes);
    }
    for at in changed {
        let place = &directory.regions[at];
        let Ok((state, mut part)) = regions.get_mut(place.entity) else { continue };
        let after = digest(place.id, &state);
        lanes.regions = lanes.regions.wrapping_sub(part.0).wrapping_add(after);
        part.0 = after;
    }
}

/// The agents' writes of a frame in their order: by agent, then by place in the outbox.
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
        for other in &chunk.others {
            let record = CheckedOutbox::new(&chunk.other_bytes[other.offset as usize..]).next();
            if let Some(record) = record.filter(|record| record.op == Op::WriteRegion)
                && let Some(region) = directory.region_position(RegionId(record.header.target))
            {
                writes.push(Write { by: (other.agent, other.sequence), region, record });
            }
        }
    }
    // Mostly they come in order.
    if !writes.is_sorted_by_key(|write| write.by) {
        writes.sort_by_key(|write| write.by);
    }
    writes
}

/// What the shared regions held at the end of the last frame, which is what agents read in this one.
#[derive(SystemParam)]
pub struct Regions<'w, 's> {
    directory: Res<'w, Directory>,
    states: Query<'w, 's, &'static RegionState>,
}

impl Regions<'_, '_> {
    /// A region's version and bytes; `None` where there is no such region. Version 0 is all zeros.
    pub fn read(&self, region: RegionId) -> Option<(u64, &[u8])> {
        let at = self.directory.region_position(region)?;
        let state = self.states.get(self.directory.regions[at].entity).ok()?;
        Some((state.version, &state.bytes))
    }
}

/// Writes to regions whose writer is `native`, for systems in [`crate::AuthorSystems::Sense`] or
/// [`crate::AuthorSystems::Simulate`]. A frame's writes are committed at the end of its stage `Commit`, after both, and are read
/// from the next frame on, by the one who wrote, too. Two systems that write need an order between them, because it is the order
/// of the writes.
#[derive(SystemParam)]
pub struct RegionWriter<'w> {
    directory: Res<'w, Directory>,
    writes: ResMut<'w, NativeWrites>,
}

impl RegionWriter<'_> {
    /// Writes `bytes` to a region, from its byte `start` on.
    ///
    /// # Errors
    /// There is no such region, native systems aren't its writer, or the bytes don't lie inside it. Nothing is written then.
    pub fn write(&mut self, region: RegionId, start: u32, bytes: &[u8]) -> Result<(), BadRegionWrite> {
        let start = u64::from(start);
        let at = self.directory.check_write(RegionOwner::Native, region, start, bytes.len())?;
        self.writes.0.push((at, start, bytes.to_vec()));
        Ok(())
    }
}

impl std::fmt::Display for BadRegionWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UnknownRegion => "there is no such region",
            Self::NotOwner => "the region has another writer",
            Self::OutOfBounds => "the bytes don't lie inside the region",
        })
    }
}

impl std::error::Error for BadRegionWrite {}
