//! The native system of `examples/native_system.rs`, which `docs/how-to/write-a-native-system.md` explains.

#[allow(dead_code, reason = "the example's own main isn't called")]
#[path = "../examples/native_system.rs"]
mod example;

mod common;

use wasm_engine::scenario::{LoadOptions, load};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine_components::{Digest, FrameInputs, FrameRecord, Lane};

fn run(threads: usize, seed: u64, plugin: bool) -> Vec<FrameRecord> {
    let path = common::root().join("agents/scenarios/counter.toml");
    let scenario = load(&path, &LoadOptions::default()).expect("the scenario is good");
    let options = SimulationOptions { threads: Some(threads), seed: Some(seed), ..SimulationOptions::default() };
    let mut simulation = Simulation::with_plugins(&scenario, &options, &mut |_| {}, |app| {
        if plugin {
            app.add_plugins(example::TowerPlugin);
        }
    })
    .expect("the scenario runs");
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
