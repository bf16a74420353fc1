//! Slots that are given to another agent: what was meant for the one that ended doesn't reach the one that comes after it.

use wasm_engine_abi::{BounceReason, CallKind, Op};
use wasm_engine_components::{
    AgentId, ExternalEvent, FaultKind, FaultPolicy, FrameInputs, GroupId, LifecycleAction, Recipient,
};
use wasm_engine_systems::{GroupSeed, run_frame, testing};

use crate::common::logged::{bounces, frame, frames, groups, id, order, run, spawn};
use crate::common::table::group;

fn second(group: u32, ordinal: u32) -> AgentId {
    AgentId::of_generation(GroupId(group), ordinal, 1)
}

/// A group for one agent, which isn't there from the start.
fn empty(id: u32) -> GroupSeed {
    let mut seed = group(id, 0);
    seed.group.agents_max = 1;
    seed
}

#[test]
fn a_new_agent_does_not_get_the_bounces_of_the_one_before_it() {
    let mut full = group(2, 1);
    full.group.limits.mailbox_messages_max = 1;
    let (mut app, log) = run(groups(vec![empty(1), full]), |call| {
        if call.call == CallKind::Shutdown {
            call.out.send(id(2, 0), 1, &[]);
            call.out.send(id(2, 0), 2, &[]);
        }
    });
    frame(&mut app, vec![spawn(1)]);
    frames(&mut app, 1);
    // It ends in frame 2; its second message is refused in frame 3; its slot is given away in frame 4.
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Terminate)]);
    assert_eq!(frames(&mut app, 1)[0].counts.dropped, 1);
    frame(&mut app, vec![spawn(1)]);
    let records = frames(&mut app, 3);
    assert_eq!(records[0].counts.agents, 2);
    assert_eq!(bounces(&log, second(1, 0)), []);
}

#[test]
fn a_new_agent_does_not_get_events_for_the_one_before_it() {
    let (mut app, log) = run(groups(vec![empty(1)]), |_| {});
    frame(&mut app, vec![spawn(1)]);
    frames(&mut app, 1);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Terminate)]);
    frames(&mut app, 1);
    let event = |to| ExternalEvent { to: Recipient::Agent(to), kind: 1, correlation: 0, payload: Vec::new() };
    let events = vec![event(id(1, 0)), event(id(1, 7))];
    let record = run_frame(app.world_mut(), FrameInputs { commands: vec![spawn(1)], events, ..FrameInputs::default() });
    frames(&mut app, 2);
    let log = log.lock().unwrap();
    assert!(log.iter().any(|(_, agent, ..)| *agent == second(1, 0)), "there is a second agent");
    assert!(log.iter().all(|(.., inbox)| inbox.is_empty()));
    let dropped = |reason: BounceReason| record.counts.dropped_by_reason[reason as usize - 1];
    assert_eq!((dropped(BounceReason::Terminated), dropped(BounceReason::UnknownRecipient)), (1, 1));
}

#[test]
fn a_group_that_starts_full_takes_a_new_agent_for_one_that_ended() {
    let (mut app, _) = run(groups(vec![group(1, 2)]), |_| {});
    frames(&mut app, 2);
    frame(&mut app, vec![order(id(1, 1), LifecycleAction::Terminate)]);
    assert_eq!(frame(&mut app, vec![spawn(1)]).counts.commands_refused, 1, "something may be on its way to it");
    let record = frame(&mut app, vec![spawn(1), spawn(1)]);
    assert_eq!((record.counts.commands, record.counts.commands_refused, record.counts.agents), (1, 1, 2));
}

#[test]
fn who_has_ended_has_ended_when_another_has_the_ordinal() {
    let (mut app, log) = run(groups(vec![group(1, 1), group(2, 1)]), |call| {
        if call.agent == id(2, 0) && call.frame == 6 {
            call.out.push(Op::Send, id(1, 0).0, 0, 1, &[]);
            call.out.push(Op::Send, second(1, 0).0, 0, 2, &[]);
            call.out.push(Op::Send, AgentId::of_generation(GroupId(1), 0, 2).0, 0, 3, &[]);
        }
    });
    frames(&mut app, 2);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Terminate)]);
    frames(&mut app, 1);
    frame(&mut app, vec![spawn(1)]);
    frames(&mut app, 4);
    let (ended, unknown) = (BounceReason::Terminated as u32, BounceReason::UnknownRecipient as u32);
    assert_eq!(bounces(&log, id(2, 0)), [(7, 1, ended), (7, 3, unknown)]);
}

#[test]
fn what_waited_for_an_agent_that_ends_without_a_call_bounces() {
    let mut shaky = group(2, 1);
    shaky.group.on_fault = FaultPolicy::Escalate;
    let (mut app, log) = run(groups(vec![group(1, 1), shaky]), |call| match (call.agent.group().0, call.frame) {
        (1, 1) => call.out.push(Op::Send, id(2, 0).0, 0, 3, &[]),
        (2, 1) => call.out.fault = Some(FaultKind::Trap),
        _ => {}
    });
    assert_eq!(frames(&mut app, 3)[2].counts.delivered, 0);
    let record = frame(&mut app, vec![order(id(2, 0), LifecycleAction::Terminate)]);
    assert_eq!(record.counts.dropped_by_reason[BounceReason::Terminated as usize - 1], 1);
    frames(&mut app, 1);
    assert_eq!(bounces(&log, id(1, 0)), [(4, 3, BounceReason::Terminated as u32)]);
}

#[test]
fn a_restart_that_is_due_goes_with_its_agent() {
    let mut seed = group(1, 1);
    seed.group.on_fault = FaultPolicy::Restart { restarts_max: 9, backoff_frames: 1_000_000 };
    let (mut app, _) = run(groups(vec![seed]), |call| call.out.fault = (call.frame > 0).then_some(FaultKind::Trap));
    for _ in 0..5 {
        frames(&mut app, 3);
        frame(&mut app, vec![order(id(1, 0), LifecycleAction::Terminate)]);
        frames(&mut app, 3);
        frame(&mut app, vec![spawn(1)]);
        frames(&mut app, 1);
    }
    assert!(testing::restarts(app.world()) <= 1);
}
