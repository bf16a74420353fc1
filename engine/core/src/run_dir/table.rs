//! Files of a run directory. Every error names its file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wasm_engine_components::text::harmless_json;
use xxhash_rust::xxh3::Xxh3;

use crate::problem::{Problem, RunError};
use wasm_engine_files::unfinished::{Unfinished, making};

/// Size of a table's buffer, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// A file of JSON lines.
pub(super) struct TableFile {
    path: PathBuf,
    writer: BufWriter<File>,
    /// Number of bytes that were written so far.
    bytes: u64,
    hash: Xxh3,
    /// The line that is being made.
    line: Vec<u8>,
}

/// Number of bytes that were written to a table, and their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TablePosition {
    bytes: u64,
    hash: u128,
}

impl TableFile {
    /// Makes an empty table.
    pub fn create(path: PathBuf) -> Result<Self, Problem> {
        match making(|| File::create_new(&path)) {
            Ok(file) => Ok(Self::of(path, file)),
            Err(error) => Err(unwritable(&path, error)),
        }
    }

    fn of(path: PathBuf, file: File) -> Self {
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        Self { path, writer, bytes: 0, hash: Xxh3::new(), line: Vec::new() }
    }

    /// Opens a table to go on at `position`: what was written later is removed. Without a position, everything is.
    pub fn reopen(path: PathBuf, position: Option<TablePosition>) -> Result<Self, Problem> {
        let is_there = path.try_exists().unwrap_or(true);
        if position.is_some_and(|position| position.bytes > 0) && !is_there {
            return Err(Problem::new("isn't there").file(&path).help("put the file back as it was"));
        }
        if is_there {
            // Opening a pipe would block.
            wasm_engine_files::open_regular(&path).map_err(|error| unwritable(&path, error))?;
        }
        let opened =
            wasm_engine_files::no_link(File::options().read(true).write(true).create(true).truncate(false)).open(&path);
        let file = opened.map_err(|error| unwritable(&path, error))?;
        let mut table = Self::of(path, file);
        let failed = |path: &Path, error: io::Error| Problem::new("can't be read").caused_by(error).file(path);
        if let Some(position) = position {
            let found = table.read_to(position.bytes).map_err(|error| failed(&table.path, error))?;
            if found != position {
                let what =
                    format!("isn't what was written: its first {} bytes were changed or cut short", position.bytes);
                return Err(Problem::new(what).file(&table.path).help("put the file back as it was"));
            }
        }
        let (path, bytes) = (&table.path, table.bytes);
        let file = table.writer.get_mut();
        file.set_len(bytes)
            .and_then(|()| file.seek(io::SeekFrom::Start(bytes)))
            .map_err(|error| unwritable(path, error))?;
        Ok(table)
    }

    /// Hashes what stands before the byte `end`.
    fn read_to(&mut self, end: u64) -> io::Result<TablePosition> {
        let mut rest = self.writer.get_ref().take(end);
        let mut block = vec![0; BUFFER_BYTES];
        loop {
            match rest.read(&mut block)? {
                0 => break,
                length => {
                    self.hash.update(&block[..length]);
                    self.bytes += length as u64;
                }
            }
        }
        Ok(self.position())
    }

    /// Adds a line.
    pub fn row(&mut self, row: &impl Serialize) -> Result<(), RunError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, row).map_err(|error| failed(&self.path, error.into()))?;
        // The table may be viewed in a terminal.
        if let Ok(Cow::Owned(harmless)) = std::str::from_utf8(&self.line).map(harmless_json) {
            self.line = harmless.into_bytes();
        }
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.bytes += self.line.len() as u64;
        self.writer.write_all(&self.line).map_err(|error| failed(&self.path, error))
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> Result<(), RunError> {
        self.writer.flush().map_err(|error| failed(&self.path, error))
    }

    /// Writes what is buffered, and waits until it is on the disk.
    pub fn sync(&mut self) -> Result<(), RunError> {
        self.flush()?;
        self.writer.get_ref().sync_data().map_err(|error| failed(&self.path, error))
    }

    /// Returns the number of bytes that were written so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns how far it was written.
    pub fn position(&self) -> TablePosition {
        TablePosition { bytes: self.bytes, hash: self.hash.digest128() }
    }
}

