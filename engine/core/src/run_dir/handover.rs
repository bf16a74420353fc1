//! Hands frames over from the loop that runs them to the thread that writes them. Another thread can end that while a
//! frame is still being run.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::item::{Item, RecordedFrame};
use crate::problem::RunError;

/// Interval at which a full queue is tried again.
const POLL: Duration = Duration::from_millis(5);

/// State that both threads share.
#[derive(Clone, Default)]
pub(super) struct Handover {
    /// Frames that wait to be handed over together.
    batch: Arc<Mutex<Vec<RecordedFrame>>>,
    /// Queue to the writer's thread; `None` once nothing more is sent.
    sender: Arc<Mutex<Option<SyncSender<Item>>>>,
}

impl Handover {
    /// Returns a queue to the writer.
    pub fn to(sender: SyncSender<Item>) -> Self {
        Self { sender: Arc::new(Mutex::new(Some(sender))), ..Self::default() }
    }

    /// Locks the frames that wait. Returns `None` if another thread is still handing them over at `deadline`.
    fn batch_until(&self, deadline: Instant) -> Option<MutexGuard<'_, Vec<RecordedFrame>>> {
        loop {
            match self.batch.try_lock() {
                Ok(batch) => return Some(batch),
                Err(TryLockError::Poisoned(batch)) => return Some(batch.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => return None,
            }
        }
    }

    /// Locks the frames that wait. Whoever takes them sends them before it releases the lock, so that they are sent in order.
    pub fn batch(&self) -> MutexGuard<'_, Vec<RecordedFrame>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the queue to the writer, if it is open.
    pub fn sender(&self) -> Option<SyncSender<Item>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the queue to the writer, which then ends once it has written what was sent.
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

/// Result of closing a run directory.
#[derive(Debug)]
pub enum Closed {
    /// All frames that have been run are on the disk. Holds the number of the next one, or `None` without a journal.
    Whole(Option<u64>),
    /// Something couldn't be written.
    Failed(RunError),
    /// The writer didn't come to it in time, or is about to end by itself. What it has written is kept.
    Busy,
}

impl Closer {
    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether there is a journal, by which the run can go on.
    pub const fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Makes the writer write and sync what has been run, and then stop: it writes nothing that is sent later.
    pub fn close(&self, within: Duration) -> Closed {
        let deadline = Instant::now() + within;
        let Some(sender) = self.handover.sender() else { return Closed::Busy };
        let (answer, answered) = sync_channel(1);
        {
            let Some(mut waiting) = self.handover.batch_until(deadline) else { return Closed::Busy };
            for item in [Item::Frames(std::mem::take(&mut *waiting)), Item::Close(answer)] {
                if !send(&sender, item, deadline) {
                    return Closed::Busy;
                }
            }
        }
        match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(next)) => Closed::Whole(next),
            Ok(Err(error)) => Closed::Failed(error),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Closed::Busy,
        }
    }
}

/// Sends an item into a queue, and waits until `deadline` while it is full.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The loop's thread hands over what it has, and waits for room, while another one closes: what is closed comes after.
    #[test]
    fn what_is_being_handed_over_comes_before_the_end() {
        let (sender, items) = sync_channel(1);
        let handover = Handover::to(sender.clone());
        let closer = Closer { handover: handover.clone(), path: PathBuf::new(), recorded: true };
        let waiting = handover.batch();
        sender.send(Item::Frames(Vec::new())).unwrap();
        // The loop's thread holds the frames, and the queue is full.
        assert!(matches!(closer.close(Duration::from_millis(30)), Closed::Busy));
        assert!(matches!(items.try_recv(), Ok(Item::Frames(_))));
        assert!(items.try_recv().is_err(), "nothing came between");
        let thread = std::thread::spawn(move || closer.close(Duration::from_mins(2)));
        std::thread::sleep(Duration::from_millis(30));
        sender.send(Item::Frames(Vec::new())).unwrap();
        assert!(matches!(items.recv(), Ok(Item::Frames(_))));
        drop(waiting);
        assert!(matches!(items.recv(), Ok(Item::Frames(_))), "those that waited");
        let Ok(Item::Close(answer)) = items.recv() else { panic!("then the end") };
        answer.send(Ok(Some(7))).unwrap();
        assert!(matches!(thread.join().unwrap(), Closed::Whole(Some(7))));
    }
}
