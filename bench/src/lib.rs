//! Measurements: the engine next to a floor, in one run. And a soak: runs that are killed, and go on.
//!
//! `cargo run --release -p wasm-engine-bench --bin ring` prints the comparison, `cargo bench -p wasm-engine-bench` has the
//! same as criterion benchmarks. Machines are noisy: look at ratios, and at medians. The soak is `--bin soak`.

pub mod bare;
pub mod engine;
pub mod fanout;
pub mod soak;

/// Where the scenario and its module lie.
pub fn scenarios() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/scenarios")
}
