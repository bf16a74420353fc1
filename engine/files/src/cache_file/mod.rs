//! The files of the engine's cache folder: compiled modules, and what models' probes found. They only ever save
//! time: whatever isn't exactly what was written there is a miss, which is made and written anew.
//!
//! A file is read into memory once and checked there by `form`, so one that is changed meanwhile changes nothing. It is written under a
//! temporary name, synced and renamed, so that processes which write the same one don't meet. A temporary file is locked as long as its
//! writer lives, and goes with the writer: at a signal by [`Unfinished`], after a kill once somebody else writes.

mod form;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use wasm_engine_components::limits::CODE_CACHE_BYTES_MAX;
use wasm_engine_components::text::shown_path;

pub use self::form::{CacheFileProblem, FRAME_BYTES, FileForm, FileKey, environment};
use crate::folders::{make_private_folder, others_may_write};
use crate::regular;
use crate::unfinished::{Unfinished, making};

/// Prefix of the names of files that are being written.
const UNFINISHED_PREFIX: &str = ".new-";
/// After this time, a file that is being written and isn't locked has no writer any more.
const UNFINISHED_AGE: Duration = Duration::from_mins(1);
/// The same time, where the file system has no locks.
const UNFINISHED_AGE_UNLOCKED: Duration = Duration::from_hours(24);

/// A folder of files of one form.
#[derive(Clone, Debug)]
pub struct CacheFolder {
    path: PathBuf,
    form: FileForm,
}

/// Why a folder can't be used. Displayed, it goes on after the folder's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheFolderProblem {
    /// It can't be made or looked at.
    #[error("can't be used")]
    Unusable(#[source] io::Error),
    /// It was removed as soon as it was there.
    #[error("can't be used: it is gone again")]
    Gone,
    /// It is something else.
    #[error("can't be used: it isn't a folder")]
    NoFolder,
    /// Others may change it, so that what lies in it may be anybody's.
    #[error(
        "can't be used: {who} may write it, and what lies in it would be run or believed; make it yours alone (chown, chmod go-w), or use \
         another cache folder"
    )]
    OthersMayWrite {
        /// Those who may write it besides the user, in words.
        who: &'static str,
    },
    /// Its entries can't be listed.
    #[error(transparent)]
    Unreadable(io::Error),
}

/// A file of a cache folder can't be written.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be written", shown_path(path))]
pub struct CacheWriteError {
    /// File that can't be written.
    pub path: PathBuf,
    /// Error of the system.
    pub source: io::Error,
}

/// A file that was read and is whole.
pub struct WholeFile(Vec<u8>);

impl WholeFile {
    /// Returns the content that was kept.
    pub fn content(&self) -> &[u8] {
        form::content_of(&self.0)
    }
}

impl CacheFolder {
    /// Opens a folder, and makes it where it isn't there.
    ///
    /// # Errors
    /// It can't be used, and why, as what goes on after its name.
    pub fn open(folder: &Path, form: FileForm) -> Result<Self, CacheFolderProblem> {
        let path = std::path::absolute(folder).map_err(CacheFolderProblem::Unusable)?;
        make_private_folder(&path).map_err(CacheFolderProblem::Unusable)?;
        Self::existing(&path, form)?.ok_or(CacheFolderProblem::Gone)
    }

    /// Opens a folder that is there; `None` where there is none.
    ///
    /// # Errors
    /// It can't be used, and why, as what goes on after its name.
    pub fn existing(folder: &Path, form: FileForm) -> Result<Option<Self>, CacheFolderProblem> {
        let metadata = match std::fs::metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(CacheFolderProblem::Unusable)?,
        };
        if !metadata.is_dir() {
            return Err(CacheFolderProblem::NoFolder);
        }
        if let Some(who) = others_may_write(&metadata) {
            return Err(CacheFolderProblem::OthersMayWrite { who });
        }
        Ok(Some(Self { path: folder.to_path_buf(), form }))
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file with this key; `None` where there is none that this engine may use.
    ///
    /// # Errors
    /// There is one, and it isn't what was written.
    pub fn find(&self, key: &FileKey) -> Result<Option<WholeFile>, CacheFileProblem> {
        let path = self.path.join(self.form.file_name(key));
        let Ok((file, bytes)) = open(&path) else { return Ok(None) };
        let entry = match self.read(&file, bytes).and_then(|entry| self.form.verify(&entry, key).map(|()| entry)) {
            Err(CacheFileProblem::Outdated) => return Ok(None),
            entry => entry?,
        };
        // Those that were used last are kept longest. Where that can't be written, others are kept.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(WholeFile(entry)))
    }

