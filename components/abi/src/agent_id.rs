//! How an agent's id is put together. Ids are ordered by group, then by ordinal, then by generation.

/// Lowest bit of the group. Below it is the ordinal: the agent's number in its group, from 0.
pub const GROUP_SHIFT: u32 = 32;
/// Lowest bit of the generation: how many agents had the ordinal before.
pub const GENERATION_SHIFT: u32 = 44;
/// The highest number of a group.
pub const GROUP_MAX: u32 = (1 << (GENERATION_SHIFT - GROUP_SHIFT)) - 1;
/// The highest generation.
pub const GENERATION_MAX: u32 = (1 << (u64::BITS - GENERATION_SHIFT)) - 1;
