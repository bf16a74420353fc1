//! Threads on which ONNX Runtime works, so that the engine never has to wait for it for ever. [`super::registry`] uses them for loads and probes,
//! and for the runs of a frame that aren't sure to be quick.
//!
//! ONNX Runtime checks only between two operators whether it is to end, so a single operator that takes hours can't be ended. Then the
//! waiting thread leaves the working one behind. All data of the work is owned by it or shared for good, so the thread may go on
//! until the operator is done, and its result is dropped. A process doesn't wait for these threads when it ends.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasm_engine_components::limits::MODEL_GRACE_MS;

use super::limits::Deadline;

/// Period at which a waiting thread looks for overdue threads.
const LOOK_PERIOD: Duration = Duration::from_millis(LOOK_MS);
const LOOK_MS: u64 = 50;
/// Number of looks after which an overdue thread is left behind. Looks are counted instead of time, because a process that was stopped had no
/// time in which to end anything.
const GRACE_LOOKS: u64 = MODEL_GRACE_MS / LOOK_MS;
/// Stack of a thread of the crew, in bytes: as much as a program's first thread has.
const STACK_BYTES: usize = 8 << 20;

/// Whether a thread was left behind in ONNX Runtime.
static LEFT_BEHIND: AtomicBool = AtomicBool::new(false);

/// Returns whether a thread of this process may still be at work in ONNX Runtime, because it couldn't be ended. Such a process has to end
/// without running the destructors of libraries, which would free what the thread works on.
pub fn is_left_behind() -> bool {
    LEFT_BEHIND.load(Ordering::Relaxed)
}

/// Work of a thread of the crew at this moment.
#[derive(Default)]
struct Beat(Mutex<Pulse>);

#[derive(Default)]
struct Pulse {
    /// Index of its piece of work.
    piece: usize,
    /// Deadline of its call of ONNX Runtime.
    until: Option<Deadline>,
    /// Number of looks at which it was overdue.
    looks: u64,
    /// Whether it was left behind.
    is_left: bool,
}

thread_local! {
    /// The beat of this thread, while it does a piece of work.
    static BEAT: RefCell<Option<Arc<Beat>>> = const { RefCell::new(None) };
}

impl Beat {
    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        // No thread panics while it holds the lock and leaves something half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the thread behind if it is overdue. If so, returns the index of its piece of work, and the limit that it had.
    fn leave_if_overdue(&self, now: Instant) -> Option<(usize, Duration)> {
        let mut pulse = self.pulse();
        let limit = pulse.until.filter(|_| !pulse.is_left)?.overdue(now)?;
        pulse.looks += 1;
        if pulse.looks <= GRACE_LOOKS {
            return None;
        }
        pulse.is_left = true;
        LEFT_BEHIND.store(true, Ordering::Relaxed);
        Some((pulse.piece, limit))
    }
}

/// Makes a call of ONNX Runtime that is ended at `deadline`. On a thread of the crew, the waiting thread can see the deadline.
pub(crate) fn within<T>(deadline: Deadline, call: impl FnOnce() -> T) -> T {
    let set = |until| {
        BEAT.with_borrow(|beat| {
            if let Some(beat) = beat {
                let mut pulse = beat.pulse();
                (pulse.until, pulse.looks) = (until, 0);
            }
        });
    };
    set(Some(deadline));
    let called = call();
    set(None);
    called
}

/// Does `work` on a thread of the crew, and waits for it. An error is the limit of time that ONNX Runtime exceeded, although it was told
/// to end; the thread was left behind.
pub(crate) fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Duration> {
    let work = Mutex::new(Some(work));
    let once = move |_| work.lock().unwrap_or_else(PoisonError::into_inner).take().map(|work| work());
    let mut done = each(1, Hands { threads: 1, joins: false }, once, |_| ());
    match done.pop() {
        Some(Ok(Some(done))) => Ok(done),
        Some(Err(limit)) => Err(limit),
        Some(Ok(None)) | None => unreachable!("there is one piece of work, and it is done once"),
    }
}

/// Threads that do pieces of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hands {
    /// Number of threads at a time.
    pub threads: usize,
    /// Whether the waiting thread takes part. It can't be left behind, so each piece must be sure to end.
    pub joins: bool,
}