    /// Writes a file: whole, or not at all. What is too large to be kept isn't.
    ///
    /// # Errors
    /// It can't be written, with the path.
    pub fn keep(&self, key: &FileKey, content: &[u8]) -> Result<(), CacheWriteError> {
        if (content.len() + FRAME_BYTES) as u64 > self.form.bytes_max {
            return Ok(());
        }
        let path = self.path.join(self.form.file_name(key));
        let written = self.write(&path, &self.form.seal(key, content));
        written.map_err(|source| CacheWriteError { path, source })?;
        // The new file is there; others that can't be removed are only in the way.
        let _ = self.make_room();
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
        let temporary = self.path.join(format!("{UNFINISHED_PREFIX}{}-{number}-{now}", std::process::id()));
        let _unfinished = Unfinished::file(&temporary);
        let written = making(|| create(&temporary)).and_then(|mut file| {
            // Where there are no locks, others wait for longer before they take it for abandoned.
            let _ = file.try_lock();
            file.write_all(bytes)?;
            file.sync_all()?;
            making(|| std::fs::rename(&temporary, path))?;
            regular::sync_folder(&self.path)
        });
        if written.is_err() {
            // What is left of it goes when the next one is written.
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    /// Looks at each file: its path, and whether it is whole and of `environment`; `None` for one that isn't of this form.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn survey(&self, environment: [u8; 16]) -> io::Result<Vec<(PathBuf, Option<Result<(), CacheFileProblem>>)>> {
        let mut found = Vec::new();
        for file in std::fs::read_dir(&self.path)? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let path = file.path();
            let checked = name.ends_with(self.form.suffix).then(|| {
                let (file, bytes) = open(&path).map_err(|_| CacheFileProblem::Damaged)?;
                self.form.inspect(&self.read(&file, bytes)?, environment, &name)
            });
            found.push((path, checked));
        }
        Ok(found)
    }

    /// Reads a file once, if its size is what its head says.
    fn read(&self, file: &File, bytes: u64) -> Result<Vec<u8>, CacheFileProblem> {
        let damaged = |_: io::Error| CacheFileProblem::Damaged;
        if bytes > self.form.bytes_max || others_may_write(&file.metadata().map_err(damaged)?).is_some() {
            return Err(CacheFileProblem::Damaged);
        }
        let mut entry = Vec::with_capacity(FRAME_BYTES);
        file.take(form::HEAD_BYTES as u64).read_to_end(&mut entry).map_err(damaged)?;
        self.form.check_head(&entry, bytes)?;
        file.take(bytes - form::HEAD_BYTES as u64 + 1).read_to_end(&mut entry).map_err(damaged)?;
        Ok(entry)
    }

    /// Removes what was used longest ago until the rest has room, and what writers left that are gone. What can't be looked at or removed
    /// stays.
    fn make_room(&self) -> io::Result<()> {
        let (mut entries, mut bytes) = (Vec::new(), 0_u64);
        for file in std::fs::read_dir(&self.path)?.flatten() {
            let (name, Ok(metadata)) = (file.file_name(), file.metadata()) else { continue };
            let Ok(used) = metadata.modified() else { continue };
            let name = name.to_string_lossy();
            if !metadata.is_file() {
                continue;
            }
            if name.ends_with(self.form.suffix) {
                bytes += metadata.len();
                entries.push((used, file.path(), metadata.len()));
            } else if name.starts_with(UNFINISHED_PREFIX) && is_abandoned(&file.path(), used) {
                let _ = std::fs::remove_file(file.path());
            }
        }
        entries.sort();
        for (_, path, length) in entries {
            if bytes <= CODE_CACHE_BYTES_MAX {
                break;
            }
            if std::fs::remove_file(path).is_ok() {
                bytes -= length;
            }
        }
        Ok(())
    }
}

