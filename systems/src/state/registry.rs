//! Registry of authors' components and resources: which of them are state, and how that is saved and loaded.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::component::{Component, ComponentId};
use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use bevy_ecs::world::World;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_engine_components::StableId;

use super::entity::StateError;
use super::parts::find;
use super::pass::only;
use super::section::Section;
use crate::codec::{EntityKind, Fields, Reader, Sink as _, fields_of_authors as fields};

/// Components and resources that authors registered. Fixed once the world has run a frame.
#[derive(Resource, Default)]
pub(crate) struct StateRegistry {
    /// State, by name.
    pub parts: BTreeMap<&'static str, NativePart>,
    /// Components that are no state.
    pub transient: BTreeSet<ComponentId>,
}

/// One component, or one resource.
pub(crate) struct NativePart {
    /// The component, or the resource.
    pub component: ComponentId,
    pub(super) of: EntityKind,
    /// The fields of its values.
    pub(super) fields: Fields,
    pub(super) save: fn(&mut World, &mut Section),
    pub(super) load: fn(&mut World, &Section, &mut Entities) -> Result<(), StateError>,
}

/// Authors' entities by stable id, while a state is loaded.
pub(super) type Entities = BTreeMap<u64, Entity>;

impl NativePart {
    /// Returns the part of a component of entities.
    pub(crate) fn component<T: Component + Serialize + DeserializeOwned>(world: &mut World) -> Self {
        let component = world.register_component::<T>();
        let fields = Fields::Serde(fields::<T>);
        Self { component, of: EntityKind::Native, fields, save: save_component::<T>, load: load_component::<T> }
    }

    /// Returns the part of a resource.
    pub(crate) fn resource<R: Resource + Serialize + DeserializeOwned>(world: &mut World) -> Self {
        let component = world.register_component::<R>();
        let fields = Fields::Serde(fields::<R>);
        Self { component, of: EntityKind::World, fields, save: save_resource::<R>, load: load_resource::<R> }
    }
}

impl StateRegistry {
    /// Adds state under a name.
    ///
    /// # Panics
    /// If the name is taken, or the component has another one: authors' mistakes, at the app's build.
    pub(crate) fn add(&mut self, name: &'static str, part: NativePart) {
        assert!(find(name).is_none(), "`{name}` can't be registered as state: the engine's own state has that name");
        let other = self.parts.iter().find(|(_, other)| other.component == part.component);
        if let Some((other, _)) = other.filter(|(other, _)| **other != name) {
            panic!("`{name}` is registered as state already, as `{other}`");
        }
        assert!(
            self.parts.insert(name, part).is_none(),
            "two components are registered as state under the name `{name}`"
        );
    }

    /// Returns the registered components of entities.
    pub(crate) fn components(&self) -> impl Iterator<Item = (&'static str, ComponentId)> {
        self.parts.iter().filter(|(_, part)| part.of == EntityKind::Native).map(|(name, part)| (*name, part.component))
    }
}

fn save_component<T: Component + Serialize + DeserializeOwned>(world: &mut World, section: &mut Section) {
    let name = section.component.clone();
    let mut parts = world.query::<(Option<&StableId>, &T)>();
    let mut parts: Vec<(u64, &T)> = parts
        .iter(world)
        .map(|(id, part)| {
            (id.unwrap_or_else(|| panic!("an entity with `{name}`, which is state, has no StableId")).0, part)
        })
        .collect();
    parts.sort_unstable_by_key(|(id, _)| *id);
    for (id, part) in parts {
        section.push(id, |bytes| bytes.serde(part, &name));
    }
}

fn load_component<T: Component + Serialize + DeserializeOwned>(
    world: &mut World,
    section: &Section,
    entities: &mut Entities,
) -> Result<(), StateError> {
    let saved: BTreeSet<u64> = section.entries().map(|(id, _)| id).collect();
    let mut parts = world.query_filtered::<(Entity, Option<&StableId>), bevy_ecs::query::With<T>>();
    let gone: Vec<Entity> = parts
        .iter(world)
        .filter(|(_, id)| id.is_none_or(|id| !saved.contains(&id.0)))
        .map(|(entity, _)| entity)
        .collect();
    for entity in gone {
        world.entity_mut(entity).remove::<T>();
    }
    for entry in section.items() {
        let part: T = entry.read(Reader::serde)?;
        let entity = *entities.entry(entry.id).or_insert_with(|| world.spawn(StableId(entry.id)).id());
        match world.get_entity_mut(entity) {
            Ok(mut entity) => {
                entity.insert(part);
            }
            // It was despawned together with another one, because of a relationship to it.
            Err(_) => {
                entities.insert(entry.id, world.spawn((StableId(entry.id), part)).id());
            }
        }
    }
    Ok(())
}

fn save_resource<R: Resource + Serialize + DeserializeOwned>(world: &mut World, section: &mut Section) {
    if let Some(resource) = world.get_resource::<R>() {
        let name = section.component.clone();
        section.push(0, |bytes| bytes.serde(resource, &name));
    }
}

fn load_resource<R: Resource + Serialize + DeserializeOwned>(
    world: &mut World,
    section: &Section,
    _: &mut Entities,
) -> Result<(), StateError> {
    world.remove_resource::<R>();
    if !section.is_empty() {
        let resource: R = only(section)?.read(Reader::serde)?;
        world.insert_resource(resource);
    }
    Ok(())
}

/// The fields of the values that authors registered as state, by name.
#[derive(Clone, Debug, Default)]
pub struct Layouts(BTreeMap<&'static str, Fields>);

impl Layouts {
    /// Returns the layouts of what was registered in a world.
    pub fn of(world: &World) -> Self {
        let registry = world.get_resource::<StateRegistry>();
        let parts = registry.into_iter().flat_map(|registry| &registry.parts);
        Self(parts.map(|(&name, part)| (name, part.fields)).collect())
    }

    /// Returns the fields of what was registered under a name.
    pub(super) fn get(&self, name: &str) -> Option<Fields> {
        self.0.get(name).copied()
    }
}
