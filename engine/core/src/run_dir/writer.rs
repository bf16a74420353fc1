//! The threads that write a run directory, so that frames don't wait for files: one writes journal and tables, another one
//! compresses and writes snapshots. Driven by [`super::RunDir`].
//!
//! What is on the disk when: the journal reaches the operating system with each batch of frames, and the disk at least
//! every [`SYNC_PERIOD`]. Tables are written after the journal's frames are on the disk, and a snapshot is begun after that: so
//! nothing that can be seen in the folder is ahead of the journal.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::info;

use super::disk::Disk;
use super::handover::Handover;
use super::item::{Item, Pending, RecordedFrame};
use super::layout::TABLES;
use super::snapshot_retention::SnapshotRetention;
use super::table::failed;
use super::tables::{TablePositions, Tables};
use crate::journal::JournalWriter;
use crate::problem::{ErrorKind, Problem, RunError};
use crate::snapshot::{self, Snapshot, SnapshotRef};
use crate::threads;
use wasm_engine_wasm::{GuestStateError, PageTracker};

/// Longest time between a frame's record and the disk.
const SYNC_PERIOD: Duration = Duration::from_secs(1);
/// Number of batches of frames that may wait for the disk. If there are more, the run waits.
const BATCHES_MAX: usize = 64;

/// Files that the thread writes.
pub(super) struct Writer {
    pub journal: Option<JournalWriter>,
    pub tables: Tables,
    pub snapshots: SnapshotWriter,
    disk: Disk,
    unsynced: Option<Instant>,
}

