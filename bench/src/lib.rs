//! Measurements: the engine next to a floor, in one run. And a soak: runs that are killed, and go on.
//!
//! `cargo run --release -p wasm-engine-bench --bin ring` prints the comparison, `cargo bench -p wasm-engine-bench` has the
//! same as criterion benchmarks. Machines are noisy: look at ratios, and at medians. The soak is `--bin soak`.

#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod bare;
pub mod engine;
pub mod fanout;
pub mod soak;

use wasm_engine::scenario::Scenario;
use wasm_engine::simulation::{Simulation, SimulationOptions};

/// A scenario, loaded, with so many threads.
///
/// # Panics
/// If it can't be.
pub fn simulation(scenario: &Scenario, threads: usize) -> Simulation {
    let options = SimulationOptions { threads: Some(threads), ..SimulationOptions::default() };
    Simulation::new(scenario, &options).unwrap_or_else(|error| panic!("{error}"))
}

/// The middle one of samples, of which there is one at least.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Where the scenario and its module lie.
pub fn scenarios() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/scenarios")
}
