//! A look at the whole code cache, for `wasm-engine doctor --verify`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    arena::SlotCreator,
    cache::{read_entry, trusts_others},
    cache_entry::{self, ENTRY_SUFFIX, EntryProblem},
    compile::engine,
};

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

/// Checks each entry of the code cache in a folder. Nothing is changed; a folder that isn't there has none.
///
/// # Errors
/// The folder can't be read or isn't used, and why.
pub fn survey_code_cache(folder: &Path) -> Result<CacheSurvey, String> {
    let mut survey = CacheSurvey::default();
    let files = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(survey),
        files => files.map_err(|error| error.to_string())?,
    };
    if let Some(who) = std::fs::metadata(folder).ok().as_ref().and_then(trusts_others) {
        return Err(format!("{who} may write it, so it isn't used"));
    }
    let engine = engine(Arc::new(SlotCreator));
    let environment = cache_entry::environment(&engine.map_err(|error| error.to_string())?);
    for file in files {
        let file = file.map_err(|error| error.to_string())?;
        let name = file.file_name().to_string_lossy().into_owned();
        if !name.ends_with(ENTRY_SUFFIX) {
            survey.others += 1;
            continue;
        }
        let entry = read_entry(&file.path(), false).ok().flatten();
        match entry.map(|entry| cache_entry::inspect(&entry, environment, &name)) {
            Some(Ok(())) => survey.whole += 1,
            Some(Err(EntryProblem::Outdated)) => survey.outdated += 1,
            _ => survey.damaged.push(file.path()),
        }
    }
    survey.damaged.sort();
    Ok(survey)
}
