//! The frame with tables for ports: what reaches whom, when, in which order, and what is on the record.

use bevy_app::App;
use bevy_ecs::query::With;
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, CallKind, InferenceStatus, MessageHeader, Op, RecordType, name_id};
use wasm_engine_components::{
    AgentId, ExternalEvent, FaultKind, FaultPolicy, FrameInputs, FrameRecord, GroupId, Lane, Lifecycle, OverflowPolicy,
    Recipient, TopicId, TopicSpec,
};
use wasm_engine_systems::ports::ModelPort;
use wasm_engine_systems::{GroupSeed, Population, RegisterState, run_frame};

use crate::common::table::{Call, Doubler, app, app_with, group, model};

fn groups(groups: Vec<GroupSeed>) -> Population {
    Population { groups, ..Population::default() }
}

fn frames(app: &mut App, n: usize) -> Vec<FrameRecord> {
    (0..n).map(|_| run_frame(app.world_mut(), FrameInputs::default())).collect()
}

fn id(group: u32, ordinal: u32) -> AgentId {
    AgentId::new(GroupId(group), ordinal)
}

/// Collects what one agent sees, to be looked at after the run.
type Seen = std::sync::Arc<std::sync::Mutex<Vec<(u64, MessageHeader, Vec<u8>)>>>;

fn note(seen: &Seen, call: &Call<'_>) {
    let mut seen = seen.lock().unwrap();
    seen.extend(call.inbox.iter().map(|(header, payload)| (call.frame, *header, payload.clone())));
}

#[test]
fn a_message_takes_one_frame_and_arrives_by_sender_and_sequence() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut app = app(groups(vec![group(1, 3), group(2, 1)]), move |call| {
        if call.agent == id(2, 0) {
            note(&noted, &call);
        } else if call.call == CallKind::Step && call.frame == 1 {
            call.out.send(id(2, 0), 7, &[call.agent.ordinal() as u8]);
            call.out.send(id(2, 0), 8, &[]);
        }
    });
    let records = frames(&mut app, 4);
    let seen = seen.lock().unwrap();
    let order: Vec<_> =
        seen.iter().map(|(frame, header, payload)| (*frame, header.sender, header.sequence, payload.len())).collect();
    let expected: Vec<_> = (0..3).flat_map(|o| [(2, id(1, o).0, 0, 1), (2, id(1, o).0, 1, 0)]).collect();
    assert_eq!(order, expected);
    assert_eq!(records[1].counts.messages, 6);
    assert_eq!(records[2].counts.delivered, 6);
    assert_eq!(records[0].counts.steps, 0, "the first frame initialises");
    assert_eq!(records[3].counts.steps, 4);
}

#[test]
fn unknown_recipients_topics_and_refusing_groups_bounce() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut deaf = group(2, 1);
    deaf.group.accepts = Some(vec![GroupId(2)]);
    let mut app = app(groups(vec![group(1, 1), deaf]), move |call| {
        if call.agent == id(2, 0) {
            assert!(call.inbox.is_empty());
            return;
        }
        note(&noted, &call);
        if call.frame == 1 {
            call.out.push(Op::Send, id(1, 1).0, 0, 41, &[]);
            call.out.push(Op::Send, u64::MAX, 0, 42, &[]);
            call.out.push(Op::Publish, 5, 0, 43, &[]);
            call.out.push(Op::Join, 6, 0, 44, &[]);
            call.out.push(Op::Send, id(2, 0).0, 0, 45, &[1, 2]);
        }
    });
    let records = frames(&mut app, 4);
    let bounces: Vec<_> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|(frame, header, _)| {
            assert_eq!((header.kind, header.sender), (kind::BOUNCE, sender::ENGINE));
            (*frame, header.correlation, header.status, header.topic)
        })
        .collect();
    let unknown = BounceReason::UnknownRecipient as u32;
    let topic = BounceReason::UnknownTopic as u32;
    let expected = [
        (2, 41, unknown, id(1, 1).0),
        (2, 42, unknown, u64::MAX),
        (2, 43, topic, 5),
        (2, 44, topic, 6),
        (2, 45, BounceReason::Refused as u32, id(2, 0).0),
    ];
    assert_eq!(bounces, expected);
    assert_eq!(records[1].counts.dropped, 5);
}

