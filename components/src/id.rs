//! Stable ids. They order everything, are the same in every run, and are never reused.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};

/// The number of a group, from 1 in the order of the scenario file. Group 0 is the host.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u32);

/// An agent's id: its ordinal in the group in the lower 32 bits, its group in the next 12, and above them how often the ordinal
/// was used before. So a group's ids don't depend on how many agents other groups have, an ordinal may be used again, and an
/// id never is.
///
/// Ids are ordered by group, then by ordinal: agents that live at the same time lie in this order in every table.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[component(immutable)]
pub struct AgentId(pub u64);

/// Bits of an [`AgentId`] below its group, and below its generation.
const GROUP_SHIFT: u32 = 32;
const GENERATION_SHIFT: u32 = 44;
const _: () = assert!(crate::limits::GROUPS_MAX < 1 << (GENERATION_SHIFT - GROUP_SHIFT));

impl AgentId {
    /// The last generation of an ordinal, which isn't used again then.
    pub const GENERATION_MAX: u32 = (1 << (64 - GENERATION_SHIFT)) - 1;

    /// Returns the id of the first agent that has the ordinal in `group`.
    #[inline]
    pub const fn new(group: GroupId, ordinal: u32) -> Self {
        Self((group.0 as u64) << GROUP_SHIFT | ordinal as u64)
    }

    /// Returns the id of the agent that has the ordinal in `group` after `generation` others.
    pub const fn of_generation(group: GroupId, ordinal: u32, generation: u32) -> Self {
        Self(Self::new(group, ordinal).0 | (generation as u64) << GENERATION_SHIFT)
    }

    /// Returns the agent's group.
    #[inline]
    pub const fn group(self) -> GroupId {
        GroupId((self.0 >> GROUP_SHIFT) as u32 & ((1 << (GENERATION_SHIFT - GROUP_SHIFT)) - 1))
    }

    /// Returns the agent's number in its group, from 0.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the id")]
    #[inline]
    pub const fn ordinal(self) -> u32 {
        self.0 as u32
    }

    /// Returns how many agents had the ordinal before.
    #[inline]
    pub const fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// Returns the number by which ids are ordered: by group, then ordinal, then generation.
    #[inline]
    const fn rank(self) -> u64 {
        self.0.rotate_left(64 - GENERATION_SHIFT)
    }
}

impl Ord for AgentId {
    #[inline]
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for AgentId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl core::fmt::Display for AgentId {
    /// `group/ordinal`, and `#generation` where it isn't 0.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.group().0, self.ordinal())?;
        if self.generation() > 0 {
            write!(f, "#{}", self.generation())?;
        }
        Ok(())
    }
}

/// The number of a topic: [`wasm_engine_abi::name_id`] of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub u64);

/// The number of a model: [`wasm_engine_abi::name_id`] of its name in the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelId(pub u64);

/// The number of an inference job: jobs of a run are numbered in the order in which they are collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// The id of an entity that a native system of an author spawned, chosen by the author: no two entities have the same. Digests and
/// saved states of authors' components are keyed by it.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[component(immutable)]
pub struct StableId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_group_then_ordinal_then_generation() {
        let id = |group, ordinal, generation| AgentId::of_generation(GroupId(group), ordinal, generation);
        let sorted = [id(1, 0, 0), id(1, 0, 9), id(1, 1, 0), id(1, u32::MAX, 0), id(2, 0, 0), id(1_000, 3, 1)];
        assert!(sorted.is_sorted());
        let last = id(1_000, 7, AgentId::GENERATION_MAX);
        assert_eq!((last.group(), last.ordinal(), last.generation()), (GroupId(1_000), 7, AgentId::GENERATION_MAX));
        assert_eq!(AgentId::new(GroupId(3), 4), id(3, 4, 0));
        assert_eq!((id(3, 4, 0).to_string(), id(3, 4, 5).to_string()), ("3/4".to_owned(), "3/4#5".to_owned()));
    }
}
