//! Stage `Schedule`: who is called in this frame, and with which inbox.

use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Res, ResMut};
use wasm_engine_abi::CallKind;
use wasm_engine_components::Lifecycle;

use crate::directory::Directory;
use crate::mailroom::Mailroom;
use crate::ports::StepRequest;

/// The calls of this frame, in the order of the agents' ids. Transient.
#[derive(Resource, Debug, Default)]
pub struct Calls(pub Vec<StepRequest>);

/// Every active agent is stepped; one that is initialising is initialised, and its messages wait.
pub fn schedule_agents(directory: Res<Directory>, mailroom: Res<Mailroom>, mut calls: ResMut<Calls>) {
    calls.0.clear();
    let agents = directory.ids.iter().zip(&directory.lifecycles).zip(&mailroom.slots).zip(0_u32..);
    calls.0.extend(agents.filter_map(|(((&agent, lifecycle), inbox), slot)| match lifecycle {
        Lifecycle::Active => {
            Some(StepRequest { agent, slot, call: CallKind::Step, inbox_start: inbox.start, inbox_len: inbox.filled })
        }
        Lifecycle::Initialising => {
            Some(StepRequest { agent, slot, call: CallKind::Init, inbox_start: 0, inbox_len: 0 })
        }
        Lifecycle::Paused | Lifecycle::Faulted | Lifecycle::Terminated => None,
    }));
}
