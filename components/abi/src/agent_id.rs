//! The parts of an agent's id: the ordinal in the lowest bits, then the group, then the generation. Ids are ordered by group, ordinal, generation.

/// Index of the lowest bit of the group. Below it is the ordinal: the agent's number in its group, from 0.
pub const GROUP_SHIFT: u32 = 32;
/// Index of the lowest bit of the generation: the number of agents that had the same group and ordinal before.
pub const GENERATION_SHIFT: u32 = 44;
/// Highest number of a group.
pub const GROUP_MAX: u32 = (1 << (GENERATION_SHIFT - GROUP_SHIFT)) - 1;
/// Highest generation.
pub const GENERATION_MAX: u32 = (1 << (u64::BITS - GENERATION_SHIFT)) - 1;
