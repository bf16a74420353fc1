//! Keeps the pool's threads awake from one stage Step to the next. Between two of them there is a short piece of serial work,
//! during which the other threads would fall asleep; waking them takes longer than the work itself.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of times that a thread checks for the next frame before it goes to sleep. That takes some tens of microseconds, and the serial work of a
/// small world takes ten.
pub(super) const SPINS_MAX: u32 = 2_000;

/// Threads that wait for the next frame. This decides when threads run, and never what they do.
#[derive(Debug)]
pub(super) struct SpinWait {
    frame: Arc<AtomicU64>,
    /// Whether each thread has a core of its own. Otherwise a waiting thread would take a core from another.
    worthwhile: bool,
}

impl SpinWait {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = rayon::current_num_threads();
        Self { frame: Arc::default(), worthwhile: threads > 1 && threads <= cores }
    }

    /// Lets the waiting threads go on to look for work.
    pub(super) fn release(&self) {
        self.frame.fetch_add(1, Ordering::Release);
    }

    /// Makes the other threads wait for the next [`SpinWait::release`].
    pub(super) fn hold(&self) {
        if !self.worthwhile {
            return;
        }
        let now = self.frame.load(Ordering::Acquire);
        for _ in 1..rayon::current_num_threads() {
            let frame = Arc::clone(&self.frame);
            rayon::spawn(move || {
                for _ in 0..SPINS_MAX {
                    if frame.load(Ordering::Acquire) != now {
                        break;
                    }
                    spin_loop();
                }
            });
        }
    }
}
