//! Differences of two simulations: entries of their worlds' states, and bytes of their agents' memories.

use wasm_engine_components::{AgentId, Lane, Lanes};
use wasm_engine_systems::inspect;
use wasm_engine_systems::state::{
    ByteDifference, FieldDifference, FieldValue, Layouts, StateDifference, StateEntity, save_state, stage_of,
};

use crate::simulation::Simulation;
use wasm_engine_wasm::GuestGlobal;

/// Largest number of differences that are shown of each sort: entries of the worlds' states, and parts of memories.
pub const DIFFERENCES_MAX: usize = 16;

/// The section that holds the digests of the frames so far.
const CHAIN: &str = "DigestChain";

/// Differences of a left and a right simulation.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Differences in their worlds: the first ones, in the order of a frame's stages.
    pub state: Vec<StateDifference>,
    /// Whether there may be more differences in the worlds: the search ended at its bound.
    pub state_cut: bool,
    /// Differences in their agents' memories: the first ones, in the order of the agents' ids.
    pub memories: Vec<StateDifference>,
    /// Whether there are more differences in memories.
    pub memories_cut: bool,
}

impl Comparison {
    /// Returns whether nothing differs.
    pub const fn is_empty(&self) -> bool {
        self.state.is_empty() && self.memories.is_empty()
    }
}

/// Compares two simulations of one run between two frames.
pub fn compare(left: &mut Simulation, right: &mut Simulation) -> Comparison {
    let states = [save_state(left.world_mut()), save_state(right.world_mut())];
    let mut state = states[0].differences(&states[1], &Layouts::of(left.world()), DIFFERENCES_MAX);
    let state_cut = state.len() >= DIFFERENCES_MAX;
    // The chain of digests differs wherever anything does, so it is left out.
    state.retain(|difference| difference.component != CHAIN);
    // Agents of either simulation: their scenarios may have different numbers of agents.
    let ids = |simulation: &Simulation| inspect::slots(simulation.world()).to_vec();
    let mut agents = [ids(left), ids(right)].concat();
    agents.sort_unstable();
    agents.dedup();
    let mut memories = Vec::new();
    for agent in agents {
        let (a, b) = (Guest::of(left, agent), Guest::of(right, agent));
        memories.extend(differing(agent, "memory", (a.memory.as_deref(), b.memory.as_deref()), Vec::new()));
        let [of_a, of_b] = [&a, &b].map(|guest| guest.globals.as_ref().map(|globals| bytes_of(globals)));
        memories.extend(differing(agent, "globals", (of_a.as_deref(), of_b.as_deref()), differing_globals(&a, &b)));
        // One more than is shown is searched for, to find out whether there are more.
        if memories.len() > DIFFERENCES_MAX {
            break;
        }
    }
    let memories_cut = memories.len() > DIFFERENCES_MAX;
    memories.truncate(DIFFERENCES_MAX);
    Comparison { state, state_cut, memories, memories_cut }
}

/// Returns the lanes in which two frames differ, in the order in which a frame comes to them.
pub(super) fn differing_lanes(left: &Lanes, right: &Lanes) -> Vec<Lane> {
    let mut lanes: Vec<_> = Lane::ALL.into_iter().filter(|&lane| left[lane] != right[lane]).collect();
    lanes.sort_by_key(|&lane| stage_of(lane));
    lanes
}

/// Returns an agent's memory in its module's instance; empty if it has none.
struct Guest {
    memory: Option<Vec<u8>>,
    globals: Option<Vec<GuestGlobal>>,
}

impl Guest {
    fn of(simulation: &mut Simulation, agent: AgentId) -> Self {
        let slot = inspect::slot(simulation.world(), agent);
        let guests = simulation.guests();
        Self { memory: slot.and_then(|slot| guests.memory(slot)), globals: slot.and_then(|slot| guests.globals(slot)) }
    }
}

/// Returns the globals side by side.
fn bytes_of(globals: &[GuestGlobal]) -> Vec<u8> {
    globals.iter().flat_map(|global| global.value.bytes()).collect()
}

/// Returns the globals that differ, by their index in the module.
fn differing_globals(left: &Guest, right: &Guest) -> Vec<FieldDifference> {
    let [a, b] = [left, right].map(|guest| guest.globals.as_deref().unwrap_or_default());
    let (mut found, mut offset) = (Vec::new(), 0);
    for at in 0..a.len().max(b.len()) {
        let (one, other) = (a.get(at), b.get(at));
        if one != other
            && let Some(global) = one.or(other)
        {
            let value = |global: &GuestGlobal| FieldValue::Text(global.value.to_string());
            let (left, right) = (one.map(value), other.map(value));
            found.push(FieldDifference { name: format!("global {}", global.index), offset, left, right });
        }
        offset += one.or(other).map_or(0, |global| global.value.bytes().len());
    }
    found.truncate(StateDifference::FIELDS_MAX);
    found
}

fn differing(
    agent: AgentId,
    part: &str,
    (left, right): (Option<&[u8]>, Option<&[u8]>),
    fields: Vec<FieldDifference>,
) -> Option<StateDifference> {
    Some(StateDifference {
        lane: Lane::Memories,
        stage: stage_of(Lane::Memories),
        component: part.to_owned(),
        entity: StateEntity::Agent(agent),
        bytes: ByteDifference::of(left, right)?,
        field: fields.first().map(|field| field.name.clone()),
        fields,
    })
}
