//! The start of a run directory: from an empty folder to the manifest, which is written last. A start that is interrupted, by a kill, a full
//! disk or a signal, leaves a marker file, which exists only until the manifest does. By the marker, the
//! next start takes the folder over; nothing else in a folder is ever touched.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::layout::{FILES, JOURNAL, MANIFEST, MANIFEST_TEMPORARY, SCENARIO, SNAPSHOTS};
use super::lock::{self, RunLock};
use super::table::failed;
use super::tables::NAMES;
use crate::problem::RunError;
use wasm_engine_files::unfinished::{Unfinished, making};

/// The file that says that the folder is being made.
const MARKER: &str = ".starting";
/// Content of the marker.
const MARKED: &str = "A run directory is being made here. The next run that is given this folder takes it over.\n";

/// Files and folders that a start makes; [`MARKER`] is the first, after the lock.
fn made() -> impl Iterator<Item = &'static str> {
    [SCENARIO, FILES, JOURNAL, SNAPSHOTS, MANIFEST_TEMPORARY].into_iter().chain(NAMES)
}

/// Returns whether a folder is empty, or has nothing but what a start has left that didn't get to its manifest.
pub(super) fn is_free(folder: &Path) -> io::Result<bool> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        match entry?.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(_) => return Ok(false),
        }
    }
    // It may have been interrupted right after it took the lock, or while it marked the folder.
    let is_lock = |name: &String| name == lock::NAME && lock::is_one(folder);
    let is_marker = |name: &String| name == MARKER && is_marked(folder);
    if names.iter().all(|name| is_lock(name) || is_marker(name)) {
        return Ok(true);
    }
    let is_made = |name: &String| made().any(|made| made == name);
    Ok(names.iter().any(is_marker) && names.iter().all(|name| is_lock(name) || is_marker(name) || is_made(name)))
}

/// Returns whether a start has left the folder without a manifest.
pub(super) fn is_dead(folder: &Path) -> bool {
    is_marked(folder) && is_free(folder).unwrap_or(false)
}

fn is_marked(folder: &Path) -> bool {
    let text = wasm_engine_files::read_at_most(&folder.join(MARKER), MARKED.len() as u64 + 1);
    text.is_ok_and(|text| MARKED.as_bytes().starts_with(&text))
}

/// An unfinished start. If it is dropped before it is done, it removes what it has made.
pub(super) struct Start {
    folder: PathBuf,
    /// Whether the folder wasn't there before.
    fresh: bool,
    done: bool,
    _unfinished: Unfinished,
}

impl Start {
    /// Begins in the folder that `take` makes, if needed, and locks: marks it, and removes what an earlier start has left.
    /// `take` also returns whether the folder is new.
    ///
    /// # Errors
    /// Fails if `take` fails, or the folder can't be written.
    pub fn begin(
        take: impl FnOnce() -> Result<(PathBuf, bool, RunLock), RunError>,
    ) -> Result<(Self, RunLock), RunError> {
        let ((folder, fresh, lock), unfinished) = Unfinished::made(take, |(path, fresh, _)| {
            let (path, fresh) = (path.clone(), *fresh);
            move || clear(&path, fresh)
        })?;
        let start = Self { folder, fresh, done: false, _unfinished: unfinished };
        let marker = start.folder.join(MARKER);
        // One that is there already may be a link. At most the mark is written while a signal waits.
        let mark = || {
            let _ = fs::remove_file(&marker);
            fs::File::create_new(&marker)?.write_all(MARKED.as_bytes())
        };
        making(mark).map_err(|error| failed(&marker, error))?;
        remove_made(&start.folder);
        Ok((start, lock))
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The manifest is there.
    pub fn done(mut self) {
        self.done = true;
        // Beside a manifest, the marker means nothing any more.
        let _ = fs::remove_file(self.folder.join(MARKER));
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if !self.done {
            clear(&self.folder, self.fresh);
        }
    }
}

/// Removes what a start has made, including the folder if it is new.
fn clear(folder: &Path, fresh: bool) {
    // The manifest may just have been written; then all of it stays.
    if folder.join(MANIFEST).exists() {
        return;
    }
    remove_made(folder);
    let _ = fs::remove_file(folder.join(MARKER));
    if fresh {
        // In an old folder, another process may be about to take the lock.
        let _ = fs::remove_file(folder.join(lock::NAME));
        let _ = fs::remove_dir(folder);
    }
}

fn remove_made(folder: &Path) {
    for name in made() {
        let path = folder.join(name);
        // One of the two.
        if fs::remove_file(&path).is_err() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn only_what_a_start_has_left_is_free() {
        let half = &MARKED[..20];
        let cases: [(&[(&str, &str)], bool); 9] = [
            (&[], true),
            (&[("lock", "written 12\n")], true),
            (&[("lock", "")], true),
            (&[("lock", "written 12\n"), (MARKER, half)], true),
            (&[("lock", "written 12\n"), (MARKER, MARKED), (SCENARIO, "x"), ("frames.jsonl", "")], true),
            (&[("lock", "my diary")], false),
            (&[(SCENARIO, "mine")], false),
            (&[(MARKER, "another program's"), (SCENARIO, "mine")], false),
            (&[(MARKER, MARKED), (SCENARIO, "x"), ("mine.txt", "x")], false),
        ];
        for (files, free) in cases {
            assert_eq!(is_free(folder_of(files).path()).unwrap(), free, "{files:?}");
        }
        let whole = folder_of(&[(MARKER, MARKED), (SCENARIO, "x"), (MANIFEST, "x")]);
        assert!(!is_free(whole.path()).unwrap() && !is_dead(whole.path()));
    }

    #[test]
    fn a_start_that_fails_leaves_the_folder_as_it_was() {
        let begin = |path: &Path| {
            let fresh = fs::create_dir(path).is_ok();
            Start::begin(|| Ok((path.to_path_buf(), fresh, RunLock::exclusive(path).unwrap()))).unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let (start, lock) = begin(folder.path());
        fs::create_dir(folder.path().join(JOURNAL)).unwrap();
        fs::write(folder.path().join(JOURNAL).join("000000.wej"), "x").unwrap();
        assert!(is_dead(folder.path()));
        drop((start, lock));
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names().collect::<Vec<_>>(), [lock::NAME]);
        let fresh = folder.path().join("fresh");
        drop(begin(&fresh));
        assert!(!fresh.exists());
        // One that is through stays.
        let (start, lock) = begin(&fresh);
        fs::write(fresh.join(MANIFEST), "x").unwrap();
        start.done();
        drop(lock);
        assert_eq!(fs::read_dir(&fresh).unwrap().count(), 2);
    }
}
