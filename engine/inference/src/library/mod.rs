//! Finds the library file of ONNX Runtime, for [`super::runtime`] when a scenario has models, and for `doctor`.
//!
//! It looks in this order, and never silently uses anything else:
//! 1. the environment variable `ORT_DYLIB_PATH`;
//! 2. the user's cache (`WASM_ENGINE_CACHE_DIR`, by default `wasm-engine` in the system's cache folder), if its hash is right;
//! 3. the pinned wheel, fetched once with pip into that cache, with a message;
//! 4. an error that says what to do.

mod error;
mod fetch;
mod pin;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

pub use error::{Attempt, LibraryError};
pub(crate) use pin::ONNX_RUNTIME_MINOR_MIN;
pub use pin::ONNX_RUNTIME_VERSION;

use fetch::{Download, download_with_pip, fetch};
use pin::Pin;

use wasm_engine_components::text::{DOWNLOAD, shown_path};

use wasm_engine_files::{cache_folder, make_private_folder, open_to_others, sha256_of_file};

/// Environment variable that names a library file to use instead of the pinned one.
pub const OVERRIDE_VARIABLE: &str = "ORT_DYLIB_PATH";

/// Source of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LibrarySource {
    /// `ORT_DYLIB_PATH` names it.
    Override,
    /// It was in the cache.
    Cache,
    /// It was just fetched, and is in the cache now.
    Fetched,
}

/// A library file that exists. One from the cache has the pinned hash; one from `ORT_DYLIB_PATH` isn't checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedLibrary {
    /// The file, as an absolute path.
    pub path: PathBuf,
    /// Source of the file.
    pub source: LibrarySource,
}

