//! Shared regions, read and written by native systems.

use bevy_ecs::system::{Query, Res, ResMut, SystemParam};
use wasm_engine_components::{RegionId, RegionOwner, RegionState};

use crate::world::directory::Directory;
use crate::world::regions::{BadRegionWrite, NativeWrite, NativeWrites};

/// Contents of the shared regions at the end of the last frame, which is what agents read in this one.
#[derive(SystemParam)]
pub struct Regions<'w, 's> {
    directory: Res<'w, Directory>,
    states: Query<'w, 's, &'static RegionState>,
}

impl Regions<'_, '_> {
    /// Returns a region's version and bytes; `None` if there is no such region. Version 0 is all zeros.
    pub fn read(&self, region: RegionId) -> Option<(u64, &[u8])> {
        let index = self.directory.regions.position(region)?;
        let state = self.states.get(self.directory.regions[index].entity).ok()?;
        Some((state.version, &state.bytes))
    }
}

/// Writes to regions whose writer is `native`, for systems in [`crate::AuthorSystems::Sense`] or
/// [`crate::AuthorSystems::Simulate`]. A frame's writes are committed at the end of its stage `Commit`, after both sets.
/// Everybody, also the system that wrote, reads them from the next frame on. Two systems that write need an order between them,
/// because it is the order of the writes.
#[derive(SystemParam)]
pub struct RegionWriter<'w> {
    directory: Res<'w, Directory>,
    writes: ResMut<'w, NativeWrites>,
}

impl RegionWriter<'_> {
    /// Writes `bytes` to a region, starting at its byte `start`.
    ///
    /// # Errors
    /// There is no such region, native systems aren't its writer, or the bytes don't lie inside it. Nothing is written then.
    pub fn write(&mut self, region: RegionId, start: u32, bytes: &[u8]) -> Result<(), BadRegionWrite> {
        let start = u64::from(start);
        let region = self.directory.regions.check_write(RegionOwner::Native, region, start, bytes.len())?;
        self.writes.0.push(NativeWrite { region, start, bytes: bytes.to_vec() });
        Ok(())
    }
}
