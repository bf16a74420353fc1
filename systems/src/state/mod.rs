//! All state of a world, in one form: saved, loaded, compared and looked at. Whoever keeps snapshots calls [`save_state`] between
//! two frames and [`load_state`] on a world that was populated and has run no frame; whoever looks for a divergence calls
//! [`WorldState::differences`].
//!
//! What there is to save is the table of `parts`: the engine's components and the state in its resources, one section each, and after
//! them what authors registered. The digest of a frame is made of the same parts and the same bytes (`digest::lane`). Everything
//! else in a world is fixed by the scenario, derived from state (and made anew on loading: the directory, lists of who waits, carried
//! sums of digests), or transient: empty between two frames. That nothing is missing from the table is shown by tests that go on from a
//! loaded state and compare every digest; that nothing of an author is, by [`check_components`].
//!
//! A new kind of state is one file with its form (`crate::codec`) and where a world has it (`part`), and a line of the table.
//!
//! Sections are keyed by stable ids. An [`Entity`](bevy_ecs::entity::Entity), a slot in the dense tables, the order in which
//! entities were spawned, and how messages are spread over chunks aren't in them, and don't come back: none of them is state.
//!
//! Guests' memories, tables and globals lie behind the port of the runtime, which saves them itself.

mod agents;
mod compare;
mod complete;
mod digest;
mod entity;
mod excerpt;
mod mail;
mod message;
mod native;
mod part;
mod parts;
mod pass;
mod registry;
mod run;
mod section;
mod time;
mod work;

#[cfg(test)]
mod tests;

pub use crate::codec::{EntityKind, FieldDifference, FieldValue, stage_of};
pub use compare::StateDifference;
pub use complete::{IncompleteState, check_components};
pub use entity::{StateEntity, StateError};
pub use excerpt::{ByteDifference, Excerpt};
pub use registry::Layouts;
pub use section::{Section, WorldState};

pub(crate) use complete::{SeenArchetypes, watch_components};
pub(crate) use digest::{lane, sum_state};
pub(crate) use registry::{NativePart, StateRegistry};

use bevy_ecs::world::World;

use crate::frame::FrameClock;
use crate::world::calls::Calls;
use crate::world::directory::Directory;
use crate::world::scheduler::{Scheduler, set_up};
use parts::PARTS;
use pass::{Loading, Saving};

/// Saves all state of a world, between two frames. The same state gives the same bytes, whatever the world went through.
///
/// # Panics
/// If the world has no [`crate::SimulationPlugin`], or an author's state breaks its contract: a component that can't be serialised, an
/// entity without a [`wasm_engine_components::StableId`], two with the same.
pub fn save_state(world: &mut World) -> WorldState {
    let mut jobs = world.query();
    let mut saving = Saving::new(world, &mut jobs);
    let sections = PARTS.iter().map(|part| {
        let mut section = Section::new(part.name, part.lane, part.of);
        (part.save)(&mut saving, &mut section);
        // A section that is out of order can't be loaded.
        debug_assert!(section.is_ordered(part.is_repeated), "the entries of {} are out of order", part.name);
        section
    });
    let mut state = WorldState { sections: sections.collect() };
    native::save(world, &mut state);
    state
}

/// Loads a saved state into a world that was populated from the same scenario, or a branch's slightly changed one, was given the
/// same plugins of authors, and has run no frame. The next frame is then the one that would have been next where the state was
/// saved, and its digest the same.
///
/// # Errors
/// The bytes are no state, or don't fit the world. The world may hold half of the state then, and is to be dropped.
pub fn load_state(world: &mut World, state: &WorldState) -> Result<(), StateError> {
    if world.resource::<FrameClock>().frame != 0 {
        return Err(StateError::NotFresh);
    }
    world.resource_scope::<Directory, _>(|world, mut directory| {
        let mut scheduler = std::mem::take(&mut *world.resource_mut::<Scheduler>());
        let mut calls = Calls::default();
        // This is done in the first frame otherwise, and would overwrite what is loaded.
        set_up(&mut scheduler, &mut calls, &directory);
        world.insert_resource(calls);
        let mut loading = Loading::new(world, &mut directory, &mut scheduler);
        PARTS.iter().try_for_each(|part| {
            let section = parts::section(state, part)?;
            (part.load)(&mut loading, section)
        })?;
        PARTS.iter().for_each(|part| (part.finish)(&mut loading));
        world.insert_resource(scheduler);
        Ok(())
    })?;
    native::load(world, state)
}
