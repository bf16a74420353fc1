//! The threads that write a run directory, so that frames don't wait for files: one writes journal and tables, another one
//! compresses and writes snapshots. Driven by [`super::RunDir`].
//!
//! What is on the disk when: the journal reaches the operating system with each batch of frames, and the disk at least
//! every [`SYNC_PERIOD`]. Tables are written after the journal's frames are on the disk, and a snapshot is begun after that: so
//! nothing that can be seen in the folder is ahead of the journal.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasm_engine_components::limits::SNAPSHOTS_BYTES_MAX;
use wasm_engine_components::{Digest, FrameInputs, FrameRecord};

use super::table::failed;
use super::tables::{TablePositions, Tables};
use crate::journal::{JournalFrame, JournalWriter, RecordedRow};
use crate::problem::{Problem, RunError};
use crate::snapshot::{self, Snapshot, SnapshotRef};

/// Longest time between a frame's record and the disk.
const SYNC_PERIOD: Duration = Duration::from_secs(1);
/// Batches of frames that may wait for the disk. Beyond them, frames wait.
const BATCHES_MAX: usize = 64;

/// A frame, as it goes into the run directory.
#[derive(Debug, Default)]
pub struct Entry {
    /// What went into the frame.
    pub inputs: FrameInputs,
    /// What models gave in it, in the order of the dispatch.
    pub inference: Vec<RecordedRow>,
    /// What came out of it.
    pub record: FrameRecord,
    /// The digest of all agents' memories after it, where it was taken.
    pub memories: Option<Digest>,
    /// Whether the journal has it already: a run that goes on runs some of its frames again.
    pub journaled: bool,
}

/// What the writer is told.
pub(super) enum Item {
    /// Frames, in their order.
    Frames(Vec<Entry>),
    /// The state after those frames.
    Snapshot(Box<Snapshot>),
    /// The run has ended, with this digest.
    End(Digest),
}

/// What writes.
pub(super) struct Writer {
    pub journal: Option<JournalWriter>,
    pub tables: Tables,
    pub snapshots: SnapshotWriter,
    unsynced: Option<Instant>,
}

