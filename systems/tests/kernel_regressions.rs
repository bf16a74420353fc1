//! What the kernel once did wrong, each in the fewest lines that show it.

#![expect(clippy::unwrap_used, reason = "a test's lock is never poisoned")]

mod table;

use std::sync::{Arc, Mutex};

use bevy_app::App;
use table::{Call, app, group};
use wasm_engine_abi::message::kind;
use wasm_engine_abi::{BounceReason, CallKind, MessageHeader, Op};
use wasm_engine_components::{
    Action, AgentId, ExternalEvent, FaultKind, FaultPolicy, FrameInputs, FrameRecord, GroupId, LifecycleAction,
    OverflowPolicy, Recipient, SchedulerMode, SchedulerSettings, Trigger,
};
use wasm_engine_systems::{GroupSeed, Population, run_frame};

type Seen = Arc<Mutex<Vec<(u64, AgentId, MessageHeader, Vec<u8>)>>>;

fn id(group: u32, ordinal: u32) -> AgentId {
    AgentId::new(GroupId(group), ordinal)
}

fn second(group: u32, ordinal: u32) -> AgentId {
    AgentId::of_generation(GroupId(group), ordinal, 1)
}

/// An app whose agents note all that they see, and do what `step` says.
fn noting(groups: Vec<GroupSeed>, step: impl Fn(&mut Call<'_>) + Send + Sync + 'static) -> (App, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let app = app(Population { groups, ..Population::default() }, move |mut call| {
        let mut seen = noted.lock().unwrap();
        let inbox = std::mem::take(&mut call.inbox);
        seen.extend(inbox.iter().map(|(header, payload)| (call.frame, call.agent, *header, payload.clone())));
        call.inbox = inbox;
        step(&mut call);
    });
    (app, seen)
}

fn frame(app: &mut App, commands: Vec<Action>) -> FrameRecord {
    run_frame(app.world_mut(), FrameInputs { commands, ..FrameInputs::default() })
}

fn frames(app: &mut App, n: usize) -> Vec<FrameRecord> {
    (0..n).map(|_| frame(app, Vec::new())).collect()
}

fn order(agent: AgentId, order: LifecycleAction) -> Action {
    Action::Agent(agent, order)
}

fn spawn(group: u32) -> Action {
    Action::Spawn { group: GroupId(group), kind: 0, payload: Vec::new() }
}

/// A group for one agent, which isn't there from the start.
fn empty(id: u32) -> GroupSeed {
    let mut seed = group(id, 0);
    seed.group.agents_max = 1;
    seed
}

fn bounces_of(seen: &Seen, agent: AgentId) -> Vec<(u64, u64, u32)> {
    let seen = seen.lock().unwrap();
    let bounces = seen.iter().filter(|(_, to, header, _)| *to == agent && header.kind == kind::BOUNCE);
    bounces.map(|(frame, _, header, _)| (*frame, header.correlation, header.status)).collect()
}

#[test]
fn a_new_agent_does_not_get_the_bounces_of_the_one_before_it() {
    let mut full = group(2, 1);
    full.group.limits.mailbox_messages_max = 1;
    let (mut app, seen) = noting(vec![empty(1), full], |call| {
        if call.call == CallKind::Shutdown {
            call.out.send(id(2, 0), 1, &[]);
            call.out.send(id(2, 0), 2, &[]);
        }
    });
    frame(&mut app, vec![spawn(1)]);
    frames(&mut app, 1);
    // It ends in frame 2; its second message is refused in frame 3; its place is given away in frame 4.
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Terminate)]);
    assert_eq!(frames(&mut app, 1)[0].counts.dropped, 1);
    frame(&mut app, vec![spawn(1)]);
    let records = frames(&mut app, 3);
    assert_eq!(records[0].counts.agents, 2);
    assert_eq!(bounces_of(&seen, second(1, 0)), []);
}

#[test]
fn a_new_agent_does_not_get_events_for_the_one_before_it() {
    let (mut app, seen) = noting(vec![empty(1)], |_| {});
    frame(&mut app, vec![spawn(1)]);
    frames(&mut app, 1);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Terminate)]);
    frames(&mut app, 1);
    let event = |to| ExternalEvent { to: Recipient::Agent(to), kind: 1, correlation: 0, payload: Vec::new() };
    let events = vec![event(id(1, 0)), event(id(1, 7))];
    let record = run_frame(app.world_mut(), FrameInputs { commands: vec![spawn(1)], events, ..FrameInputs::default() });
    frames(&mut app, 2);
    assert!(seen.lock().unwrap().is_empty());
    let dropped = |reason: BounceReason| record.counts.dropped_by_reason[reason as usize - 1];
    assert_eq!((dropped(BounceReason::Terminated), dropped(BounceReason::UnknownRecipient)), (1, 1));
}

