//! What differs between two simulations: entries of their worlds' states, and bytes of their agents' memories.

use wasm_engine_components::{AgentId, Lane, Lanes};
use wasm_engine_systems::directory::Directory;
use wasm_engine_systems::state::{StateDifference, save_state, stage_of};

use crate::simulation::Simulation;

/// How many differences of each sort are shown: so many entries of the worlds' states, and so many parts of memories.
pub const DIFFERENCES_MAX: usize = 16;

/// The section that holds the digests of the frames so far.
const CHAIN: &str = "DigestChain";

/// What differs between a left and a right simulation.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// In their worlds, the first ones in the order of a frame's stages.
    pub state: Vec<StateDifference>,
    /// Whether there may be more of those: as many were found as were looked for.
    pub state_cut: bool,
    /// In their agents' memories, the first ones in the order of the agents' ids.
    pub memories: Vec<MemoryDifference>,
    /// Whether there are more of those.
    pub memories_cut: bool,
}

/// An agent whose memory differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryDifference {
    /// Whose.
    pub agent: AgentId,
    /// What: the linear memory, or its globals.
    pub part: MemoryPart,
    /// Address of the first byte that differs.
    pub offset: usize,
    /// Some bytes from there on, on the left. Empty beyond the end.
    pub left: Vec<u8>,
    /// On the right.
    pub right: Vec<u8>,
}

/// A part of an agent's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryPart {
    /// The linear memory.
    Linear,
    /// The mutable globals, side by side.
    Globals,
}

impl Comparison {
    /// Whether nothing differs.
    pub const fn is_empty(&self) -> bool {
        self.state.is_empty() && self.memories.is_empty()
    }
}

/// Compares two simulations of one run between two frames.
pub fn compare(left: &mut Simulation, right: &mut Simulation) -> Comparison {
    let states = [save_state(left.world_mut()), save_state(right.world_mut())];
    let mut state = states[0].differences(&states[1], DIFFERENCES_MAX);
    let state_cut = state.len() >= DIFFERENCES_MAX;
    // The chain of digests differs wherever anything does: it is no news.
    state.retain(|difference| difference.component != CHAIN);
    let ids = left.world().resource::<Directory>().ids.clone();
    let mut memories = Vec::new();
    for (&agent, slot) in ids.iter().zip(0..) {
        let pairs = [
            (MemoryPart::Linear, left.guests().memory(slot), right.guests().memory(slot)),
            (MemoryPart::Globals, globals(left, slot), globals(right, slot)),
        ];
        for (part, left, right) in pairs {
            let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
            memories.extend(difference(agent, part, &left, &right));
        }
        // One more than is shown is looked for, to know whether that was all.
        if memories.len() > DIFFERENCES_MAX {
            break;
        }
    }
    let memories_cut = memories.len() > DIFFERENCES_MAX;
    memories.truncate(DIFFERENCES_MAX);
    Comparison { state, state_cut, memories, memories_cut }
}

/// The lanes in which two frames differ, in the order in which a frame comes to them.
pub(super) fn differing_lanes(left: &Lanes, right: &Lanes) -> Vec<Lane> {
    let mut lanes: Vec<_> = Lane::ALL.into_iter().filter(|&lane| left[lane] != right[lane]).collect();
    lanes.sort_by_key(|&lane| stage_of(lane));
    lanes
}

fn globals(simulation: &mut Simulation, slot: u32) -> Option<Vec<u8>> {
    let globals = simulation.guests().globals(slot)?;
    Some(globals.into_iter().flat_map(|global| global.value.bytes()).collect())
}

fn difference(agent: AgentId, part: MemoryPart, left: &[u8], right: &[u8]) -> Option<MemoryDifference> {
    let offset = left.iter().zip(right).position(|(a, b)| a != b);
    let offset = offset.or_else(|| (left.len() != right.len()).then_some(left.len().min(right.len())))?;
    let some = |bytes: &[u8]| bytes.iter().skip(offset).take(16).copied().collect();
    Some(MemoryDifference { agent, part, offset, left: some(left), right: some(right) })
}