/// The writer's thread.
pub(super) struct WriterThread {
    handover: Handover,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl WriterThread {
    /// Starts the thread.
    pub fn start(writer: Writer) -> Result<Self, RunError> {
        let (sender, items) = sync_channel(BATCHES_MAX);
        let is_recorded = writer.journal.is_some();
        let thread = spawn("run-directory", move || writer.run(&items).map_err(|error| told(error, is_recorded)))?;
        Ok(Self { handover: Handover::to(sender), thread: Some(thread) })
    }

    /// Returns the queue to the writer.
    pub const fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Returns whether it has ended, well or not.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends an item.
    ///
    /// # Errors
    /// Fails with the reason why the thread has ended.
    pub fn send(&mut self, item: Item) -> Result<(), RunError> {
        match self.handover.sender().map(|sender| sender.send(item)) {
            Some(Ok(())) => Ok(()),
            _ => self.join(),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// Fails if something can't be written.
    pub fn join(&mut self) -> Result<(), RunError> {
        self.handover.disconnect();
        let gone = || Err(RunError::of_machine(Problem::new("the thread that writes the run directory has ended")));
        self.thread.take().map_or_else(gone, joined)
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.handover.disconnect();
        if let Some(thread) = self.thread.take() {
            // If it is dropped without joining, there already was another error.
            let _ = thread.join();
        }
    }
}

impl Writer {
    pub fn new(journal: Option<JournalWriter>, tables: Tables, snapshots: SnapshotWriter, disk: Disk) -> Self {
        Self { journal, tables, snapshots, disk, unsynced: None }
    }

    fn run(mut self, items: &Receiver<Item>) -> Result<(), RunError> {
        loop {
            let wait = self.unsynced.map(|since| (since + SYNC_PERIOD).saturating_duration_since(Instant::now()));
            let item = match wait {
                Some(wait) => items.recv_timeout(wait),
                None => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match item {
                Ok(Item::Frames(frames)) => self.append(&frames)?,
                Ok(Item::Snapshot(snapshot)) => {
                    self.sync()?;
                    self.snapshots.send(snapshot, self.tables.positions())?;
                }
                Ok(Item::End(digest, summary)) => {
                    if let Some(journal) = &mut self.journal {
                        journal.end(digest, summary).map_err(RunError::of_machine)?;
                    }
                    self.sync()?;
                }
                Ok(Item::Close(answer)) => {
                    let synced = self.sync().map(|()| self.journal.as_ref().map(JournalWriter::next_frame));
                    // The asking thread may have stopped waiting, and is about to end the process.
                    let _ = answer.send(synced);
                    loop {
                        std::thread::park();
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.sync()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_PERIOD) {
                self.sync()?;
            }
        }
        self.sync()?;
        info!(bytes = self.tables.bytes(), "the tables are closed");
        self.snapshots.join()
    }

    /// Appends frames to the journal, and then to the tables: as far as this process can, no table has a row of a frame that isn't in the journal.
    fn append(&mut self, frames: &[RecordedFrame]) -> Result<(), RunError> {
        let mut written = vec![0; frames.len()];
        if let Some(journal) = &mut self.journal {
            for (frame, written) in frames.iter().zip(&mut written).filter(|(frame, _)| frame.to_journal) {
                *written = journal.append(&frame.record).map_err(RunError::of_machine)?;
            }
            journal.flush().map_err(RunError::of_machine)?;
        }
        for (RecordedFrame { record, taken, .. }, written) in frames.iter().zip(written) {
            let before = self.tables.bytes();
            self.tables.append(record)?;
            self.disk.settle(*taken, written + (self.tables.bytes() - before));
        }
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), RunError> {
        self.unsynced = None;
        self.snapshots.check()?;
        if let Some(journal) = &mut self.journal {
            journal.sync().map_err(RunError::of_machine)?;
        }
        self.tables.sync()
    }
}

/// The thread that writes snapshots.
pub(super) struct SnapshotWriter {
    folder: PathBuf,
    sender: Option<SyncSender<Box<Pending>>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
    /// Whether the oldest may be removed.
    thin: bool,
    first_frame: u64,
    disk: Disk,
}

impl SnapshotWriter {
    /// Creates it for a run in a folder. `thin` says whether the oldest are removed if there are too many.
    pub fn new(folder: PathBuf, thin: bool, first_frame: u64, disk: Disk) -> Self {
        Self { folder, sender: None, thread: None, thin, first_frame, disk }
    }

    fn send(&mut self, mut snapshot: Box<Pending>, positions: TablePositions) -> Result<(), RunError> {
        let positions = postcard::to_allocvec(&positions).unwrap_or_default();
        snapshot.extras.push((TABLES.to_owned(), positions));
        if self.sender.is_none() {
            let (sender, snapshots) = sync_channel(0);
            let (folder, thin, first_frame) = (self.folder.clone(), self.thin, self.first_frame);
            let disk = self.disk.clone();
            self.thread =
                Some(spawn("snapshots", move || write(&folder, &snapshots, thin.then_some(first_frame), &disk))?);
            self.sender = Some(sender);
        }
        match self.sender.as_ref().map(|sender| sender.send(snapshot)) {
            Some(Ok(())) => Ok(()),
            _ => self.join(),
        }
    }

    /// Returns early the error of a snapshot that couldn't be written.
    fn check(&mut self) -> Result<(), RunError> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) { self.join() } else { Ok(()) }
    }

    fn join(&mut self) -> Result<(), RunError> {
        self.sender = None;
        self.thread.take().map_or(Ok(()), joined)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // It isn't to write to a folder that is somebody else's by then. Whoever drops it without joining has an error to tell already.
        self.sender = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Writes snapshots. Where the oldest may go, `thin_from` is the frame of the one that has to stay.
fn write(
    folder: &Path,
    snapshots: &Receiver<Box<Pending>>,
    thin_from: Option<u64>,
    disk: &Disk,
) -> Result<(), RunError> {
    let mut last: Option<SnapshotRef> = None;
    let mut tracker = PageTracker::default();
    let mut retention = thin_from.map(|first| SnapshotRetention::of(folder, first, disk.snapshots_bytes_max()));
    while let Ok(pending) = snapshots.recv() {
        // The permit is held until it is written or has failed.
        let Pending { state, extras, permit: _permit } = *pending;
        let spare = state.guests.spare();
        let state = state.save(&mut tracker).map_err(|error| unsaved(folder, error))?;
        let mut snapshot = Snapshot { state, base: None, extras };
        snapshot.base = if snapshot.state.guests.full { None } else { last };
        let replaced = snapshot::path(folder, snapshot.state.frame).metadata().map_or(0, |file| file.len());
        let mut taken = 0;
        let mut take = |bytes| disk.take(bytes).inspect(|()| taken += bytes);
        let since = Instant::now();
        match snapshot::write_counted(folder, &snapshot, &mut take) {
            Ok(written) => {
                last = Some(written);
                let (frame, is_full) = (snapshot.state.frame, snapshot.base.is_none());
                let ms = since.elapsed().as_micros() as f64 / 1e3;
                info!(frame, is_full, bytes = taken, ms, "a snapshot is written");
            }
            // The run ends with this error. It can go on from an earlier snapshot.
            Err(_) if disk.is_full() => {
                disk.give_back(taken);
                continue;
            }
            Err(error) => return Err(failed(folder, error)),
        }
        disk.give_back(replaced);
        if let Some(retention) = &mut retention {
            retention.add(snapshot.state.frame, snapshot.base.is_none());
            disk.give_back(retention.thin_out()?);
        }
        spare.take_back(snapshot.state.guests);
    }
    Ok(())
}

fn unsaved(folder: &Path, error: GuestStateError) -> RunError {
    let help = "this is a fault of the engine: report it; what was recorded up to here is whole";
    RunError::of_machine(Problem::new("a snapshot can't be made").caused_by(error).file(folder).help(help))
}

/// Without a journal, the run can't go on.
fn told(error: RunError, is_recorded: bool) -> RunError {
    match error.kind() {
        ErrorKind::Machine if !is_recorded => {
            let help = "make room, or name a folder elsewhere with --out, and run it again";
            error.into_problem().room_help(help).into()
        }
        _ => error,
    }
}

/// Joins a thread and returns its result. If it panicked, this panics, too.
fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, RunError> {
    threads::spawn(name, work).map_err(|error| {
        let problem = Problem::new(format!("can't start the thread `{name}`")).caused_by(error);
        RunError::of_machine(problem.help(threads::more_threads()))
    })
}
