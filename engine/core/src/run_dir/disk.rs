//! Bounds the size of a run's folder. Everything that writes into the folder reserves its bytes here first, so that the run ends before the
//! bound is passed, at the end of a frame, and can go on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasm_engine_components::limits::{DISK_BYTES_FREE, SNAPSHOTS_BYTES_MAX};

use crate::problem::{Problem, RunError, thousands};
use wasm_engine_files::space;

/// Bytes of free disk that are counted on at one time. It isn't all that is free, because others write to the same disk.
const LEASE_BYTES: u64 = 64 << 20;
/// Bytes that are kept back for the end of a run in any case: for its summary without groups and outputs, and for the journal's end.
const END_BYTES: u64 = 64 << 10;
/// Bytes that are advised for first frames and what the summary has of groups, where a bound is too low to begin or to go on.
const FRAMES_BYTES: u64 = 4 << 20;

/// Largest size of a run's folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskMax {
    /// As much as leaves [`DISK_BYTES_FREE`] of the disk free, or a tenth of a smaller disk; of one that is nearly full, half of
    /// what is free when the run starts.
    #[default]
    LeavesFree,
    /// A number of bytes.
    Bytes(u64),
}

/// The account of a folder's bytes.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<Books>>);

#[derive(Debug)]
struct Books {
    folder: PathBuf,
    max: DiskMax,
    /// Bytes of the folder, including those that are reserved and not yet written.
    used: u64,
    /// Of these, bytes reserved for frames that aren't written yet.
    waiting: u64,
    /// The bound, as far as it is known.
    room: u64,
    /// Bytes of the disk that must stay free.
    free: u64,
    /// Bytes kept back for the end of the run.
    end: u64,
    /// Largest size of all snapshots.
    snapshots_max: u64,
    /// Whether something had no room.
    full: bool,
}

/// Refuses a start whose files alone have more bytes than the folder may have. Nothing is made before this.
///
/// # Errors
/// `bytes` of files, with what is kept for the summary, are more than `max`.
pub(super) fn check_start(max: DiskMax, bytes: u64) -> Result<(), RunError> {
    let DiskMax::Bytes(max) = max else { return Ok(()) };
    let needed = bytes.saturating_add(END_BYTES);
    if needed <= max {
        return Ok(());
    }
    let (max, bytes, end) = (thousands(max), thousands(bytes), thousands(END_BYTES));
    let what = format!(
        "{max} bytes are too few to begin with: the run's copies of its scenario, modules, models and events have {bytes} bytes, and {end} \
         are kept for the summary; nothing was run"
    );
    let help = format!("{}; `run` with --no-record copies the scenario alone", advised(needed));
    Err(RunError::from(Problem::new(what).key("--disk-max").help(help)))
}

/// Refuses to go on with a run whose folder has more bytes already than it may have. Nothing is changed before this.
///
/// # Errors
/// What the folder has, with what is kept for the summary, is more than `max`.
pub(super) fn check_resume(max: DiskMax, folder: &Path) -> Result<(), RunError> {
    let DiskMax::Bytes(max) = max else { return Ok(()) };
    let bytes = folder_bytes(folder);
    let needed = bytes.saturating_add(END_BYTES);
    if needed <= max {
        return Ok(());
    }
    let what = format!(
        "{} bytes are too few to go on with: the run's folder has {} bytes, and {} are kept for the summary; the run is as it was",
        thousands(max),
        thousands(bytes),
        thousands(END_BYTES)
    );
    Err(RunError::from(Problem::new(what).key("--disk-max").help(advised(needed))))
}

/// Returns what is advised where at least `needed` bytes are needed before the first frame.
fn advised(needed: u64) -> String {
    format!("give it {} bytes or more with --disk-max SIZE", thousands(needed.saturating_add(FRAMES_BYTES)))
}

