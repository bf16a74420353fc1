//! Ctrl-C and SIGTERM: the first ends a run after the frame in hand, or before its first frame, the second ends the process
//! at once. SIGUSR1 asks for a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::terminal::say;

/// Exit status of a process that was ended before it had a result: 128 and the number of SIGINT.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// What signals did and are to say.
#[derive(Clone, Default)]
pub(super) struct Interrupt {
    /// The first signal sets it.
    pub flag: Arc<AtomicBool>,
    frames_run: Arc<AtomicBool>,
    /// Frames are run that are recorded already.
    again: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens to signals from now on. To be called once in a process.
    pub fn listen() -> Self {
        let interrupt = Self::default();
        let listener = interrupt.clone();
        let installed = ctrlc::set_handler(move || {
            if listener.flag.swap(true, Ordering::Relaxed) {
                std::process::exit(EXIT_INTERRUPTED.into());
            }
            let when = match (listener.frames_run.load(Ordering::Relaxed), listener.again.load(Ordering::Relaxed)) {
                (false, _) => "once all is loaded",
                (true, false) => "after this frame",
                (true, true) => "once all recorded frames are run again",
            };
            say("");
            say(format_args!("ending {when}; once more ends at once"));
        });
        if let Err(error) = installed {
            say(format_args!("warning: Ctrl-C ends the process at once: {error}"));
        }
        interrupt
    }

    /// Frames are run from now on. `again` says whether they are recorded already.
    pub fn frames_begin(&self, again: bool) {
        self.again.store(again, Ordering::Relaxed);
        self.frames_run.store(true, Ordering::Relaxed);
    }

    /// From now on, SIGUSR1 sets `asked`, which asks for a snapshot after the frame in hand.
    pub fn ask_for_snapshots(&self, asked: Arc<AtomicBool>) {
        #[cfg(unix)]
        if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGUSR1, asked) {
            say(format_args!("warning: SIGUSR1 takes no snapshot: {error}"));
        }
        #[cfg(not(unix))]
        let _ = asked;
    }

    /// The signal that came first.
    pub fn signal(&self) -> Option<u8> {
        self.happened().then_some(EXIT_INTERRUPTED - 128)
    }

    /// Whether there was a signal.
    pub fn happened(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}
