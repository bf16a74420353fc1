//! The code cache: compiled modules in a folder, from run to run, as [`crate::cache_file`] keeps them.
//!
//! The very bytes that were checked are handed to wasmtime, which copies them: a file that is changed meanwhile changes nothing.

use std::path::Path;
use std::sync::Mutex;

use wasm_engine_components::limits::CODE_CACHE_ENTRY_BYTES_MAX;
use wasm_engine_components::text::shown_path;
use wasmtime::{Engine, Module};

use crate::cache_file::{self, CacheFolder, FileKey, FileProblem, Form};

/// The name of the code cache's folder in the engine's cache folder.
pub const CODE_FOLDER: &str = "code";
/// The form of its entries.
pub(super) const CODE: Form =
    Form { magic: *b"wecode\r\n", version: 1, suffix: ".code", bytes_max: CODE_CACHE_ENTRY_BYTES_MAX };

/// A folder of compiled modules.
pub(super) struct CodeCache {
    folder: CacheFolder,
    environment: [u8; 16],
    found: Mutex<Found>,
}

/// What a person should know of a load's use of the cache.
#[derive(Default)]
struct Found {
    /// Why the first entry that couldn't be written wasn't.
    unwritten: Option<String>,
    damaged: u32,
}

/// What compiled code depends on besides the module.
pub(super) fn environment(engine: &Engine) -> [u8; 16] {
    // wasmtime's exact version, its configuration, the target, and the CPU's features that it compiles for.
    cache_file::environment((env!("CARGO_PKG_VERSION"), engine.precompile_compatibility_hash(), crate::cpu::class()))
}

impl CodeCache {
    /// Opens the cache in a folder, which is made where it isn't there.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Result<Self, String> {
        let folder = CacheFolder::open(folder, CODE)
            .map_err(|reason| format!("the code cache {} {reason}", shown_path(folder)))?;
        Ok(Self { folder, environment: environment(engine), found: Mutex::default() })
    }

    /// The compiled module that was kept for an instrumented one, if it is there and whole; else it is compiled, and kept.
    pub(super) fn compile(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Module> {
        let key = FileKey::new(self.environment, bytes);
        match self.load(engine, &key) {
            Ok(Some(module)) => return Ok(module),
            Ok(None) => {}
            Err(_) => self.found().damaged += 1,
        }
        let module = Module::new(engine, bytes)?;
        let code = module.serialize().map_err(|error| format!("{error:#}"));
        if let Err(error) = code.and_then(|code| self.folder.keep(&key, &code)) {
            self.found().unwritten.get_or_insert(error);
        }
        Ok(module)
    }

    /// What a person should know: sentences without an end.
    pub(super) fn problems(&self) -> Vec<String> {
        let Found { unwritten, damaged } = &*self.found();
        let unwritten = unwritten.as_ref().map(|why| format!("compiled modules aren't kept for the next run: {why}"));
        let damaged = (*damaged > 0).then(|| {
            let (folder, are) = (shown_path(self.folder.path()), if *damaged == 1 { "entry is" } else { "entries are" });
            format!(
                "{damaged} damaged {are} compiled anew in the code cache {folder}; `wasm-engine doctor --verify` checks the others"
            )
        });
        unwritten.into_iter().chain(damaged).collect()
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Loads an entry. `None` where there is none that this engine may use.
    fn load(&self, engine: &Engine, key: &FileKey) -> Result<Option<Module>, FileProblem> {
        let Some(entry) = self.folder.find(key)? else { return Ok(None) };
        // SAFETY: each byte of it was checked, in this very buffer, to be what an engine of the same version and configuration
        // wrote after it had compiled this module. Who else could have written it may write the user's files: see SECURITY.md.
        unsafe { Module::deserialize(engine, entry.content()) }.map(Some).map_err(|_| FileProblem::Damaged)
    }
}
