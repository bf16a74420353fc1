//! What enters a frame from outside: its commands take effect first, and then its events find their recipients.

use bevy_app::App;
use wasm_engine_abi::message::sender;
use wasm_engine_abi::{BounceReason, CallKind, Op, name_id};
use wasm_engine_components::{
    Action, AgentId, ExternalEvent, FrameInputs, FrameRecord, GroupId, LifecycleAction, Recipient, TopicId, TopicSpec,
};
use wasm_engine_systems::{Population, run_frame};

use crate::common::logged::{Log, calls, frame, frames, groups, id, order, run, seen, spawn};
use crate::common::table::group;

const TOPIC: u64 = name_id("all");

/// A group with room for one more agent, whose agents are members of a topic.
fn population() -> Population {
    let mut open = group(1, 1);
    open.group.agents_max = 2;
    open.group.controls = vec![GroupId(1)];
    open.group.subscribe = vec![TopicId(TOPIC)];
    Population { topics: vec![TopicSpec::new("all").with(|topic| topic.id = TopicId(TOPIC))], ..groups(vec![open]) }
}

fn event(to: Recipient, kind: u32) -> ExternalEvent {
    ExternalEvent { to, kind, correlation: 0, payload: Vec::new() }
}

fn to(agent: AgentId, kind: u32) -> ExternalEvent {
    event(Recipient::Agent(agent), kind)
}

fn with_events(app: &mut App, commands: Vec<Action>, events: Vec<ExternalEvent>) -> FrameRecord {
    run_frame(app.world_mut(), FrameInputs { commands, events, ..FrameInputs::default() })
}

/// When an agent saw which kinds.
fn kinds(log: &Log, agent: AgentId) -> Vec<(u64, u32)> {
    seen(log, agent).iter().map(|(frame, header, _)| (*frame, header.kind)).collect()
}

#[test]
fn an_event_finds_the_agents_that_its_frames_commands_spawn() {
    let (mut app, log) = run(population(), |_| {});
    frames(&mut app, 3);
    let new = Action::Spawn { group: GroupId(1), kind: 1, payload: vec![7] };
    let everyone = [
        to(id(1, 1), 2),
        event(Recipient::Group(GroupId(1)), 3),
        event(Recipient::Topic(TopicId(TOPIC)), 4),
        to(id(1, 0), 5),
    ];
    let record = with_events(&mut app, vec![new], everyone.to_vec());
    assert_eq!((record.counts.events_lost, record.counts.dropped, record.counts.commands), (0, 0, 1));
    let next = frames(&mut app, 1);
    assert_eq!(
        (record.counts.delivered, next[0].counts.delivered),
        (3, 4),
        "who is initialised gets its messages in its first step"
    );
    assert_eq!(kinds(&log, id(1, 1)), [(4, 1), (4, 2), (4, 3), (4, 4)], "what it is born with comes first");
    assert_eq!(kinds(&log, id(1, 0)), [(3, 3), (3, 4), (3, 5)]);
}

#[test]
fn so_it_finds_those_that_agents_asked_for_in_the_frame_before() {
    let (mut app, log) = run(population(), |call| {
        if call.frame == 1 {
            call.out.push(Op::Spawn, 1, 6, 0, b"hello");
        }
    });
    frames(&mut app, 2);
    let record = with_events(&mut app, vec![], vec![to(id(1, 1), 2)]);
    assert_eq!(record.counts.events_lost, 0);
    frames(&mut app, 1);
    let got: Vec<_> = seen(&log, id(1, 1)).iter().map(|(_, header, _)| (header.sender, header.kind)).collect();
    assert_eq!(got, [(id(1, 0).0, 6), (sender::EXTERNAL, 2)]);
}

#[test]
fn an_event_for_nobody_is_counted_as_lost_and_one_for_who_ends_is_in_the_last_call() {
    let (mut app, log) = run(population(), |_| {});
    frame(&mut app, vec![spawn(1)]);
    frames(&mut app, 1);
    let lost = |record: &FrameRecord, reason: BounceReason| {
        (record.counts.events_lost, record.counts.dropped_by_reason[reason as usize - 1])
    };
    let both = vec![to(id(1, 1), 1), to(id(1, 7), 2), event(Recipient::Topic(TopicId(1)), 3)];
    let record = with_events(&mut app, vec![order(id(1, 1), LifecycleAction::Terminate)], both);
    assert_eq!(lost(&record, BounceReason::UnknownRecipient), (2, 1));
    assert_eq!(lost(&record, BounceReason::UnknownTopic), (2, 1));
    assert_eq!(calls(&log, id(1, 1)).last(), Some(&(2, CallKind::Shutdown)));
    assert_eq!(kinds(&log, id(1, 1)), [(2, 1)]);

    // The next agent in the slot is another one, in the frame in which it gets it, too.
    frames(&mut app, 1);
    let next = AgentId::of_generation(GroupId(1), 1, 1);
    let record = with_events(&mut app, vec![spawn(1)], vec![to(id(1, 1), 4), to(next, 5)]);
    assert_eq!(lost(&record, BounceReason::Terminated), (1, 1));
    frames(&mut app, 1);
    assert_eq!(kinds(&log, next), [(5, 5)]);
    assert_eq!(kinds(&log, id(1, 1)).len(), 1);
}
