//! The lock on a run directory: one process that writes, or any number that read.
//!
//! The lock is the operating system's, on the file `lock`. It is gone with the process that holds it, however that one ends, so
//! there is never a stale one to clear. What the file says is only there to be told to others. Unless its holder writes to the folder, it
//! says again what it said before, once the lock is released by a process that nothing ended, and if nobody else has said something since.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::problem::Problem;

/// The file's name.
pub(super) const NAME: &str = "lock";
/// Largest part of the file that is read for a message, in bytes.
const TOLD_BYTES_MAX: u64 = 64;
/// Size of the largest file that says again what it said before, in bytes.
const KEPT_BYTES_MAX: u64 = 4 << 10;

/// A lock on a run directory. It is released when this is dropped, and when the process ends or dies.
#[derive(Debug)]
pub struct RunLock {
    /// `None` if the folder can't be written to, so that nobody writes to it either.
    file: Option<File>,
    /// What the file said, and since when; `None` where that can't be had.
    before: Option<(Vec<u8>, SystemTime)>,
    /// Whether the file goes on saying who had the lock.
    stays: AtomicBool,
}

impl RunLock {
    /// Takes the lock for writing.
    ///
    /// # Errors
    /// Fails if another process, or another part of this one, reads or writes it, or the lock can't be made.
    pub fn exclusive(folder: &Path) -> Result<Self, Problem> {
        let mut file = open(folder).map_err(|error| unlockable(folder, error))?;
        taken(folder, &mut file, File::try_lock)?;
        Ok(Self::told(file, "written"))
    }

    /// Takes the lock for reading, during which the folder stays as it is.
    ///
    /// # Errors
    /// Fails if another process writes to it, or the lock can't be made.
    pub fn shared(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(NAME);
        let mut file = match open(folder) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
                match File::open(&path) {
                    Ok(file) => file,
                    // A process that can't make the lock file can still read.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        return Ok(Self { file: None, before: None, stays: AtomicBool::new(false) });
                    }
                    Err(error) => return Err(unlockable(folder, error)),
                }
            }
            Err(error) => return Err(unlockable(folder, error)),
        };
        taken(folder, &mut file, File::try_lock_shared)?;
        Ok(Self::told(file, "read"))
    }

    /// Says in the file who has the lock.
    fn told(mut file: File, how: &str) -> Self {
        let before = said(&mut file).ok().filter(|(text, _)| text.len() as u64 <= KEPT_BYTES_MAX);
        say(&mut file, how);
        Self { file: Some(file), before, stays: AtomicBool::new(false) }
    }

    /// Returns whether there is a file that is locked.
    pub(super) const fn is_held(&self) -> bool {
        self.file.is_some()
    }

    /// Says that the folder is written to, so that the file needn't be what it was.
    pub(super) fn stays(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        let (Some(file), Some((before, since))) = (&mut self.file, &self.before) else { return };
        // Another reader may have said since that it has the lock.
        let mut is_ours = || said(file).is_ok_and(|(text, _)| text.ends_with(own_end().as_bytes()));
        if self.stays.load(Ordering::Relaxed) || !is_ours() {
            return;
        }
        write(file, before);
        let _ = file.set_modified(*since);
    }
}

/// Returns whether the file in a folder is one that a lock has left: it says who had it, or nothing yet.
pub(super) fn is_one(folder: &Path) -> bool {
    let text = wasm_engine_files::read_at_most(&folder.join(NAME), TOLD_BYTES_MAX + 1).unwrap_or_else(|_| vec![0]);
    let Some(rest) = ["written ", "read "].iter().find_map(|how| text.strip_prefix(how.as_bytes())) else {
        return text.is_empty();
    };
    rest.strip_suffix(b"\n").is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit))
}

fn open(folder: &Path) -> io::Result<File> {
    wasm_engine_files::no_link(File::options().read(true).write(true).create(true).truncate(false))
        .open(folder.join(NAME))
}

/// Takes the lock, or returns who has it.
fn taken(folder: &Path, file: &mut File, lock: fn(&File) -> Result<(), TryLockError>) -> Result<(), Problem> {
    match lock(file) {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) => Err(unlockable(folder, error)),
        Err(TryLockError::WouldBlock) => {
            let mut told = String::new();
            let _ = file.take(TOLD_BYTES_MAX).read_to_string(&mut told);
            let by = match told.trim().split_once(' ') {
                Some((how @ ("read" | "written"), pid)) if pid.bytes().all(|byte| byte.is_ascii_digit()) => {
                    format!("it is being {how} by process {pid}")
                }
                _ => "another process has locked it".to_owned(),
            };
            Err(Problem::new(format!("the run directory is in use: {by}"))
                .file(folder)
                .help("wait until that process ends, or stop it"))
        }
    }
}

/// Writes into the file who has the lock; of several readers, the last one. Errors are ignored.
fn say(file: &mut File, how: &str) {
    write(file, format!("{how}{}", own_end()).as_bytes());
}

