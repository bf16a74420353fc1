//! The native system of `examples/native_system.rs`, which `docs/how-to/write-a-native-system.md` explains.

#[allow(dead_code, reason = "the example's own main isn't called")]
#[path = "../../examples/native_system.rs"]
mod example;

use crate::common;

use bevy_app::App;
use bevy_ecs::component::Component;
use wasm_engine::scenario::{LoadOptions, load};
use wasm_engine::simulation::{Simulation, SimulationError, SimulationOptions};
use wasm_engine_components::{Digest, FrameInputs, FrameRecord, Lane, StableId};
use wasm_engine_systems::RegisterState;
use wasm_engine_systems::state::{load_state, save_state};

fn build(threads: usize, seed: u64, author: impl FnOnce(&mut App)) -> Result<Simulation, SimulationError> {
    let path = common::root().join("agents/scenarios/counter.toml");
    let scenario = load(&path, &LoadOptions::default()).expect("the scenario is good");
    let options = SimulationOptions { threads: Some(threads), seed: Some(seed), ..SimulationOptions::default() };
    Simulation::with_plugins(&scenario, &options, author)
}

fn run(threads: usize, seed: u64, plugin: bool) -> Vec<FrameRecord> {
    let simulation = build(threads, seed, |app| {
        if plugin {
            app.add_plugins(example::TowerPlugin);
        }
    });
    let mut simulation = simulation.expect("the scenario runs");
    (0..10).map(|_| simulation.frame(FrameInputs::default())).collect()
}

#[test]
fn a_native_system_is_part_of_the_digest_at_any_number_of_threads() {
    let reference = run(1, 7, true);
    for threads in [1, 2, 2, 4] {
        assert_eq!(run(threads, 7, true), reference, "{threads} threads");
    }
    assert_ne!(run(1, 8, true)[9].lanes[Lane::Native], reference[9].lanes[Lane::Native], "the bell is random");
}

#[test]
fn a_native_system_talks_with_agents() {
    let seen = |records: &[FrameRecord]| records[9].counts.delivered;
    assert!(seen(&run(1, 7, true)) > seen(&run(1, 7, false)), "the bell's ticks reach the agents");
    assert!(run(1, 7, false).iter().all(|record| record.lanes[Lane::Native] == Digest(0)));
}

#[test]
fn a_native_systems_state_is_saved_loaded_and_digested_by_name() {
    let records = run(1, 7, true);
    let names: Vec<_> = records[9].native.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["bell", "ear"]);
    let tower = || build(1, 7, |app| _ = app.add_plugins(example::TowerPlugin)).expect("the scenario runs");
    let mut simulation = tower();
    for _ in 0..6 {
        simulation.frame(FrameInputs::default());
    }
    let state = save_state(simulation.world_mut());
    let mut restored = tower();
    load_state(restored.world_mut(), &state).expect("it is the same scenario");
    // The guests are those of a first frame: only what doesn't depend on them is the same.
    assert_eq!(restored.frame(FrameInputs::default()).native, records[6].native);
}

/// How high the tower is. Its author forgot to say what it is.
#[derive(Component)]
struct Height;

#[test]
fn a_component_that_is_not_registered_stops_the_build_with_its_name() {
    let error = build(1, 7, |app| _ = app.world_mut().spawn((StableId(3), Height)));
    let error = error.err().expect("it isn't registered").to_string();
    assert!(
        error.starts_with("`runs::native::Height` of the entity with StableId 3 is neither registered as state"),
        "{error}"
    );
    let transient = build(1, 7, |app| {
        app.register_transient::<Height>().world_mut().spawn((StableId(3), Height));
    });
    assert!(transient.is_ok());
}
