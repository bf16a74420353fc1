//! Files of a run directory. Every failure names its file; none is a panic.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::problem::{Problem, RunError};

/// Size of a table's buffer, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// A file of JSON lines.
pub(super) struct Table {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl Table {
    /// Makes an empty table.
    pub fn create(path: PathBuf) -> Result<Self, Problem> {
        match File::create_new(&path) {
            Ok(file) => Ok(Self { path, writer: BufWriter::with_capacity(BUFFER_BYTES, file) }),
            Err(error) => Err(unwritable(&path, &error)),
        }
    }

    /// Adds a line.
    pub fn row(&mut self, row: &impl Serialize) -> Result<(), RunError> {
        serde_json::to_writer(&mut self.writer, row)
            .map_err(io::Error::from)
            .and_then(|()| self.writer.write_all(b"\n"))
            .map_err(|error| failed(&self.path, &error))
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.writer.flush().map_err(|error| failed(&self.path, &error))
    }
}

/// Writes and syncs a whole file.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let mut file = File::create_new(path).map_err(|error| RunError::Input(unwritable(path, &error)))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| failed(path, &error))
}

/// A write that failed in the run.
pub(super) fn failed(path: &Path, error: &io::Error) -> RunError {
    let problem = Problem::new(format!("can't be written: {error}")).file(path);
    let full =
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded);
    RunError::Failed(match full {
        true => {
            problem.help("make room, or name a folder elsewhere with --out; the last line of a table may be cut short")
        }
        false => problem.help("name a folder elsewhere with --out"),
    })
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(format!("can't be made: {error}")).file(path).help("name a folder that you may write to with --out")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let mut table = Table { path: PathBuf::from("run/frames.jsonl"), writer: BufWriter::new(file) };
        table.row(&1).unwrap();
        let Err(RunError::Failed(problem)) = table.flush() else { panic!("the disk isn't full") };
        let text = problem.to_string();
        assert!(text.starts_with("run/frames.jsonl: can't be written: No space left on device"), "{text}");
        assert!(text.contains("; help: make room, or name a folder elsewhere with --out"), "{text}");
        let long = "x".repeat(2 * BUFFER_BYTES);
        assert!(matches!(table.row(&long), Err(RunError::Failed(_))));
    }
}
