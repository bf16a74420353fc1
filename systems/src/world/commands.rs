//! Commands that wait for the next frame.

use bevy_ecs::resource::Resource;
use wasm_engine_components::{Action, Command, Issuer, Lane};

use crate::world::digest::part_digest;

/// Commands that take effect in the next frame. State.
#[derive(Resource, Debug, Default)]
pub struct PendingCommands {
    /// Of native systems, in the order in which they were given.
    pub native: Vec<Action>,
    /// Of agents, by id and sequence.
    pub agents: Vec<Command>,
}

impl PendingCommands {
    /// The digest of what takes effect in the next frame.
    pub(crate) fn digest(&self) -> u128 {
        let native = self.native.iter().zip(0_u64..).map(|(action, at)| (at, action_bytes(action)));
        let agents = self.agents.iter().zip(1_u64 << 32..).map(|(command, at)| {
            let mut bytes = action_bytes(&command.action);
            if let Issuer::Agent { id, correlation, sequence } = command.issuer {
                bytes.extend_from_slice(&id.0.to_le_bytes());
                bytes.extend_from_slice(&correlation.to_le_bytes());
                bytes.extend_from_slice(&sequence.to_le_bytes());
            }
            (at, bytes)
        });
        let parts = native.chain(agents).map(|(at, bytes)| part_digest(Lane::Commands, at, &bytes));
        parts.fold(0, u128::wrapping_add)
    }
}

/// A command as it is digested.
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
