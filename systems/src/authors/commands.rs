//! Commands of native systems: agents are spawned, paused, resumed, ended and restarted, modules and models swapped.

use bevy_ecs::system::{Res, ResMut, SystemParam};
use wasm_engine_components::{Action, AgentId, GroupId, LifecycleAction, Swap};

use crate::authors::mail::{MailError, check_message};
use crate::world::commands::PendingCommands;
use crate::world::directory::Directory;
use crate::world::swaps::RequestedSwaps;

/// Commands of native systems. They take effect at the start of the next frame, before those of agents. Two systems that give
/// commands need an order between them.
#[derive(SystemParam)]
pub struct AgentCommands<'w> {
    directory: Res<'w, Directory>,
    pending: ResMut<'w, PendingCommands>,
    swaps: ResMut<'w, RequestedSwaps>,
}

impl AgentCommands<'_> {
    /// Replaces a group's module, or the model behind a name, from the next frame on. An entry of the scenario's `[[swaps]]` must
    /// have prepared it; otherwise the record says that it was refused.
    pub fn swap(&mut self, swap: Swap) {
        self.swaps.0.push(swap);
    }

    /// Spawns an agent in a group that has room for one (`agents_max`). A payload becomes its first message.
    ///
    /// # Errors
    /// There is no such group, or the message breaks a limit.
    pub fn spawn(&mut self, group: GroupId, kind: u32, payload: &[u8]) -> Result<(), MailError> {
        self.directory.group(group).ok_or(MailError::Unknown)?;
        check_message(kind, payload)?;
        self.pending.native.push(Action::Spawn { group, kind, payload: payload.to_vec() });
        Ok(())
    }

    /// Pauses, resumes, terminates or restarts an agent. An action that doesn't fit the agent's state when it takes effect is
    /// counted as refused.
    ///
    /// # Errors
    /// There is no such agent.
    pub fn apply(&mut self, agent: AgentId, action: LifecycleAction) -> Result<(), MailError> {
        self.directory.slot(agent).ok_or(MailError::Unknown)?;
        self.pending.native.push(Action::Agent(agent, action));
        Ok(())
    }
}
