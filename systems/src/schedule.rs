//! Stage `Schedule`: who is called in this frame.

use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Res, ResMut};
use wasm_engine_abi::CallKind;
use wasm_engine_components::Lifecycle;

use crate::directory::Directory;
use crate::ports::StepRequest;

/// The calls of this frame, in the order of the agents' ids. Transient.
#[derive(Resource, Debug, Default)]
pub struct Calls {
    /// The calls.
    pub requests: Vec<StepRequest>,
    /// The lifecycles that they were made from: [`Directory::changes`].
    made_from: Option<u64>,
}

/// Every active agent is stepped; one that is initialising is initialised, and its messages wait. Costs nothing in a frame in
/// which no lifecycle changed.
pub fn schedule_agents(directory: Res<Directory>, mut calls: ResMut<Calls>) {
    if calls.made_from == Some(directory.changes) {
        return;
    }
    calls.made_from = Some(directory.changes);
    calls.requests.clear();
    let agents = directory.ids.iter().zip(&directory.lifecycles).zip(0_u32..);
    calls.requests.extend(agents.filter_map(|((&agent, lifecycle), slot)| {
        let call = match lifecycle {
            Lifecycle::Active => CallKind::Step,
            Lifecycle::Initialising => CallKind::Init,
            Lifecycle::Terminating => CallKind::Shutdown,
            Lifecycle::Paused | Lifecycle::Faulted | Lifecycle::Terminated => return None,
        };
        Some(StepRequest { agent, slot, call })
    }));
}
