//! Topics: named lists of agents. What is published to a topic reaches each member.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};

use crate::{AgentId, TopicId};

/// A topic that the scenario declares.
#[derive(Component, Clone, Debug)]
pub struct Topic {
    /// The number of its name.
    pub id: TopicId,
    /// Its name.
    pub name: String,
}

/// The members of a topic, sorted by id. State.
#[derive(Component, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members(pub Vec<AgentId>);

impl Members {
    /// Adds an agent; `false` if it was a member already.
    pub fn join(&mut self, agent: AgentId) -> bool {
        match self.0.binary_search(&agent) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, agent);
                true
            }
        }
    }

    /// Removes an agent; `false` if it wasn't a member.
    pub fn leave(&mut self, agent: AgentId) -> bool {
        match self.0.binary_search(&agent) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }
}