#[test]
fn a_message_of_the_same_frame_waits_unchanged_where_waves_are_not_in_the_order_of_ids() {
    let mut later = group(1, 2);
    later.group.after = vec![GroupId(2)];
    let (mut app, seen) = noting(vec![later, group(2, 1)], |call| {
        if call.frame == 2 && call.agent == id(2, 0) {
            call.out.send(id(1, 0), 5, b"from 2/0");
        } else if call.frame == 2 {
            call.out.send(id(1, 1), 6, b"from 1/1");
        }
    });
    frames(&mut app, 2);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Pause)]);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Resume)]);
    let seen = seen.lock().unwrap();
    let got: Vec<_> = seen.iter().filter(|(_, to, ..)| *to == id(1, 0)).map(|(.., payload)| payload.clone()).collect();
    assert_eq!(got, [b"from 2/0"]);
}

#[test]
fn an_old_request_that_is_dropped_does_not_end_a_new_one_of_its_number() {
    let mut slow = group(2, 1);
    slow.group.schedule.trigger = Trigger::Timer;
    slow.group.limits.mailbox_messages_max = 1;
    slow.group.overflow = OverflowPolicy::DropOldest;
    let (mut app, seen) = noting(vec![group(1, 1), slow, group(3, 1)], |call| {
        match (call.agent.group().0, call.frame) {
            (1, 1) => call.out.request(id(2, 0), 9, 2),
            (1, 3) => call.out.request(id(3, 0), 9, 9),
            (1, 4) => call.out.send(id(2, 0), 0, &[]),
            // It answers after the old request was pushed out of the mailbox of 2/0, in frame 5.
            (3, 7) => call.out.push(Op::Reply, id(1, 0).0, 0, 9, &[]),
            _ => {}
        }
    });
    frames(&mut app, 10);
    let seen = seen.lock().unwrap();
    let told = seen.iter().filter(|(_, to, ..)| *to == id(1, 0)).map(|(frame, _, header, _)| {
        assert_eq!(header.correlation, 9);
        (*frame, header.kind)
    });
    assert_eq!(told.collect::<Vec<_>>(), [(3, kind::TIMEOUT), (6, kind::BOUNCE), (8, 0)]);
}

#[test]
fn a_group_that_starts_full_takes_a_new_agent_for_one_that_ended() {
    let (mut app, _) = noting(vec![group(1, 2)], |_| {});
    frames(&mut app, 2);
    frame(&mut app, vec![order(id(1, 1), LifecycleAction::Terminate)]);
    assert_eq!(frame(&mut app, vec![spawn(1)]).counts.commands_refused, 1, "something may be on its way to it");
    let record = frame(&mut app, vec![spawn(1), spawn(1)]);
    assert_eq!((record.counts.commands, record.counts.commands_refused, record.counts.agents), (1, 1, 2));
}

#[test]
fn a_broadcast_to_a_group_without_places_reaches_nobody() {
    let mut later = group(1, 1);
    later.group.after = vec![GroupId(2)];
    let (mut app, _) = noting(vec![later, group(2, 1), group(3, 0)], |call| {
        call.out.push(Op::Broadcast, 3, 0, 0, &[]);
    });
    assert_eq!(frames(&mut app, 3)[2].counts.dropped, 0);
}

#[test]
fn a_broadcast_that_a_group_does_not_take_bounces() {
    let mut deaf = group(2, 2);
    deaf.group.accepts = Some(Vec::new());
    let (mut app, seen) = noting(vec![group(1, 1), deaf], |call| {
        if call.frame == 1 && call.agent == id(1, 0) {
            call.out.push(Op::Broadcast, 2, 0, 4, &[]);
        }
    });
    assert_eq!(frames(&mut app, 3)[1].counts.dropped, 1);
    assert_eq!(bounces_of(&seen, id(1, 0)), [(2, 4, BounceReason::Refused as u32)]);
}

#[test]
fn what_waited_for_an_agent_that_ends_without_a_call_bounces() {
    let mut shaky = group(2, 1);
    shaky.group.on_fault = FaultPolicy::Escalate;
    let (mut app, seen) = noting(vec![group(1, 1), shaky], |call| match (call.agent.group().0, call.frame) {
        (1, 1) => call.out.push(Op::Send, id(2, 0).0, 0, 3, &[]),
        (2, 1) => call.out.fault = Some(FaultKind::Trap),
        _ => {}
    });
    assert_eq!(frames(&mut app, 3)[2].counts.delivered, 0);
    let record = frame(&mut app, vec![order(id(2, 0), LifecycleAction::Terminate)]);
    assert_eq!(record.counts.dropped_by_reason[BounceReason::Terminated as usize - 1], 1);
    frames(&mut app, 1);
    assert_eq!(bounces_of(&seen, id(1, 0)), [(4, 3, BounceReason::Terminated as u32)]);
}

