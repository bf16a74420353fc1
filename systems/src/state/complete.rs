//! Nothing of a simulation is forgotten: a component of a simulated entity is the engine's own, or registered as state, or as
//! transient. The code that puts an app together calls [`check_components`] before the first frame; each frame looks at what is new.

use bevy_ecs::archetype::{Archetype, ArchetypeId};
use bevy_ecs::component::{Component, ComponentId};
use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use bevy_ecs::world::World;
use wasm_engine_components::limits::LINE_CHARS_MAX;
use wasm_engine_components::text::shown;
use wasm_engine_components::{
    AgentId, Group, InferenceJob, Mailbox, MailboxOf, Model, OwnedMailbox, RegionSpec, StableId, TopicSpec,
};

use super::parts::PARTS;
use super::registry::StateRegistry;
use crate::world::digest::PartDigest;

/// State of an author that neither a digest nor a snapshot would show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IncompleteState {
    /// A component of a simulated entity is neither registered as state nor as transient.
    #[error(
        "`{}` of {} is neither registered as state nor as transient: call `app.register_state::<{short}>(\"a name\")` if \
         what a simulation does depends on it, `app.register_transient::<{short}>()` if it is made anew from state",
        shown(component).at_most(LINE_CHARS_MAX),
        shown(entity),
        short = shown(component.rsplit("::").next().unwrap_or(component))
    )]
    Unregistered {
        /// The component's type.
        component: String,
        /// The entity that has it.
        entity: String,
    },
    /// An entity with a component that is registered as state has no [`StableId`].
    #[error("{} has `{}`, which is state, and no StableId: spawn it with one", shown(entity), shown(component))]
    WithoutId {
        /// The name under which the component is registered.
        component: String,
        /// The entity, as bevy names it.
        entity: String,
    },
    /// Two entities have one [`StableId`].
    #[error("two entities share StableId {}: give each one of its own", id.0)]
    SharedId {
        /// The id.
        id: StableId,
    },
}

/// Checks that no state of a world would be forgotten: each component of each simulated entity is known, and each entity of an author
/// with state has a [`StableId`] of its own. Simulated are the entities with a [`StableId`], and the engine's own: agents, mailboxes, groups,
/// topics, regions, jobs, models. State of an author belongs to entities of its own, so that the engine's take only transient components.
///
/// # Errors
/// What isn't registered, and where it is.
pub fn check_components(world: &mut World) -> Result<(), IncompleteState> {
    world.init_resource::<StateRegistry>();
    let known = Known::new(world);
    for archetype in world.archetypes().iter().filter(|archetype| !archetype.is_empty()) {
        if let Some(problem) = known.problem(world, archetype) {
            return Err(problem);
        }
    }
    check_ids(world)
}

/// Checks that each [`StableId`] is that of one entity.
pub(super) fn check_ids(world: &mut World) -> Result<(), IncompleteState> {
    let mut ids: Vec<StableId> = world.query::<&StableId>().iter(world).copied().collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(IncompleteState::SharedId { id: pair[0] }),
        None => Ok(()),
    }
}

/// The archetypes that were looked at. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct SeenArchetypes {
    /// Number of archetypes that were looked at.
    archetypes: usize,
    /// Archetypes that no entity may be in, and that were empty when they were looked at. They are looked at again in each frame.
    suspects: Vec<ArchetypeId>,
}

/// Looks at the archetypes that are new since the last frame, which mostly are none.
///
/// # Panics
/// If an author's component isn't registered: the text is that of [`check_components`].
pub(crate) fn watch_components(world: &mut World) {
    let archetypes = world.archetypes().len();
    let seen = world.resource::<SeenArchetypes>();
    if seen.archetypes == archetypes && seen.suspects.is_empty() {
        return;
    }
    world.init_resource::<StateRegistry>();
    let known = Known::new(world);
    let seen = std::mem::take(&mut *world.resource_mut::<SeenArchetypes>());
    let new = world.archetypes().iter().skip(seen.archetypes).map(Archetype::id);
    let mut suspects = Vec::new();
    for id in seen.suspects.into_iter().chain(new) {
        let Some(archetype) = world.archetypes().get(id) else { continue };
        match known.problem(world, archetype) {
            None => {}
            Some(_) if archetype.is_empty() => suspects.push(id),
            Some(problem) => panic!("{problem}"),
        }
    }
    *world.resource_mut::<SeenArchetypes>() = SeenArchetypes { archetypes, suspects };
}

