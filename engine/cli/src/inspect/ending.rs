//! Finds when an agent ended, and which agent has had its place since.

use bevy_ecs::world::World;
use serde::Serialize;
use wasm_engine_components::{AgentId, FrameRecord};
use wasm_engine_systems::inspect;

use crate::session::NotStarted;
use wasm_engine_core::scenario::Scenario;
use wasm_engine_core::simulation::Simulation;
use wasm_engine_core::time_travel::{RunReplayer, watch};

/// The end of an agent.
#[derive(Serialize)]
pub(super) struct Ending {
    /// The frame in which it ended; none where that was before the first frame of a branch.
    pub frame: Option<u64>,
    /// The agent that has its place, or got it first; `None` if none has yet.
    pub next: Option<String>,
}

impl Ending {
    /// Describes the end in words. `first_frame` is the run's.
    pub fn sentence(&self, agent: &str, first_frame: u64) -> String {
        match self.frame {
            Some(frame) => format!("{agent} ended in frame {frame}"),
            None => format!("{agent} ended before frame {first_frame}, with which this branch begins"),
        }
    }
}

/// Returns the agent that has the place of an agent: itself, or one before or after it; `None` if the place was never used.
pub(super) fn in_place(world: &World, id: AgentId) -> Option<AgentId> {
    inspect::agents(world, id.group()).get(id.ordinal() as usize).copied()
}

/// Returns the agent that has the place of an agent that has lost it.
pub(super) fn next(world: &World, id: AgentId) -> Option<AgentId> {
    in_place(world, id).filter(|there| there.generation() > id.generation())
}

/// Returns whether an agent has ended. One that wasn't spawned yet hasn't.
pub(super) fn has_ended(world: &World, id: AgentId) -> bool {
    match inspect::agent(world, id) {
        Some(agent) => !agent.lifecycle.is_alive(),
        None => next(world, id).is_some(),
    }
}

/// Returns the end of an agent that has ended after frame `at`. `world` is the one after that frame.
pub(super) fn ending(
    replayer: &RunReplayer<'_>,
    scenario: &Scenario,
    world: &World,
    id: AgentId,
    at: u64,
) -> Result<Ending, NotStarted> {
    let first = replayer.run.first_frame();
    let mut snapshots = replayer.run.snapshot_frames()?;
    snapshots.retain(|frame| (first..=at).contains(frame));
    let next = next(world, id).map(|next| scenario.agent_name(next));
    // An agent that has ended never lives again, so the last snapshot before the end is found by bisection.
    let (mut low, mut high, mut to) = (0, snapshots.len(), at + 1);
    while low < high {
        let middle = low.midpoint(high);
        match replayer.restore(snapshots[middle])? {
            Ok(arrival) if !has_ended(arrival.simulation.world(), id) => low = middle + 1,
            Ok(_) => (high, to) = (middle, snapshots[middle]),
            // A damaged snapshot is skipped; an earlier one does as well.
            Err(_) => high = middle,
        }
    }
    let from = low.checked_sub(1).map_or(first, |last| snapshots[last]);
    if to <= first || (low == 0 && ended_before(replayer, id)?) {
        return Ok(Ending { frame: None, next });
    }
    let mut frame = None;
    let mut visit = |record: &FrameRecord, simulation: &mut Simulation| {
        if frame.is_none() && has_ended(simulation.world(), id) {
            frame = Some(record.frame);
        }
    };
    watch(replayer, from, to, &mut visit)?;
    Ok(Ending { frame, next })
}

/// Returns whether an agent had ended before the run's first frame: only where the run is a branch.
pub(super) fn ended_before(replayer: &RunReplayer<'_>, id: AgentId) -> Result<bool, NotStarted> {
    let first = replayer.run.first_frame();
    Ok(first > 0 && has_ended(replayer.start(first)?.simulation.world(), id))
}
