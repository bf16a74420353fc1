//! A look at the whole code cache, for `wasm-engine doctor --verify`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    arena::SlotCreator,
    cache::{CODE, environment},
    compile::engine,
};
use crate::cache_file::{CacheFolder, FileProblem};

/// What is in a code cache.
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
pub fn check_code_cache(folder: &Path) -> Result<(), String> {
    CacheFolder::existing(folder, CODE).map(drop)
}

/// Checks each entry of the code cache in a folder. Nothing is changed; a folder that isn't there has none.
///
/// # Errors
/// The folder can't be read or isn't used, and why.
pub fn survey_code_cache(folder: &Path) -> Result<CacheSurvey, String> {
    let mut survey = CacheSurvey::default();
    let Some(folder) = CacheFolder::existing(folder, CODE)? else { return Ok(survey) };
    let engine = engine(Arc::new(SlotCreator)).map_err(|error| error.to_string())?;
    for (path, checked) in folder.survey(environment(&engine)).map_err(|error| error.to_string())? {
        match checked {
            None => survey.others += 1,
            Some(Ok(())) => survey.whole += 1,
            Some(Err(FileProblem::Outdated)) => survey.outdated += 1,
            Some(Err(_)) => survey.damaged.push(path),
        }
    }
    survey.damaged.sort();
    Ok(survey)
}
