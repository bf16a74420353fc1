//! What tests of this workspace see of a world and do to it, beyond what other crates may. Nothing else uses it.

use std::sync::Arc;

use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{
    AgentId, AgentSlot, Digest, GroupId, GroupLimits, GroupSpec, Lane, Lifecycle, Mailbox, ModelId, OverflowPolicy,
    RecipientSlot, TopicId,
};

use crate::state::WorldState;
pub use crate::world::backlog::held_message;
use crate::world::chunk::StepResults;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::mailroom::{AgentOutputs, Mailroom};
use crate::world::models::ModelTable;
use crate::world::outbox::OutboxIntake;
use crate::world::scheduler::Restarts;

/// Returns a directory in which there is each agent of one group, and some topics: for a runtime without a world.
pub fn directory(group: &GroupSpec, topics: &[TopicId]) -> Directory {
    let mailbox = Mailbox { capacity_messages: 0, capacity_bytes: 0, overflow: OverflowPolicy::Reject };
    let group = GroupRange::new(Arc::new(group.clone()), Entity::PLACEHOLDER, AgentSlot(0), mailbox);
    let topics = topics.iter().map(|&topic| (topic, Entity::PLACEHOLDER)).collect();
    Directory { groups: vec![group].into(), topics, ..Directory::default() }
}

/// Returns the limits of a group, as whoever takes outboxes finds them.
pub fn limits(intake: &OutboxIntake<'_>, group: GroupId) -> Option<GroupLimits> {
    intake.directory.group(group).map(|group| group.spec.limits)
}

/// What the dense tables say of the agents of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupCounts {
    /// The group.
    pub id: GroupId,
    /// Number of agents that haven't ended.
    pub alive: u32,
    /// Of those, number of agents that aren't active.
    pub inactive: u32,
    /// Number of slots that wait until they may be used again.
    pub vacating: usize,
}

/// Returns what the dense tables say of each group, in the order of ids.
pub fn groups(world: &World) -> Vec<GroupCounts> {
    let counts = |group: &GroupRange| GroupCounts {
        id: group.id,
        alive: group.alive,
        inactive: group.inactive,
        vacating: group.vacating.len(),
    };
    world.resource::<Directory>().groups.iter().map(counts).collect()
}

/// Returns the number of all agents that haven't ended and aren't active, as the dense tables say.
pub fn inactive(world: &World) -> usize {
    world.resource::<Directory>().inactive
}

/// Returns an agent's lifecycle, as the dense tables say.
pub fn lifecycle(world: &World, agent: AgentId) -> Option<Lifecycle> {
    let directory = world.resource::<Directory>();
    directory.slot(agent).map(|slot| directory.lifecycles[slot.index()])
}

/// Returns an agent's entity.
pub fn entity(world: &World, agent: AgentId) -> Option<Entity> {
    let directory = world.resource::<Directory>();
    directory.slot(agent).map(|slot| directory.agents[slot.index()])
}

/// Returns the number of agents that start again in a later frame.
pub fn restarts(world: &World) -> usize {
    world.resource::<Restarts>().0.len()
}

/// Returns whether a model failed an audit, and the frame in which it was given up, if it was.
pub fn model(world: &World, id: ModelId) -> (bool, Option<u64>) {
    let models = world.resource::<ModelTable>();
    (models.is_alone(id), models.given_up(id))
}

/// Returns the number of words that the host's messages of the last frame take.
pub fn host_words(world: &World) -> u32 {
    world.resource::<Mailroom>().host.messages.next_offset().0
}

/// Returns the number of words that the messages take that agents sent in the last frame.
pub fn sent_words(world: &World) -> u32 {
    let StepResults { chunks, .. } = &world.resource::<AgentOutputs>().now;
    chunks.iter().map(|chunk| chunk.messages.next_offset().0).sum()
}

/// Returns the number of links in lists that the messages of the last frame took: one for each recipient of each message.
pub fn links(world: &World) -> usize {
    world.resource::<Mailroom>().inboxes.links.len()
}

/// Returns the digest of a lane that covers state, made from a saved state; 0 for any other lane. It is that of the frame before the state was saved.
pub fn lane(state: &WorldState, lane: Lane) -> Digest {
    crate::state::lane(state, lane)
}

/// Adds a message of the engine, such as a forged saved state may hold.
pub fn forge(world: &mut World, to: RecipientSlot, header: MessageHeader, payload: Vec<u8>) {
    world.resource_mut::<Mailroom>().bounces.push(to, header, payload);
}

/// Closes an agent's mailbox.
pub fn close_mailbox(world: &mut World, agent: AgentId) {
    let Some(slot) = world.resource::<Directory>().slot(agent) else { return };
    world.resource_mut::<Mailroom>().inboxes.loads[slot.index()].messages_max = 0;
}
