//! One snapshot at a time: each is a copy of all state, and a slow disk is to cost a run time, not memory.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The one place that a snapshot on its way to the disk may have.
#[derive(Clone, Debug, Default)]
pub(super) struct SnapshotSlot(Arc<(Mutex<bool>, Condvar)>);

/// Leave for one snapshot to be made and written. When this is dropped, the next one has leave.
#[derive(Debug)]
pub(super) struct SnapshotPermit(SnapshotSlot);

impl SnapshotSlot {
    /// Whether one is on its way.
    pub fn is_taken(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the one that is on its way.
    pub fn acquire(&self) -> SnapshotPermit {
        let (taken, freed) = &*self.0;
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        *freed.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner) = true;
        SnapshotPermit(self.clone())
    }
}

impl Drop for SnapshotPermit {
    fn drop(&mut self) {
        let (taken, freed) = &*self.0.0;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_is_there_at_a_time_and_a_thread_that_ends_lets_the_next_one_in() {
        let slot = SnapshotSlot::default();
        let first = slot.acquire();
        assert!(slot.is_taken());
        let (sender, passed) = std::sync::mpsc::channel();
        let second = std::thread::spawn({
            let slot = slot.clone();
            move || {
                let _permit = slot.acquire();
                let _ = sender.send(());
                panic!("it fails with a snapshot in hand");
            }
        });
        assert!(passed.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
        drop(first);
        passed.recv().unwrap();
        assert!(second.join().is_err());
        drop(slot.acquire());
        assert!(!slot.is_taken());
    }
}
