//! What a run keeps of the files that it was made of: its modules and models, by their hashes, so that it can be opened again after they were changed or
//! removed. Written by [`super::RunDir`]; [`super::OpenRun`] finds them again.
//!
//! A copy is one that nobody else changes: no hard link, which would change with a file that is written to in its place.

use std::io;
use std::path::{Path, PathBuf};

use wasm_engine_components::limits::{MODEL_COPY_BYTES_MAX, MODULE_BYTES_MAX};

use super::FILES;
use super::manifest::{Manifest, RunOptions};
use super::table::{self, failed, sync_folder, write_file};
use crate::files::{self, hex, parse_sha256, sha256_of_file};
use crate::problem::{Problem, RunError};
use crate::scenario::Scenario;
use crate::simulation::{KeptFile, KeptFiles};
use crate::unfinished::making;

/// Copies modules and models into the run directory.
pub(super) fn keep_files(path: &Path, scenario: &Scenario, options: &RunOptions) -> Result<(), RunError> {
    let folder = path.join(FILES);
    making(|| std::fs::create_dir(&folder))
        .map_err(|error| RunError::of_io(table::unwritable(&folder, &error), &error))?;
    for (at, loaded) in options.modules.iter().enumerate() {
        let source = options.module_files.get(at).or(scenario.modules.get(at).map(|module| &module.path));
        let (Some(source), copy) = (source, folder.join(module_copy(&loaded.sha256))) else { continue };
        if copy.exists() {
            continue;
        }
        // It may have been changed since it was loaded: then the run has no copy of it, and none is better than a wrong one.
        if let Ok((bytes, _)) = files::read_checked(source, MODULE_BYTES_MAX, Some(loaded.sha256)) {
            write_file(&copy, &bytes)?;
        }
    }
    for (at, loaded) in options.models.iter().enumerate() {
        let source = options.model_files.get(at).or(scenario.models.get(at).map(|model| &model.path));
        let (Some(source), copy) = (source, folder.join(model_copy(&loaded.sha256))) else { continue };
        if !copy.exists() {
            keep_model(source, &copy, loaded.sha256).map_err(|error| failed(&copy, &error))?;
        }
    }
    sync_folder(&folder)
}

/// A copy of a model, unless it is very large, or isn't what was loaded any more. It is never in memory as a whole.
fn keep_model(source: &Path, copy: &Path, sha256: [u8; 32]) -> io::Result<()> {
    if !source.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MODEL_COPY_BYTES_MAX) {
        return Ok(());
    }
    let temporary = copy.with_extension("tmp");
    match table::copy_file(source, &temporary) {
        // It was removed since it was loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !source.exists() => return Ok(()),
        other => other?,
    }
    if sha256_of_file(&temporary)? != hex(&sha256) {
        return std::fs::remove_file(&temporary);
    }
    making(|| std::fs::rename(&temporary, copy))
}

/// Finds the files of a run again: its copies, or else what they were copied from. `is_of_run` says whether a module or a model of the scenario is
/// the run's own, and not one that a branch has set.
///
/// # Errors
/// A module is nowhere any more. Of models, who needs them says so.
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
        let (found, warning) = file.find("module", &module.name).map_err(|lost| lost.problem)?;
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

/// The name of a module's copy.
fn module_copy(sha256: &[u8; 32]) -> PathBuf {
    format!("{}.wasm", hex(sha256)).into()
}

/// The name of a model's copy.
fn model_copy(sha256: &[u8; 32]) -> PathBuf {
    format!("{}.onnx", hex(sha256)).into()
}
