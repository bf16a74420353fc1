//! What authors add: components of their own that count as state, and messages from their systems.

use bevy_app::App;
use bevy_ecs::change_detection::Mut;
use bevy_ecs::component::Component;
use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::schedule::SystemSet;
use bevy_ecs::system::{Query, Res, ResMut, SystemParam};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_engine_abi::{
    MessageHeader,
    message::{kind, sender, status},
};
use wasm_engine_components::{
    Action, AgentId, Backlog, GroupId, Lane, Lifecycle, Order, Recipient, StableId, Swap, TopicId, limits,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::frame::{Frame, FrameClock, FrameStage};
use crate::stages::command::PendingCommands;
use crate::stages::swap::RequestedSwaps;
use crate::state::{NativePart, StateRegistry};
use crate::world::digest::{LaneSums, part_digest};
use crate::world::directory::{Directory, GroupRange};
use crate::world::mailroom::{Mailroom, Outputs};

/// The systems that digest authors' components. They add to one sum, so their order doesn't matter.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NativeDigests;

/// Registers what belongs to a simulation's state, and what doesn't. What an author's entities have must be one or the other: see
/// [`crate::state::check_components`].
pub trait RegisterState {
    /// Registers a component of authors' entities as state: it is part of every frame's digest, of snapshots, and of what a replay
    /// is compared by.
    ///
    /// Each entity that has it needs a [`StableId`] that no other entity has. The component is digested and saved in its serde
    /// form, so two values are equal if they serialise alike; `name` keys it, and must not change between runs that are compared. It
    /// holds no [`Entity`](bevy_ecs::entity::Entity): those are others in a world that was loaded. Refer to others by their stable ids.
    ///
    /// When a saved state is loaded, the entity with the id gets the component, and is spawned if there is none. What else it
    /// needs is transient: `#[require(...)]` it, or let a system add it.
    ///
    /// # Panics
    /// If the name is taken, or the component has another one. In the frame that finds an entity with the component and without a
    /// [`StableId`], or two with the same.
    fn register_state<T: Component + Serialize + DeserializeOwned>(&mut self, name: &'static str) -> &mut Self;

    /// Registers a resource as state, in the same way. It may be missing in a frame.
    ///
    /// # Panics
    /// If the name is taken, or the resource has another one.
    fn register_resource_state<R: Resource + Serialize + DeserializeOwned>(&mut self, name: &'static str) -> &mut Self;

    /// Registers a component of simulated entities that is no state: what a frame does doesn't depend on it, or a system makes it anew
    /// from state before it does.
    fn register_transient<T: Component>(&mut self) -> &mut Self;
}

impl RegisterState for App {
    fn register_state<T: Component + Serialize + DeserializeOwned>(&mut self, name: &'static str) -> &mut Self {
        let part = NativePart::component::<T>(self.world_mut());
        registry(self).add(name, part);
        let domain = xxh3_64(name.as_bytes()).to_le_bytes().to_vec();
        let mut ids = Vec::new();
        let digest = move |mut lanes: ResMut<LaneSums>, parts: Query<(Option<&StableId>, &T)>| {
            ids.clear();
            let mut sum = 0_u128;
            for (id, part) in &parts {
                let id = id.unwrap_or_else(|| panic!("an entity with `{name}`, which is state, has no StableId"));
                sum = sum.wrapping_add(native_digest(part, *id, &domain));
                ids.push(*id);
            }
            lanes.add_native(name, sum);
            // Two parts under one id could change places and leave the sum as it is. Mostly they come in order.
            if !ids.is_sorted() {
                ids.sort_unstable();
            }
            assert!(ids.is_sorted_by(|a, b| a < b), "two entities with `{name}`, which is state, share a StableId");
        };
        self.add_systems(Frame, digest.in_set(NativeDigests).in_set(FrameStage::Seal).ambiguous_with(NativeDigests))
    }

    fn register_resource_state<R: Resource + Serialize + DeserializeOwned>(&mut self, name: &'static str) -> &mut Self {
        let part = NativePart::resource::<R>(self.world_mut());
        registry(self).add(name, part);
        let domain = xxh3_64(name.as_bytes()).to_le_bytes().to_vec();
        let digest = move |mut lanes: ResMut<LaneSums>, resource: Option<Res<R>>| {
            let sum = resource.map_or(0, |resource| native_digest(&*resource, StableId(0), &domain));
            lanes.add_native(name, sum);
        };
        self.add_systems(Frame, digest.in_set(NativeDigests).in_set(FrameStage::Seal).ambiguous_with(NativeDigests))
    }

    fn register_transient<T: Component>(&mut self) -> &mut Self {
        let component = self.world_mut().register_component::<T>();
        registry(self).transient.insert(component);
        self
    }
}

fn registry(app: &mut App) -> Mut<'_, StateRegistry> {
    app.init_resource::<StateRegistry>().world_mut().resource_mut::<StateRegistry>()
}

fn native_digest<T: Serialize>(part: &T, id: StableId, domain: &[u8]) -> u128 {
    // postcard writes into a vector that grows: only a component whose own serialisation fails can fail here.
    let bytes =
        postcard::to_extend(part, domain.to_vec()).expect("a component that is registered as state can be serialised");
    part_digest(Lane::Native, id.0, &bytes)
}

/// Forgets the last frame's sum.
pub fn clear_native_lane(mut lanes: ResMut<LaneSums>) {
    lanes.native = 0;
    lanes.native_parts.values_mut().for_each(|part| *part = 0);
}

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

/// Commands of native systems: they take effect at the start of the next frame, before those of agents. Two systems that
/// give commands need an order between them.
#[derive(SystemParam)]
pub struct Control<'w> {
    directory: Res<'w, Directory>,
    pending: ResMut<'w, PendingCommands>,
    swaps: ResMut<'w, RequestedSwaps>,
}

impl Control<'_> {
    /// Another module for a group, or another model behind a name, from the next frame on. The scenario must have prepared it, by an
    /// entry of `[[swaps]]`; else it is on the record as refused.
    pub fn swap(&mut self, swap: Swap) {
        self.swaps.0.push(swap);
    }

    /// A new agent in a group that has room for one (`agents_max`). A payload is its first message.
    ///
    /// # Errors
    /// There is no such group, or the message breaks a limit.
    pub fn spawn(&mut self, group: GroupId, kind: u32, payload: &[u8]) -> Result<(), PostError> {
        self.directory.group(group).ok_or(PostError::Unknown)?;
        check_message(kind, payload)?;
        self.pending.native.push(Action::Spawn { group, kind, payload: payload.to_vec() });
        Ok(())
    }

    /// Something that happens to an agent. What doesn't fit its state when it takes effect is counted as refused.
    ///
    /// # Errors
    /// There is no such agent.
    pub fn order(&mut self, agent: AgentId, order: Order) -> Result<(), PostError> {
        self.directory.index(agent).ok_or(PostError::Unknown)?;
        self.pending.native.push(Action::Agent(agent, order));
        Ok(())
    }
}

