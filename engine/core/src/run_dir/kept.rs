//! Copies of a run's modules and models, named by their hashes, so that the run can be opened again after the originals were changed or
//! removed. Written by [`super::RunDir`]; [`super::OpenRun`] finds them again.
//!
//! Copies aren't hard links, which would change with a file that is overwritten in place.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use wasm_engine_components::limits::{MODEL_COPY_BYTES_MAX, MODULE_BYTES_MAX};

use super::layout::FILES;
use super::manifest::{Manifest, RunOptions};
use super::table::{self, failed, sync_folder, write_file};
use crate::problem::{Problem, RunError};
use crate::scenario::Scenario;
use crate::simulation::{KeptFile, KeptFiles};
use wasm_engine_files::unfinished::making;
use wasm_engine_files::{hex, parse_sha256, sha256_of_file};

/// A module or a model of which a run keeps a copy.
struct Kept<'a> {
    source: &'a Path,
    /// The copy's name.
    name: PathBuf,
    sha256: [u8; 32],
    is_model: bool,
}

impl Kept<'_> {
    /// Returns the number of bytes of the copy; `None` where there is none, because the file is too large, isn't one, or is gone.
    fn bytes(&self) -> Option<u64> {
        let bytes_max = if self.is_model { MODEL_COPY_BYTES_MAX } else { MODULE_BYTES_MAX };
        copied_bytes(self.source, bytes_max)
    }
}

/// Returns the number of bytes of a file that is copied if it has at most `bytes_max`; `None` where it isn't.
pub(super) fn copied_bytes(source: &Path, bytes_max: u64) -> Option<u64> {
    let metadata = source.metadata().ok()?;
    Some(metadata.len()).filter(|&bytes| metadata.is_file() && bytes <= bytes_max)
}

/// Returns the modules and models of which a run keeps copies, each once.
fn all<'a>(scenario: &'a Scenario, options: &'a RunOptions) -> Vec<Kept<'a>> {
    let mut all: Vec<Kept<'a>> = Vec::new();
    for (at, loaded) in options.modules.iter().enumerate() {
        let source = options.module_files.get(at).or(scenario.modules.get(at).map(|module| &module.path));
        let (name, sha256) = (module_copy(&loaded.sha256), loaded.sha256);
        all.extend(source.map(|source| Kept { source, name, sha256, is_model: false }));
    }
    for (at, loaded) in options.models.iter().enumerate() {
        let source = options.model_files.get(at).or(scenario.models.get(at).map(|model| &model.path));
        let (name, sha256) = (model_copy(&loaded.sha256), loaded.sha256);
        all.extend(source.map(|source| Kept { source, name, sha256, is_model: true }));
    }
    let mut seen = BTreeSet::new();
    all.retain(|kept| seen.insert(kept.name.clone()));
    all
}

/// Returns the number of bytes of the copies of modules and models that a run begins with.
pub(super) fn bytes_of_copies(scenario: &Scenario, options: &RunOptions) -> u64 {
    all(scenario, options).iter().filter_map(Kept::bytes).fold(0, u64::saturating_add)
}

/// Copies modules and models into the run directory.
pub(super) fn keep_files(path: &Path, scenario: &Scenario, options: &RunOptions) -> Result<(), RunError> {
    let folder = path.join(FILES);
    making(|| std::fs::create_dir(&folder)).map_err(|error| RunError::from(table::unmade(&folder).caused_by(error)))?;
    for kept in all(scenario, options) {
        let copy = folder.join(&kept.name);
        if kept.is_model {
            keep_model(&kept, &copy).map_err(|error| failed(&copy, error))?;
        // If it was changed since it was loaded, the run has no copy of it: none is better than a wrong one.
        } else if let Ok((bytes, _)) = wasm_engine_files::read_checked(kept.source, MODULE_BYTES_MAX, Some(kept.sha256))
        {
            write_file(&copy, &bytes)?;
        }
    }
    sync_folder(&folder)
}

/// Copies a model, unless it is very large or was changed since it was loaded. It is never in memory as a whole.
fn keep_model(model: &Kept<'_>, copy: &Path) -> io::Result<()> {
    if model.bytes().is_none() {
        return Ok(());
    }
    let temporary = copy.with_extension("tmp");
    match table::copy_file(model.source, &temporary) {
        // It was removed since it was loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !model.source.exists() => return Ok(()),
        other => other?,
    }
    if sha256_of_file(&temporary)? != hex(&model.sha256) {
        return std::fs::remove_file(&temporary);
    }
    making(|| std::fs::rename(&temporary, copy))
}

/// Finds the files of a run again: its copies, or else what they were copied from. `is_of_run` says whether a module or a model of the
/// scenario is the run's own, and not one that a branch has set.
///
/// # Errors
/// Fails if a module isn't found. Missing models are reported where they are needed.
pub(crate) fn find_files(
    path: &Path,
    manifest: &Manifest,
    scenario: &mut Scenario,
    is_of_run: impl Fn(&str, &Path) -> bool,
    warnings: &mut Vec<String>,
) -> Result<KeptFiles, Problem> {
    let mut kept = KeptFiles::default();
    let folder = path.join(FILES);
    for module in scenario.modules.iter_mut().filter(|module| is_of_run(&module.name, &module.path)) {
        let facts = manifest.modules.get(&module.name);
        let Some((facts, sha256)) = facts.and_then(|facts| Some((facts, parse_sha256(&facts.sha256)?))) else {
            continue;
        };
        let file = KeptFile { copy: folder.join(module_copy(&sha256)), original: facts.path.clone(), sha256 };
        let (found, warning) = file.find("module", &module.name)?;
        warnings.extend(warning);
        kept.modules.insert(module.name.clone(), found);
        module.sha256 = Some(sha256);
    }
    for model in scenario.models.iter_mut().filter(|model| is_of_run(&model.name, &model.path)) {
        let facts = manifest.models.get(&model.name);
        let Some((facts, sha256)) = facts.and_then(|facts| Some((facts, parse_sha256(&facts.sha256)?))) else {
            continue;
        };
        let file = KeptFile { copy: folder.join(model_copy(&sha256)), original: facts.path.clone(), sha256 };
        kept.models.insert(model.name.clone(), file);
        model.sha256 = Some(sha256);
    }
    Ok(kept)
}

/// Returns the name of a module's copy.
fn module_copy(sha256: &[u8; 32]) -> PathBuf {
    format!("{}.wasm", hex(sha256)).into()
}

/// Returns the name of a model's copy.
fn model_copy(sha256: &[u8; 32]) -> PathBuf {
    format!("{}.onnx", hex(sha256)).into()
}