/// Returns the end of what the file says where this process has the lock.
fn own_end() -> String {
    format!(" {}\n", std::process::id())
}

fn write(file: &mut File, bytes: &[u8]) {
    let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(bytes));
}

/// Returns what the file says, and since when.
fn said(file: &mut File) -> io::Result<(Vec<u8>, SystemTime)> {
    let since = file.metadata()?.modified()?;
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(KEPT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes, since))
}

fn unlockable(folder: &Path, error: io::Error) -> Problem {
    Problem::new("the run directory can't be locked")
        .caused_by(error)
        .file(folder)
        .help("put it into a folder that you may write to, on a file system with locks")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use wasm_engine_components::text::shown_path;

    use super::*;

    /// Where the second process finds the folder.
    const FOLDER: &str = "RUN_LOCK_TEST_FOLDER";

    #[test]
    fn one_writes_or_many_read() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let in_use = |result: Result<RunLock, Problem>, how: &str| {
            let text = format!("{:#}", result.expect_err("it is in use"));
            let process = std::process::id();
            let shown = shown_path(folder);
            assert_eq!(
                text,
                format!(
                    "{shown}: the run directory is in use: it is being {how} by process {process}; help: wait until that \
                     process ends, or stop it"
                )
            );
        };
        let writer = RunLock::exclusive(folder).unwrap();
        in_use(RunLock::exclusive(folder), "written");
        in_use(RunLock::shared(folder), "written");
        drop(writer);
        let readers = [RunLock::shared(folder).unwrap(), RunLock::shared(folder).unwrap()];
        in_use(RunLock::exclusive(folder), "read");
        drop(readers);
        assert!(std::fs::read(folder.join(NAME)).unwrap().is_empty(), "nobody wrote to the folder");
        // The content of the file doesn't matter, and is there again afterwards unless the folder was written to.
        for bytes in [&b"written 1\n"[..], b"", &[0xff; 1000]] {
            std::fs::write(folder.join(NAME), bytes).unwrap();
            let modified = || folder.join(NAME).metadata().unwrap().modified().unwrap();
            let since = modified();
            let writer = RunLock::exclusive(folder).unwrap();
            assert_eq!(
                std::fs::read(folder.join(NAME)).unwrap(),
                format!("written {}\n", std::process::id()).as_bytes()
            );
            drop(writer);
            assert_eq!((std::fs::read(folder.join(NAME)).unwrap().as_slice(), modified()), (bytes, since));
        }
        RunLock::exclusive(folder).unwrap().stays();
        assert!(std::fs::read(folder.join(NAME)).unwrap().starts_with(b"written "));
    }

    #[test]
    fn what_the_file_says_is_told_only_if_it_makes_sense() {
        let folder = tempfile::tempdir().unwrap();
        let _reader = RunLock::shared(folder.path()).unwrap();
        for bytes in [&b"written by me\n"[..], b"", &[0xff; 1000], b"read"] {
            std::fs::write(folder.path().join(NAME), bytes).unwrap();
            let text = format!("{:#}", RunLock::exclusive(folder.path()).unwrap_err());
            assert!(text.contains("in use: another process has locked it; help"), "{text}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no");
        for result in [RunLock::exclusive(&missing), RunLock::shared(&missing)] {
            let text = format!("{:#}", result.unwrap_err());
            assert!(
                text.starts_with(&format!("{}: the run directory can't be locked: ", shown_path(&missing))),
                "{text}"
            );
        }
    }

    /// Not a test by itself: the second process of the test below, which kills it.
    #[test]
    fn hold_the_lock_in_a_second_process() {
        if let Some(folder) = std::env::var_os(FOLDER) {
            let _lock = RunLock::exclusive(Path::new(&folder)).unwrap();
            println!("locked");
            let _ = io::stdin().read(&mut [0]);
        }
    }

    #[test]
    fn a_process_that_is_killed_leaves_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let mut other = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run_dir::lock::tests::hold_the_lock_in_a_second_process", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = io::BufRead::lines(io::BufReader::new(other.stdout.take().unwrap()));
        assert!(lines.map_while(Result::ok).any(|line| line.contains("locked")), "the second process has the lock");
        let text = format!("{:#}", RunLock::exclusive(folder.path()).unwrap_err());
        assert!(text.contains(&format!("written by process {}", other.id())), "{text}");
        assert!(RunLock::shared(folder.path()).is_err());
        other.kill().unwrap();
        other.wait().unwrap();
        RunLock::exclusive(folder.path()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_can_only_be_read_can_be_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let allow = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        allow(0o500);
        // A superuser may do everything.
        if File::create(folder.path().join("probe")).is_err() {
            RunLock::shared(folder.path()).unwrap();
            let text = format!("{:#}", RunLock::exclusive(folder.path()).unwrap_err());
            assert!(text.contains("can't be locked: Permission denied"), "{text}");
        }
        allow(0o700);
    }
}
