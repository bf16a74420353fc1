//! How a frame's calls are spread over the shards: each shard's go to one unit of work, which one thread does from end to end.
//! The requests may come in any order; that of the slots is the fast one.

use core::ops::Range;

use wasm_engine_systems::ports::{OutputChunk, StepOutcome, StepRequest};

use super::{shard::Shard, stack::on_deep_stack, step::FrameCalls};

/// Requests side by side that are for one shard, and where their outcomes go.
pub(super) struct Run<'a> {
    requests: &'a [StepRequest],
    outcomes: &'a mut [StepOutcome],
}

/// All that one shard does in a frame.
pub(super) struct Unit<'a> {
    shard: &'a mut Shard,
    chunk: &'a mut OutputChunk,
    /// One, where the requests come in the order of the slots.
    first: Run<'a>,
    more: Vec<Run<'a>>,
}

impl Unit<'_> {
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
pub(super) fn split<'a>(
    shards: &[Shard],
    mut requests: &'a [StepRequest],
    mut outcomes: &'a mut [StepOutcome],
) -> Vec<(usize, Run<'a>)> {
    let mut runs: Vec<(usize, Run<'a>)> = Vec::with_capacity(shards.len().min(requests.len()));
    let mut sorted = true;
    while let Some(head) = requests.first() {
        let shard = shards.partition_point(|shard| shard.first_slot <= head.slot).saturating_sub(1);
        assert!(shard < shards.len(), "a request where there are no agents");
        let slots = shards[shard].first_slot..shards[shard].first_slot + shards[shard].agents_max;
        assert!(slots.contains(&head.slot), "a request for a slot that no agent has");
        let length = run_length(requests, slots);
        sorted &= runs.last().is_none_or(|&(before, _)| before < shard);
        let (run_requests, rest) = requests.split_at(length);
        let (run_outcomes, outcomes_rest) = outcomes.split_at_mut(length);
        runs.push((shard, Run { requests: run_requests, outcomes: run_outcomes }));
        (requests, outcomes) = (rest, outcomes_rest);
    }
    if !sorted {
        runs.sort_by_key(|&(shard, _)| shard);
    }
    runs
}

/// How many of the first requests are for one of `slots`; of two runs for the same slots side by side, the first.
fn run_length(requests: &[StepRequest], slots: Range<u32>) -> usize {
    // Mostly all agents are called, in order: to see that takes a comparison for each, and no branch.
    if let Some(all) = requests.get(..slots.len())
        && all.iter().zip(slots.clone()).fold(true, |same, (request, slot)| same & (request.slot == slot))
    {
        return all.len();
    }
    requests.iter().take_while(|request| slots.contains(&request.slot)).count()
}

/// Gives each shard its runs and a chunk.
pub(super) fn assign<'a>(
    shards: &'a mut [Shard],
    runs: Vec<(usize, Run<'a>)>,
    chunks: &'a mut Vec<OutputChunk>,
) -> Vec<Unit<'a>> {
    let mut needed = 0;
    let mut last = usize::MAX;
    for &(shard, _) in &runs {
        let group = shards[shard].program.group;
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
    let mut units: Vec<Unit<'a>> = Vec::with_capacity(needed);
    let (mut shards, mut chunks) = (shards.iter_mut().enumerate(), chunks.iter_mut());
    last = usize::MAX;
    for (shard, run) in runs {
        if shard == last {
            if let Some(unit) = units.last_mut() {
                unit.more.push(run);
            }
            continue;
        }
        let found = shards.find(|&(at, _)| at == shard).zip(chunks.next());
        let ((_, shard_found), chunk) = found.expect("the runs come in the order of the shards, each with its chunk");
        units.push(Unit { shard: shard_found, chunk, first: run, more: Vec::new() });
        last = shard;
    }
    units
}
