//! The table of the shared regions, and the rules by which they are written.

use std::ops::{Deref, Index};

use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use bevy_ecs::world::World;
use wasm_engine_abi::OutboxRecord;
use wasm_engine_components::{FaultKind, GroupId, RegionId, RegionIndex, RegionOwner, RegionSpec, RegionState};

use crate::codec::digest;
use crate::world::digest::PartDigest;
use crate::world::fault::CallFault;

/// The regions, in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct RegionTable(Vec<RegionRow>);

/// A region's row in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionRow {
    /// The region.
    pub id: RegionId,
    /// Its entity.
    pub entity: Entity,
    /// Its size in bytes.
    pub bytes: u32,
    /// Owner of the region: nobody else may write to it.
    pub writer: RegionOwner,
}

/// Writes of native systems in this frame, in order. Transient: `Commit` takes them.
#[derive(Resource, Debug, Default)]
pub struct NativeWrites(pub(crate) Vec<NativeWrite>);

/// One of those writes.
#[derive(Debug)]
pub(crate) struct NativeWrite {
    pub region: RegionIndex,
    /// Offset of the bytes in the region.
    pub start: u64,
    pub bytes: Vec<u8>,
}

/// The rule that a fault of kind [`FaultKind::BadRegionWrite`] is about, which is its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u32)]
#[non_exhaustive]
pub enum BadRegionWrite {
    /// There is no region of that number.
    #[error("there is no such region")]
    UnknownRegion = 1,
    /// Somebody else writes it.
    #[error("the region has another writer")]
    NotOwner = 2,
    /// Not all of the bytes lie inside the region.
    #[error("the bytes don't lie inside the region")]
    OutOfBounds = 3,
}

impl RegionTable {
    /// Returns the index of a region.
    pub(crate) fn position(&self, id: RegionId) -> Option<RegionIndex> {
        self.0.binary_search_by_key(&id, |region| region.id).ok().map(RegionIndex::of)
    }

    /// Returns the index of a region to which `writer` may write `bytes` bytes from `start` on.
    pub(crate) fn check_write(
        &self,
        writer: RegionOwner,
        region: RegionId,
        start: u64,
        bytes: usize,
    ) -> Result<RegionIndex, BadRegionWrite> {
        let index = self.position(region).ok_or(BadRegionWrite::UnknownRegion)?;
        let row = &self[index];
        if row.writer != writer {
            return Err(BadRegionWrite::NotOwner);
        }
        match start.checked_add(bytes as u64) {
            Some(end) if end <= u64::from(row.bytes) => Ok(index),
            _ => Err(BadRegionWrite::OutOfBounds),
        }
    }
}

impl Deref for RegionTable {
    type Target = [RegionRow];

    fn deref(&self) -> &[RegionRow] {
        &self.0
    }
}

impl Index<RegionIndex> for RegionTable {
    type Output = RegionRow;

    #[inline]
    fn index(&self, region: RegionIndex) -> &RegionRow {
        &self.0[region.index()]
    }
}

/// Checks a record of [`Op::WriteRegion`].
#[inline(never)]
pub(crate) fn check_record(regions: &RegionTable, group: GroupId, record: &OutboxRecord<'_>) -> Result<(), CallFault> {
    let (region, start) = (RegionId(record.header.target), record.header.correlation);
    let checked = regions.check_write(RegionOwner::Group(group), region, start, record.payload.len());
    checked.map(drop).map_err(|rule| {
        let (reached, allowed) = match regions.position(region) {
            Some(index) if rule == BadRegionWrite::OutOfBounds => {
                (start.saturating_add(record.payload.len() as u64), regions[index].bytes.into())
            }
            _ => (0, 0),
        };
        CallFault::past(FaultKind::BadRegionWrite, rule as u32, reached, allowed)
    })
}

/// Spawns regions of zeros. Returns their table, and their sum in the lane.
pub(crate) fn spawn_regions(world: &mut World, mut regions: Vec<RegionSpec>) -> (RegionTable, u128) {
    regions.sort_unstable_by_key(|region| region.id);
    assert!(regions.is_sorted_by(|a, b| a.id < b.id), "two regions have one number");
    let (mut table, mut lane) = (RegionTable::default(), 0_u128);
    for region in regions {
        let (id, bytes, writer) = (region.id, region.bytes, region.writer);
        let state = region.zeros();
        let part = digest::<RegionState>(id.0, &state);
        lane = lane.wrapping_add(part);
        let entity = world.spawn((region, state, PartDigest(part))).id();
        table.0.push(RegionRow { id, entity, bytes, writer });
    }
    (table, lane)
}
