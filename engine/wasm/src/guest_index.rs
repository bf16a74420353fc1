//! Which guest of a shard is meant.

use core::ops::{Add, Range};

use wasm_engine_components::AgentSlot;

/// Index of a guest in its shard: how far its agent's slot is from the first one of the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(super) struct GuestIndex(pub u32);

impl GuestIndex {
    /// Returns the indexes from one number to another. A shard has far fewer than 2^32 guests.
    #[inline]
    pub(super) fn range(guests: Range<usize>) -> impl DoubleEndedIterator<Item = Self> {
        debug_assert!(guests.end <= u32::MAX as usize, "a shard is bounded");
        guests.map(|index| Self(index as u32))
    }

    /// Returns the index as a `usize`, for a table that has one entry for each guest.
    #[inline]
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Returns the slot of a guest in the shard that has this first slot.
impl Add<GuestIndex> for AgentSlot {
    type Output = Self;

    #[inline]
    fn add(self, guest: GuestIndex) -> Self {
        self + guest.0
    }
}
