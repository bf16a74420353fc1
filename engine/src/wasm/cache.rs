//! The code cache: compiled modules in a folder, from run to run. It only ever saves time: whatever isn't exactly what was written there is
//! a miss, which is compiled and written anew.
//!
//! An entry is read into memory once, checked there by [`super::cache_entry`], and the very bytes that were checked are handed to wasmtime,
//! which copies them: a file that is changed meanwhile changes nothing. It is written under a temporary name, synced and renamed, so that
//! processes which write the same one don't meet.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use wasm_engine_components::limits::{CODE_CACHE_BYTES_MAX, CODE_CACHE_ENTRY_BYTES_MAX};
use wasm_engine_components::text::shown_path;
use wasmtime::{Engine, Module};

use super::cache_entry::{self, ENTRY_SUFFIX, EntryKey, EntryProblem, FRAME_BYTES};
use crate::files;

/// The name of the code cache's folder in the engine's cache folder.
pub const CODE_FOLDER: &str = "code";
/// How the names of entries begin that are being written.
const UNFINISHED_PREFIX: &str = ".new-";
/// After this time, an entry that is being written isn't any more: its process was killed.
const UNFINISHED_AGE: Duration = Duration::from_hours(24);

/// A folder of compiled modules.
pub(super) struct CodeCache {
    folder: PathBuf,
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

impl CodeCache {
    /// Opens the cache in a folder, which is made where it isn't there.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Result<Self, String> {
        let unusable = |reason: String| format!("the code cache {} can't be used: {reason}", shown_path(folder));
        let folder = std::path::absolute(folder).map_err(|error| unusable(error.to_string()))?;
        make_folder(&folder).map_err(|error| unusable(error.to_string()))?;
        let metadata = std::fs::metadata(&folder).map_err(|error| unusable(error.to_string()))?;
        if !metadata.is_dir() {
            return Err(unusable("it isn't a folder".to_owned()));
        }
        if let Some(who) = trusts_others(&metadata) {
            let help = "code in it would be run; make it yours alone (chmod 700), or use another cache folder";
            return Err(unusable(format!("{who} may write it, and {help}")));
        }
        Ok(Self { folder, environment: cache_entry::environment(engine), found: Mutex::default() })
    }

    /// The compiled module that was kept for an instrumented one, if it is there and whole; else it is compiled, and kept.
    pub(super) fn compile(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Module> {
        let key = EntryKey::new(self.environment, bytes);
        let path = self.folder.join(key.file_name());
        match self.load(engine, &key, &path) {
            Ok(Some(module)) => return Ok(module),
            Ok(None) => {}
            Err(_) => self.found().damaged += 1,
        }
        let module = Module::new(engine, bytes)?;
        if let Err(error) = self.keep(&key, &path, &module) {
            let unwritten = || format!("{} can't be written: {error}", shown_path(&path));
            self.found().unwritten.get_or_insert_with(unwritten);
        }
        Ok(module)
    }

    /// What a person should know: sentences without an end.
    pub(super) fn problems(&self) -> Vec<String> {
        let Found { unwritten, damaged } = &*self.found();
        let unwritten = unwritten.as_ref().map(|why| format!("compiled modules aren't kept for the next run: {why}"));
        let damaged = (*damaged > 0).then(|| {
            let (folder, are) = (shown_path(&self.folder), if *damaged == 1 { "entry is" } else { "entries are" });
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
    fn load(&self, engine: &Engine, key: &EntryKey, path: &Path) -> Result<Option<Module>, EntryProblem> {
        let entry = match read_entry(path, true) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Err(EntryProblem::Damaged),
            Err(_) => return Ok(None),
        };
        let code = match cache_entry::verify(&entry, key) {
            Ok(code) => code,
            Err(EntryProblem::Outdated) => return Ok(None),
            Err(problem) => return Err(problem),
        };
        // SAFETY: each byte of it was checked above, in this very buffer, to be what an engine of the same version and configuration
        // wrote after it had compiled this module. Who else could have written it may write the user's files: see SECURITY.md.
        unsafe { Module::deserialize(engine, code) }.map(Some).map_err(|_| EntryProblem::Damaged)
    }

    /// Writes an entry: whole, or not at all.
    fn keep(&self, key: &EntryKey, path: &Path, module: &Module) -> io::Result<()> {
        let code = module.serialize().map_err(|error| io::Error::other(format!("{error:#}")))?;
        if (code.len() + FRAME_BYTES) as u64 > CODE_CACHE_ENTRY_BYTES_MAX {
            return Ok(());
        }
        // Readable and writable by its owner alone.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED_PREFIX).tempfile_in(&self.folder)?;
        file.write_all(&cache_entry::seal(key, &code))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        files::sync_folder(&self.folder)?;
        // The new entry is there; others that can't be removed are only in the way.
        let _ = make_room(&self.folder);
        Ok(())
    }
}

/// Makes the cache's folder: its owner's alone.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // Another process was faster.
        Err(_) if folder.is_dir() => Ok(()),
        made => made,
    }
}

/// Who besides the user (and root) may write a file or a folder; `None` where nobody.
#[cfg(unix)]
pub(super) fn trusts_others(metadata: &std::fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt as _;

    // SAFETY: the call only returns a number, and can't fail.
    let user = unsafe { libc::geteuid() };
    if metadata.uid() != user && metadata.uid() != 0 {
        return Some("another user, whose it is,");
    }
    match metadata.mode() & 0o022 {
        0 => None,
        0o020 => Some("its group"),
        _ => Some("anybody"),
    }
}

#[cfg(not(unix))]
pub(super) const fn trusts_others(_: &std::fs::Metadata) -> Option<&'static str> {
    None
}

/// Reads a file of the cache once, up to the largest size that an entry may have; `None` where it is larger, or where others may write it.
pub(super) fn read_entry(path: &Path, use_it: bool) -> io::Result<Option<Vec<u8>>> {
    let file = files::open_regular(path)?;
    let metadata = file.metadata()?;
    if metadata.len() > CODE_CACHE_ENTRY_BYTES_MAX || trusts_others(&metadata).is_some() {
        return Ok(None);
    }
    let mut entry = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    (&file).take(CODE_CACHE_ENTRY_BYTES_MAX + 1).read_to_end(&mut entry)?;
    if use_it {
        // Those that were used last are kept longest. Where that can't be written, others are kept.
        let _ = file.set_modified(SystemTime::now());
    }
    Ok((entry.len() as u64 <= CODE_CACHE_ENTRY_BYTES_MAX).then_some(entry))
}

/// Removes what was used longest ago until the rest has room, and what killed processes left.
fn make_room(folder: &Path) -> io::Result<()> {
    let (mut entries, mut bytes) = (Vec::new(), 0_u64);
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let (name, metadata) = (file.file_name(), file.metadata()?);
        let name = name.to_string_lossy();
        let used = metadata.modified()?;
        if name.ends_with(ENTRY_SUFFIX) {
            bytes += metadata.len();
            entries.push((used, file.path(), metadata.len()));
        } else if name.starts_with(UNFINISHED_PREFIX) && used.elapsed().is_ok_and(|age| age > UNFINISHED_AGE) {
            std::fs::remove_file(file.path())?;
        }
    }
    entries.sort();
    for (_, path, length) in entries {
        if bytes <= CODE_CACHE_BYTES_MAX {
            break;
        }
        std::fs::remove_file(path)?;
        bytes -= length;
    }
    Ok(())
}