impl Disk {
    /// Opens the account of a folder.
    pub fn open(folder: &Path, max: DiskMax) -> Self {
        let used = folder_bytes(folder);
        let (free, total) = space(folder).unwrap_or((u64::MAX, u64::MAX));
        let left = DISK_BYTES_FREE.min(total / 10).min(free / 2);
        let room = match max {
            DiskMax::Bytes(bytes) => bytes,
            // Nothing is known of it before it is asked for.
            DiskMax::LeavesFree => 0,
        };
        let all = match max {
            DiskMax::Bytes(bytes) => bytes,
            DiskMax::LeavesFree => used.saturating_add(free - left),
        };
        let snapshots_max = SNAPSHOTS_BYTES_MAX.min(all / 2);
        let folder = folder.to_path_buf();
        Self(Arc::new(Mutex::new(Books {
            folder,
            max,
            used,
            waiting: 0,
            room,
            free: left,
            end: END_BYTES,
            snapshots_max,
            full: false,
        })))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves bytes for a frame that waits to be written; `false` if there is no room for them.
    pub fn take_for_frame(&self, bytes: u64) -> bool {
        let mut books = self.books();
        let fits = books.take(bytes);
        if fits {
            books.waiting += bytes;
        }
        fits
    }

    /// Reserves them even if there is no room.
    pub fn take_for_last_frame(&self, bytes: u64) {
        let mut books = self.books();
        books.used = books.used.saturating_add(bytes);
        books.waiting += bytes;
    }

    /// Says that a frame was written, with a number of bytes of those that were `taken` for it.
    pub fn settle(&self, taken: u64, written: u64) {
        let mut books = self.books();
        books.waiting = books.waiting.saturating_sub(taken);
        books.used = books.used.saturating_sub(taken).saturating_add(written);
    }

    /// Keeps a number of bytes back for what the summary has of groups and outputs.
    pub fn keep_for_end(&self, bytes: u64) {
        self.books().end = END_BYTES.saturating_add(bytes);
    }

    /// Returns whether frames wait to be written.
    pub fn waits(&self) -> bool {
        self.books().waiting > 0
    }

    /// Reserves bytes that are written now.
    ///
    /// # Errors
    /// Fails if there is no room for them. The run has to end then.
    pub fn take(&self, bytes: u64) -> std::io::Result<()> {
        let mut books = self.books();
        if books.take(bytes) {
            return Ok(());
        }
        books.full = true;
        Err(std::io::Error::new(std::io::ErrorKind::StorageFull, "the run's folder has as much as it may"))
    }

    /// Checks that the copies with which a run begins have room, where the run may take what is free on the disk.
    ///
    /// # Errors
    /// Fails if they would leave too little free.
    pub fn check_copies(&self, bytes: u64, help: &str) -> Result<(), RunError> {
        let mut books = self.books();
        let wanted = books.used.saturating_add(bytes).saturating_add(books.end);
        if books.max != DiskMax::LeavesFree || books.extend(wanted) {
            return Ok(());
        }
        let ((why, _), bytes) = (books.full(), thousands(bytes));
        let what = format!(
            "the run's copies of its scenario, modules, models and events have {bytes} bytes, and no room: {why}"
        );
        Err(RunError::of_machine(Problem::new(what).file(&books.folder).help(help)))
    }

    /// Gives back bytes that were taken, and weren't written or were removed.
    pub fn give_back(&self, bytes: u64) {
        let mut books = self.books();
        books.used = books.used.saturating_sub(bytes);
    }

    /// Returns whether something had no room.
    pub fn is_full(&self) -> bool {
        self.books().full
    }

    /// Returns the most bytes that snapshots may have, where the oldest may be deleted.
    pub fn snapshots_bytes_max(&self) -> u64 {
        self.books().snapshots_max
    }

    /// Returns the problem that a branch can't begin.
    pub fn first_error(&self) -> RunError {
        let books = self.books();
        let (why, how) = books.full();
        let what = format!("the snapshot with which the branch begins has no room, and nothing was run: {why}");
        RunError::of_machine(Problem::new(what).file(&books.folder).help(format!("{how}; then branch again")))
    }

    /// Returns the problem that a run ends before the frame `frame`. Without a journal, it can't go on.
    pub fn error(&self, frame: u64, recorded: bool) -> RunError {
        let books = self.books();
        let (used, folder, (why, how)) = (thousands(books.used), &books.folder, books.full());
        let then = if recorded { "`wasm-engine resume` goes on from there" } else { "run it again" };
        let end = thousands(books.end);
        let what = format!(
            "the run ended before frame {}: its folder has {used} bytes, {end} are kept for the summary, and {why}",
            thousands(frame)
        );
        RunError::of_machine(Problem::new(what).file(folder).help(format!("{how}; {then}")))
    }
}

impl Books {
    /// Returns the problem that there is no more room, with what to do.
    fn full(&self) -> (String, &'static str) {
        match self.max {
            DiskMax::Bytes(max) => {
                let why = format!("more would be beyond --disk-max, {} bytes", thousands(max));
                (why, "give it more with --disk-max SIZE")
            }
            DiskMax::LeavesFree => {
                let why = format!("more would leave less than {} bytes of the disk free", thousands(self.free));
                (why, "make room, or say with --disk-max SIZE how much the folder may have")
            }
        }
    }

