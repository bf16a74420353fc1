//! The files that a recorded run keeps. If its simulation is built again, they are read instead of those that the scenario names, which may
//! have been changed or removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wasm_engine_components::causes::with_causes;
use wasm_engine_components::text::{shown, shown_path};

use crate::problem::{ErrorKind, Problem};
use wasm_engine_files::{FileProblem, Lack, hex, sha256_of_file};

/// Paths of the files of a recorded run, by their names in the scenario. A file that isn't in it is read where the scenario says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptFiles {
    /// Paths of the modules, each with the content that was run.
    pub modules: BTreeMap<String, PathBuf>,
    /// The models. They may be large, so it is checked only when a model is needed which of its two files has the content that was run.
    pub models: BTreeMap<String, KeptFile>,
    /// Whether the simulation is that of a run that was recorded, and not that of a new one which begins with its files, such as a branch. What a person
    /// was told when the run was recorded is no news then.
    pub(crate) of_past_run: bool,
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

impl KeptFile {
    /// Returns the path of the file that was run: the copy, or else the original; and a warning. `what` is the sort of file.
    ///
    /// # Errors
    /// Fails if neither file is the one that was run.
    pub fn find(&self, what: &str, name: &str) -> Result<(PathBuf, Option<String>), Problem> {
        let of_copy = match self.check(&self.copy) {
            Ok(()) => return Ok((self.copy.clone(), None)),
            Err(problem) => problem,
        };
        let (copy, original) = (shown_path(&self.copy), shown_path(&self.original));
        match self.check(&self.original) {
            Ok(()) => {
                let name = shown(name);
                let warning = format!(
                    "{copy}: the copy of {what} `{name}` {}; {original} is used, which is the same",
                    said(&of_copy)
                );
                Ok((self.original.clone(), Some(warning)))
            }
            Err(of_original) => {
                let text = format!(
                    "the {what} `{}` of this run isn't there any more: its copy {}, and {original} {}",
                    shown(name),
                    said(&of_copy),
                    said(&of_original)
                );
                // A disk that fails is the machine's fault, whichever of the two lies on it.
                let lack = [&of_copy, &of_original].into_iter().find_map(FileProblem::lack);
                let help = lack.map_or("put one of the two back as it was when the run was recorded", Lack::remedy);
                Err(Problem::new(text).file(&self.copy).help(help).of_kind(ErrorKind::of_lack(lack)))
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