#[test]
fn a_first_message_says_which_spawn_it_came_with() {
    let mut open = group(1, 1);
    open.group.controls = vec![GroupId(2)];
    let mut small = group(2, 0);
    small.group.agents_max = 2;
    small.group.limits.mailbox_bytes_max = 56;
    let (mut app, seen) = noting(vec![open, small], |call| {
        if call.frame == 1 {
            call.out.push(Op::Spawn, 2, 5, 70, &[1; 8]);
            call.out.push(Op::Spawn, 2, 5, 71, &[1; 9]);
        }
    });
    frames(&mut app, 5);
    assert_eq!(bounces_of(&seen, id(1, 0)), [(3, 71, BounceReason::TooLarge as u32)]);
    let seen = seen.lock().unwrap();
    let first = seen.iter().find(|(_, to, ..)| *to == id(2, 0)).map(|(frame, _, header, _)| (*frame, *header));
    let (frame, header) = first.expect("the first message arrives");
    assert_eq!((frame, header.sender, header.kind), (3, id(1, 0).0, 5));
    assert_eq!((header.frame, header.sequence, header.correlation), (1, 0, 70), "as it was asked for");
}

#[test]
fn who_has_ended_has_ended_when_another_has_the_ordinal() {
    let (mut app, seen) = noting(vec![group(1, 1), group(2, 1)], |call| {
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
    assert_eq!(bounces_of(&seen, id(2, 0)), [(7, 1, ended), (7, 3, unknown)]);
}

#[test]
fn a_round_passes_over_nobody_whose_group_is_out_of_fuel() {
    let mut poor = group(1, 3);
    // The table's calls cost 10.
    poor.group.limits.fuel_per_frame_max = 10;
    let steps = Arc::new(Mutex::new([0_u32; 4]));
    let counted = steps.clone();
    let scheduler = SchedulerSettings { mode: SchedulerMode::RoundRobin, ..SchedulerSettings::default() };
    let population = Population { groups: vec![poor, group(2, 1)], scheduler, ..Population::default() };
    let mut app = app(population, move |call| {
        let at = if call.agent.group() == GroupId(2) { 3 } else { call.agent.ordinal() as usize };
        counted.lock().unwrap()[at] += 1;
    });
    frames(&mut app, 30);
    assert_eq!(*steps.lock().unwrap(), [10, 10, 10, 30]);
}

#[test]
fn a_message_after_one_that_pushed_all_others_out_in_vain_arrives_once() {
    let mut small = group(2, 1);
    small.group.limits.mailbox_messages_max = 2;
    // Room for two without payloads.
    small.group.limits.mailbox_bytes_max = 100;
    small.group.overflow = OverflowPolicy::DropOldest;
    let (mut app, seen) = noting(vec![group(1, 1), small], |call| {
        match (call.agent.group().0, call.frame) {
            // A bounce waits for it, and isn't dropped.
            (2, 1) => call.out.push(Op::Publish, 1, 0, 0, &[]),
            (1, 2) => {
                call.out.send(id(2, 0), 1, &[]);
                call.out.send(id(2, 0), 2, &[0; 8]);
                call.out.send(id(2, 0), 3, &[]);
            }
            _ => {}
        }
    });
    frames(&mut app, 2);
    frame(&mut app, vec![order(id(2, 0), LifecycleAction::Pause)]);
    frames(&mut app, 1);
    frame(&mut app, vec![order(id(2, 0), LifecycleAction::Resume)]);
    let seen = seen.lock().unwrap();
    let kinds: Vec<_> =
        seen.iter().filter(|(_, to, ..)| *to == id(2, 0)).map(|(_, _, header, _)| header.kind).collect();
    assert_eq!(kinds, [kind::BOUNCE, 3]);
}

/// In frame 2, messages of the frame before fill its mailbox, and messages along an edge do so again.
#[test]
fn a_mailbox_that_is_full_twice_in_a_frame_is_one_fault() {
    let mut reader = group(2, 1);
    (reader.group.overflow, reader.group.after) = (OverflowPolicy::Fault, vec![GroupId(1)]);
    reader.group.limits.mailbox_messages_max = 1;
    let population = Population { groups: vec![group(1, 1), reader, group(3, 1)], ..Population::default() };
    let mut app = app(population, |call: Call<'_>| {
        // Group 3 begins a frame before group 1, because its messages take a frame longer.
        let begins = match call.agent.group() {
            GroupId(1) => 2,
            GroupId(3) => 1,
            _ => u64::MAX,
        };
        if call.frame >= begins {
            (0..3).for_each(|_| call.out.send(id(2, 0), 1, &[]));
        }
    });
    let faults = frames(&mut app, 3).iter().map(|record| record.faults.len()).collect::<Vec<_>>();
    assert_eq!(faults, [0, 0, 1]);
}
