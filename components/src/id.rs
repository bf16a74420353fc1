//! Stable ids. They order everything, are the same in every run, and are never reused.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};

/// The number of a group, from 1 in the order of the scenario file. Group 0 is the host.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u32);

/// An agent's id: its group in the upper 32 bits, its ordinal in the group in the lower. So a group's ids don't depend on
/// how many agents other groups have.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[component(immutable)]
pub struct AgentId(pub u64);

impl AgentId {
    /// The id of the agent with number `ordinal` in `group`.
    #[inline]
    pub const fn new(group: GroupId, ordinal: u32) -> Self {
        Self((group.0 as u64) << 32 | ordinal as u64)
    }

    /// The agent's group.
    #[inline]
    pub const fn group(self) -> GroupId {
        GroupId((self.0 >> 32) as u32)
    }

    /// The agent's number in its group, from 0.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the id")]
    #[inline]
    pub const fn ordinal(self) -> u32 {
        self.0 as u32
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

/// The id of an entity that a native system of an author spawned, chosen by the author, unique among those that share a
/// registered component. The digest of authors' components is keyed by it.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[component(immutable)]
pub struct StableId(pub u64);
