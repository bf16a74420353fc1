//! What a frame costs follows from what it delivers and changes, and not from how many agents or waves there are beside it. Ratios of frames of one run, with
//! much room: each was a hundred times as much and more.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test measures, and nothing of it is state")]

use std::time::{Duration, Instant};

mod table;

use table::{Call, app, group};
use wasm_engine_abi::{CallKind, Op, name_id};
use wasm_engine_components::{Action, AgentId, FrameInputs, GroupId, Order, Topic, TopicId};
use wasm_engine_systems::{Population, run_frame};

fn topics() -> Vec<Topic> {
    vec![Topic { id: TopicId(name_id("news")), name: "news".into() }]
}

/// The shortest of some frames after the first ones, and how many messages it delivered.
fn shortest(app: &mut bevy_app::App, frames: u32) -> (Duration, u64) {
    for _ in 0..3 {
        run_frame(app.world_mut(), FrameInputs::default());
    }
    let mut least = (Duration::MAX, 0);
    for _ in 0..frames {
        let started = Instant::now();
        let record = run_frame(app.world_mut(), FrameInputs::default());
        least = least.min((started.elapsed(), record.counts.delivered));
    }
    least
}

/// A message to a group costs what its living agents do.
#[test]
fn a_broadcast_to_a_group_that_has_ended_costs_what_is_left_of_it() {
    let frame = |places: u32| {
        let mut ending = group(1, places);
        ending.inbox_bytes_max = 1 << 20;
        let population = Population { groups: vec![ending, group(2, 1_000)], ..Population::default() };
        let mut app = app(population, |call: Call<'_>| {
            if call.call == CallKind::Step && call.agent.group() == GroupId(2) {
                call.out.push(Op::Broadcast, 1, 0, 0, &[]);
            }
        });
        let ended = (1..places).map(|ordinal| Action::Agent(AgentId::new(GroupId(1), ordinal), Order::Terminate));
        let commands = ended.collect();
        for commands in [vec![], commands, vec![], vec![]] {
            run_frame(app.world_mut(), FrameInputs { commands, ..FrameInputs::default() });
        }
        shortest(&mut app, 5)
    };
    let ((small, delivered), (large, same)) = (frame(2), frame(50_000));
    assert_eq!((delivered, same), (1_000, 1_000));
    assert!(large < 20 * small, "{large:?}, {small:?} where the group was small");
}

/// A publication along edges costs what its recipients do, however many waves they are in.
#[test]
fn a_publication_along_many_waves_costs_what_one_along_few_does() {
    let frame = |waves: u32, senders: u32| {
        let mut groups = vec![group(1, senders)];
        for id in 2..2 + waves {
            let mut next = group(id, 1_200 / waves);
            next.subscribe = vec![TopicId(name_id("news"))];
            next.group.after = vec![GroupId(id - 1), GroupId(1)];
            next.group.after.dedup();
            next.group.after.sort_unstable();
            groups.push(next);
        }
        let population = Population { groups, topics: topics(), ..Population::default() };
        let mut app = app(population, |call: Call<'_>| {
            if call.call == CallKind::Step && call.agent.group() == GroupId(1) {
                call.out.push(Op::Publish, name_id("news"), 0, 0, &[]);
            }
        });
        shortest(&mut app, 6)
    };
    let (few, delivered) = frame(3, 40);
    let (many, same) = frame(300, 40);
    assert_eq!((delivered, same), (40 * 1_200, 40 * 1_200));
    let (quiet, _) = frame(300, 1);
    assert!(many < 20 * (few + quiet), "{many:?}, {few:?} in 3 waves, {quiet:?} for one message");
}

/// What an agent joins and leaves in a frame changes a topic once.
#[test]
fn to_join_and_leave_in_turns_costs_what_to_join_once_does() {
    let frame = |turns: u32| {
        let mut members = group(1, 50_000);
        members.subscribe = vec![TopicId(name_id("news"))];
        let population = Population { groups: vec![members], topics: topics(), ..Population::default() };
        let mut app = app(population, move |call: Call<'_>| {
            if call.call == CallKind::Step && call.agent.ordinal().is_multiple_of(500) {
                for turn in 0..=turns {
                    let op = if (turn + turns).is_multiple_of(2) { Op::Join } else { Op::Leave };
                    call.out.push(op, name_id("news"), 0, 0, &[]);
                }
            }
        });
        shortest(&mut app, 5).0
    };
    let (once, often) = (frame(0), frame(250));
    assert!(often < 50 * once, "{often:?}, {once:?} where each joins once");
}
