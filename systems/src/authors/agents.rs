//! The agents, as native systems see them.

use bevy_ecs::system::{Res, SystemParam};
use wasm_engine_components::{AgentId, GroupId, Lifecycle};

use crate::world::directory::Directory;
use crate::world::groups::GroupRange;

/// The agents that there are, and the lifecycle of each.
#[derive(SystemParam)]
pub struct Agents<'w> {
    directory: Res<'w, Directory>,
}

impl Agents<'_> {
    /// Returns the agents of a group that haven't ended, in the order of their ids.
    pub fn agents(&self, group: GroupId) -> impl Iterator<Item = (AgentId, Lifecycle)> {
        let slots = self.directory.group(group).into_iter().flat_map(GroupRange::slots);
        let all = slots.map(|slot| (self.directory.ids[slot.index()], self.directory.lifecycles[slot.index()]));
        all.filter(|(_, lifecycle)| lifecycle.is_alive())
    }

    /// Returns an agent's lifecycle; `None` if there is no such agent, or another one has its ordinal by now.
    pub fn lifecycle(&self, agent: AgentId) -> Option<Lifecycle> {
        self.directory.slot(agent).map(|slot| self.directory.lifecycles[slot.index()])
    }
}
