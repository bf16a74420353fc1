//! The place of a run's folder: the one that `--out` names, or a new one under `runs/`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::lock::RunLock;
use super::start;
use crate::problem::{Problem, RunError};

/// Folder for new run folders, in the working directory.
const RUNS: &str = "runs";

/// The place of a run's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputDir {
    /// This folder. It must not exist, be empty, or hold only what an interrupted start has left.
    Named(PathBuf),
    /// A new folder `<name>-<number>` in this folder.
    Fresh(PathBuf, String),
}

impl OutputDir {
    /// Returns the folder that `--out` names, or else a new one for the scenario of that name.
    pub fn new(out: Option<&Path>, scenario: &str) -> Self {
        match out {
            Some(out) => Self::Named(out.to_path_buf()),
            None => Self::Fresh(PathBuf::from(RUNS), scenario.to_owned()),
        }
    }

    /// Checks, before anything is loaded, that the folder can be made.
    ///
    /// # Errors
    /// Fails if the named folder is there and isn't empty, or is a file.
    pub fn check(&self) -> Result<(), Problem> {
        let Self::Named(path) = self else { return Ok(()) };
        let problem = |what: &str| Problem::new(what).file(path);
        match start::is_free(path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(problem("the output folder isn't empty")
                .help("name another folder with --out, or empty this one; a run never overwrites another")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                Err(problem("isn't a folder").help("name a folder with --out"))
            }
            Err(error) => Err(unusable(path).caused_by(error)),
        }
    }

    /// Makes and locks the folder. Also returns whether it is new.
    pub(super) fn take(&self) -> Result<(PathBuf, bool, RunLock), RunError> {
        let (path, is_fresh) = self.create()?;
        let lock = RunLock::exclusive(&path)?;
        // Another process may have made a run in it since it was checked.
        Self::Named(path.clone()).check()?;
        Ok((path, is_fresh, lock))
    }

    fn create(&self) -> Result<(PathBuf, bool), RunError> {
        self.check()?;
        match self {
            Self::Named(path) => {
                let is_fresh = !path.exists();
                wasm_engine_files::make_folder(path).map_err(|error| unmakeable(path, error))?;
                Ok((path.clone(), is_fresh))
            }
            Self::Fresh(parent, name) => Ok((fresh(parent, name)?, true)),
        }
    }
}

/// Makes the folder with the next number. Two runs that start at once get two folders, because only one process can create each.
fn fresh(parent: &Path, name: &str) -> Result<PathBuf, RunError> {
    wasm_engine_files::make_folder(parent).map_err(|error| unmakeable(parent, error))?;
    let entries = std::fs::read_dir(parent).map_err(|error| unmakeable(parent, error))?;
    let number = |entry: std::fs::DirEntry| {
        let digits = entry.file_name().to_str()?.strip_prefix(name)?.strip_prefix('-')?.to_owned();
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?
    };
    let mut next = entries.flatten().filter_map(number).max().unwrap_or(0).saturating_add(1);
    loop {
        let path = parent.join(format!("{name}-{next:04}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && next < u32::MAX => next += 1,
            Err(error) => return Err(unmakeable(&path, error)),
        }
    }
}

fn unmakeable(path: &Path, error: std::io::Error) -> RunError {
    RunError::from(unusable(path).caused_by(error))
}

fn unusable(path: &Path) -> Problem {
    Problem::new("the output folder can't be used").file(path).help("name a folder that you may write to with --out")
}