    fn take(&mut self, bytes: u64) -> bool {
        let wanted = self.used.saturating_add(bytes).saturating_add(self.end);
        let fits = !self.full && (wanted <= self.room || self.extend(wanted));
        if fits {
            self.used += bytes;
        }
        fits
    }

    /// Counts on more of what is free, so that `wanted` bytes have room.
    fn extend(&mut self, wanted: u64) -> bool {
        if self.max != DiskMax::LeavesFree {
            return false;
        }
        self.room = match space(&self.folder) {
            // If the system can't say how much is free, writing fails once the disk is full.
            None => u64::MAX,
            Some((free, _)) => {
                let there = self.used - self.waiting.min(self.used);
                let most = there.saturating_add(free.saturating_sub(self.free));
                most.min(wanted.saturating_add(LEASE_BYTES))
            }
        };
        wanted <= self.room
    }
}

/// Returns the size of all files in a folder. Files that can't be read count as 0.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(bytes: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("journal")).unwrap();
        std::fs::write(folder.path().join("journal/a"), vec![0; bytes]).unwrap();
        folder
    }

    #[test]
    fn bytes_are_taken_up_to_the_most_and_given_back() {
        let folder = folder(1_000);
        let disk = Disk::open(folder.path(), DiskMax::Bytes(END_BYTES + 1_500));
        assert!(disk.take_for_frame(400) && !disk.take_for_frame(101) && disk.take_for_frame(100));
        assert!(disk.waits());
        // Less was written than was taken.
        disk.settle(400, 300);
        disk.settle(100, 100);
        assert!(!disk.waits() && !disk.is_full());
        assert!(disk.take(100).is_ok());
        disk.give_back(50);
        assert!(disk.take(51).is_err(), "nothing is left of it");
        assert!(disk.is_full() && !disk.take_for_frame(1), "and the run ends");
        let told = format!("{:#}", disk.error(7, true).problem());
        assert!(
            told.contains("the run ended before frame 7: its folder has 1,450 bytes, 65,536 are kept for the summary"),
            "{told}"
        );
        assert!(told.ends_with("give it more with --disk-max SIZE; `wasm-engine resume` goes on from there"), "{told}");
    }

    #[cfg(unix)]
    #[test]
    fn where_nobody_says_how_much_some_of_the_disk_stays_free() {
        let folder = folder(1_000);
        let (free, total) = space(folder.path()).unwrap();
        assert!(free > 0 && free <= total);
        let disk = Disk::open(folder.path(), DiskMax::default());
        assert!(disk.take_for_frame(1_000), "half of what is free may be had by a run that starts");
        assert!(!disk.take_for_frame(free + LEASE_BYTES));
        let told = format!("{:#}", disk.error(0, false).problem());
        assert!(told.contains("bytes of the disk free") && told.ends_with("; run it again"), "{told}");
    }
}
