//! Keeps the pool's threads awake from one step stage to the next. Between two of them lies a short stretch of serial work,
//! in which the others would fall asleep; to wake them takes longer than the stretch itself.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a thread looks for the next frame before it gives up and lets itself be put to sleep: some tens of microseconds,
/// where a small world's serial part takes ten.
pub(super) const SPINS_MAX: u32 = 2_000;

/// Threads that wait for the next frame. It decides when threads run, and nothing of what they do.
#[derive(Debug)]
pub(super) struct SpinWait {
    frame: Arc<AtomicU64>,
    /// Whether each thread has a core of its own: else waiting would take one away from somebody.
    worthwhile: bool,
}

impl SpinWait {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = rayon::current_num_threads();
        Self { frame: Arc::default(), worthwhile: threads > 1 && threads <= cores }
    }

    /// The threads that wait go on to look for work.
    pub(super) fn release(&self) {
        self.frame.fetch_add(1, Ordering::Release);
    }

    /// Has the other threads wait for the next [`SpinWait::release`].
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
