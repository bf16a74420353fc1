//! State of authors: components and resources that are digested, saved and compared like the engine's own.

use bevy_app::App;
use bevy_ecs::change_detection::Mut;
use bevy_ecs::component::Component;
use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::{IntoScheduleConfigs, SystemSet};
use bevy_ecs::system::{Query, Res, ResMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_engine_components::StableId;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{Hasher, Sink as _, seed};
use crate::frame::{Frame, FrameStage};
use crate::state::{NativePart, StateRegistry};
use crate::world::digest::LaneSums;

/// The systems that digest authors' components. They add to one sum, so their order doesn't matter.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NativeDigests;

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
        let domain = xxh3_64(name.as_bytes());
        let mut ids = Vec::new();
        let digest = move |mut lanes: ResMut<LaneSums>, parts: Query<(Option<&StableId>, &T)>| {
            ids.clear();
            let mut sum = 0_u128;
            for (id, part) in &parts {
                let id = id.unwrap_or_else(|| panic!("an entity with `{name}`, which is state, has no StableId"));
                sum = sum.wrapping_add(native_digest(name, domain, *id, part));
                ids.push(*id);
            }
            lanes.add_native(name, sum);
            // Two values under one id could be exchanged without a change of the sum. In most frames the ids are in order already.
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
        let domain = xxh3_64(name.as_bytes());
        let digest = move |mut lanes: ResMut<LaneSums>, resource: Option<Res<R>>| {
            let sum = resource.map_or(0, |resource| native_digest(name, domain, StableId(0), &*resource));
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

fn native_digest<T: Serialize>(name: &str, domain: u64, id: StableId, part: &T) -> u128 {
    let mut hasher: Hasher = Hasher::new(seed(domain, id.0));
    hasher.serde(part, name);
    hasher.finish()
}