/// Returns whether nobody writes a temporary file any more.
fn is_abandoned(path: &Path, written: SystemTime) -> bool {
    let Ok(age) = written.elapsed() else { return false };
    if age < UNFINISHED_AGE {
        return false;
    }
    match regular::open_regular(path).map(|file| file.try_lock()) {
        Ok(Ok(())) => true,
        Ok(Err(std::fs::TryLockError::WouldBlock)) => false,
        _ => age > UNFINISHED_AGE_UNLOCKED,
    }
}

/// Opens a regular file, with its size.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = regular::open_regular(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Returns a new file that its owner alone may read and write.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends at what it doesn't expect")]
mod tests {
    use super::*;

    const FORM: FileForm = FileForm { magic: *b"wetests\n", version: 1, suffix: ".test", bytes_max: 1_000 };

    fn key(subject: &[u8]) -> FileKey {
        FileKey::new([3; 16], subject)
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_kept_is_found_and_what_is_too_large_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert!(CacheFolder::existing(&folder.path().join("a/b"), FORM).unwrap().is_none());
        let cache = CacheFolder::open(&folder.path().join("a/b"), FORM).unwrap();
        assert!(cache.find(&key(b"x")).unwrap().is_none());
        cache.keep(&key(b"x"), b"content").unwrap();
        cache.keep(&key(b"empty"), b"").unwrap();
        cache.keep(&key(b"large"), &[0; 1_000]).unwrap();
        assert_eq!(cache.find(&key(b"x")).unwrap().unwrap().content(), b"content");
        assert_eq!(cache.find(&key(b"empty")).unwrap().unwrap().content(), b"");
        assert!(cache.find(&key(b"large")).unwrap().is_none());
        assert_eq!(names(cache.path()).len(), 2, "only whole files are there");
        assert!(CacheFolder::open(&cache.path().join(names(cache.path())[0].as_str()), FORM).is_err(), "it is a file");
    }

    #[test]
    fn what_a_dead_writer_left_goes_and_what_a_live_one_writes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CacheFolder::open(folder.path(), FORM).unwrap();
        let old = SystemTime::now() - 2 * UNFINISHED_AGE;
        let leave = |name: &str, modified: SystemTime| {
            let file = create(&folder.path().join(name)).unwrap();
            file.set_modified(modified).unwrap();
            file
        };
        drop(leave(".new-1-dead", old));
        drop(leave(".new-2-young", SystemTime::now()));
        drop(leave("another.txt", old));
        let alive = leave(".new-3-alive", old);
        alive.lock().unwrap();
        cache.keep(&key(b"x"), b"content").unwrap();
        let left: Vec<_> = names(folder.path()).into_iter().filter(|name| !name.ends_with(".test")).collect();
        assert_eq!(left, [".new-2-young", ".new-3-alive", "another.txt"]);
        drop(alive);
        cache.keep(&key(b"y"), b"content").unwrap();
        assert!(!names(folder.path()).contains(&".new-3-alive".to_owned()));
    }

    /// The head says how long the file is: of a large one that says otherwise, no more is read.
    #[test]
    fn a_sparse_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let large = FileForm { bytes_max: u64::MAX, ..FORM };
        let cache = CacheFolder::open(folder.path(), large).unwrap();
        cache.keep(&key(b"x"), b"content").unwrap();
        let path = folder.path().join(FORM.file_name(&key(b"x")));
        OpenOptions::new().write(true).open(&path).unwrap().set_len(10 << 30).unwrap();
        assert!(matches!(cache.find(&key(b"x")), Err(CacheFileProblem::Damaged)));
        let found = cache.survey([3; 16]).unwrap();
        assert!(matches!(found[..], [(_, Some(Err(CacheFileProblem::Damaged)))]));
        cache.keep(&key(b"x"), b"content").unwrap();
        assert!(cache.find(&key(b"x")).unwrap().is_some());
    }
}
