//! Ends what takes ONNX Runtime too long. One thread for the process sleeps until the earliest deadline; loads and runs are
//! registered with it while they last. Called by [`super::session`] and [`super::binding`].
//!
//! ONNX Runtime looks between two operators whether it is to end. So a loop of any length ends at once, but a single operator
//! that takes long, say the product of two huge matrices, ends only when it is done: [`super::crew`] says what happens then.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ort::session::RunOptions;
use ort::session::builder::LoadCanceler;
use wasm_engine_components::limits::MODEL_REASON_BYTES_MAX;

use super::crew;

/// Why ONNX Runtime gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Halt {
    /// It took too long.
    #[error("it took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// ONNX Runtime says why. The text is bounded, and on one line.
    #[error("{0}")]
    Failed(String),
}

impl From<ort::Error> for Halt {
    fn from(error: ort::Error) -> Self {
        Self::Failed(bounded(error.message()))
    }
}

impl Halt {
    /// Whether there wasn't enough memory: which depends on the machine, and on what else runs.
    pub(crate) fn is_of_memory(&self) -> bool {
        /// What the arena and the allocators of ONNX Runtime say.
        const SAID: [&str; 4] = ["Available memory of", "Failed to allocate", "bad_alloc", "bad allocation"];
        matches!(self, Self::Failed(reason) if SAID.iter().any(|said| reason.contains(said)))
    }
}

/// A text of ONNX Runtime's on one line, cut to what is kept of it.
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

/// Work of ONNX Runtime's that another thread can end.
pub(crate) enum Work {
    /// A run.
    Run(Arc<RunOptions>),
    /// The opening of a session.
    Load(LoadCanceler),
}

impl Work {
    fn end(&self) {
        // It fails only for what isn't there any more.
        let _ = match self {
            Self::Run(options) => options.terminate(),
            Self::Load(canceler) => canceler.cancel(),
        };
    }
}

/// A time by which something must be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// From now on, this long.
    pub(crate) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// How long it was from its beginning.
    pub(crate) const fn limit(self) -> Duration {
        self.limit
    }

    /// Whether it is passed by more than `grace`.
    pub(crate) fn is_passed(self, now: Instant, grace: Duration) -> bool {
        now.saturating_duration_since(self.at) > grace
    }

    /// The earlier one of this and `limit` from now on.
    pub(crate) fn within(self, limit: Duration) -> Self {
        let sooner = Self::after(limit);
        if sooner.at < self.at { sooner } else { self }
    }
}

/// The time that a model has in a frame. Each run has the limit for itself. Once a run was ended, the rows that are left share another
/// limit, each an equal part of what is left of it: so a frame ends in time whatever its rows are, and a row that is quick has its result
/// beside slow ones, whoever asked first.
pub(crate) struct Patience {
    limit: Duration,
    rest: OnceLock<Deadline>,
    rows_left: AtomicUsize,
}

impl Patience {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit, rest: OnceLock::new(), rows_left: AtomicUsize::new(0) }
    }

    /// So many more rows are to be run.
    pub(crate) fn expect(&self, rows: usize) {
        self.rows_left.fetch_add(rows, Ordering::Relaxed);
    }

    /// So many rows have a result, or won't get one.
    pub(crate) fn done(&self, rows: usize) {
        self.rows_left.fetch_sub(rows, Ordering::Relaxed);
    }

    /// Does a run of so many rows, if there is time.
    pub(crate) fn spend(&self, rows: usize, run: impl FnOnce(Deadline) -> Result<(), Halt>) -> Result<(), Halt> {
        let deadline = match self.rest.get() {
            Some(rest) => {
                let left = rest.at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Halt::TimedOut(self.limit));
                }
                // At most all of it: a row may be counted as done while another thread still asks.
                let parts = self.rows_left.load(Ordering::Relaxed).max(rows).max(1);
                let part = left.mul_f64(rows as f64 / parts as f64);
                Deadline { limit: self.limit, ..Deadline::after(part) }
            }
            None => Deadline::after(self.limit),
        };
        let ran = run(deadline);
        if matches!(ran, Err(Halt::TimedOut(_))) {
            self.rest.get_or_init(|| Deadline::after(self.limit));
        }
        ran
    }
}