#[test]
fn a_full_mailbox_follows_its_policy() {
    for (policy, kept) in [
        (OverflowPolicy::Reject, vec![0, 1]),
        (OverflowPolicy::DropOldest, vec![2, 3]),
        (OverflowPolicy::Fault, vec![0, 1]),
    ] {
        let seen = Seen::default();
        let bounced = Seen::default();
        let (noted, bounces) = (seen.clone(), bounced.clone());
        let mut small = group(2, 1);
        small.group.overflow = policy;
        small.group.limits.mailbox_messages_max = 2;
        let mut app = app(groups(vec![group(1, 4), small]), move |call| {
            if call.agent == id(2, 0) {
                return note(&noted, &call);
            }
            note(&bounces, &call);
            if call.frame == 1 {
                call.out.send(id(2, 0), 0, &[]);
            }
        });
        let records = frames(&mut app, 4);
        let senders: Vec<_> =
            seen.lock().unwrap().iter().map(|(_, header, _)| AgentId(header.sender).ordinal()).collect();
        assert_eq!(senders, kept, "{policy:?}");
        assert_eq!((records[2].counts.dropped, records[2].counts.delivered), (2, 2), "{policy:?}");
        let told: Vec<_> = bounced.lock().unwrap().iter().map(|(frame, header, _)| (*frame, header.status)).collect();
        assert_eq!(told, [(3, BounceReason::MailboxFull as u32); 2], "{policy:?}");
        let faults: Vec<_> = records[2].faults.iter().map(|fault| fault.kind).collect();
        let expected = if policy == OverflowPolicy::Fault { vec![FaultKind::MailboxFull] } else { vec![] };
        assert_eq!(faults, expected, "{policy:?}");
    }
}

#[test]
fn topics_reach_members_of_the_frame_of_delivery() {
    let seen = Seen::default();
    let noted = seen.clone();
    let topic = TopicId(name_id("news"));
    let mut population = groups(vec![group(1, 1), group(2, 3)]);
    population.groups[1].group.subscribe = vec![topic];
    population.topics = vec![TopicSpec::new("news")];
    let mut app = app(population, move |call| {
        if call.agent.group() == GroupId(2) {
            for (header, payload) in &call.inbox {
                noted.lock().unwrap().push((
                    call.frame,
                    *header,
                    [&[call.agent.ordinal() as u8], &payload[..]].concat(),
                ));
            }
            if call.agent.ordinal() == 1 && call.frame == 2 {
                call.out.push(Op::Leave, topic.0, 0, 0, &[]);
            }
        } else if call.frame == 1 || call.frame == 2 {
            call.out.push(Op::Publish, topic.0, 3, 0, &[call.frame as u8]);
        }
    });
    let records = frames(&mut app, 4);
    let got: Vec<_> = seen.lock().unwrap().iter().map(|(frame, _, bytes)| (*frame, bytes.clone())).collect();
    // Agent 1 leaves in frame 2, and so isn't there when frame 3 delivers what frame 2 published.
    assert_eq!(got, [(2, vec![0, 1]), (2, vec![1, 1]), (2, vec![2, 1]), (3, vec![0, 2]), (3, vec![2, 2])]);
    assert_ne!(records[1].lanes[Lane::Topics], records[2].lanes[Lane::Topics]);
    assert_eq!(records[2].counts.messages, 1);
    assert_eq!(records[2].counts.delivered, 3);
}

#[test]
fn jobs_are_batched_by_model_and_answered_when_they_are_due() {
    let seen = Seen::default();
    let noted = seen.clone();
    let model = |name: &str, latency_frames| model(name, (2, 2, latency_frames));
    let mut population = groups(vec![group(1, 3)]);
    population.models = vec![model("quick", 1), model("slow", 2)];
    let doubler = Doubler::default();
    let mut app = app(population, move |call| {
        note(&noted, &call);
        if call.frame == 1 {
            let me = call.agent.ordinal() as u8;
            call.out.push(Op::Infer, name_id("slow"), 0, 1, &[me, 1]);
            call.out.push(Op::Infer, name_id("quick"), 0, 2, &[me, 2]);
            if me == 0 {
                call.out.push(Op::Infer, name_id("none"), 0, 3, &[]);
                call.out.push(Op::Infer, name_id("quick"), 0, 4, &[1, 2, 3]);
            }
        }
    });
    app.insert_resource(ModelPort(Box::new(doubler.clone())));
    let records = frames(&mut app, 5);
    let heard = seen.lock().unwrap();
    let of_the_engine = |frame: u64, header: &MessageHeader| {
        (header.sender, header.kind, header.frame) == (sender::ENGINE, kind::INFERENCE, frame)
    };
    assert!(heard.iter().all(|(frame, header, _)| of_the_engine(*frame, header)), "{heard:?}");
    let answers: Vec<_> = heard
        .iter()
        .map(|(frame, header, payload)| (*frame, header.correlation, header.status, payload.clone()))
        .collect();
    let (ok, unknown, size) = (0, InferenceStatus::UnknownModel as u32, InferenceStatus::WrongSize as u32);
    let expected = [
        (2, 2, ok, vec![0, 4]),
        (2, 3, unknown, vec![]),
        (2, 4, size, vec![]),
        (2, 2, ok, vec![2, 4]),
        (2, 2, ok, vec![4, 4]),
        (3, 1, ok, vec![0, 2]),
        (3, 1, ok, vec![2, 2]),
        (3, 1, ok, vec![4, 2]),
    ];
    assert_eq!(answers, expected);
    assert_eq!((records[1].counts.inference_jobs, records[1].counts.inference_batches), (6, 4));
    let asked = doubler.0.lock().unwrap();
    assert!(asked.iter().all(|rows| rows.len() <= 2 && rows.iter().all(|row| row[1] == rows[0][1])));
    let mut jobs = app.world_mut().query::<&wasm_engine_components::InferenceJob>();
    assert_eq!(jobs.iter(app.world()).count(), 0);
}

