//! Indexes into the tables of a world. Each table has an index type of its own, so that an index into one can't be used with another. An index
//! type has the size and the form of its number.

use core::fmt;
use core::ops::{Add, Sub};

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable, Serialize, Deserialize)]
        #[repr(transparent)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// Returns the index of an entry of a table. Tables have far fewer than 2^32 entries, see [`crate::limits`].
            #[inline]
            pub const fn of(index: usize) -> Self {
                debug_assert!(index <= u32::MAX as usize, "a table is bounded");
                Self(index as u32)
            }

            /// Returns the index as a `usize`, for a table that has one entry for each.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index! {
    /// Slot of an agent: its index in the dense tables of a world, and of its instance in the sandbox.
    ///
    /// Each group has a range of slots, one for each agent that it may have at one time. The agent with the ordinal `n` is in the group's first
    /// slot plus `n`. When an agent has ended, its slot may be given to another one: the [`AgentId`](crate::AgentId) says which of them is meant.
    AgentSlot
}

index! {
    /// Index of a group among the groups that take part in a run, in the order of their ids.
    GroupIndex
}

index! {
    /// Index of a topic among the topics of a run, in the order of their ids.
    TopicIndex
}

index! {
    /// Index of a shared region among the regions of a run, in the order of their ids.
    RegionIndex
}

/// Returns the slot that is a number of slots after this one.
impl Add<u32> for AgentSlot {
    type Output = Self;

    #[inline]
    fn add(self, slots: u32) -> Self {
        Self(self.0 + slots)
    }
}

/// Returns the number of slots from `first` to this one.
impl Sub for AgentSlot {
    type Output = u32;

    #[inline]
    fn sub(self, first: Self) -> u32 {
        self.0 - first.0
    }
}