/// Settings of the search. They are read from the environment once, so that tests can set them.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Value of [`OVERRIDE_VARIABLE`]; an empty one counts as unset.
    pub override_path: Option<OsString>,
    /// The engine's cache folder.
    pub cache: Option<PathBuf>,
    /// The build for this platform.
    pub pin: Option<Pin>,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        Self { override_path: std::env::var_os(OVERRIDE_VARIABLE), cache: cache_folder(), pin: Pin::of_this_platform() }
    }

    /// Returns the library that the override names, if it is set.
    fn overridden(&self) -> Option<Result<ResolvedLibrary, LibraryError>> {
        let named = self.override_path.as_ref().filter(|value| !value.is_empty())?;
        let fail = |problem: String| LibraryError::Override { path: named.into(), problem };
        let path = match std::path::absolute(named) {
            Ok(path) => path,
            Err(error) => return Some(Err(fail(format!("isn't a path ({error})")))),
        };
        Some(match std::fs::metadata(&path) {
            Ok(data) if data.is_file() => Ok(ResolvedLibrary { path, source: LibrarySource::Override }),
            Ok(_) => Err(fail("isn't a file".into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(fail("doesn't exist".into())),
            Err(error) => Err(fail(format!("can't be read ({error})"))),
        })
    }

    /// Returns the pin, and the path of its library in the cache.
    fn cached(&self) -> Result<(&Pin, PathBuf), LibraryError> {
        let platform = || format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
        let pin = self.pin.as_ref().ok_or_else(|| LibraryError::UnknownPlatform { platform: platform() })?;
        let cache = self.cache.as_ref().ok_or(LibraryError::NoCacheFolder)?;
        Ok((pin, cache.join("onnxruntime").join(ONNX_RUNTIME_VERSION).join(&pin.tag).join(&pin.member)))
    }

    /// Checks that nobody else may put something else where the library is, or will be: its hash says what it was a moment ago, and it is loaded
    /// after that.
    fn check_trust(&self, path: &Path) -> Result<(), LibraryError> {
        let Some(cache) = &self.cache else { return Ok(()) };
        match open_to_others(path, cache) {
            Ok(None) => Ok(()),
            Ok(Some((path, who))) => Err(LibraryError::OthersMayWrite { path, who }),
            Err(error) => Err(LibraryError::Cache { path: path.to_path_buf(), error }),
        }
    }
}

/// Finds the library, and fetches it if it must. That is told by an event whose target is [`DOWNLOAD`], before it begins; a program that doesn't listen isn't told.
///
/// # Errors
/// There is none and none can be fetched, or `ORT_DYLIB_PATH` doesn't name a file.
pub fn resolve() -> Result<ResolvedLibrary, LibraryError> {
    resolve_with(&Settings::from_environment(), &mut download_with_pip)
}

/// Does the same as [`resolve`], with given settings.
pub(crate) fn resolve_with(settings: &Settings, download: Download<'_>) -> Result<ResolvedLibrary, LibraryError> {
    if let Some(overridden) = settings.overridden() {
        return overridden;
    }
    let (pin, path) = settings.cached()?;
    settings.check_trust(&path)?;
    if check(pin, &path) == Cached::Good {
        return Ok(ResolvedLibrary { path, source: LibrarySource::Cache });
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let cache = |error| LibraryError::Cache { path: folder.to_path_buf(), error };
    make_private_folder(folder).map_err(cache)?;
    // Somebody else may have made some of them meanwhile.
    settings.check_trust(&path)?;
    // Of several processes that find nothing, one fetches and the others wait for it. Where the file system has no locks
    // each fetches for itself: that is only slower.
    let lock = File::create(folder.join(".lock")).map_err(cache)?;
    let _ = lock.lock();
    match check(pin, &path) {
        Cached::Good => return Ok(ResolvedLibrary { path, source: LibrarySource::Cache }),
        Cached::Missing => tracing::info!(
            target: DOWNLOAD,
            "ONNX Runtime {ONNX_RUNTIME_VERSION} isn't on this machine yet: fetching it once with pip (about 20 MB) into {}",
            shown_path(folder)
        ),
        Cached::Wrong { found } => tracing::info!(
            target: DOWNLOAD,
            "{} isn't what it was (its sha256 is {found}): fetching ONNX Runtime {ONNX_RUNTIME_VERSION} again with pip (about \
             20 MB)",
            shown_path(&path)
        ),
    }
    fetch(pin, &path, download)?;
    Ok(ResolvedLibrary { path, source: LibrarySource::Fetched })
}

/// State of the cached library.
#[derive(Debug, PartialEq, Eq)]
enum Cached {
    Good,
    Missing,
    /// Incomplete, or changed.
    Wrong {
        found: String,
    },
}

fn check(pin: &Pin, path: &Path) -> Cached {
    match sha256_of_file(path) {
        Ok(found) if found == pin.library_sha256 => Cached::Good,
        Ok(found) => Cached::Wrong { found },
        // If it can't be read, the fetch will fail for the same reason, and name it.
        Err(_) => Cached::Missing,
    }
}

/// Location of the library, or the one that it would get. Nothing is fetched.
#[derive(Debug)]
pub enum LibraryLocation {
    /// It exists.
    Here(ResolvedLibrary),
    /// It will be fetched to this file for the first scenario with a model.
    ToBeFetched {
        /// The file.
        path: PathBuf,
        /// Whether there is a file with a wrong hash.
        damaged: bool,
    },
    /// There is none, and none can be fetched.
    Nowhere(LibraryError),
}

/// Finds where the library is, without fetching it.
pub(crate) fn locate(settings: &Settings) -> LibraryLocation {
    if let Some(overridden) = settings.overridden() {
        return overridden.map_or_else(LibraryLocation::Nowhere, LibraryLocation::Here);
    }
    match settings.cached() {
        Err(error) => LibraryLocation::Nowhere(error),
        Ok((pin, path)) => match settings.check_trust(&path).map(|()| check(pin, &path)) {
            Err(error) => LibraryLocation::Nowhere(error),
            Ok(Cached::Good) => LibraryLocation::Here(ResolvedLibrary { path, source: LibrarySource::Cache }),
            Ok(Cached::Missing) => LibraryLocation::ToBeFetched { path, damaged: false },
            Ok(Cached::Wrong { .. }) => LibraryLocation::ToBeFetched { path, damaged: true },
        },
    }
}
