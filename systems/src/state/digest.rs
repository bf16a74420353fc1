//! The lanes of state: each is the sum of the hashes of what is saved of it. [`sum_state`] makes them in each frame, from the world;
//! [`lane`] makes them from a saved state.

use bevy_ecs::query::QueryState;
use bevy_ecs::world::World;
use wasm_engine_components::{Digest, InferenceJob, JobData, Lane, Lanes};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::parts::{PARTS, find};
use super::pass::Saving;
use super::section::{Section, WorldState};
use crate::codec::seed;
use crate::world::digest::LaneSums;

/// Stage `Seal`: sums up the lanes of the engine's own state. What is carried is there by now.
pub(crate) fn sum_state(world: &mut World, jobs: &mut QueryState<(&'static InferenceJob, &'static JobData)>) {
    let mut lanes = Lanes::default();
    let mut saving = Saving::new(world, jobs);
    for part in PARTS {
        debug_assert!(part.coverage.carrier().is_none_or(|name| find(name).is_some()), "nobody digests {}", part.name);
        let lane = &mut lanes[part.lane].0;
        *lane = lane.wrapping_add(part.sum(&mut saving));
    }
    world.resource_mut::<LaneSums>().state = lanes;
}

/// Returns the digest of a lane that covers state, as it was in the frame before the state was saved; 0 for any other lane. Tests compare it with
/// what the frame had.
pub(crate) fn lane(state: &WorldState, lane: Lane) -> Digest {
    let sections = state.sections.iter().filter(|section| section.lane == lane);
    let hashed = sections
        .filter(|section| lane == Lane::Native || find(&section.component).is_some_and(|part| part.is_hashed()));
    Digest(hashed.map(Section::sum).fold(0, u128::wrapping_add))
}

impl Section {
    /// Returns the sum of the hashes of its values.
    fn sum(&self) -> u128 {
        let domain = xxh3_64(self.component.as_bytes());
        let hashes = self.entries().map(|(id, value)| xxh3_128_with_seed(value, seed(domain, id)));
        hashes.fold(0, u128::wrapping_add)
    }
}