/// Does `work` if there is time left, and ends it if it isn't done by the deadline.
pub(crate) fn until<T>(deadline: Deadline, work: Work, run: impl FnOnce() -> ort::Result<T>) -> Result<T, Halt> {
    if Instant::now() >= deadline.at {
        return Err(Halt::TimedOut(deadline.limit));
    }
    let run_options = match &work {
        Work::Run(options) => Some(Arc::clone(options)),
        Work::Load(_) => None,
    };
    let id = WATCHDOG.add(deadline.at, work);
    let done = crew::within(deadline, run);
    let ended = WATCHDOG.remove(id);
    if ended && let Some(options) = run_options {
        // Nobody but the watchdog ends a run, and it doesn't know this one any more.
        options.unterminate()?;
    }
    match (done, ended) {
        (Ok(done), _) => Ok(done),
        (Err(_), true) => Err(Halt::TimedOut(deadline.limit)),
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
    /// What goes on now: at most one for each thread.
    entries: Vec<Entry>,
    next_id: u64,
    /// When the thread looks next; `None` while it waits to be woken.
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

/// Starts the watchdog's thread, unless it runs. It is never joined: it holds nothing that needs an end.
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
        // Nobody panics while holding it with something half done.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, deadline: Instant, work: Work) -> u64 {
        let mut watched = self.lock();
        let id = watched.next_id;
        watched.next_id += 1;
        watched.entries.push(Entry { id, deadline, work, ended: false });
        // A thread that looks soon enough anyway isn't woken: so a run costs no call of the system.
        if watched.looks_at.is_none_or(|looks_at| looks_at > deadline) {
            self.sooner.notify_one();
        }
        id
    }

    /// Forgets work that is done. Returns whether it was ended.
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
    fn a_frame_has_the_limit_once_more_after_it_was_reached() {
        let limit = Duration::from_millis(20);
        let patience = Patience::new(limit);
        let slow = |_| {
            std::thread::sleep(limit);
            Err(Halt::TimedOut(limit))
        };
        patience.expect(4);
        assert_eq!(patience.spend(1, |_| Ok(())), Ok(()));
        assert_eq!(patience.spend(1, slow), Err(Halt::TimedOut(limit)));
        assert_eq!(patience.spend(1, |_| Err(Halt::Failed("why".into()))), Err(Halt::Failed("why".into())));
        assert_eq!(patience.spend(1, slow), Err(Halt::TimedOut(limit)));
        assert_eq!(patience.spend(1, |_| panic!("there is no time left")), Err(Halt::TimedOut(limit)));
    }

    /// Whoever asked first: a slow row takes no other's time.
    #[test]
    fn rows_that_are_left_share_what_is_left_of_the_time() {
        let limit = Duration::from_secs(60);
        let patience = Patience::new(limit);
        patience.expect(5);
        assert_eq!(patience.spend(1, |_| Err(Halt::TimedOut(limit))), Err(Halt::TimedOut(limit)));
        patience.done(1);
        let part = |of: u32| {
            let part = std::cell::Cell::new(Duration::ZERO);
            let run = |deadline: Deadline| {
                part.set(deadline.at.saturating_duration_since(Instant::now()));
                Ok(())
            };
            assert_eq!(patience.spend(1, run), Ok(()));
            patience.done(1);
            assert!(part.get() <= limit / of, "{:?}, {of}", part.get());
            assert!(part.get() * 2 > limit / of, "{:?}, {of}", part.get());
        };
        // Nobody used anything of it: so each has more than the one before.
        [4, 3, 2, 1].into_iter().for_each(part);
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let hour = Deadline::after(Duration::from_secs(3_600));
        assert_eq!(hour.within(Duration::from_millis(5)).limit, Duration::from_millis(5));
        assert_eq!(hour.within(Duration::from_secs(7_200)).limit, Duration::from_secs(3_600));
    }
}
