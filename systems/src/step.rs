//! Stage `Step`: the calls go through the port. Agents run in parallel there, and write nothing of the world.

use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_components::{Region, RegionState};

use crate::directory::Directory;
use crate::frame::{DigestOptions, FrameClock};
use crate::mailroom::{Mailroom, Outputs};
use crate::outbox::Desk;
use crate::ports::{AgentPort, StepBatch};
use crate::region::shared;
use crate::schedule::Calls;

/// Steps this frame's agents.
pub fn step_agents(
    clock: Res<FrameClock>,
    options: Res<DigestOptions>,
    calls: Res<Calls>,
    directory: Res<Directory>,
    mailroom: Res<Mailroom>,
    regions: Query<(&Region, &RegionState)>,
    mut port: ResMut<AgentPort>,
    mut outputs: ResMut<Outputs>,
) {
    let Outputs { now, before } = outputs.as_mut();
    let regions = shared(&directory, &regions);
    let batch = StepBatch {
        frame: clock.frame,
        digest_memories: options.memories,
        requests: &calls.requests,
        inbox: mailroom.view(before),
        regions: &regions,
        desk: Desk { frame: clock.frame, directory: &directory },
    };
    port.0.step(&batch, now);
    assert_eq!(now.outcomes.len(), calls.requests.len(), "the agent runtime gives one outcome for each request");
}
