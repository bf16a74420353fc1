//! The process's one ONNX Runtime: loads the library, and keeps its environment. [`super::registry`] calls it when a
//! scenario has models, and `doctor` through [`probe`].

use std::ffi::CStr;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use wasm_engine_components::text::{NOTE, shown_path};

use super::library::{
    LibraryError, LibraryLocation, LibrarySource, ONNX_RUNTIME_MINOR_MIN, ONNX_RUNTIME_VERSION, ResolvedLibrary,
    Settings, locate, resolve,
};
use super::watchdog;

/// The provider whose results are the reference.
pub(crate) const CPU_PROVIDER: &str = "CPUExecutionProvider";

/// A loaded ONNX Runtime. It stays for the rest of the process, because a library can't be unloaded safely.
pub(crate) struct Runtime {
    pub library: ResolvedLibrary,
    pub version: String,
    pub environment: Environment,
    /// Checksum of the library's file, once it is known.
    checksum: OnceLock<String>,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

/// State of ONNX Runtime on this machine, for `doctor`.
#[derive(Debug)]
pub struct LibraryStatus {
    /// Location of the library, or the one that it would get.
    pub location: LibraryLocation,
    /// The loaded library, if it exists; or why it doesn't load.
    pub loaded: Option<Result<LoadedLibrary, LibraryError>>,
}

/// A library that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedLibrary {
    /// Its version. Results are promised for [`ONNX_RUNTIME_VERSION`].
    pub version: String,
    /// Execution providers that have a device on this machine, with the kind of device.
    pub providers: Vec<String>,
}

/// Finds the library, and loads it if it exists. Nothing is fetched.
pub fn probe() -> LibraryStatus {
    let location = locate(&Settings::from_environment());
    let loaded = match &location {
        LibraryLocation::Here(library) => Some(
            start_with(|| Ok(library.clone()))
                .map(|runtime| LoadedLibrary { version: runtime.version.clone(), providers: runtime.providers() }),
        ),
        _ => None,
    };
    LibraryStatus { location, loaded }
}

/// Returns the process's runtime. The first call finds and loads the library; later calls return the same one, whatever the environment
/// variables say by then.
pub(crate) fn start() -> Result<&'static Runtime, LibraryError> {
    let first = RUNTIME.get().is_none();
    watchdog::begin().map_err(LibraryError::NoThread)?;
    let runtime = start_with(resolve)?;
    if first && runtime.version != ONNX_RUNTIME_VERSION {
        tracing::info!(
            target: NOTE,
            "{} is ONNX Runtime {}, not the pinned {ONNX_RUNTIME_VERSION}: results may differ in their last bits",
            shown_path(&runtime.library.path),
            runtime.version
        );
    }
    Ok(runtime)
}

fn start_with(find: impl FnOnce() -> Result<ResolvedLibrary, LibraryError>) -> Result<&'static Runtime, LibraryError> {
    // A thread that panicked here left nothing half done: the runtime is set in one step.
    let _guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = load(find()?)?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

fn load(library: ResolvedLibrary) -> Result<Runtime, LibraryError> {
    let from_override = library.source == LibrarySource::Override;
    let fail = |problem: String| LibraryError::Load { path: library.path.clone(), problem, from_override };
    turn_telemetry_off();
    // Checked before `ort` loads it, because `ort` would panic with a wrong library.
    let version = version_of(&library.path).map_err(fail)?;
    if minor(&version).is_none_or(|minor| minor < ONNX_RUNTIME_MINOR_MIN) {
        return Err(LibraryError::Version { path: library.path, found: version, from_override });
    }
    let builder = ort::init_from(&library.path).map_err(|error| fail(error.to_string()))?;
    let environment = builder.with_name("wasm-engine").with_telemetry(false).build();
    let environment = environment.map_err(|error| fail(error.to_string()))?;
    // A failed row is a result, so it isn't reported again on standard error.
    environment.set_log_level(LogLevel::Fatal);
    Ok(Runtime { library, version, environment, checksum: OnceLock::new() })
}

/// ONNX Runtime's official builds (on Linux since 1.29) report sessions to their maker, and write an id into the user's cache
/// folder. `with_telemetry(false)` comes too late: the reporter has started by then. Only this variable keeps it from starting.
fn turn_telemetry_off() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: on some systems the environment mustn't be changed while foreign code reads it in another thread. It is
        // changed once in a process, before the foreign code that we bring is loaded. A program with foreign threads of its
        // own can set the variable at its start; then it isn't changed here.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

