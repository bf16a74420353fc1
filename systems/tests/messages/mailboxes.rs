//! Mailboxes: what waits in them and comes along edges arrives once and unchanged, and native systems see it.

use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::system::ResMut;
use wasm_engine_abi::message::kind;
use wasm_engine_abi::{Op, name_id};
use wasm_engine_components::{
    Backlog, GroupId, LifecycleAction, OverflowPolicy, Schedule, TopicId, TopicSpec, Trigger,
};
use wasm_engine_systems::{AuthorSystems, Frame, MailReader, Population};

use crate::common::logged::{frame, frames, groups, id, order, run, seen};
use crate::common::table::group;

#[test]
fn a_message_of_the_same_frame_waits_unchanged_where_waves_are_not_in_the_order_of_ids() {
    let mut later = group(1, 2);
    later.group.after = vec![GroupId(2)];
    let (mut app, log) = run(groups(vec![later, group(2, 1)]), |call| {
        if call.frame == 2 && call.agent == id(2, 0) {
            call.out.send(id(1, 0), 5, b"from 2/0");
        } else if call.frame == 2 {
            call.out.send(id(1, 1), 6, b"from 1/1");
        }
    });
    frames(&mut app, 2);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Pause)]);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Resume)]);
    let got: Vec<_> = seen(&log, id(1, 0)).into_iter().map(|(.., payload)| payload).collect();
    assert_eq!(got, [b"from 2/0"]);
}

#[test]
fn a_message_after_one_that_pushed_all_others_out_in_vain_arrives_once() {
    let mut small = group(2, 1);
    small.group.limits.mailbox_messages_max = 2;
    // Room for two without payloads.
    small.group.limits.mailbox_bytes_max = 100;
    small.group.overflow = OverflowPolicy::DropOldest;
    let (mut app, log) = run(groups(vec![group(1, 1), small]), |call| {
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
    let kinds: Vec<_> = seen(&log, id(2, 0)).into_iter().map(|(_, header, _)| header.kind).collect();
    assert_eq!(kinds, [kind::BOUNCE, 3]);
}

/// In frame 2, messages of the frame before fill its mailbox, and messages along an edge do so again.
#[test]
fn a_mailbox_that_is_full_twice_in_a_frame_is_one_fault() {
    let mut reader = group(2, 1);
    (reader.group.overflow, reader.group.after) = (OverflowPolicy::Fault, vec![GroupId(1)]);
    reader.group.limits.mailbox_messages_max = 1;
    let (mut app, _) = run(groups(vec![group(1, 1), reader, group(3, 1)]), |call| {
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
    #[derive(Resource, Default)]
    struct Found(Vec<u8>);
    let mut later = group(1, 1);
    later.group.after = vec![GroupId(2)];
    let (mut app, _) = run(groups(vec![later, group(2, 1)]), |call| {
        if call.frame == 1 && call.agent == id(2, 0) {
            call.out.send(id(1, 0), 1, &[42]);
        }
    });
    app.init_resource::<Found>();
    let look = |mail: MailReader, mut found: ResMut<Found>| {
        found.0.extend(mail.inbox(id(1, 0)).flat_map(|(_, payload)| payload.to_vec()));
    };
    app.add_systems(Frame, look.in_set(AuthorSystems::Simulate));
    frames(&mut app, 3);
    assert_eq!(app.world().resource::<Found>().0, [42]);
}