/// Does pieces of work number 0 to `count`, and returns their results in order. An error is the limit of time that a piece exceeded,
/// although it was told to end; its thread was left behind. `left` is called for such a piece at once.
pub(crate) fn each<T: Send + 'static>(
    count: usize,
    hands: Hands,
    work: impl Fn(usize) -> T + Send + Sync + 'static,
    mut left: impl FnMut(usize),
) -> Vec<Result<T, Duration>> {
    let done = Mutex::new(Done { results: (0..count).map(|_| None).collect(), missing: count });
    let round = Arc::new(Round { count, next: AtomicUsize::new(0), work, done, all_done: Condvar::new() });
    let mut workers: Vec<Arc<Beat>> = Vec::new();
    let add = |workers: &mut Vec<Arc<Beat>>| {
        let beat = Arc::<Beat>::default();
        let round = Arc::clone(&round);
        workers.push(Arc::clone(&beat));
        submit(Box::new(move || round.take_part(&beat)));
    };
    let threads = hands.threads.clamp(1, count.max(1));
    (usize::from(hands.joins)..threads).for_each(|_| add(&mut workers));
    if hands.joins {
        round.take_part(&Arc::default());
    }
    let mut done = round.done();
    while done.missing > 0 {
        let (guard, waited) = round.all_done.wait_timeout(done, LOOK_PERIOD).unwrap_or_else(PoisonError::into_inner);
        done = guard;
        if waited.timed_out() {
            let now = Instant::now();
            let overdue: Vec<_> = workers.iter().filter_map(|beat| beat.leave_if_overdue(now)).collect();
            overdue.iter().for_each(|&(piece, limit)| done.put(piece, Ok(Err(limit))));
            // If no thread can be started, this one does the rest.
            drop(done);
            for (piece, _) in overdue {
                left(piece);
                add(&mut workers);
            }
            done = round.done();
        }
    }
    let results = std::mem::take(&mut done.results);
    drop(done);
    results.into_iter().flatten().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
}

/// Pieces of work that several threads take one after the other.
struct Round<T, W> {
    count: usize,
    next: AtomicUsize,
    work: W,
    done: Mutex<Done<T>>,
    all_done: Condvar,
}

/// Result of a piece of work, or the limit that it exceeded, or its panic.
type Outcome<T> = Result<Result<T, Duration>, Box<dyn Any + Send>>;

struct Done<T> {
    results: Vec<Option<Outcome<T>>>,
    missing: usize,
}

impl<T> Done<T> {
    fn put(&mut self, piece: usize, outcome: Outcome<T>) {
        self.results[piece] = Some(outcome);
        self.missing -= 1;
    }
}

