//! Measurements of the engine beside a floor, in one process; and a soak, in which runs are killed and resumed.
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

/// Loads a scenario, with a number of threads.
///
/// # Panics
/// If the scenario can't be loaded.
pub fn simulation(scenario: &Scenario, threads: usize) -> Simulation {
    let options = SimulationOptions { threads: Some(threads), ..SimulationOptions::default() };
    Simulation::new(scenario, &options).unwrap_or_else(|error| panic!("{:#}", error.of_run(scenario, &scenario.path)))
}

/// Returns the median of samples, of which there must be at least one.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Returns the root of the repository.
pub fn scenarios() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/scenarios")
}
