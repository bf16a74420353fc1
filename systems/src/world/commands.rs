//! Commands that wait for the next frame.

use bevy_ecs::resource::Resource;
use wasm_engine_components::{Action, Command};

/// Commands that take effect in the next frame. State.
#[derive(Resource, Debug, Default)]
pub struct PendingCommands {
    /// Of native systems, in the order in which they were given.
    pub native: Vec<Action>,
    /// Of agents, by id and sequence.
    pub agents: Vec<Command>,
}

/// Returns the bytes of a command that is an input, for its digest.
pub(crate) fn action_bytes(action: &Action) -> Vec<u8> {
    match action {
        Action::Spawn { group, kind, payload } => {
            let mut bytes = vec![u8::MAX];
            bytes.extend_from_slice(&group.0.to_le_bytes());
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(payload);
            bytes
        }
        Action::Agent(agent, order) => {
            let mut bytes = vec![*order as u8];
            bytes.extend_from_slice(&agent.0.to_le_bytes());
            bytes
        }
    }
}
