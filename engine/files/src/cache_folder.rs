//! The engine's cache folder: it holds files that save time in the next run.

use std::path::PathBuf;

use etcetera::BaseStrategy as _;

/// Environment variable that names a folder to use instead of the user's cache folder.
pub const CACHE_VARIABLE: &str = "WASM_ENGINE_CACHE_DIR";

/// Returns the engine's cache folder as an absolute path: `WASM_ENGINE_CACHE_DIR`, else `wasm-engine` in the user's cache folder.
/// `None` if the user has no home.
pub fn cache_folder() -> Option<PathBuf> {
    let folder = match std::env::var_os(CACHE_VARIABLE).filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => etcetera::choose_base_strategy().ok()?.cache_dir().join("wasm-engine"),
    };
    Some(std::path::absolute(&folder).unwrap_or(folder))
}