/// Returns the frame of a table's last whole line; `None` if there is none.
pub(super) fn last_frame(path: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Row {
        frame: u64,
    }
    let mut file = wasm_engine_files::open_regular(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(BUFFER_BYTES as u64))).ok()?;
    let mut tail = Vec::new();
    file.take(BUFFER_BYTES as u64).read_to_end(&mut tail).ok()?;
    let end = tail.iter().rposition(|&byte| byte == b'\n')?;
    let line = tail[..end].rsplit(|&byte| byte == b'\n').next()?;
    serde_json::from_slice::<Row>(line).ok().map(|row| row.frame)
}

/// Writes and syncs a whole file that isn't there yet.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let mut file = making(|| File::create_new(path)).map_err(|error| RunError::from(unmade(path).caused_by(error)))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| failed(path, error))
}

/// Copies and syncs a whole file. Where the file system can, the two share their bytes: the system is asked for that where it is Linux.
pub(super) fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = making(|| File::create_new(to))?;
    io::copy(&mut source, &mut copy)?;
    copy.sync_all()
}

/// Writes a whole file under a temporary name, synced and renamed: where it is, it is whole.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.tmp"));
    // A killed process may have left one.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&temporary, error)),
        _ => {}
    }
    let _unfinished = Unfinished::file(&temporary);
    write_file(&temporary, bytes)?;
    making(|| std::fs::rename(&temporary, path)).map_err(|error| failed(path, error))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Waits until the names in a folder are on the disk.
pub(super) fn sync_folder(folder: &Path) -> Result<(), RunError> {
    wasm_engine_files::sync_folder(folder).map_err(|error| failed(folder, error))
}

/// Returns the error of a write that failed in the run.
pub(super) fn failed(path: &Path, error: io::Error) -> RunError {
    let problem = Problem::new("can't be written")
        .caused_by(error)
        .file(path)
        .help("see that it can be written to, or name a folder elsewhere with --out")
        .room_help("make room, and `wasm-engine resume` goes on with the run; or name a folder elsewhere with --out");
    RunError::of_machine(problem)
}

fn unwritable(path: &Path, error: io::Error) -> Problem {
    unmade(path).caused_by(error)
}

/// Returns the error of a file that couldn't be made.
pub(super) fn unmade(path: &Path) -> Problem {
    Problem::new("can't be made").file(path).help("see that it can be written to, or name another folder with --out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::ErrorKind;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let mut table = TableFile::of(PathBuf::from("run/frames.jsonl"), file);
        table.row(&1).unwrap();
        let error = table.flush().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Machine);
        let text = format!("{error:#}");
        assert!(text.starts_with("run/frames.jsonl: can't be written: No space left on device"), "{text}");
        assert!(text.contains("; help: make room, and `wasm-engine resume` goes on with the run"), "{text}");
        let long = "x".repeat(2 * BUFFER_BYTES);
        assert_eq!(table.row(&long).unwrap_err().kind(), ErrorKind::Machine);
    }

    #[test]
    fn a_table_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let mut table = TableFile::create(path.clone()).unwrap();
        table.row(&1).unwrap();
        let position = table.position();
        table.row(&"lost").unwrap();
        table.sync().unwrap();
        drop(table);
        let mut table = TableFile::reopen(path.clone(), Some(position)).unwrap();
        table.row(&2).unwrap();
        let whole = table.position();
        table.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
        drop(table);
        assert_eq!(TableFile::reopen(path.clone(), Some(whole)).unwrap().position(), whole);
        std::fs::write(&path, "1\n3\n").unwrap();
        let told = format!("{:#}", TableFile::reopen(path.clone(), Some(whole)).err().unwrap());
        assert!(told.contains("rows.jsonl: isn't what was written: its first 4 bytes"), "{told}");
        std::fs::write(&path, "1\n").unwrap();
        assert!(TableFile::reopen(path.clone(), Some(whole)).is_err());
        drop(TableFile::reopen(path.clone(), None).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