/// The population, as a native system may look at it: who there is, and where each is in its life.
#[derive(SystemParam)]
pub struct Census<'w> {
    directory: Res<'w, Directory>,
}

impl Census<'_> {
    /// The agents of a group that haven't ended, in the order of their ids.
    pub fn agents(&self, group: GroupId) -> impl Iterator<Item = (AgentId, Lifecycle)> {
        let positions = self.directory.group(group).map_or(0..0, GroupRange::positions);
        let all = positions.map(|at| (self.directory.ids[at as usize], self.directory.lifecycles[at as usize]));
        all.filter(|(_, lifecycle)| lifecycle.is_alive())
    }

    /// Where an agent is in its life; `None` if there is no such agent, or another one has its ordinal by now.
    pub fn lifecycle(&self, agent: AgentId) -> Option<Lifecycle> {
        self.directory.index(agent).map(|at| self.directory.lifecycles[at as usize])
    }
}

/// Messages from native systems: they are delivered in the next frame, under the sender [`sender::NATIVE`]. Two systems that
/// post need an order between them, because it is the order of delivery.
#[derive(SystemParam)]
pub struct Post<'w> {
    clock: Res<'w, FrameClock>,
    directory: Res<'w, Directory>,
    mailroom: ResMut<'w, Mailroom>,
}

/// Why a native system's message wasn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// There is no such agent (any more), topic or group.
    Unknown,
    /// The kind is [`kind::RESERVED`] or above.
    ReservedKind,
    /// The payload is longer than [`limits::PAYLOAD_BYTES_MAX`].
    TooLarge,
}

impl std::fmt::Display for PostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "there is no such agent, topic or group",
            Self::ReservedKind => "kinds from 0x80000000 on are the engine's",
            Self::TooLarge => "the payload is longer than a message's limit",
        })
    }
}

impl std::error::Error for PostError {}

impl Post<'_> {
    /// Sends a message to an agent.
    ///
    /// # Errors
    /// There is no such agent, or the message breaks a limit.
    pub fn send(&mut self, to: AgentId, kind: u32, payload: &[u8]) -> Result<(), PostError> {
        let index = self.directory.alive(to).ok_or(PostError::Unknown)?;
        self.post(Recipient::Agent(index), 0, kind, payload)
    }

    /// Sends a message to all agents of a group.
    ///
    /// # Errors
    /// There is no such group, or the message breaks a limit.
    pub fn broadcast(&mut self, group: GroupId, kind: u32, payload: &[u8]) -> Result<(), PostError> {
        let at =
            self.directory.group_position(group).and_then(|at| u32::try_from(at).ok()).ok_or(PostError::Unknown)?;
        self.post(Recipient::Group(at), 0, kind, payload)
    }

    /// Publishes a message to the members of a topic.
    ///
    /// # Errors
    /// There is no such topic, or the message breaks a limit.
    pub fn publish(&mut self, topic: TopicId, kind: u32, payload: &[u8]) -> Result<(), PostError> {
        let at = self.directory.topic(topic).ok_or(PostError::Unknown)?;
        self.post(Recipient::Topic(at), topic.0, kind, payload)
    }

    fn post(&mut self, to: Recipient, topic: u64, kind: u32, payload: &[u8]) -> Result<(), PostError> {
        check_message(kind, payload)?;
        let header = MessageHeader {
            sender: sender::NATIVE,
            topic,
            frame: self.clock.frame,
            sequence: u32::try_from(self.mailroom.native.0.len()).unwrap_or(u32::MAX),
            kind,
            status: if matches!(to, Recipient::Group(_)) { status::BROADCAST } else { status::PLAIN },
            ..MessageHeader::default()
        };
        self.mailroom.native.push(to, header, payload.to_vec());
        Ok(())
    }
}

fn check_message(kind: u32, payload: &[u8]) -> Result<(), PostError> {
    if kind >= kind::RESERVED {
        return Err(PostError::ReservedKind);
    }
    if payload.len() > limits::PAYLOAD_BYTES_MAX as usize {
        return Err(PostError::TooLarge);
    }
    Ok(())
}
