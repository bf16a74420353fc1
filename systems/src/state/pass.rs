//! Contexts that are passed from part to part while a state is saved or loaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use bevy_ecs::query::QueryState;
use bevy_ecs::world::World;
use wasm_engine_components::{AgentId, AgentSlot, HeldMessage, InferenceJob, JobData};

use super::entity::{Entry, StateError};
use super::section::Section;
use crate::world::digest::LaneSums;
use crate::world::directory::Directory;
use crate::world::scheduler::Scheduler;

/// Context that is passed from part to part while a state is saved.
pub(super) struct Saving<'w> {
    pub world: &'w World,
    pub directory: &'w Directory,
    pub scheduler: &'w Scheduler,
    pub sums: &'w LaneSums,
    /// Finds the jobs, in no order.
    pub jobs: &'w mut QueryState<(&'static InferenceJob, &'static JobData)>,
    /// Runs of indexes of messages, for each mailbox in which some wait.
    pub backlogs: Vec<(AgentId, Vec<(u32, u32)>)>,
}

impl<'w> Saving<'w> {
    pub(super) fn new(world: &'w World, jobs: &'w mut QueryState<(&'static InferenceJob, &'static JobData)>) -> Self {
        let (directory, scheduler, sums) = (world.resource(), world.resource(), world.resource());
        Self { world, directory, scheduler, sums, jobs, backlogs: Vec::new() }
    }
}

/// Context that is passed from part to part while a state is loaded.
pub(super) struct Loading<'w> {
    pub world: &'w mut World,
    pub directory: &'w mut Directory,
    pub scheduler: &'w mut Scheduler,
    /// The frame that runs next.
    pub frame: u64,
    /// The messages that wait, by index.
    pub held: Vec<Arc<HeldMessage>>,
    /// Slots of the mailboxes that aren't as they were made.
    pub mailboxes: BTreeSet<AgentSlot>,
}

impl<'w> Loading<'w> {
    pub(super) fn new(world: &'w mut World, directory: &'w mut Directory, scheduler: &'w mut Scheduler) -> Self {
        let (held, mailboxes) = (Vec::new(), BTreeSet::new());
        Self { world, directory, scheduler, frame: 0, held, mailboxes }
    }
}

/// Returns the only entry of a section of the world.
pub(super) fn only(section: &Section) -> Result<Entry<'_>, StateError> {
    let mut items = section.items().filter(|entry| entry.id == 0);
    let (only, other) = (items.next(), section.len() > 1);
    only.filter(|_| !other).ok_or_else(|| StateError::Damaged { component: section.component.clone(), entity: None })
}
