//! Permits for one snapshot at a time. Each is a copy of all state, and a slow disk should cost a run time, not memory.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Gives the permit to one snapshot at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct SnapshotSlot(Arc<(Mutex<bool>, Condvar)>);

/// Permit to make and write one snapshot. Dropping it frees the permit for the next one.
#[derive(Debug)]
pub(super) struct SnapshotPermit(SnapshotSlot);

impl SnapshotSlot {
    /// Returns whether a snapshot is being made or written.
    pub fn is_taken(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no snapshot is being made or written.
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