impl<T, W: Fn(usize) -> T> Round<T, W> {
    fn done(&self) -> MutexGuard<'_, Done<T>> {
        // No thread panics while it holds the lock and leaves something half done.
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does pieces until there are no more, or until the thread was left behind.
    fn take_part(&self, beat: &Arc<Beat>) {
        BEAT.with_borrow_mut(|own| *own = Some(Arc::clone(beat)));
        loop {
            let piece = self.next.fetch_add(1, Ordering::Relaxed);
            if piece >= self.count {
                break;
            }
            beat.pulse().piece = piece;
            let result = catch_unwind(AssertUnwindSafe(|| (self.work)(piece)));
            // The thread was left behind and replaced, and its result isn't needed.
            if beat.pulse().is_left {
                break;
            }
            let mut done = self.done();
            done.put(piece, result.map(Ok));
            // The waiting thread is woken once, because waking it for each piece takes longer than small pieces do.
            if done.missing == 0 {
                self.all_done.notify_one();
            }
        }
        BEAT.with_borrow_mut(|own| *own = None);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The process's threads for models, and the jobs that wait for them. There are never more threads than had jobs at one time.
#[derive(Default)]
struct Crew {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Number of threads that wait for a job.
    idle: usize,
}

static CREW: Crew = Crew { waiting: Mutex::new(Waiting { jobs: VecDeque::new(), idle: 0 }), wake: Condvar::new() };

/// Gives a job to a thread. If none can be started, this thread does the job, and can't be left behind.
fn submit(job: Job) {
    let mut waiting = CREW.lock();
    waiting.jobs.push_back(job);
    if waiting.idle >= waiting.jobs.len() {
        CREW.wake.notify_one();
        return;
    }
    drop(waiting);
    let thread = std::thread::Builder::new().name("model".into()).stack_size(STACK_BYTES);
    if thread.spawn(|| CREW.work()).is_err() {
        let job = CREW.lock().jobs.pop_back();
        if let Some(job) = job {
            job();
        }
    }
}

impl Crew {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Jobs are run without the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut waiting = self.lock();
        loop {
            match waiting.jobs.pop_front() {
                Some(job) => {
                    drop(waiting);
                    job();
                    waiting = self.lock();
                }
                None => {
                    waiting.idle += 1;
                    waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                    waiting.idle -= 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn results_come_in_order_whoever_was_first() {
        for (threads, joins) in [(1, false), (2, false), (4, false), (100, false), (1, true), (2, true), (4, true)] {
            let busy = Arc::new(AtomicU32::new(0));
            let (seen, most) = (Arc::clone(&busy), Arc::new(AtomicU32::new(0)));
            let greatest = Arc::clone(&most);
            let work = move |piece: usize| {
                greatest.fetch_max(seen.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis((20 - piece as u64) % 7));
                seen.fetch_sub(1, Ordering::SeqCst);
                piece * 10
            };
            let done = each(20, Hands { threads, joins }, work, |_| panic!("nobody is overdue"));
            assert!(done.into_iter().map(Result::unwrap).eq((0..20).map(|piece| piece * 10)));
            assert!(most.load(Ordering::SeqCst) as usize <= threads.min(20));
        }
        assert!(each(0, Hands { threads: 3, joins: true }, |piece| piece, |_| ()).is_empty());
        assert_eq!(apart(|| 7), Ok(7));
    }

    /// A piece that is stuck beyond its deadline is left behind, and the others are done by another thread.
    #[test]
    fn who_does_not_come_back_is_left_behind() {
        let limit = Duration::from_millis(1);
        let (free, is_free) = channel::<()>();
        let is_free = Mutex::new(is_free);
        let work = move |piece: usize| {
            if piece == 1 {
                let stuck = || is_free.lock().unwrap().recv().is_err();
                assert!(within(Deadline::after(limit), stuck), "it ends when the test does");
            }
            piece
        };
        let mut told = Vec::new();
        let done = each(4, Hands { threads: 1, joins: false }, work, |piece| told.push(piece));
        assert_eq!(done, [Ok(0), Err(limit), Ok(2), Ok(3)]);
        assert_eq!(told, [1]);
        assert!(is_left_behind());
        drop(free);
    }

    /// What only takes long outside of ONNX Runtime, or keeps its deadline, isn't left behind.
    #[test]
    fn who_is_slow_but_not_overdue_is_waited_for() {
        let slow = |_| {
            within(Deadline::after(Duration::from_secs(3_600)), || std::thread::sleep(LOOK_PERIOD * 3));
            std::thread::sleep(LOOK_PERIOD * 3);
            1
        };
        let hands = Hands { threads: 1, joins: false };
        assert_eq!(each(1, hands, slow, |_| panic!("nobody is overdue")), [Ok(1)]);
    }

    /// A process that was stopped for hours had no time in which to end a run.
    #[test]
    fn nobody_is_left_behind_because_the_clock_went_on() {
        let beat = Beat::default();
        beat.pulse().until = Some(Deadline::after(Duration::from_secs(1)));
        let hours = Instant::now() + Duration::from_secs(36_000);
        assert_eq!(beat.leave_if_overdue(Instant::now()), None);
        assert!((0..GRACE_LOOKS).all(|_| beat.leave_if_overdue(hours).is_none()));
        assert_eq!(beat.leave_if_overdue(hours), Some((0, Duration::from_secs(1))));
        assert_eq!(beat.leave_if_overdue(hours), None, "once");
        // One that was told to end before the limit of a run has the limit all the same.
        let beat = Beat::default();
        beat.pulse().until = Some(Deadline::part(Duration::ZERO, Duration::from_secs(3_600)));
        let soon = Instant::now() + Duration::from_secs(1_800);
        assert!((0..2 * GRACE_LOOKS).all(|_| beat.leave_if_overdue(soon).is_none()));
    }

    #[test]
    fn a_panic_goes_to_who_waits() {
        let panicked = catch_unwind(|| apart(|| panic!("on purpose")));
        assert!(panicked.is_err());
    }
}
