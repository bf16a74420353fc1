//! What each lane of a digest covers: of two worlds that differ in one thing, exactly the lanes of that thing differ, in the frames in which it is
//! there. And the digests of the frame and of the group remember it for good.

use bevy_app::App;
use wasm_engine_abi::{CallKind, Op, name_id};
use wasm_engine_components::{
    Action, AgentId, ExternalEvent, FaultKind, FrameInputs, FrameRecord, GroupId, Lane, LifecycleAction, Recipient,
    StableId, TopicSpec,
};
use wasm_engine_systems::{Population, RegisterState, run_frame};

use crate::common::table::{Call, app, group, model};

/// Frames that each world is run for.
const FRAMES: u64 = 8;
/// The frame in which the two worlds part.
const PART: u64 = 1;

/// Group 1 does something, group 2 is there to be sent to.
fn population() -> Population {
    Population {
        groups: vec![group(1, 3), group(2, 2)],
        topics: vec![TopicSpec::new("news"), TopicSpec::new("weather")],
        models: vec![model("slow", (1, 4, 3))],
        ..Population::default()
    }
}

fn agent(group: u32, ordinal: u32) -> AgentId {
    AgentId::new(GroupId(group), ordinal)
}

/// Runs two worlds in which `step` is told which of the two it is in, and `inputs`, too. Returns for each frame the lanes that differ.
fn differences(
    step: fn(&mut Call<'_>, bool),
    inputs: fn(u64, bool) -> FrameInputs,
    prepare: fn(&mut App, bool),
) -> Vec<Vec<Lane>> {
    let run = |other: bool| -> Vec<FrameRecord> {
        let mut app = app(population(), move |mut call| step(&mut call, other));
        prepare(&mut app, other);
        (0..FRAMES).map(|frame| run_frame(app.world_mut(), inputs(frame, other))).collect()
    };
    let (one, other) = (run(false), run(true));
    let mut parted = false;
    let differ = |(a, b): (&FrameRecord, &FrameRecord)| {
        let lanes: Vec<Lane> = Lane::ALL.into_iter().filter(|&lane| a.lanes[lane] != b.lanes[lane]).collect();
        parted |= !lanes.is_empty();
        assert_eq!(a.digest != b.digest, parted, "frame {}: what differed once stays in the digest", a.frame);
        lanes
    };
    one.iter().zip(&other).map(differ).collect()
}

/// Two worlds whose agent 0 of group 1 does this in [`PART`], in either way.
fn asked(step: fn(&mut Call<'_>, bool)) -> Vec<Vec<Lane>> {
    differences(step, |_, _| FrameInputs::default(), |_, _| {})
}

/// Whether this is the call in which agent 0 of group 1 does something.
fn is_due(call: &Call<'_>) -> bool {
    call.agent == agent(1, 0) && call.call == CallKind::Step && call.frame == PART
}

/// The frames from [`PART`] on.
fn from_part(found: &[Vec<Lane>]) -> &[Vec<Lane>] {
    let (before, after) = found.split_at(PART as usize);
    assert!(before.iter().all(Vec::is_empty), "they are the same until then: {found:?}");
    after
}

#[test]
fn an_outbox_is_in_its_lane_with_its_sender() {
    let payload = asked(|call, other| {
        if is_due(call) {
            call.out.send(agent(2, 0), 1, &[u8::from(other)]);
        }
    });
    assert_eq!(from_part(&payload)[..2], [vec![Lane::Outboxes], vec![]]);

    let sender = asked(|call, other| {
        if call.frame == PART && call.agent == agent(1, u32::from(other)) {
            call.out.send(agent(2, 0), 1, &[7]);
        }
    });
    assert_eq!(from_part(&sender)[..2], [vec![Lane::Outboxes], vec![]]);

    // Were the lane an exclusive or, two equal parts would be none.
    let pairs = asked(|call, other| {
        if call.frame == PART && call.agent.group() == GroupId(1) && call.agent.ordinal() < 2 {
            call.out.send(agent(2, 0), 1, &[u8::from(other)]);
        }
    });
    assert_eq!(from_part(&pairs)[..2], [vec![Lane::Outboxes], vec![]]);
}

#[test]
fn a_groups_digest_remembers_what_its_own_agents_sent() {
    let run = |byte: u8| {
        let mut app = app(population(), move |call| {
            if is_due(&call) {
                call.out.send(agent(2, 0), 1, &[byte]);
            }
        });
        (0..FRAMES).map(|_| run_frame(app.world_mut(), FrameInputs::default())).collect::<Vec<_>>()
    };
    for (a, b) in run(1).iter().zip(&run(2)) {
        assert_eq!(a.groups[0].digest != b.groups[0].digest, a.frame >= PART, "frame {}", a.frame);
        assert_eq!(a.groups[1].digest, b.groups[1].digest, "who only receives has the same lifecycle, outbox and sums");
    }
}

#[test]
fn a_lifecycle_is_in_the_lane_of_agents_under_the_agents_id() {
    let pause = |frame, other| {
        let order = Action::Agent(agent(1, u32::from(other)), LifecycleAction::Pause);
        let commands = if frame == PART { vec![order] } else { Vec::new() };
        FrameInputs { commands, ..FrameInputs::default() }
    };
    let who = differences(|_, _| {}, pause, |_, _| {});
    assert_eq!(from_part(&who)[..2], [vec![Lane::Inputs, Lane::Agents], vec![Lane::Agents]]);
}

#[test]
fn a_fault_is_in_the_lane_of_faults_with_its_kind() {
    let kind = asked(|call, other| {
        if is_due(call) {
            call.out.fault = Some(if other { FaultKind::OutOfFuel } else { FaultKind::BadOutbox });
        }
    });
    assert_eq!(from_part(&kind)[..2], [vec![Lane::Groups, Lane::Faults], vec![Lane::Groups]]);
}

#[test]
fn fuel_is_in_the_lane_of_groups() {
    let fuel = asked(|call, other| {
        if is_due(call) {
            call.out.more_fuel = u64::from(other);
        }
    });
    assert!(from_part(&fuel).iter().all(|lanes| *lanes == [Lane::Groups]), "sums are never forgotten: {fuel:?}");
}

#[test]
fn what_waits_is_in_the_lane_of_mailboxes() {
    let found = differences(
        |call, other| {
            if is_due(call) {
                call.out.send(agent(2, 0), 1, &[u8::from(other)]);
            }
        },
        |frame, _| {
            let pause = Action::Agent(agent(2, 0), LifecycleAction::Pause);
            let commands = if frame == PART { vec![pause] } else { Vec::new() };
            FrameInputs { commands, ..FrameInputs::default() }
        },
        |_, _| {},
    );
    let (sent, waits) = from_part(&found).split_at(1);
    assert_eq!(sent, [vec![Lane::Outboxes]]);
    assert!(waits.iter().all(|lanes| *lanes == [Lane::Mailboxes]), "{found:?}");
}

#[test]
fn memberships_are_in_the_lane_of_topics() {
    let topic = asked(|call, other| {
        if is_due(call) {
            call.out.push(Op::Join, name_id(if other { "news" } else { "weather" }), 0, 0, &[]);
        }
    });
    let (joins, joined) = from_part(&topic).split_at(1);
    assert_eq!(joins, [vec![Lane::Outboxes, Lane::Topics]]);
    assert!(joined.iter().all(|lanes| *lanes == [Lane::Topics]), "{topic:?}");
    let member = asked(|call, other| {
        if call.frame == PART && call.agent == agent(1, u32::from(other)) {
            call.out.push(Op::Join, name_id("news"), 0, 0, &[]);
        }
    });
    assert_eq!(from_part(&member)[1], [Lane::Topics]);
}

#[test]
fn a_job_is_in_the_lane_of_inference_until_its_result_arrives() {
    let row = asked(|call, other| {
        if is_due(call) {
            call.out.push(Op::Infer, name_id("slow"), 0, 5, &[u8::from(other)]);
        }
    });
    let wanted = [vec![Lane::Outboxes, Lane::Inference], vec![Lane::Inference], vec![Lane::Inference], vec![]];
    assert_eq!(from_part(&row)[..4], wanted);
}

#[test]
fn an_event_is_in_the_lane_of_inputs() {
    let found = differences(
        |_, _| {},
        |frame, other| {
            let to = Recipient::Agent(agent(2, 0));
            let event = ExternalEvent { to, kind: 1, correlation: 0, payload: vec![u8::from(other)] };
            FrameInputs { events: if frame == PART { vec![event] } else { Vec::new() }, ..FrameInputs::default() }
        },
        |_, _| {},
    );
    assert_eq!(from_part(&found)[..2], [vec![Lane::Inputs], vec![]]);
}

#[test]
fn bounces_requests_timers_and_commands_have_lanes() {
    let bounce = asked(|call, other| {
        if is_due(call) {
            call.out.send(agent(9, u32::from(other)), 1, &[]);
        }
    });
    assert_eq!(from_part(&bounce)[..2], [vec![Lane::Outboxes, Lane::HostMessages], vec![]]);
    let request = asked(|call, other| {
        if is_due(call) {
            call.out.request(agent(2, 0), 1 + u64::from(other), 4);
        }
    });
    assert_eq!(from_part(&request)[..2], [vec![Lane::Outboxes, Lane::Requests], vec![Lane::Requests]]);
    let timer = asked(|call, other| {
        if is_due(call) {
            call.out.push(Op::Wake, 5 + u64::from(other), 0, 0, &[]);
        }
    });
    assert_eq!(from_part(&timer)[..2], [vec![Lane::Outboxes, Lane::Schedule], vec![Lane::Schedule]]);
    let command = asked(|call, other| {
        if is_due(call) {
            let op = if other { Op::Pause } else { Op::Restart };
            call.out.push(op, call.agent.0, 0, 0, &[]);
        }
    });
    assert_eq!(from_part(&command)[0], [Lane::Outboxes, Lane::Commands]);
}

/// A component of an author's.
#[derive(bevy_ecs::component::Component, Clone, serde::Serialize, serde::Deserialize)]
struct Height(u32);

/// Another one.
#[derive(bevy_ecs::component::Component, Clone, serde::Serialize, serde::Deserialize)]
struct Width(u32);

#[test]
fn components_of_authors_are_in_the_lane_native_each_by_its_name() {
    let records = |height: u32, width: u32| {
        let mut app = app(population(), |_| {});
        app.register_state::<Height>("height");
        app.register_state::<Width>("width");
        app.world_mut().spawn((StableId(1), Height(height), Width(width)));
        run_frame(app.world_mut(), FrameInputs::default())
    };
    let (plain, higher, wider) = (records(1, 1), records(2, 1), records(1, 2));
    for (other, name) in [(&higher, "height"), (&wider, "width")] {
        let differ: Vec<Lane> = Lane::ALL.into_iter().filter(|&lane| plain.lanes[lane] != other.lanes[lane]).collect();
        assert_eq!(differ, [Lane::Native], "{name}");
        for (a, b) in plain.native.iter().zip(&other.native) {
            assert_eq!((a.0, a.1 != b.1), (b.0, a.0 == name));
        }
    }
    // The lane is the sum of its parts: none of them is left out.
    let sum = plain.native.iter().fold(0_u128, |sum, (_, digest)| sum.wrapping_add(digest.0));
    assert_eq!((plain.native.len(), plain.lanes[Lane::Native].0), (2, sum));
}