/// The components that there may be.
struct Known {
    stable: ComponentId,
    /// The engine's components, of which the first mark its entities.
    engine: Vec<ComponentId>,
    marks: usize,
}

impl Known {
    fn new(world: &mut World) -> Self {
        fn id<T: Component>(world: &mut World) -> ComponentId {
            world.register_component::<T>()
        }
        let marks = [
            id::<AgentId>(world),
            id::<MailboxOf>(world),
            id::<Mailbox>(world),
            id::<Group>(world),
            id::<TopicSpec>(world),
            id::<RegionSpec>(world),
            id::<Model>(world),
            id::<InferenceJob>(world),
        ];
        let others = [id::<OwnedMailbox>(world), id::<PartDigest>(world)];
        let parts: Vec<_> = PARTS.iter().flat_map(|part| (part.components)(world)).collect();
        let stable = id::<StableId>(world);
        Self { stable, marks: marks.len(), engine: marks.into_iter().chain(others).chain(parts).collect() }
    }

    /// Returns what is wrong with the entities of an archetype, if anything is.
    fn problem(&self, world: &World, archetype: &Archetype) -> Option<IncompleteState> {
        let registry = world.resource::<StateRegistry>();
        let entity = archetype.entities().first().map(|entity| entity.id());
        let is_engine = self.engine[..self.marks].iter().any(|&mark| archetype.contains(mark));
        let is_author = archetype.contains(self.stable);
        let state = registry.components().find(|(_, component)| archetype.contains(*component));
        if let (false, false, Some((name, _))) = (is_engine, is_author, state) {
            let entity = entity.map_or_else(String::new, |entity| format!("entity {entity}"));
            return Some(IncompleteState::WithoutId { component: name.to_owned(), entity });
        }
        if !is_engine && !is_author {
            return None;
        }
        let is_known = |component: &ComponentId| {
            registry.transient.contains(component)
                || (is_engine && self.engine.contains(component))
                || (!is_engine && *component == self.stable)
                || (!is_engine && registry.components().any(|(_, own)| own == *component))
        };
        let unknown = archetype.iter_components().find(|component| !is_known(component))?;
        let component = world.components().get_info(unknown).map(|info| info.name().to_string()).unwrap_or_default();
        let entity = entity.map_or_else(String::new, |entity| label(world, entity));
        Some(IncompleteState::Unregistered { component, entity })
    }
}

/// Returns the name of an entity: one that is the same in each run, if it has one.
fn label(world: &World, entity: Entity) -> String {
    if let Some(agent) = world.get::<AgentId>(entity) {
        format!("agent {agent}")
    } else if let Some(id) = world.get::<StableId>(entity) {
        format!("the entity with StableId {}", id.0)
    } else if let Some(group) = world.get::<Group>(entity) {
        format!("group `{}`", group.name)
    } else if let Some(topic) = world.get::<TopicSpec>(entity) {
        format!("topic `{}`", topic.name)
    } else if let Some(region) = world.get::<RegionSpec>(entity) {
        format!("region `{}`", region.name)
    } else if let Some(model) = world.get::<Model>(entity) {
        format!("model `{}`", model.spec.name)
    } else if let Some(job) = world.get::<InferenceJob>(entity) {
        format!("job {}", job.id.0)
    } else {
        let owner = world.get::<MailboxOf>(entity).and_then(|of| world.get::<AgentId>(of.0));
        owner.map_or_else(|| format!("entity {entity}"), |agent| format!("the mailbox of agent {agent}"))
    }
}