#[test]
fn faults_follow_the_policy_and_messages_wait_for_the_restart() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut shaky = group(1, 1);
    shaky.group.on_fault = FaultPolicy::Restart { restarts_max: 2, backoff_frames: 2 };
    let calls = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted_calls = calls.clone();
    let mut app = app(groups(vec![shaky, group(2, 1)]), move |call| {
        if call.agent == id(2, 0) {
            call.out.send(id(1, 0), 0, &[call.frame as u8]);
            return;
        }
        noted_calls.lock().unwrap().push((call.frame, call.call));
        note(&noted, &call);
        if call.call == CallKind::Step {
            call.out.send(id(2, 0), 9, &[]);
            call.out.fault = Some(FaultKind::Unreachable);
        }
    });
    let records = frames(&mut app, 13);
    use CallKind::{Init, Step};
    // Faults in frame 1, starts again 2 frames later; faults in 4, starts again 4 frames later; faults in 9, and ends.
    let expected = [(0, Init), (1, Step), (3, Init), (4, Step), (8, Init), (9, Step)];
    assert_eq!(*calls.lock().unwrap(), expected);
    let got: Vec<_> = seen.lock().unwrap().iter().map(|(frame, _, payload)| (*frame, payload[0])).collect();
    let waited: Vec<_> =
        [(1, 0..=0), (4, 1..=3), (9, 4..=8)].into_iter().flat_map(|(f, sent)| sent.map(move |s| (f, s))).collect();
    assert_eq!(got, waited, "what was sent meanwhile is there after the restart, oldest first");
    assert_eq!(records[12].groups[0].totals.faults.total(), 3);
    assert_eq!(records[12].groups[0].agents, 0);
    assert_eq!(records[12].counts.agents, 1);
    assert_eq!(records[12].counts.dropped, 1, "a message to an agent that has ended is dropped");
    assert_eq!(records[1].groups[0].totals.messages, 0, "nothing of a faulted step is believed");
}

#[test]
fn an_agent_that_is_not_stepped_does_not_fault_for_its_mailbox() {
    let calls = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = calls.clone();
    let mut shaky = group(1, 1);
    shaky.group.overflow = OverflowPolicy::Fault;
    shaky.group.limits.mailbox_messages_max = 2;
    shaky.group.on_fault = FaultPolicy::Restart { restarts_max: 9, backoff_frames: 4 };
    let mut app = app(groups(vec![shaky, group(2, 1)]), move |call| {
        if call.agent == id(2, 0) {
            call.out.send(id(1, 0), 0, &[]);
        } else {
            noted.lock().unwrap().push((call.frame, call.call));
            call.out.fault = (call.frame == 2).then_some(FaultKind::Trap);
        }
    });
    let records = frames(&mut app, 12);
    // The trap of frame 2 restarts it 4 frames later; the mailbox overflows meanwhile, and that changes nothing.
    let inits: Vec<_> = calls.lock().unwrap().iter().filter(|(_, call)| *call == CallKind::Init).map(|c| c.0).collect();
    assert_eq!(inits, [0, 6]);
    assert!(records[5].counts.dropped > 0);
    assert_eq!(records[11].groups[0].totals.faults.total(), 1);
    let sent = records.iter().map(|record| record.counts.messages).sum::<u64>();
    let delivered = records.iter().map(|record| record.counts.delivered).sum::<u64>();
    assert_eq!(
        delivered,
        sent - 1,
        "each message is delivered once, itself or as a bounce, but for that of the last frame"
    );
}

