//! Signals. A thread waits for them from the start of each command, so that a command can be ended whatever it does.
//!
//! The first SIGINT, SIGTERM or SIGHUP ends the process within a second, with everything kept that was acknowledged:
//!
//! - As long as no frame is run, at once: what is half made is removed.
//! - While frames are run, after the frame in hand, in order: with the summary. Where that takes longer than [`GRACE`], because the frame
//!   takes minutes, a model doesn't come back or a disk is slow, what has been run is written and synced, and the process ends without a
//!   summary, whatever its other threads are doing. `resume` goes on exactly there.
//!
//! The second one ends the process at once. SIGUSR1 asks for a snapshot.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;
use wasm_engine_components::text::shown_path;

use super::goes_on::goes_on;
use super::said::Said;
use super::signals::{Signals, exit_now, say_now};
use super::status::Status;
use wasm_engine_core::problem::{Problem, RunError, thousands};
use wasm_engine_core::run_dir::{Closed, Closer};
use wasm_engine_files::{Lack, unfinished};

/// Time that the current frame has to end by itself.
const GRACE: Duration = Duration::from_millis(650);
/// Time that writing the frames that have been run may take then.
const CLOSE: Duration = Duration::from_millis(250);
/// Time that removing unfinished files may take: if no frame is run, and after the frames that have been run were written.
const REMOVE: (Duration, Duration) = (Duration::from_millis(800), Duration::from_millis(80));

/// State that the thread shares with the command.
#[derive(Clone)]
pub(super) struct Interrupt {
    /// The first signal sets it.
    pub flag: Arc<AtomicBool>,
    /// The first signal; 0 for none.
    signal: Arc<AtomicU8>,
    phase: Arc<Mutex<Phase>>,
}

/// Phase of the process.
enum Phase {
    /// It has run no frame that must be kept. The text says what it means to end now.
    Before(&'static str),
    /// It runs frames. `again` says whether they are recorded already.
    Frames { closer: Closer, again: bool },
    /// Everything that must be kept is on the disk.
    After,
}

impl Interrupt {
    /// Starts to listen to signals. Must be called once in a process.
    ///
    /// # Errors
    /// Fails if the thread can't be started.
    pub fn listen() -> Result<Self, RunError> {
        let interrupt = Self {
            flag: Arc::default(),
            signal: Arc::default(),
            phase: Arc::new(Mutex::new(Phase::Before("ended before there was a result"))),
        };
        let failed = |error: std::io::Error| {
            RunError::of_machine(Problem::new("can't listen to signals").caused_by(error).help(Lack::Threads.remedy()))
        };
        let listener = interrupt.clone();
        let (mut signals, begin) = Signals::new().map_err(failed)?;
        let thread = std::thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || listener.wait(&mut signals)).map_err(failed)?;
        // Signals are caught only now, because without the thread they must do what they do in any process.
        begin().map_err(failed)?;
        Ok(interrupt)
    }

    /// Sets the text for a signal before a frame is run.
    pub fn before(&self, meaning: &'static str) {
        *self.phase() = Phase::Before(meaning);
    }

    /// Says that frames are run from now on, and written to the run directory of `closer`. `again` says whether they are recorded already.
    pub fn frames_begin(&self, closer: Closer, again: bool) {
        *self.phase() = Phase::Frames { closer, again };
    }

    /// Says that frames are run from now on that aren't recorded.
    pub fn new_frames_begin(&self) {
        if let Phase::Frames { again, .. } = &mut *self.phase() {
            *again = false;
        }
    }

    /// Everything that must be kept is on the disk.
    pub fn frames_end(&self) {
        *self.phase() = Phase::After;
    }

    /// From now on, SIGUSR1 sets `asked`, which asks for a snapshot after the current frame.
    pub fn ask_for_snapshots(&self, asked: Arc<AtomicBool>) {
        #[cfg(unix)]
        if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGUSR1, asked) {
            tracing::warn!("SIGUSR1 takes no snapshot: {error}");
        }
        #[cfg(not(unix))]
        let _ = asked;
    }

    /// Returns the signal that came first.
    pub fn signal(&self) -> Option<u8> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread that waits for signals.
    fn wait(&self, signals: &mut Signals) {
        let Some(first) = signals.next(None) else { return };
        let deadline = Instant::now() + GRACE;
        let status = Status::Signal(first);
        self.signal.store(first, Ordering::Relaxed);
        self.flag.store(true, Ordering::Relaxed);
        {
            // The lock is held until the process ends, so that no further frame begins.
            let phase = self.phase();
            match &*phase {
                Phase::Before(meaning) => {
                    unfinished::remove_all(REMOVE.0);
                    say_now("", &Said::new(Level::INFO, *meaning));
                    exit_now(status);
                }
                Phase::Frames { again: false, .. } => {
                    say_now("\n", &Said::new(Level::INFO, "ending after this frame; once more ends at once"));
                }
                Phase::Frames { again: true, .. } => {
                    let text = "ending once all recorded frames are run again; once more ends at once";
                    say_now("\n", &Said::new(Level::INFO, text));
                }
                Phase::After => {}
            }
        }
        if let Some(second) = signals.next(Some(deadline)) {
            exit_now(Status::Signal(second));
        }
        let phase = self.phase();
        if let Phase::Frames { closer, again } = &*phase {
            let closed = closer.close(CLOSE);
            unfinished::remove_all(REMOVE.1);
            say_now("", &meaning_of(closer, *again, &closed));
        }
        exit_now(status);
    }
}

/// Describes what it means that a run was ended in the middle of a frame, and how to go on with it.
fn meaning_of(closer: &Closer, again: bool, closed: &Closed) -> Said<'static> {
    let run = shown_path(closer.path());
    let kept = match closed {
        Closed::Failed(error) => format!("ended in the middle of a frame, and not all before it is kept: {error:#}"),
        _ if again => "ended while recorded frames were run again: all of them are kept".to_owned(),
        Closed::Whole(Some(next)) => {
            format!("ended in the middle of frame {}: all frames before it are kept", thousands(next))
        }
        Closed::Whole(None) | Closed::Busy => "ended in the middle of a frame: those before it are kept".to_owned(),
    };
    // It is a note that a signal does what it is there for.
    let level = if matches!(closed, Closed::Failed(_)) { Level::ERROR } else { Level::INFO };
    match closer.is_recorded() {
        true => Said::new(level, kept).help(Some(goes_on(closer.path()))),
        false => {
            let nothing = "but without a recording nothing can go on from there";
            Said::new(level, format!("{kept} in the tables of {run}, {nothing}"))
        }
    }
}
