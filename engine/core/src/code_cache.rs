//! The code cache: what the sandbox keeps of compiled modules, as files of the engine's cache folder. Opened by [`crate::simulation`], looked at
//! by `wasm-engine doctor`.

use std::path::{Path, PathBuf};

use wasm_engine_components::causes::with_causes;
use wasm_engine_components::limits::CODE_CACHE_ENTRY_BYTES_MAX;
use wasm_engine_components::text::shown_path;
use wasm_engine_files::cache_file::{
    CacheFileProblem, CacheFolder, CacheFolderProblem, FileForm, FileKey, environment,
};
use wasm_engine_files::cpu;
use wasm_engine_wasm::{CODE_CONFIGURATION, CacheReport, CodeCache, DamagedEntry, UnkeptEntry};

/// Name of the code cache's folder in the engine's cache folder.
pub const CODE_FOLDER: &str = "code";
/// The form of its entries.
const CODE: FileForm =
    FileForm { magic: *b"wecode\r\n", version: 2, suffix: ".code", bytes_max: CODE_CACHE_ENTRY_BYTES_MAX };

/// A folder of compiled modules.
#[derive(Clone, Debug)]
pub(crate) struct CodeFolder(CacheFolder);

impl CodeFolder {
    /// Opens the cache in a folder, which is made where it isn't there.
    ///
    /// # Errors
    /// It can't be used, and why.
    pub(crate) fn open(folder: &Path) -> Result<Self, CacheFolderProblem> {
        CacheFolder::open(folder, CODE).map(Self)
    }

    /// Returns what went wrong with the cache during a load, as sentences without their ends.
    pub(crate) fn problems(&self, report: &CacheReport) -> Vec<String> {
        let CacheReport { unwritten, damaged } = report;
        let damaged = (*damaged > 0).then(|| {
            let (folder, are) = (shown_path(self.0.path()), if *damaged == 1 { "entry is" } else { "entries are" });
            format!(
                "{damaged} damaged {are} compiled anew in the code cache {folder}; `wasm-engine doctor --verify` checks the others"
            )
        });
        unwritten.as_deref().map(unkept).into_iter().chain(damaged).collect()
    }
}

/// Returns what a person is told of a folder that can't be used, as a sentence without its end.
pub(crate) fn unused(folder: &Path, why: &CacheFolderProblem) -> String {
    unkept(&format!("the code cache {} {}", shown_path(folder), with_causes(why)))
}

fn unkept(why: &str) -> String {
    format!("compiled modules aren't kept for the next run: {why}")
}

/// Returns a hash by which entries of this engine on this machine are told from others.
fn this_machine() -> [u8; 16] {
    machine(CODE_CONFIGURATION)
}

/// Returns a hash by which entries of this engine on this machine, with a release and a configuration of wasmtime, are told from others.
fn machine(wasmtime: (&str, u32)) -> [u8; 16] {
    let target = (std::env::consts::ARCH, std::env::consts::OS);
    environment((env!("CARGO_PKG_VERSION"), wasmtime, target, cpu::features()))
}

fn key(module: &[u8]) -> FileKey {
    FileKey::new(this_machine(), module)
}

impl CodeCache for CodeFolder {
    fn find(&self, module: &[u8]) -> Result<Option<Vec<u8>>, DamagedEntry> {
        let found = self.0.find(&key(module)).map_err(|_| DamagedEntry)?;
        Ok(found.map(|file| file.content().to_vec()))
    }

    fn keep(&self, module: &[u8], entry: &[u8]) -> Result<(), UnkeptEntry> {
        self.0.keep(&key(module), entry).map_err(UnkeptEntry::new)
    }
}

/// Entries and other files of a code cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheSurvey {
    /// Number of entries that this engine can use on this machine.
    pub whole: u64,
    /// Number of whole entries of other versions, configurations or CPUs. They go when their room is needed.
    pub outdated: u64,
    /// Files that aren't what was written.
    pub damaged: Vec<PathBuf>,
    /// Number of files that aren't entries, such as those that are being written.
    pub others: u64,
}

/// Checks that the code cache in a folder would be used. Its entries aren't looked at; a folder that isn't there is made by the first run.
///
/// # Errors
/// It isn't used, and why.
pub fn check_code_cache(folder: &Path) -> Result<(), CacheFolderProblem> {
    CacheFolder::existing(folder, CODE).map(drop)
}

/// Checks each entry of the code cache in a folder. Nothing is changed; a folder that isn't there has none.
///
/// # Errors
/// The folder can't be read or isn't used, and why.
pub fn survey_code_cache(folder: &Path) -> Result<CacheSurvey, CacheFolderProblem> {
    let mut survey = CacheSurvey::default();
    let Some(folder) = CacheFolder::existing(folder, CODE)? else { return Ok(survey) };
    for (path, checked) in folder.survey(this_machine()).map_err(CacheFolderProblem::Unreadable)? {
        match checked {
            None => survey.others += 1,
            Some(Ok(())) => survey.whole += 1,
            Some(Err(CacheFileProblem::Outdated)) => survey.outdated += 1,
            Some(Err(_)) => survey.damaged.push(path),
        }
    }
    survey.damaged.sort();
    Ok(survey)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends at what it doesn't expect")]
mod tests {
    use super::*;

    #[test]
    fn code_of_another_release_of_wasmtime_is_not_found() {
        let (release, configuration) = CODE_CONFIGURATION;
        let (series, patch) = release.rsplit_once('.').unwrap();
        let next = format!("{series}.{}", patch.parse::<u32>().unwrap() + 1);
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeFolder::open(folder.path()).unwrap();
        cache.keep(b"a module", b"its code").unwrap();
        let kept = |wasmtime| cache.0.find(&FileKey::new(machine(wasmtime), b"a module")).unwrap().is_some();
        assert!(kept((release, configuration)));
        assert!(!kept((&next, configuration)) && !kept((release, configuration + 1)));
        assert_eq!(survey_code_cache(folder.path()).unwrap().whole, 1);
    }
}
