//! Where the command line meets the simulation and the inference port. Called by `run` and `doctor`.

use std::path::PathBuf;

use crate::problem::Problem;
use crate::scenario::Scenario;
use crate::simulation::Simulation;

/// How a simulation is to be built.
#[derive(Clone, Debug)]
pub(super) struct MachineOptions {
    /// Whether each frame's digest covers the memories of the agents that stepped: `--digest full`.
    pub digest_memories: bool,
    /// Where compiled modules and ONNX Runtime are kept between runs; none where the user has no such folder.
    pub cache_dir: Option<PathBuf>,
}

/// Builds the simulation of a scenario. What is wrong with a module or a model is bad input. `say` is for what takes long.
///
/// JOIN: `Simulation::new`, once `engine/src/simulation.rs` has it.
pub(super) fn build(scenario: &Scenario, options: &MachineOptions, say: &dyn Fn(&str)) -> Result<Simulation, Problem> {
    let _ = (options.digest_memories, &options.cache_dir, say);
    Err(Problem::new("this build has no simulation yet").file(&scenario.path))
}

/// The engine's folder in the user's cache.
///
/// JOIN: the inference port has its own notion of this folder; keep one of them.
pub(super) fn cache_dir() -> Option<PathBuf> {
    use etcetera::base_strategy::{BaseStrategy, choose_base_strategy};
    Some(choose_base_strategy().ok()?.cache_dir().join("wasm-engine"))
}

/// ONNX Runtime as it would be found now, without fetching it: where it is and its version, or what to do.
///
/// JOIN: the probe of `engine/src/inference/library.rs`.
pub(super) fn onnx_runtime() -> Result<String, String> {
    match std::env::var_os("ORT_DYLIB_PATH") {
        Some(path) if PathBuf::from(&path).is_file() => Ok(format!("{} (ORT_DYLIB_PATH)", path.display())),
        Some(path) => Err(format!("ORT_DYLIB_PATH names {}, which isn't a file", path.display())),
        None => Err("fetched by the first run that has a model; or set ORT_DYLIB_PATH".to_owned()),
    }
}
