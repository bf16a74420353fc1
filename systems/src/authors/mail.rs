//! What agents are given, read by native systems.

use bevy_ecs::system::{Query, Res, SystemParam};
use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{AgentId, Backlog, TopicId};

use crate::world::directory::Directory;
use crate::world::mailroom::{Mailroom, Outputs};

/// What agents are about to read: for systems in [`crate::AuthorSystems::Sense`].
#[derive(SystemParam)]
pub struct Mail<'w, 's> {
    backlogs: Query<'w, 's, &'static Backlog>,
    directory: Res<'w, Directory>,
    mailroom: Res<'w, Mailroom>,
    outputs: Res<'w, Outputs>,
}

impl Mail<'_, '_> {
    /// An agent's mailbox in this frame, in the order in which the agent sees it: headers and payloads of what waited, and of
    /// what arrived. Empty for an agent that doesn't exist.
    pub fn inbox(&self, agent: AgentId) -> impl Iterator<Item = (&MessageHeader, &[u8])> {
        let index = self.directory.index(agent);
        let backlog = index.and_then(|index| self.backlogs.get(self.directory.mailboxes[index as usize]).ok());
        let held = backlog.into_iter().flat_map(Backlog::iter);
        let held = held.map(|held| (&held.header, &*held.payload));
        held.chain(index.into_iter().flat_map(|index| self.mailroom.inbox(&self.outputs, index)))
    }

    /// What reaches the members of a topic in this frame, lowest sender first. So a native system listens to agents.
    pub fn published(&self, topic: TopicId) -> impl Iterator<Item = (&MessageHeader, &[u8])> {
        let topic = self.directory.topic(topic);
        topic.into_iter().flat_map(|topic| self.mailroom.published(&self.outputs, topic))
    }
}
