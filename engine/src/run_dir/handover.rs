//! Frames on their way from the loop that runs them to the thread that writes them; and the end of that by another thread, while a
//! frame is still being run.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Entry;
use super::writer::Item;
use crate::problem::RunError;

/// How often a full queue is tried again.
const POLL: Duration = Duration::from_millis(5);

/// What both threads have of it.
#[derive(Clone, Default)]
pub(super) struct Handover {
    /// Frames that wait to be handed over together.
    batch: Arc<Mutex<Vec<Entry>>>,
    /// The way to the writer's thread; none once it is told of nothing more.
    sender: Arc<Mutex<Option<SyncSender<Item>>>>,
}

impl Handover {
    /// A way to the writer.
    pub fn to(sender: SyncSender<Item>) -> Self {
        Self { sender: Arc::new(Mutex::new(Some(sender))), ..Self::default() }
    }

    /// The frames that wait.
    pub fn batch(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the writer, if it is open.
    pub fn sender(&self) -> Option<SyncSender<Item>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the way to the writer, which then ends once it has written what it was told of.
    pub fn disconnect(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Ends the writing of a run directory from outside, in such a way that `resume` goes on with the run: for a process that is about to
/// end while a frame is being run, which may take minutes.
#[derive(Clone)]
pub struct Closer {
    pub(super) handover: Handover,
    pub(super) path: PathBuf,
    pub(super) recorded: bool,
}

/// What a run directory came to that was closed.
#[derive(Debug)]
pub enum Closed {
    /// All frames that have been run are on the disk; this is the number of the next one. None without a journal.
    Whole(Option<u64>),
    /// Something can't be written.
    Failed(RunError),
    /// The writer didn't get to it in time, or is about to end by itself. What it has written already is there.
    Busy,
}

impl Closer {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a journal, by which the run can go on.
    pub const fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Has the writer write and sync what has been run, and then stop for good: whatever else it is told of, it writes nothing more.
    pub fn close(&self, within: Duration) -> Closed {
        let deadline = Instant::now() + within;
        let Some(sender) = self.handover.sender() else { return Closed::Busy };
        let batch = std::mem::take(&mut *self.handover.batch());
        let (answer, answered) = sync_channel(1);
        for item in [Item::Frames(batch), Item::Close(answer)] {
            if !send(&sender, item, deadline) {
                return Closed::Busy;
            }
        }
        match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(next)) => Closed::Whole(next),
            Ok(Err(error)) => Closed::Failed(error),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Closed::Busy,
        }
    }
}

/// Sends something into a queue that may be full until `deadline`.
fn send(sender: &SyncSender<Item>, item: Item, deadline: Instant) -> bool {
    let mut item = item;
    loop {
        match sender.try_send(item) {
            Ok(()) => return true,
            Err(TrySendError::Full(back)) if Instant::now() < deadline => item = back,
            Err(_) => return false,
        }
        std::thread::sleep(POLL);
    }
}
