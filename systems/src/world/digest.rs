//! Digests. A lane is a sum, modulo 2^128, of the digests of its parts, each keyed by the part's stable id: the sum doesn't depend on
//! the order in which the parts are visited, and can be kept up to date by what changed. State is digested as it is saved, by
//! [`crate::codec::digest`]. Here are the digests of what belongs to one frame and isn't saved, and the sums of both kinds.

use std::collections::BTreeMap;

use bevy_ecs::component::Component;
use bevy_ecs::resource::Resource;
use wasm_engine_components::{AgentFault, AgentId, Digest, FaultHistory, Lane, Lanes, Lifecycle};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128_with_seed};

use crate::codec::digest_small;

/// The lanes of the frame so far. Those that are sums over parts which seldom change are carried from frame to frame.
/// Transient: made from state.
#[derive(Resource, Debug, Default)]
pub(crate) struct LaneSums {
    /// Inputs from outside.
    pub inputs: u128,
    /// Agents' lifecycles and fault histories, by index of the group. Carried.
    pub agents: Vec<u128>,
    /// Agents' outboxes, by index of the group.
    pub outboxes: Vec<u128>,
    /// Called agents' memories, by index of the group.
    pub memories: Vec<u128>,
    /// Faults of this frame, by index of the group.
    pub faults: Vec<u128>,
    /// Imported log lines of this frame, by index of the group.
    pub logs: Vec<u128>,
    /// Groups' counters, by index of the group.
    pub groups: Vec<u128>,
    /// Backlogs and counters of mailboxes. Carried.
    pub mailboxes: u128,
    /// Members of topics. Carried.
    pub topics: u128,
    /// Shared regions. Carried.
    pub regions: u128,
    /// Registered components of authors.
    pub native: u128,
    /// The part of each registered name in that.
    pub native_parts: BTreeMap<&'static str, u128>,
    /// The lanes of the engine's own state, whole: made of the above and of the rest of the state when the frame is sealed.
    pub state: Lanes,
}

/// Returns the sum of what groups, or others, add to a lane.
pub(crate) fn sum(parts: &[u128]) -> u128 {
    parts.iter().fold(0, |sum, &part| sum.wrapping_add(part))
}

impl LaneSums {
    /// Adds what an author registered under a name.
    pub(crate) fn add_native(&mut self, name: &'static str, sum: u128) {
        self.native = self.native.wrapping_add(sum);
        *self.native_parts.entry(name).or_default() = sum;
    }
}

/// Contribution of a part to its lane when it was last digested. Transient.
#[derive(Component, Clone, Copy, Debug, Default)]
pub(crate) struct PartDigest(pub u128);

/// The digests of the last frame: of the world, and of each group. State.
#[derive(Resource, Debug, Default)]
pub(crate) struct DigestChain {
    /// Of the world.
    pub world: Digest,
    /// Of the groups, by index.
    pub groups: Vec<Digest>,
}

/// Returns the digest of something of this frame: `bytes` under a stable id, or an index in a list.
pub(crate) fn part_digest(lane: Lane, id: u64, bytes: &[u8]) -> u128 {
    xxh3_128_with_seed(bytes, part_seed(lane, id))
}

/// Returns the digest of a non-empty outbox, as it is summed in the lane of outboxes: xxh3 with 64 bits. It is taken in each step of each
/// agent, and one with 128 bits would cost twice that for what is never more than some dozens of bytes.
#[inline]
pub(crate) fn outbox_digest(agent: AgentId, bytes: &[u8]) -> u128 {
    u128::from(xxh3_64_with_seed(bytes, part_seed(Lane::Outboxes, agent.0)))
}

/// Returns the digest of a fault, as it is summed in the lane of faults.
pub(crate) fn fault_digest(fault: &AgentFault) -> u128 {
    let AgentFault { agent, kind, detail, reached, allowed } = *fault;
    let mut bytes = [0; 21];
    bytes[0] = kind as u8;
    bytes[1..5].copy_from_slice(&detail.to_le_bytes());
    bytes[5..13].copy_from_slice(&reached.to_le_bytes());
    bytes[13..].copy_from_slice(&allowed.to_le_bytes());
    part_digest(Lane::Faults, agent.0, &bytes)
}

/// Returns what an agent adds to its lane.
pub(crate) fn agent_digest(id: AgentId, lifecycle: Lifecycle, history: &FaultHistory) -> u128 {
    let life = digest_small::<Lifecycle, 1>(id.0, lifecycle);
    // An agent that never faulted has no history, in a digest as in a snapshot.
    if *history == FaultHistory::default() {
        life
    } else {
        life.wrapping_add(digest_small::<FaultHistory, 17>(id.0, history))
    }
}

/// Returns the digest of an agent's linear memory, as it is summed in the lane of memories. It depends on all bytes, and on their number.
pub fn memory_digest(agent: AgentId, memory: &[u8]) -> u128 {
    xxh3_128_with_seed(memory, part_seed(Lane::Memories, agent.0)).wrapping_add(memory.len() as u128)
}

/// Returns the digest of several digests in their order, chained to the one of the frame before.
pub(crate) fn chain(before: Digest, frame: u64, parts: &[u128]) -> Digest {
    let mut bytes = Vec::with_capacity(24 + 16 * parts.len());
    bytes.extend_from_slice(&before.0.to_le_bytes());
    bytes.extend_from_slice(&frame.to_le_bytes());
    for part in parts {
        bytes.extend_from_slice(&part.to_le_bytes());
    }
    Digest(xxh3_128_with_seed(&bytes, xxh3_64(b"wasm-engine frame")))
}

/// Lanes have domains of their own: the same bytes under the same id differ from lane to lane.
#[inline]
const fn part_seed(lane: Lane, id: u64) -> u64 {
    // An odd multiplier is a bijection of the ids, the lane then moves them apart.
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((lane as u64 + 1) << 56)
}
