//! Stage `Step`: the calls go through the port, wave after wave. Agents run in parallel there, and write nothing of the world.
//!
//! A frame has one wave unless groups come after one another. Before a later wave is called, the messages that earlier waves sent to it are
//! delivered.

use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::CallKind;
use wasm_engine_components::{AgentSlot, DigestScope, RegionSpec, RegionState};

use crate::ports::{AgentPort, StepBatch};
use crate::stages::admit::admit;
use crate::stages::deliver::Router;
use crate::stages::region::shared;
use crate::stages::schedule::Selection;
use crate::world::budget::SendBudgets;
use crate::world::calls::Calls;
use crate::world::chunk::StepResults;
use crate::world::mailroom::AgentOutputs;
use crate::world::outbox::OutboxIntake;
use crate::world::scheduler::Scheduler;

/// Steps this frame's agents.
pub(crate) fn step_agents(
    mut router: Router,
    regions: Query<(&RegionSpec, &RegionState)>,
    mut outputs: ResMut<AgentOutputs>,
    mut calls: ResMut<Calls>,
    mut scheduler: ResMut<Scheduler>,
    mut budgets: ResMut<SendBudgets>,
    mut port: ResMut<AgentPort>,
    scope: Res<DigestScope>,
) {
    let frame = router.clock.frame;
    budgets.open(&router.directory, &scheduler);
    let regions = shared(&router.directory, &regions);
    let mut later = StepResults::default();
    for wave in 0..scheduler.waves {
        if wave > 0 {
            router.deliver_edges(&mut outputs, wave);
        }
        let start = if calls.is_selective { select(&mut router, &mut calls, &mut scheduler, wave) } else { 0 };
        release(&mut router, &calls, start);

        let AgentOutputs { now, before } = outputs.as_mut();
        let (results, current) =
            if wave == 0 { (&mut *now, [].as_slice()) } else { (&mut later, now.chunks.as_slice()) };
        let batch = StepBatch {
            frame,
            digest_memories: scope.covers_memories(),
            requests: &calls.requests[start..],
            inbox: router.mailroom.view(before, current),
            regions: &regions,
            intake: OutboxIntake { frame, directory: &router.directory },
        };
        port.0.step(&batch, results);
        let called = calls.requests.len() - start;
        assert_eq!(results.outcomes.len(), called, "the agent runtime gives one outcome for each request");
        for chunk in &mut results.chunks {
            admit(frame, &router.directory, &mut budgets, &mut router.requests, chunk);
        }
        if wave > 0 {
            now.chunks.append(&mut later.chunks);
            now.outcomes.append(&mut later.outcomes);
        }
    }
    router.report.counts.delivered = router.mailroom.inboxes.messages();
    if calls.is_selective || router.directory.inactive > 0 {
        router.put_into_backlogs(&outputs, &calls);
    }
}

/// Decides whom to call in a wave. Returns the index of its first call.
fn select(router: &mut Router<'_, '_>, calls: &mut Calls, scheduler: &mut Scheduler, wave: u32) -> usize {
    let start = calls.requests.len();
    let Router { clock, directory, report, mailroom, backlogs, .. } = router;
    let (frame, inboxes) = (clock.frame, &mailroom.inboxes);
    let mut selection = Selection { frame, wave, directory, inboxes, backlogs };
    report.counts.deferred += scheduler.select(&mut selection, calls);
    start
}

/// Puts waiting messages at the head of the inboxes that are handed over in this wave.
fn release(router: &mut Router<'_, '_>, calls: &Calls, start: usize) {
    if router.backlogs.holding.is_empty() {
        return;
    }
    let ready: Vec<AgentSlot> = if calls.is_selective {
        let handed = calls.requests[start..].iter().filter(|request| request.call != CallKind::Init);
        handed.map(|request| request.slot).filter(|&slot| router.backlogs.holding.contains(slot)).collect()
    } else {
        let frame = router.clock.frame;
        let handed = |slot: &AgentSlot| calls.was_handed(&router.directory, *slot, frame);
        router.backlogs.holding.iter().filter(handed).collect()
    };
    router.take_from_backlogs(&ready);
}
