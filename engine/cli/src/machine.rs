//! The command line's way to the simulation and the inference port. Called by the commands that build a simulation, and by `doctor` and `model`.

use std::path::PathBuf;

use wasm_engine_core::problem::RunError;
use wasm_engine_core::scenario::Scenario;
use wasm_engine_core::simulation::{Simulation, SimulationOptions};
use wasm_engine_files::cache_folder;
#[cfg(feature = "inference")]
use {
    wasm_engine_components::text::shown_path,
    wasm_engine_inference::{LibraryLocation, probe},
};

/// Builds the simulation of a scenario.
pub(super) fn build(scenario: &Scenario, options: &SimulationOptions) -> Result<Simulation, RunError> {
    Simulation::new(scenario, options).map_err(|error| error.of_run(scenario, &scenario.path))
}

/// Returns the engine's folder in the user's cache: compiled modules and ONNX Runtime are kept there between runs.
pub(super) fn cache_dir() -> Option<PathBuf> {
    cache_folder()
}

/// ONNX Runtime as it would be found now, without fetching it: where it is, its version and providers; or what to do.
#[cfg(feature = "inference")]
pub(super) fn onnx_runtime() -> Result<String, String> {
    let status = probe();
    match (status.location, status.loaded) {
        (LibraryLocation::Here(library), Some(Ok(loaded))) => {
            Ok(format!("{} ({}), {}", loaded.version, loaded.providers.join(", "), shown_path(&library.path)))
        }
        (_, Some(Err(error))) | (LibraryLocation::Nowhere(error), _) => Err(error.to_string()),
        (LibraryLocation::Here(library), None) => Err(format!("{} wasn't loaded", shown_path(&library.path))),
        (LibraryLocation::ToBeFetched { damaged: true, .. }, _) => {
            Err("the cached copy is damaged; the next run with a model fetches it again".to_owned())
        }
        (LibraryLocation::ToBeFetched { .. }, _) => {
            Err("not here yet; the first run with a model fetches it once, with pip".to_owned())
        }
    }
}

/// Says that there is no ONNX Runtime, because this build has no use for it.
#[cfg(not(feature = "inference"))]
pub(super) fn onnx_runtime() -> Result<String, String> {
    Err("not used: this build of the engine runs no models".to_owned())
}