#[test]
fn who_ended_is_no_member_and_publications_do_not_bounce() {
    let bounced = Seen::default();
    let noted = bounced.clone();
    let topic = TopicId(name_id("news"));
    let mut population = groups(vec![group(1, 1), group(2, 2)]);
    population.groups[1].group.subscribe = vec![topic];
    population.topics = vec![TopicSpec::new("news")];
    let mut app = app(population, move |call| {
        if call.agent.group() == GroupId(1) {
            note(&noted, &call);
            call.out.push(Op::Publish, topic.0, 3, 0, &[]);
        } else if call.frame == 2 && call.agent.ordinal() == 1 {
            call.out.fault = Some(FaultKind::Trap);
        }
    });
    let records = frames(&mut app, 6);
    assert_eq!(records.iter().map(|record| record.counts.delivered).collect::<Vec<_>>(), [0, 2, 2, 1, 1, 1]);
    assert_eq!(records.iter().map(|record| record.counts.dropped).sum::<u64>(), 0);
    assert!(bounced.lock().unwrap().is_empty());
}

#[test]
fn a_result_that_no_mailbox_holds_is_a_failure() {
    const MAILBOX_BYTES: u32 = 64;
    let answer_of = |row_bytes: u32| {
        let seen = Seen::default();
        let noted = seen.clone();
        let mut population = groups(vec![group(1, 1)]);
        population.groups[0].group.limits.mailbox_bytes_max = MAILBOX_BYTES;
        population.models = vec![model("wide", (row_bytes, 1, 1))];
        let mut app = app(population, move |call| {
            note(&noted, &call);
            if call.frame == 1 {
                call.out.push(Op::Infer, name_id("wide"), 0, 8, &vec![0; row_bytes as usize]);
            }
        });
        app.insert_resource(ModelPort(Box::new(Doubler::default())));
        frames(&mut app, 3);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        (seen[0].1.status, seen[0].1.correlation, seen[0].2.len())
    };
    let fits = MAILBOX_BYTES - MessageHeader::BYTES;
    assert_eq!(answer_of(fits), (InferenceStatus::Ok as u32, 8, fits as usize));
    assert_eq!(answer_of(fits + 1), (InferenceStatus::Failed as u32, 8, 0));
}

#[test]
fn faults_are_in_the_digest_with_their_kinds() {
    let run = |kind| {
        let mut app = app(groups(vec![group(1, 1)]), move |call| call.out.fault = (call.frame == 1).then_some(kind));
        frames(&mut app, 2).pop().unwrap()
    };
    let (trap, fuel) = (run(FaultKind::Trap), run(FaultKind::OutOfFuel));
    assert_ne!(trap.lanes[Lane::Faults], fuel.lanes[Lane::Faults]);
    assert_ne!(trap.groups[0].digest, fuel.groups[0].digest);
}

#[test]
fn events_reach_agents_and_topics_in_their_own_frame() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut app = app(groups(vec![group(1, 1)]), move |call| note(&noted, &call));
    frames(&mut app, 1);
    let event = |to, byte| ExternalEvent { to, kind: 5, correlation: 6, payload: vec![byte] };
    let events = vec![
        event(Recipient::Agent(id(1, 0)), 1),
        event(Recipient::Agent(id(3, 0)), 2),
        event(Recipient::Topic(TopicId(9)), 3),
    ];
    let record = run_frame(app.world_mut(), FrameInputs { events, ..FrameInputs::default() });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].0, seen[0].1.sender, seen[0].1.kind, seen[0].2[0]), (1, sender::EXTERNAL, 5, 1));
    assert_eq!(record.counts.dropped, 2);
    assert_ne!(record.lanes[Lane::Inputs].0, 0);
}

#[test]
fn outputs_and_logs_are_on_the_record() {
    let mut app = app(groups(vec![group(1, 2)]), |call| {
        if call.frame == 1 {
            call.out.push(Op::Log, 0, 3, 0, "hello".as_bytes());
            call.out.push(Op::Record, 7, RecordType::I64 as u32, 0, b"count");
            call.out.push(Op::Record, 0.5_f64.to_bits(), RecordType::F64 as u32, 0, b"share");
            call.out.push(Op::Record, 4, RecordType::Text as u32, 0, b"nametext");
        }
    });
    let records = frames(&mut app, 2);
    let record = &records[1];
    assert_eq!(record.logs.len(), 2);
    assert_eq!((record.logs[1].agent, record.logs[1].level, record.logs[1].text.as_str()), (id(1, 1), 3, "hello"));
    use wasm_engine_components::OutputValue::{F64, I64, Text};
    let of_first: Vec<_> = record.outputs.iter().filter(|output| output.agent == id(1, 0)).collect();
    let values: Vec<_> = of_first.iter().map(|output| (output.name.as_str(), output.value.clone())).collect();
    assert_eq!(values, [("count", I64(7)), ("share", F64(0.5)), ("name", Text("text".into()))]);
}

