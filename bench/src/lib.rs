//! Measurements: the engine next to a floor, in one run.
//!
//! `cargo run --release -p wasm-engine-bench --bin ring` prints the comparison, `cargo bench -p wasm-engine-bench` has the
//! same as criterion benchmarks. Machines are noisy: look at ratios, and at medians.

pub mod bare;
pub mod engine;

/// Where the scenario and its module lie.
pub fn scenarios() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/scenarios")
}