impl Runtime {
    /// Returns which library this is: its version, and a checksum of its file. Two builds of one version may give different results.
    pub(crate) fn identity(&self) -> &str {
        self.checksum.get_or_init(|| {
            // A file that can't be read any more has no checksum, and the version is all that is known.
            let checksum = wasm_engine_files::sha256_of_file(&self.library.path).unwrap_or_default();
            format!("{} {checksum}", self.version)
        })
    }

    /// Returns whether a division of whole numbers by 0 is an error of the run. It is in the pinned version; in the oldest accepted
    /// versions it ends the process.
    pub(crate) fn sees_zeros(&self) -> bool {
        sees_zeros(&self.version)
    }

    /// Returns the execution providers that have a device on this machine, each with the kind of device.
    pub(crate) fn providers(&self) -> Vec<String> {
        let mut providers = Vec::new();
        for device in self.environment.devices() {
            let name = device.ep().unwrap_or("a provider whose name isn't UTF-8");
            let provider = format!("{name} ({:?})", device.hardware_device().ty());
            if !providers.contains(&provider) {
                providers.push(provider);
            }
        }
        providers
    }
}

/// Returns the version of a library file, by loading it. The library must have the API that `ort` will ask for.
fn version_of(path: &Path) -> Result<String, String> {
    // SAFETY: loading a library runs its initialisers. It is the file whose hash is pinned, or the one that the user named.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| error.to_string())?;
    // Never unloaded: it has threads and destructors of its own, and `ort` is about to load it again.
    let library = std::mem::ManuallyDrop::new(library);
    // SAFETY: the function has this type in every version of ONNX Runtime, see `onnxruntime_c_api.h`.
    let base = unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0") };
    let base = base.map_err(|_| "it has no function OrtGetApiBase".to_string())?;
    // SAFETY: it takes nothing, and gives null or the address of a static table.
    let base = unsafe { base().as_ref() }.ok_or("its OrtGetApiBase gives nothing")?;
    // SAFETY: the table's functions are valid as long as the library is loaded; the text is static and ends in a zero.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) }.to_string_lossy().into_owned();
    if minor(&version).is_some_and(|minor| minor >= ONNX_RUNTIME_MINOR_MIN) {
        // SAFETY: as above. Versions that lack this API give null, and older ones write a line to standard error.
        let api = unsafe { (base.GetApi)(ort::sys::ORT_API_VERSION) };
        if api.is_null() {
            return Err(format!("it is version {version}, but lacks API {}", ort::sys::ORT_API_VERSION));
        }
    }
    Ok(version)
}

fn sees_zeros(version: &str) -> bool {
    minor(version) >= minor(ONNX_RUNTIME_VERSION)
}

/// Returns the minor version of `1.x.y`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_apart() {
        assert_eq!(minor("1.31.1"), Some(31));
        assert_eq!(minor("1.9.0"), Some(9));
        for other in ["2.0.0", "1.", "", "1.x", "31"] {
            assert_eq!(minor(other), None, "{other}");
        }
    }

    #[test]
    fn older_versions_are_not_known_to_look_for_zeros() {
        for (version, sees) in
            [(ONNX_RUNTIME_VERSION, true), ("1.31.0", true), ("1.40.2", true), ("1.30.9", false), ("1.24.1", false)]
        {
            assert_eq!(sees_zeros(version), sees, "{version}");
        }
    }

    #[test]
    fn the_document_says_which_versions_are_taken() {
        let document = include_str!("../../../docs/INFERENCE.md");
        let pinned = minor(ONNX_RUNTIME_VERSION).unwrap();
        for said in
            [format!("another one, from 1.{ONNX_RUNTIME_MINOR_MIN} on;"), format!("with a version before 1.{pinned},")]
        {
            assert!(document.contains(&said), "{said}");
        }
    }

    #[test]
    fn what_is_no_library_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("libonnxruntime.so");
        std::fs::write(&text, "not a library").unwrap();
        let library = ResolvedLibrary { path: text, source: LibrarySource::Override };
        let error = load(library).err().unwrap().to_string();
        assert!(error.contains("can't be loaded as ONNX Runtime") && error.contains("ORT_DYLIB_PATH"), "{error}");
    }
}
