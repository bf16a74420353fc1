//! One snapshot at a time: each is a copy of all state, and a slow disk is to cost a run time, not memory.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What a snapshot passes on its way to the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<(Mutex<bool>, Condvar)>);

/// A snapshot that has passed. When this is dropped, the next one may.
#[derive(Debug)]
pub(super) struct Pass(Gate);

impl Gate {
    /// Whether one is on its way.
    pub fn is_taken(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the one that is on its way.
    pub fn pass(&self) -> Pass {
        let (taken, freed) = &*self.0;
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        *freed.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner) = true;
        Pass(self.clone())
    }
}

impl Drop for Pass {
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
    fn one_passes_at_a_time_and_a_thread_that_ends_lets_the_next_one_pass() {
        let gate = Gate::default();
        let first = gate.pass();
        assert!(gate.is_taken());
        let (sender, passed) = std::sync::mpsc::channel();
        let second = std::thread::spawn({
            let gate = gate.clone();
            move || {
                let _pass = gate.pass();
                let _ = sender.send(());
                panic!("it fails with a snapshot in hand");
            }
        });
        assert!(passed.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
        drop(first);
        passed.recv().unwrap();
        assert!(second.join().is_err());
        drop(gate.pass());
        assert!(!gate.is_taken());
    }
}