/// Some traffic in which every stage has something to do.
fn busy(call: Call<'_>) {
    let me = call.agent;
    let next = id(1 + (me.group().0 % 2), (me.ordinal() + 1) % 5);
    let total: u64 = call.inbox.iter().map(|(header, _)| header.sender ^ header.frame).fold(0, u64::wrapping_add);
    call.out.send(next, 1, &total.to_le_bytes());
    call.out.push(Op::Publish, name_id("all"), 2, 0, &[me.ordinal() as u8]);
    call.out.push(Op::Infer, name_id("quick"), 0, total, &[3, me.ordinal() as u8]);
    if me == id(2, 3) && call.frame % 3 == 1 {
        call.out.fault = Some(FaultKind::Trap);
    }
    if me == id(1, 2) && call.frame == 4 {
        call.out.push(Op::Join, name_id("all"), 0, 0, &[]);
    }
}

fn busy_population(seed: u64) -> Population {
    let mut shaky = group(2, 5);
    shaky.group.on_fault = FaultPolicy::Restart { restarts_max: 100, backoff_frames: 1 };
    shaky.group.subscribe = vec![TopicId(name_id("all"))];
    let model = model("quick", (2, 4, 1));
    Population {
        seed,
        groups: vec![group(1, 5), shaky],
        topics: vec![TopicSpec::new("all")],
        models: vec![model],
        ..Population::default()
    }
}

#[test]
fn digests_do_not_depend_on_how_the_runtime_spreads_its_agents() {
    let digests = |chunk_agents| {
        let mut app = app_with(busy_population(1), chunk_agents, busy);
        frames(&mut app, 20).into_iter().map(|record| (record.digest, record.lanes, record.groups)).collect::<Vec<_>>()
    };
    let reference = digests(1);
    assert_eq!(reference, digests(1));
    assert_eq!(reference, digests(2));
    assert_eq!(reference, digests(1000));
    assert!(reference.windows(2).all(|pair| pair[0].0 != pair[1].0));
}

#[test]
fn digests_do_not_depend_on_the_order_of_tables() {
    let run = |shuffled: bool| {
        let mut app = app(busy_population(1), busy);
        if shuffled {
            // Entities are moved between tables and back, which changes the order in which queries visit them.
            #[derive(bevy_ecs::component::Component)]
            struct Marker;
            app.register_transient::<Marker>();
            let world = app.world_mut();
            let agents: Vec<_> =
                world.query_filtered::<bevy_ecs::entity::Entity, With<Lifecycle>>().iter(world).collect();
            for &agent in agents.iter().step_by(3) {
                world.entity_mut(agent).insert(Marker);
            }
            for &agent in agents.iter().step_by(6) {
                world.entity_mut(agent).remove::<Marker>();
            }
        }
        frames(&mut app, 20).into_iter().map(|record| record.digest).collect::<Vec<_>>()
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn the_seed_is_in_every_digest() {
    let digest = |seed| frames(&mut app(busy_population(seed), busy), 1).pop().unwrap().digest;
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
fn a_groups_digest_does_not_depend_on_a_group_that_it_refuses() {
    let run = |noisy: bool| {
        let mut quiet = group(1, 3);
        quiet.group.accepts = Some(vec![GroupId(1)]);
        let others = if noisy { vec![quiet, group(2, 4)] } else { vec![quiet] };
        let mut app = app(groups(others), |call| {
            call.out.send(id(1, (call.agent.ordinal() + 1) % 3), 1, &[call.inbox.len() as u8]);
        });
        frames(&mut app, 10).pop().unwrap()
    };
    let (alone, beset) = (run(false), run(true));
    assert_eq!(alone.groups[0], beset.groups[0]);
    assert_ne!(alone.digest, beset.digest);
}

#[test]
fn nothing_is_ambiguous_without_automatic_sync_points() {
    let mut app = app(busy_population(1), busy);
    let with = frames(&mut app, 10).pop().unwrap().digest;
    let mut app = app_with(busy_population(1), 2, busy);
    app.edit_schedule(wasm_engine_systems::Frame, |schedule| {
        let settings = bevy_ecs::schedule::ScheduleBuildSettings {
            auto_insert_apply_deferred: false,
            ambiguity_detection: bevy_ecs::schedule::LogLevel::Error,
            ..Default::default()
        };
        schedule.set_build_settings(settings);
    });
    assert_eq!(frames(&mut app, 10).pop().unwrap().digest, with);
}
