//! State that authors registered: how it is saved and loaded, by name.

use std::collections::BTreeSet;

use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use wasm_engine_components::{Lane, StableId};

use super::complete::{IncompleteState, check_ids};
use super::entity::StateError;
use super::parts::find;
use super::registry::{Entities, NativePart, StateRegistry};
use super::section::{Section, WorldState};
use crate::codec::EntityKind;

/// Adds the sections of authors.
pub(super) fn save(world: &mut World, state: &mut WorldState) {
    // The components of an entity come back to one entity: so an id must belong to one.
    check_ids(world).unwrap_or_else(|problem: IncompleteState| panic!("{problem}"));
    world.init_resource::<StateRegistry>();
    let registry = std::mem::take(&mut *world.resource_mut::<StateRegistry>());
    for (name, part) in &registry.parts {
        let mut section = Section::new(*name, Lane::Native, part.of);
        (part.save)(world, &mut section);
        state.sections.push(section);
    }
    *world.resource_mut::<StateRegistry>() = registry;
}

/// Loads the sections of authors: entities get exactly the components that were saved.
pub(super) fn load(world: &mut World, state: &WorldState) -> Result<(), StateError> {
    world.init_resource::<StateRegistry>();
    let registry = std::mem::take(&mut *world.resource_mut::<StateRegistry>());
    for section in &state.sections {
        let engines = find(&section.component).is_some();
        let known = if section.lane == Lane::Native {
            registry.parts.contains_key(section.component.as_str())
        } else {
            engines
        };
        if !known {
            return Err(StateError::Unknown { component: section.component.clone() });
        }
    }
    let had_state: BTreeSet<u64> = stateful(world, &registry).into_keys().collect();
    let mut all = world.query::<(Entity, &StableId)>();
    let mut entities: Entities = all.iter(world).map(|(entity, id)| (id.0, entity)).collect();
    let mut saved = BTreeSet::new();
    for (&name, part) in &registry.parts {
        let section = native_section(state, name, part)?;
        if part.of == EntityKind::Native {
            saved.extend(section.entries().map(|(id, _)| id));
        }
        (part.load)(world, section, &mut entities)?;
    }
    for id in had_state.difference(&saved) {
        // It may have been despawned together with another one.
        if let Some(entity) = entities.get(id).and_then(|&entity| world.get_entity_mut(entity).ok()) {
            entity.despawn();
        }
    }
    *world.resource_mut::<StateRegistry>() = registry;
    Ok(())
}

/// Returns the entities that have a registered component, by stable id.
fn stateful(world: &World, registry: &StateRegistry) -> Entities {
    let Some(ids) = world.try_query::<(Entity, &StableId)>() else { return Entities::new() };
    let ids = ids.query_manual(world);
    let has = |entity: Entity| registry.components().any(|(_, component)| world.entity(entity).contains_id(component));
    ids.iter().filter(|(entity, _)| has(*entity)).map(|(entity, id)| (id.0, entity)).collect()
}

fn native_section<'a>(state: &'a WorldState, name: &str, part: &NativePart) -> Result<&'a Section, StateError> {
    let is_it = |section: &&Section| section.component == name && section.lane == Lane::Native;
    let mut found = state.sections.iter().filter(is_it);
    let section = found.next().ok_or_else(|| StateError::Missing { component: name.to_owned() })?;
    if found.next().is_some() {
        return Err(StateError::Unknown { component: name.to_owned() });
    }
    if section.of != part.of || !section.is_ordered(false) {
        return Err(StateError::Damaged { component: name.to_owned(), entity: None });
    }
    Ok(section)
}