/// The writer's thread.
pub(super) struct WriterThread {
    sender: Option<SyncSender<Item>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl WriterThread {
    /// Starts it.
    pub fn start(writer: Writer) -> Result<Self, RunError> {
        let (sender, items) = sync_channel(BATCHES_MAX);
        let thread = spawn("run-directory", move || writer.run(&items))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands something over.
    ///
    /// # Errors
    /// Why the thread has ended.
    pub fn send(&mut self, item: Item) -> Result<(), RunError> {
        match self.sender.as_ref().map(|sender| sender.send(item)) {
            Some(Ok(())) => Ok(()),
            _ => self.join(),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// Something can't be written.
    pub fn join(&mut self) -> Result<(), RunError> {
        self.sender = None;
        let gone = || Err(RunError::Failed(Problem::new("the thread that writes the run directory has ended")));
        self.thread.take().map_or_else(gone, joined)
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // Whoever drops it without joining has an error to tell already.
            let _ = thread.join();
        }
    }
}

impl Writer {
    pub fn new(journal: Option<JournalWriter>, tables: Tables, snapshots: SnapshotWriter) -> Self {
        Self { journal, tables, snapshots, unsynced: None }
    }

    fn run(mut self, items: &Receiver<Item>) -> Result<(), RunError> {
        loop {
            let wait = self.unsynced.map(|since| (since + SYNC_PERIOD).saturating_duration_since(Instant::now()));
            let item = match wait {
                Some(wait) => items.recv_timeout(wait),
                None => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match item {
                Ok(Item::Frames(entries)) => self.append(entries)?,
                Ok(Item::Snapshot(snapshot)) => {
                    self.sync()?;
                    self.snapshots.send(snapshot, self.tables.positions())?;
                }
                Ok(Item::End(digest)) => {
                    if let Some(journal) = &mut self.journal {
                        journal.end(digest).map_err(RunError::Failed)?;
                    }
                    self.sync()?;
                }
                Err(RecvTimeoutError::Timeout) => self.sync()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_PERIOD) {
                self.sync()?;
            }
        }
        self.sync()?;
        self.snapshots.join()
    }

    fn append(&mut self, entries: Vec<Entry>) -> Result<(), RunError> {
        for Entry { inputs, inference, record, memories, journaled } in entries {
            if let Some(journal) = self.journal.as_mut().filter(|_| !journaled) {
                let frame = JournalFrame {
                    frame: record.frame,
                    inputs,
                    inference,
                    digest: record.digest,
                    lanes: record.lanes,
                    native: record.native.iter().map(|(name, digest)| ((*name).to_owned(), *digest)).collect(),
                    memories,
                };
                journal.append(&frame).map_err(RunError::Failed)?;
            }
            self.tables.append(&record)?;
        }
        if let Some(journal) = &mut self.journal {
            journal.flush().map_err(RunError::Failed)?;
        }
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), RunError> {
        self.unsynced = None;
        self.snapshots.check()?;
        if let Some(journal) = &mut self.journal {
            journal.sync().map_err(RunError::Failed)?;
        }
        self.tables.sync()
    }
}

/// The thread that writes snapshots.
pub(super) struct SnapshotWriter {
    folder: PathBuf,
    sender: Option<SyncSender<Box<Snapshot>>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
    /// Whether one is being written.
    busy: Arc<AtomicBool>,
    /// Whether the oldest may go.
    thin: bool,
}

impl SnapshotWriter {
    /// For snapshots in a folder. `busy` is set while one waits or is being written; `thin` says whether the oldest go where
    /// there are too many.
    pub fn new(folder: PathBuf, busy: Arc<AtomicBool>, thin: bool) -> Self {
        Self { folder, sender: None, thread: None, busy, thin }
    }

    fn send(&mut self, mut snapshot: Box<Snapshot>, positions: TablePositions) -> Result<(), RunError> {
        let positions = postcard::to_allocvec(&positions).unwrap_or_default();
        snapshot.extras.push((super::TABLES.to_owned(), positions));
        if self.sender.is_none() {
            let (sender, snapshots) = sync_channel(0);
            let (folder, busy, thin) = (self.folder.clone(), Arc::clone(&self.busy), self.thin);
            self.thread = Some(spawn("snapshots", move || write(&folder, &snapshots, &busy, thin))?);
            self.sender = Some(sender);
        }
        match self.sender.as_ref().map(|sender| sender.send(snapshot)) {
            Some(Ok(())) => Ok(()),
            _ => self.join(),
        }
    }

    /// Tells early that one couldn't be written.
    fn check(&mut self) -> Result<(), RunError> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) { self.join() } else { Ok(()) }
    }

    fn join(&mut self) -> Result<(), RunError> {
        self.sender = None;
        self.thread.take().map_or(Ok(()), joined)
    }
}

fn write(folder: &Path, snapshots: &Receiver<Box<Snapshot>>, busy: &AtomicBool, thin: bool) -> Result<(), RunError> {
    let mut last: Option<SnapshotRef> = None;
    let mut chains: VecDeque<Chain> = VecDeque::new();
    while let Ok(mut snapshot) = snapshots.recv() {
        snapshot.base = if snapshot.guests.full { None } else { last };
        let written = snapshot::write(folder, &snapshot).map_err(|error| failed(folder, &error))?;
        last = Some(written);
        if thin {
            note(&mut chains, folder, &snapshot);
            thin_out(&mut chains, folder)?;
        }
        busy.store(false, Ordering::Release);
    }
    Ok(())
}

/// A whole snapshot, and those that go on from it.
#[derive(Default)]
struct Chain {
    frames: Vec<u64>,
    bytes: u64,
}

fn note(chains: &mut VecDeque<Chain>, folder: &Path, snapshot: &Snapshot) {
    if snapshot.base.is_none() {
        chains.push_back(Chain::default());
    }
    let Some(chain) = chains.back_mut() else { return };
    chain.frames.push(snapshot.frame);
    chain.bytes += std::fs::metadata(snapshot::path(folder, snapshot.frame)).map_or(0, |file| file.len());
}

/// Where nobody said how many snapshots there are to be, the oldest go once all of them take more than
/// [`SNAPSHOTS_BYTES_MAX`]: the last frames are the ones to which a run goes back.
fn thin_out(chains: &mut VecDeque<Chain>, folder: &Path) -> Result<(), RunError> {
    while chains.len() > 1 && chains.iter().map(|chain| chain.bytes).sum::<u64>() > SNAPSHOTS_BYTES_MAX {
        for frame in chains.pop_front().into_iter().flat_map(|chain| chain.frames) {
            let file = snapshot::path(folder, frame);
            std::fs::remove_file(&file).map_err(|error| failed(&file, &error))?;
        }
    }
    Ok(())
}

/// What a thread came to. A panic of it is one here.
fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, RunError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| RunError::Failed(Problem::new(format!("can't start the thread `{name}`: {error}"))))
}
