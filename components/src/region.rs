//! Shared regions: named bytes with one writer and many readers. What is written in a frame is read from the next one on.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::name_id;

use crate::group::ids_taking_part;
use crate::{GroupId, GroupSpec};

/// The number of a region: [`wasm_engine_abi::name_id`] of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegionId(pub u64);

/// A shared region: all that a scenario says of it. Fixed for a run.
#[derive(Component, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RegionSpec {
    /// The number of its name.
    pub id: RegionId,
    /// Its name.
    pub name: String,
    /// Its size in bytes, at least 1.
    pub bytes: u32,
    /// Owner of the region: nobody else may write to it.
    pub writer: RegionOwner,
    /// The groups whose agents read it, sorted. Default: none.
    pub readers: Vec<GroupId>,
}

/// Owner of a region, which alone may write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegionOwner {
    /// The agents of a group.
    Group(GroupId),
    /// Native systems.
    Native,
}

/// Contents of a region, and its version. State.
#[derive(Component, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionState {
    /// Number of frames that have written to it. While it is 0, all bytes are zeros.
    pub version: u64,
    /// The first frame in which this version is read; 0 for version 0. An agent that was called in that frame or later has this version already.
    pub since_frame: u64,
    /// Its bytes, as many as its spec says.
    pub bytes: Vec<u8>,
}

impl RegionSpec {
    /// Returns a region that only its writer and native systems know of.
    pub fn new(name: impl Into<String>, bytes: u32, writer: RegionOwner) -> Self {
        let name = name.into();
        Self { id: RegionId(name_id(&name)), name, bytes, writer, readers: Vec::new() }
    }

    /// Returns the region after a change.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns the region without those readers that take no part in a run.
    #[must_use]
    pub fn read_by(&self, groups: &[GroupSpec]) -> Self {
        let ids = ids_taking_part(groups);
        self.clone().with(|region| region.readers.retain(|reader| ids.contains(reader)))
    }

    /// Returns what the region holds before its first write.
    pub fn zeros(&self) -> RegionState {
        RegionState { version: 0, since_frame: 0, bytes: vec![0; self.bytes as usize] }
    }
}

impl RegionState {
    /// Writes `bytes` from the byte `start` on, in `frame`. All writes of one frame make one version. What doesn't lie inside
    /// the region isn't written. Returns whether this was the version's first write.
    pub fn write(&mut self, frame: u64, start: u64, bytes: &[u8]) -> bool {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        let Some(target) = self.bytes.get_mut(start..end) else { return false };
        target.copy_from_slice(bytes);
        let first = self.since_frame != frame + 1;
        if first {
            self.version += 1;
            self.since_frame = frame + 1;
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writes_of_a_frame_make_one_version() {
        let mut state = RegionSpec::new("a", 4, RegionOwner::Native).zeros();
        assert_eq!((state.write(0, 3, &[1]), state.write(0, 0, &[2, 3]), state.write(1, 4, &[])), (true, false, true));
        assert_eq!(state, RegionState { version: 2, since_frame: 2, bytes: vec![2, 3, 0, 1] });
        for (start, bytes) in [(4, &[9][..]), (1, &[9; 4]), (u64::MAX, &[9]), (u64::MAX - 1, &[9, 9])] {
            assert!(!state.write(2, start, bytes));
        }
        assert_eq!(state, RegionState { version: 2, since_frame: 2, bytes: vec![2, 3, 0, 1] });
    }
}
