//! Ends calls of ONNX Runtime that take too long. One thread of the process sleeps until the earliest deadline; [`super::session`] and
//! [`super::binding`] register loads and runs with it.
//!
//! ONNX Runtime checks between two operators whether it is to end. So a loop of any length ends at once, but a single operator
//! that takes long, such as the product of two huge matrices, ends only when it is done: [`super::crew`] handles that.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ort::session::RunOptions;
use ort::session::builder::LoadCanceler;
use wasm_engine_components::limits::MODEL_REASON_BYTES_MAX;

use super::crew;
use super::limits::Deadline;

/// Why ONNX Runtime gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Halt {
    /// It took too long.
    #[error("it took longer than {} ms", (.0.as_secs_f64() * 1e4).round() / 10.0)]
    TimedOut(Duration),
    /// ONNX Runtime failed, with this message: one line, of bounded length.
    #[error("{0}")]
    Failed(String),
}

impl From<ort::Error> for Halt {
    fn from(error: ort::Error) -> Self {
        Self::Failed(bounded(error.message()))
    }
}

impl Halt {
    /// Returns whether there wasn't enough memory, which depends on the machine and on what else runs.
    pub(crate) fn is_of_memory(&self) -> bool {
        /// Messages of the arena and the allocators of ONNX Runtime.
        const SAID: [&str; 4] = ["Available memory of", "Failed to allocate", "bad_alloc", "bad allocation"];
        matches!(self, Self::Failed(reason) if SAID.iter().any(|said| reason.contains(said)))
    }
}

/// Returns a text of ONNX Runtime as one line, cut to the length that is kept.
pub(crate) fn bounded(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|character| !character.is_control());
    if line.len() > MODEL_REASON_BYTES_MAX {
        let end = line.floor_char_boundary(MODEL_REASON_BYTES_MAX - "…".len());
        line.truncate(end);
        line.push('…');
    }
    line
}

/// A call of ONNX Runtime that another thread can end.
pub(crate) enum Work {
    /// A run.
    Run(Arc<RunOptions>),
    /// The opening of a session.
    Load(LoadCanceler),
}

impl Work {
    fn end(&self) {
        // This fails only if the call isn't there any more.
        let _ = match self {
            Self::Run(options) => options.terminate(),
            Self::Load(canceler) => canceler.cancel(),
        };
    }
}

/// Does `work` if there is time left, and ends it if it isn't done by the deadline.
pub(crate) fn until<T>(deadline: Deadline, work: Work, run: impl FnOnce() -> ort::Result<T>) -> Result<T, Halt> {
    if Instant::now() >= deadline.at() {
        return Err(Halt::TimedOut(deadline.limit()));
    }
    let run_options = match &work {
        Work::Run(options) => Some(Arc::clone(options)),
        Work::Load(_) => None,
    };
    let id = WATCHDOG.add(deadline.at(), work);
    let done = crew::within(deadline, run);
    let ended = WATCHDOG.remove(id);
    if ended && let Some(options) = run_options {
        // Only the watchdog ends runs, and this one is no longer registered.
        options.unterminate()?;
    }
    match (done, ended) {
        (Ok(done), _) => Ok(done),
        (Err(_), true) => Err(Halt::TimedOut(deadline.limit())),
        (Err(error), false) => Err(error.into()),
    }
}

struct Entry {
    id: u64,
    deadline: Instant,
    work: Work,
    ended: bool,
}

struct Watched {
    /// Calls that are going on: at most one for each thread.
    entries: Vec<Entry>,
    next_id: u64,
    /// When the thread checks next; `None` while it waits to be woken.
    looks_at: Option<Instant>,
}

impl Watched {
    const NONE: Self = Self { entries: Vec::new(), next_id: 0, looks_at: None };
}

struct Watchdog {
    watched: Mutex<Watched>,
    sooner: Condvar,
}

/// The process's watchdog.
static WATCHDOG: Watchdog = Watchdog { watched: Mutex::new(Watched::NONE), sooner: Condvar::new() };

/// Starts the watchdog's thread, unless it runs. The thread is never joined, because it holds nothing that must be released.
///
/// # Errors
/// The machine has no room for a thread. Without it there would be no limits of time.
pub(crate) fn begin() -> Result<(), io::Error> {
    static BEGUN: Mutex<bool> = Mutex::new(false);
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    if !*begun {
        std::thread::Builder::new().name("model-watchdog".into()).spawn(|| WATCHDOG.watch())?;
        *begun = true;
    }
    Ok(())
}

impl Watchdog {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        // No thread panics while it holds the lock and leaves something half done.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, deadline: Instant, work: Work) -> u64 {
        let mut watched = self.lock();
        let id = watched.next_id;
        watched.next_id += 1;
        watched.entries.push(Entry { id, deadline, work, ended: false });
        // A thread that will check soon enough isn't woken, so that a run needs no system call.
        if watched.looks_at.is_none_or(|looks_at| looks_at > deadline) {
            self.sooner.notify_one();
        }
        id
    }

    /// Removes a call that has returned. Returns whether it was ended.
    fn remove(&self, id: u64) -> bool {
        let mut watched = self.lock();
        let at = watched.entries.iter().position(|entry| entry.id == id);
        at.is_some_and(|at| watched.entries.swap_remove(at).ended)
    }

    fn watch(&self) {
        let mut watched = self.lock();
        loop {
            let now = Instant::now();
            for entry in watched.entries.iter_mut().filter(|entry| !entry.ended && entry.deadline <= now) {
                entry.ended = true;
                entry.work.end();
            }
            let waiting = watched.entries.iter().filter(|entry| !entry.ended);
            watched.looks_at = waiting.map(|entry| entry.deadline).min();
            watched = match watched.looks_at {
                None => self.sooner.wait(watched).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let woken = self.sooner.wait_timeout(watched, at.saturating_duration_since(now));
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_bounded_line() {
        assert_eq!(bounded("a\n  b\t\u{1b}[31mc "), "a b [31mc");
        let long = bounded(&"ä".repeat(1_000));
        assert!(long.len() <= MODEL_REASON_BYTES_MAX && long.ends_with('…'), "{long}");
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let hour = Deadline::after(Duration::from_secs(3_600));
        assert_eq!(hour.within(Duration::from_millis(5)).limit(), Duration::from_millis(5));
        assert_eq!(hour.within(Duration::from_secs(7_200)).limit(), Duration::from_secs(3_600));
    }
}
