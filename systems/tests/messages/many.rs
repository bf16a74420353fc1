//! Many recipients of one message: it is stored once, and each recipient costs a link.

use wasm_engine_abi::{CallKind, MessageHeader, Op, name_id};
use wasm_engine_components::{AgentId, FrameInputs, GroupId, GroupLimits, Members, TopicId, TopicSpec};
use wasm_engine_systems::{Population, run_frame, testing};

use crate::common::table::{Call, app, group};

const SUBSCRIBERS: u32 = 100_000;
const PAYLOAD_BYTES: usize = 64 << 10;

fn population() -> Population {
    let mut readers = group(1, SUBSCRIBERS);
    readers.group.subscribe = vec![TopicId(name_id("news"))];
    readers.inbox_bytes_max = 1 << 20;
    let mut writers = group(2, 1);
    // Each recipient of 64 KiB counts 513 times.
    writers.group.limits.deliveries_per_step_max = GroupLimits::UNBOUNDED;
    writers.group.limits.deliveries_per_frame_max = GroupLimits::UNBOUNDED;
    Population { groups: vec![readers, writers], topics: vec![TopicSpec::new("news")], ..Population::default() }
}

/// One agent sends one message to many; what the host keeps of it, in words, and how many links lead to it.
fn stored(op: Op, target: u64) -> (u32, usize) {
    let writer = AgentId::new(GroupId(2), 0);
    let step = move |call: Call<'_>| {
        if call.agent == writer && call.call == CallKind::Step && call.frame == 1 {
            call.out.push(op, target, 1, 0, &[7; PAYLOAD_BYTES]);
        }
        // Only one looks: the table's agents are given copies.
        if call.frame == 2 && call.agent.ordinal() == SUBSCRIBERS - 1 {
            assert!(call.inbox.iter().any(|(_, payload)| payload.len() == PAYLOAD_BYTES));
        }
    };
    let mut app = app(population(), step);
    for _ in 0..2 {
        run_frame(app.world_mut(), FrameInputs::default());
    }
    let words = testing::sent_words(app.world());
    let record = run_frame(app.world_mut(), FrameInputs::default());
    assert_eq!(record.counts.delivered, u64::from(SUBSCRIBERS));
    assert_eq!(testing::host_words(app.world()), 0);
    (words, testing::links(app.world()))
}

#[test]
fn a_payload_for_a_hundred_thousand_is_kept_once() {
    let words = ((PAYLOAD_BYTES + size_of::<MessageHeader>()) / 8) as u32;
    assert_eq!(stored(Op::Publish, name_id("news")), (words, SUBSCRIBERS as usize));
    assert_eq!(stored(Op::Broadcast, 1), (words, SUBSCRIBERS as usize));
}

/// Each change by itself would move all members that come after it.
#[test]
fn all_join_a_topic_in_one_frame_and_leave_it_in_the_next() {
    let mut members = population();
    members.groups[0].group.subscribe.clear();
    let mut app = app(members, |call: Call<'_>| {
        if call.call == CallKind::Step && call.agent.group() == GroupId(1) {
            let odd = u64::from(call.agent.ordinal() % 2);
            match call.frame {
                1 => call.out.push(Op::Join, name_id("news"), 0, 0, &[]),
                2 if odd == 0 => call.out.push(Op::Leave, name_id("news"), 0, 0, &[]),
                // The last word counts.
                2 => [Op::Leave, Op::Join].into_iter().for_each(|op| call.out.push(op, name_id("news"), 0, 0, &[])),
                _ => {}
            }
        }
    });
    let mut counts = Vec::new();
    for _ in 0..3 {
        run_frame(app.world_mut(), FrameInputs::default());
        let world = app.world_mut();
        counts.extend(world.query::<&Members>().iter(world).map(|members| members.0.len() as u32));
    }
    assert_eq!(counts, [0, SUBSCRIBERS, SUBSCRIBERS / 2]);
}
