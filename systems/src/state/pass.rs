//! What saving and loading go through, from part to part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use wasm_engine_components::{AgentId, HeldMessage};

use super::entity::{Entry, StateError};
use super::section::Section;
use crate::world::directory::Directory;
use crate::world::scheduler::Scheduler;

/// What saving goes through.
pub(super) struct Saving<'w> {
    pub world: &'w World,
    pub directory: &'w Directory,
    /// Runs of places of messages, for each mailbox in which some wait.
    pub backlogs: Vec<(AgentId, Vec<(u32, u32)>)>,
}

impl<'w> Saving<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        Self { world, directory: world.resource(), backlogs: Vec::new() }
    }
}

/// What loading goes through.
pub(super) struct Loading<'w> {
    pub world: &'w mut World,
    pub directory: &'w mut Directory,
    pub scheduler: &'w mut Scheduler,
    /// The frame that runs next.
    pub frame: u64,
    /// What waits, by place.
    pub held: Vec<Arc<HeldMessage>>,
    pub jobs: BTreeMap<u64, Entity>,
    /// Positions of the mailboxes that aren't as they were made.
    pub mailboxes: BTreeSet<u32>,
}

impl<'w> Loading<'w> {
    pub(super) fn new(world: &'w mut World, directory: &'w mut Directory, scheduler: &'w mut Scheduler) -> Self {
        let (held, jobs, mailboxes) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self { world, directory, scheduler, frame: 0, held, jobs, mailboxes }
    }
}

/// The only entry of a section of the world.
pub(super) fn only(section: &Section) -> Result<Entry<'_>, StateError> {
    let mut items = section.items().filter(|entry| entry.id == 0);
    let (only, other) = (items.next(), section.len() > 1);
    only.filter(|_| !other).ok_or_else(|| StateError::Damaged { component: section.component.clone(), entity: None })
}
