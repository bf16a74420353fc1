//! What reviewers found in the kernel, each in the fewest lines that show it.

#![expect(clippy::unwrap_used, reason = "a test's lock is never poisoned")]

mod logged;
mod table;

use logged::{calls, frame, frames, groups, id, order, run, spawn};
use table::group;
use wasm_engine_abi::message::kind;
use wasm_engine_abi::{CallKind, Op, OutboxHeader, name_id};
use wasm_engine_components::{
    Backlog, FaultKind, FaultPolicy, Lane, LifecycleAction, Schedule, TopicId, TopicSpec, Trigger,
};
use wasm_engine_systems::{MailReader, Population, testing};

#[test]
fn an_agent_whose_initialisation_faulted_is_initialised_when_it_is_resumed() {
    let mut seed = group(1, 1);
    seed.group.on_fault = FaultPolicy::Pause;
    let (mut app, log) = run(groups(vec![seed]), |call| {
        call.out.fault = (call.frame == 0).then_some(FaultKind::Trap);
    });
    frames(&mut app, 3);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Resume)]);
    frames(&mut app, 1);
    assert_eq!(calls(&log, id(1, 0)), [(0, CallKind::Init), (3, CallKind::Init), (4, CallKind::Step)]);
}

#[test]
fn who_asks_hears_that_the_reply_found_no_room() {
    let mut asker = group(1, 1);
    asker.group.limits.mailbox_messages_max = 1;
    let (mut app, log) = run(groups(vec![asker, group(2, 2)]), |call| {
        if call.frame == 1 && call.agent == id(1, 0) {
            call.out.request(id(2, 1), 7, 9);
        }
        if call.frame == 2 && call.agent == id(2, 0) {
            call.out.send(id(1, 0), 1, &[]);
        }
        if call.frame == 2 && call.agent == id(2, 1) {
            let (target, op) = (id(1, 0).0, Op::Reply as u32);
            call.out.record(OutboxHeader { target, correlation: 7, op, ..OutboxHeader::default() }, &[]);
        }
    });
    let last = frames(&mut app, 6).pop().unwrap();
    let log = log.lock().unwrap();
    let told =
        log.iter().filter(|call| call.1 == id(1, 0)).flat_map(|(frame, .., inbox)| inbox.iter().map(|m| (*frame, m.0)));
    let told: Vec<_> = told.map(|(frame, header)| (frame, header.kind, header.correlation, header.topic)).collect();
    assert_eq!(told, [(3, 1, 0, 0), (4, kind::TIMEOUT, 7, id(2, 1).0)]);
    assert_eq!(last.lanes[Lane::Requests].0, 0, "the request is over");
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

#[test]
fn what_waits_for_many_is_kept_once() {
    let mut sleepers = group(1, 50);
    sleepers.group.schedule = Schedule { trigger: Trigger::Timer, priority: 0 };
    sleepers.group.subscribe = vec![TopicId(name_id("all"))];
    let topics = vec![TopicSpec::new("all")];
    let population = Population { groups: vec![sleepers, group(2, 1)], topics, ..Population::default() };
    let (mut app, _) = run(population, |call| {
        if call.frame == 1 && call.agent == id(2, 0) {
            call.out.push(Op::Publish, name_id("all"), 1, 0, &[5; 1000]);
            call.out.push(Op::Broadcast, 1, 1, 0, &[6; 1000]);
        }
    });
    frames(&mut app, 4);
    let world = app.world_mut();
    let mut backlogs = world.query::<&Backlog>();
    let mut payloads: Vec<_> = backlogs.iter(world).flat_map(Backlog::iter).map(|held| held.payload.as_ptr()).collect();
    assert_eq!(payloads.len(), 100);
    payloads.sort_unstable();
    payloads.dedup();
    assert_eq!(payloads.len(), 2);
}

/// A message along an edge lies in this frame's output; a native system that looks after the agents finds it there.
#[test]
fn a_native_system_may_look_at_inboxes_after_the_agents() {
    use bevy_ecs::schedule::IntoScheduleConfigs;
    use wasm_engine_systems::{AuthorSystems, Frame};
    #[derive(bevy_ecs::resource::Resource, Default)]
    struct Found(Vec<u8>);
    let mut later = group(1, 1);
    later.group.after = vec![wasm_engine_components::GroupId(2)];
    let (mut app, _) = run(groups(vec![later, group(2, 1)]), |call| {
        if call.frame == 1 && call.agent == id(2, 0) {
            call.out.send(id(1, 0), 1, &[42]);
        }
    });
    app.init_resource::<Found>();
    let look = |mail: MailReader, mut found: bevy_ecs::system::ResMut<Found>| {
        found.0.extend(mail.inbox(id(1, 0)).flat_map(|(_, payload)| payload.to_vec()));
    };
    app.add_systems(Frame, look.in_set(AuthorSystems::Simulate));
    frames(&mut app, 3);
    assert_eq!(app.world().resource::<Found>().0, [42]);
}

#[test]
fn the_outside_tells_whole_groups() {
    use wasm_engine_abi::message::{sender, status};
    use wasm_engine_components::{ExternalEvent, FrameInputs, GroupId, Recipient};
    let (mut app, log) = run(groups(vec![group(1, 3)]), |_| {});
    frames(&mut app, 1);
    let event =
        |group| ExternalEvent { to: Recipient::Group(GroupId(group)), kind: 4, correlation: 5, payload: vec![6] };
    let inputs = FrameInputs { events: vec![event(1), event(9)], ..FrameInputs::default() };
    let record = wasm_engine_systems::run_frame(app.world_mut(), inputs);
    assert_eq!((record.counts.delivered, record.counts.dropped), (3, 1));
    for (_, _, _, inbox) in log.lock().unwrap().iter().filter(|call| call.0 == 1) {
        let (header, payload) = &inbox[0];
        assert_eq!((header.sender, header.kind, header.status), (sender::EXTERNAL, 4, status::BROADCAST));
        assert_eq!(*payload, [6]);
    }
}
