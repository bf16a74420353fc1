//! Splits a frame's calls over shards and threads.
//!
//! Each shard's calls are one task, which one thread runs from end to end. The requests may come in any order; that of the slots is the fast one.
//! Each thread begins with the same part of the tasks in every frame, because what it wrote there in the last frame is still in its cache. A thread
//! that has finished its part takes tasks that the others haven't begun, from the far end of their parts. So which thread runs a task depends on
//! time, but what the task does never does.

use core::ops::Range;
use std::hint::spin_loop;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasm_engine_components::AgentSlot;
use wasm_engine_systems::ports::{OutputChunk, StepOutcome, StepRequest};

use super::{
    shard::{Shard, shard_of},
    spin_wait::SPINS_MAX,
    stack::on_deep_stack,
    step::FrameCalls,
};

/// Consecutive requests for one shard, and where their outcomes go.
pub(super) struct RequestRun<'a> {
    requests: &'a [StepRequest],
    outcomes: &'a mut [StepOutcome],
}

/// The calls that one shard makes in a frame.
pub(super) struct ShardTask<'a> {
    shard: &'a mut Shard,
    chunk: &'a mut OutputChunk,
    /// First run. If the requests come in the order of the slots, it is the only one.
    first: RequestRun<'a>,
    more: Vec<RequestRun<'a>>,
}

impl ShardTask<'_> {
    /// Makes the calls, on a thread whose stack is deep enough.
    pub(super) fn run(self, calls: &FrameCalls<'_>) {
        let Self { shard, chunk, first, more } = self;
        on_deep_stack(|| {
            for run in core::iter::once(first).chain(more) {
                shard.run(calls, run.requests, run.outcomes, chunk);
            }
        });
    }
}

/// Cuts the requests where the shard changes, and puts the runs in the order of the shards.
pub(super) fn split_by_shard<'a>(
    shards: &[Shard],
    mut requests: &'a [StepRequest],
    mut outcomes: &'a mut [StepOutcome],
) -> Vec<(usize, RequestRun<'a>)> {
    let mut runs: Vec<(usize, RequestRun<'a>)> = Vec::with_capacity(shards.len().min(requests.len()));
    let mut sorted = true;
    while let Some(head) = requests.first() {
        let (shard, _) = shard_of(shards, head.slot).expect("a request is for a slot that an agent may have");
        let slots = shards[shard].first_slot..shards[shard].first_slot + shards[shard].agents_max;
        let length = run_length(requests, slots);
        sorted &= runs.last().is_none_or(|&(before, _)| before < shard);
        let (run_requests, rest) = requests.split_at(length);
        let (run_outcomes, outcomes_rest) = outcomes.split_at_mut(length);
        runs.push((shard, RequestRun { requests: run_requests, outcomes: run_outcomes }));
        (requests, outcomes) = (rest, outcomes_rest);
    }
    if !sorted {
        runs.sort_by_key(|&(shard, _)| shard);
    }
    runs
}

/// Returns how many of the first requests are for agents in `slots`, each slot at most once: a second run for the same slots is a run of its own.
fn run_length(requests: &[StepRequest], slots: Range<AgentSlot>) -> usize {
    // Mostly all agents are called, in order: to see that takes a comparison for each, and no branch.
    if let Some(all) = requests.get(..(slots.end - slots.start) as usize)
        && all.iter().zip(slots.start.0..).fold(true, |same, (request, slot)| same & (request.slot.0 == slot))
    {
        return all.len();
    }
    requests.iter().take_while(|request| slots.contains(&request.slot)).count()
}

/// Gives each shard its runs and a chunk for its output: the tasks of the frame.
pub(super) fn assign_to_shards<'a>(
    shards: &'a mut [Shard],
    runs: Vec<(usize, RequestRun<'a>)>,
    chunks: &'a mut Vec<OutputChunk>,
) -> Vec<ShardTask<'a>> {
    let mut needed = 0;
    let mut last = usize::MAX;
    for &(shard, _) in &runs {
        let group = shards[shard].program().group;
        if shard != last {
            match chunks.get_mut(needed) {
                Some(chunk) => chunk.clear(group),
                None => chunks.push(OutputChunk::new(group)),
            }
            needed += 1;
        }
        last = shard;
    }
    chunks.truncate(needed);
    let mut tasks: Vec<ShardTask<'a>> = Vec::with_capacity(needed);
    let (mut shards, mut chunks) = (shards.iter_mut().enumerate(), chunks.iter_mut());
    last = usize::MAX;
    for (shard, run) in runs {
        if shard == last {
            if let Some(task) = tasks.last_mut() {
                task.more.push(run);
            }
            continue;
        }
        let found = shards.find(|&(at, _)| at == shard).zip(chunks.next());
        let ((_, shard_found), chunk) = found.expect("the runs come in the order of the shards, each with its chunk");
        tasks.push(ShardTask { shard: shard_found, chunk, first: run, more: Vec::new() });
        last = shard;
    }
    tasks
}

/// Runs each task once, on the threads of the current pool, and returns when all are done. Calls `begin` as soon as other threads have
/// something to do.
pub(super) fn run_on_threads<T: Send>(tasks: Vec<T>, run: impl Fn(T) + Sync, begin: impl FnOnce() + Send) {
    let threads = rayon::current_num_threads();
    // On one thread there is nobody to share with, and the loop costs nothing.
    if threads == 1 || tasks.len() < 2 {
        tasks.into_iter().for_each(run);
        return;
    }
    let tasks: Vec<_> = tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
    let share = || {
        let own = rayon::current_thread_index().unwrap_or(0);
        for at in search_order(own, threads, tasks.len()) {
            // Nobody works while holding a lock: a poisoned one is as good.
            let task = tasks[at].lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(task) = task {
                run(task);
            }
        }
    };
    let helpers = threads.min(tasks.len()) - 1;
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
        for _ in 0..SPINS_MAX {
            if ready.load(Ordering::Acquire) == helpers {
                break;
            }
            spin_loop();
        }
    });
}

/// Returns the order in which a thread looks for tasks: its own part forwards, then the parts of the threads after it, each backwards.
fn search_order(own: usize, threads: usize, tasks: usize) -> impl Iterator<Item = usize> {
    let part = move |thread: usize| tasks * thread / threads..tasks * (thread + 1) / threads;
    let others = (1..threads).map(move |step| (own + step) % threads);
    part(own).chain(others.flat_map(move |thread| part(thread).rev()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_thread_knows_every_task_and_begins_with_its_own() {
        for (threads, tasks) in [(1, 1), (2, 4), (2, 5), (3, 2), (4, 9), (7, 100)] {
            let mut firsts = Vec::new();
            for own in 0..threads {
                let mut all: Vec<_> = search_order(own, threads, tasks).collect();
                firsts.extend(all.first().copied());
                all.sort_unstable();
                assert!(all.into_iter().eq(0..tasks), "{threads} threads, {tasks} tasks, thread {own}");
            }
            firsts.dedup();
            assert!(tasks < threads || firsts.len() == threads, "{threads} threads, {tasks} tasks");
        }
    }

    #[test]
    fn each_task_is_run_once() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("a pool");
        for tasks in [0, 1, 3, 4, 100] {
            let done: Vec<_> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
            pool.install(|| {
                let count = |task: usize| {
                    done[task].fetch_add(1, Ordering::Relaxed);
                };
                run_on_threads((0..tasks).collect(), count, || {});
            });
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1), "{tasks} tasks");
        }
    }
}
