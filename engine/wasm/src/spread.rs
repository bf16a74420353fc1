//! Units of work over the pool's threads. Each thread begins with the same part of them in every frame: what it wrote there in
//! the last one is still in its cache. Whoever is done takes what the others haven't begun, from the far end of their parts.
//!
//! This decides who does a unit, and nothing of what the unit does.

use std::hint::spin_loop;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::awake::LOOKS;

/// Runs each unit once, on the threads of the current pool, and returns when all are done. Calls `begin` when there is something
/// to do for the other threads.
pub(super) fn spread<U: Send>(units: Vec<U>, work: impl Fn(U) + Sync, begin: impl FnOnce() + Send) {
    let threads = rayon::current_num_threads();
    // On one thread there is nobody to share with, and the loop costs nothing.
    if threads == 1 || units.len() < 2 {
        units.into_iter().for_each(work);
        return;
    }
    let units: Vec<_> = units.into_iter().map(|unit| Mutex::new(Some(unit))).collect();
    let share = || {
        let own = rayon::current_thread_index().unwrap_or(0);
        for at in order(own, threads, units.len()) {
            // Nobody works while holding a lock: a poisoned one is as good.
            let unit = units[at].lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(unit) = unit {
                work(unit);
            }
        }
    };
    let helpers = threads.min(units.len()) - 1;
    let ready = AtomicUsize::new(0);
    rayon::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| {
                share();
                ready.fetch_add(1, Ordering::Release);
            });
        }
        begin();
        share();
        // The others are as good as done: to look for other work meanwhile, as the scope's end does, takes longer.
        for _ in 0..LOOKS {
            if ready.load(Ordering::Acquire) == helpers {
                break;
            }
            spin_loop();
        }
    });
}

/// In which order a thread looks for units: its own part forwards, then the parts after it backwards.
fn order(own: usize, threads: usize, units: usize) -> impl Iterator<Item = usize> {
    let part = move |thread: usize| units * thread / threads..units * (thread + 1) / threads;
    let others = (1..threads).map(move |step| (own + step) % threads);
    part(own).chain(others.flat_map(move |thread| part(thread).rev()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_thread_knows_every_unit_and_begins_with_its_own() {
        for (threads, units) in [(1, 1), (2, 4), (2, 5), (3, 2), (4, 9), (7, 100)] {
            let mut firsts = Vec::new();
            for own in 0..threads {
                let mut all: Vec<_> = order(own, threads, units).collect();
                firsts.extend(all.first().copied());
                all.sort_unstable();
                assert!(all.into_iter().eq(0..units), "{threads} threads, {units} units, thread {own}");
            }
            firsts.dedup();
            assert!(units < threads || firsts.len() == threads, "{threads} threads, {units} units");
        }
    }

    #[test]
    fn each_unit_is_done_once() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("a pool");
        for units in [0, 1, 3, 4, 100] {
            let done: Vec<_> = (0..units).map(|_| AtomicU32::new(0)).collect();
            pool.install(|| {
                let count = |unit: usize| {
                    done[unit].fetch_add(1, Ordering::Relaxed);
                };
                spread((0..units).collect(), count, || {});
            });
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1), "{units} units");
        }
    }
}
