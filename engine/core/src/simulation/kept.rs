//! The files that a recorded run keeps. If its simulation is built again, they are read instead of those that the scenario names, which may
//! have been changed or removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wasm_engine_components::causes::with_causes;
use wasm_engine_components::text::{shown, shown_path};

use crate::problem::Problem;
use wasm_engine_files::{FileProblem, hex, sha256_of_file};

/// Where the files of a recorded run are, by their names in the scenario. Those that aren't in it are where the scenario says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptFiles {
    /// Paths of the modules, each with the content that was run.
    pub modules: BTreeMap<String, PathBuf>,
    /// The models. They may be large, so it is checked only when a model is needed which of its two files has the content that was run.
    pub models: BTreeMap<String, KeptFile>,
}

/// A file of a recorded run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// The run's own copy. It doesn't exist if the file was too large to be copied.
    pub copy: PathBuf,
    /// The file that was run.
    pub original: PathBuf,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
}

/// Error of a file of a recorded run that isn't found.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LostFile {
    /// What is wrong with both of its places, and what to do.
    pub problem: Problem,
}

impl KeptFile {
    /// Returns the path of the file that was run: the copy, or else the original; and a warning. `what` is the sort of file.
    ///
    /// # Errors
    /// Fails if neither file is the one that was run.
    pub fn find(&self, what: &str, name: &str) -> Result<(PathBuf, Option<String>), LostFile> {
        let of_copy = match self.check(&self.copy) {
            Ok(()) => return Ok((self.copy.clone(), None)),
            Err(problem) => problem,
        };
        let (copy, original) = (shown_path(&self.copy), shown_path(&self.original));
        let of_copy = said(&of_copy);
        match self.check(&self.original) {
            Ok(()) => {
                let name = shown(name);
                let warning =
                    format!("{copy}: the copy of {what} `{name}` {of_copy}; {original} is used, which is the same");
                Ok((self.original.clone(), Some(warning)))
            }
            Err(of_original) => {
                let text = format!(
                    "the {what} `{}` of this run isn't there any more: its copy {of_copy}, and {original} {}",
                    shown(name),
                    said(&of_original)
                );
                let problem = Problem::new(text).file(&self.copy);
                Err(LostFile { problem: problem.help("put one of the two back as it was when the run was recorded") })
            }
        }
    }

    fn check(&self, path: &Path) -> Result<(), FileProblem> {
        let (found, stated) = (sha256_of_file(path)?, hex(&self.sha256));
        if found == stated { Ok(()) } else { Err(FileProblem::WrongHash { found, stated }) }
    }
}

fn said(problem: &FileProblem) -> String {
    match problem {
        FileProblem::WrongHash { found, .. } => format!("was changed since the run (its sha256 is {found})"),
        other => with_causes(other),
    }
}
