//! Runs systems of WebAssembly agents, deterministically: what a binary or a library of an author needs, from the crates of the engine.
//!
//! The main loop is [`frame_loop::run`]; the world and its frame are [`simulation::Simulation`].

#![forbid(unsafe_code)]
#![deny(clippy::print_stderr, clippy::print_stdout)]

#[cfg(feature = "cli")]
pub use wasm_engine_cli as cli;
pub use wasm_engine_core::{
    code_cache, events, frame_loop, journal, problem, run_dir, scenario, simulation, snapshot, state, summary, threads,
    time_travel,
};
pub use wasm_engine_files::{self as files, cpu, unfinished};
pub use wasm_engine_wasm as wasm;

/// Models: ONNX Runtime behind the port `ModelRuntime`.
pub mod inference {
    pub use wasm_engine_components::BatchForm;
    pub use wasm_engine_files::{CACHE_VARIABLE, LoadProgress, cache_folder};
    #[cfg(feature = "inference")]
    pub use wasm_engine_inference::*;
}
