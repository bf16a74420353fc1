//! The kernel against its reference: random programs run in both, and after each frame both must say the same.
//!
//! `KERNEL_MODEL_CASES` says how many programs, `KERNEL_MODEL_SEED` which.

#![expect(clippy::unwrap_used, reason = "a model that contradicts itself fails")]

#[path = "../common/mod.rs"]
mod common;
mod model;

use std::sync::{Arc, Mutex};

use bevy_app::App;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings};
use bevy_ecs::world::World;
use model::program::{KIND, Program, program};
use model::{Called, Model};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use wasm_engine_abi::{MessageHeader, Op, OutboxHeader};
use wasm_engine_components::{
    AgentId, Backlog, FaultHistory, FaultKind, FrameCounts, FrameInputs, FrameRecord, Lane, LaneKind, Lifecycle,
    MailboxOf, Members, TopicSpec,
};
use wasm_engine_systems::state::{Layouts, WorldState, load_state, save_state};
use wasm_engine_systems::{Frame, run_frame, testing};

use crate::common::table::{Call, app_with};

/// Frames of a program: some more than it has inputs.
const FRAMES: usize = 20;

/// What there is to see of an agent after a frame.
#[derive(Debug, PartialEq, Eq)]
struct View {
    agent: AgentId,
    life: Lifecycle,
    faults: u32,
    restarts: u32,
    backlog: Vec<model::Seen>,
}

type Log = Arc<Mutex<Vec<Called>>>;

fn kernel(program: &Program, chunk_agents: usize) -> (App, Log) {
    let log = Log::default();
    let (noted, behaviour) = (log.clone(), program.clone());
    let step = move |call: Call<'_>| {
        match behaviour.act(call.agent, call.frame, call.call, &call.inbox) {
            None => call.out.fault = Some(FaultKind::Trap),
            Some(records) => {
                for record in records {
                    let has_kind = record.op.is_message() || record.op == Op::Spawn;
                    let header = OutboxHeader {
                        target: record.target,
                        correlation: record.correlation,
                        op: record.op as u32,
                        kind: if has_kind { KIND } else { 0 },
                        deadline_frames: record.deadline_frames,
                        ..OutboxHeader::default()
                    };
                    call.out.record(header, &record.payload);
                }
            }
        }
        noted.lock().unwrap().push(Called { agent: call.agent, call: call.call, inbox: call.inbox });
    };
    (app_with(program.population.clone(), chunk_agents, step), log)
}

fn views(app: &mut App) -> Vec<View> {
    let world = app.world_mut();
    let mut backlogs = world.query::<(&MailboxOf, &Backlog)>();
    let backlogs: Vec<_> = backlogs.iter(world).map(|(of, backlog)| (of.0, backlog.clone())).collect();
    let mut agents = world.query::<(bevy_ecs::entity::Entity, &AgentId, &Lifecycle, &FaultHistory)>();
    let mut views: Vec<_> = agents
        .iter(world)
        .map(|(entity, &agent, &life, history)| {
            let backlog = backlogs.iter().filter(|(of, _)| *of == entity).flat_map(|(_, backlog)| backlog.iter());
            let backlog = backlog.map(|held| (held.header, held.payload.to_vec())).collect();
            View { agent, life, faults: history.faults, restarts: history.restarts, backlog }
        })
        .collect();
    views.sort_by_key(|view| view.agent);
    views
}

fn model_views(model: &Model) -> Vec<View> {
    let seen = |mail: &model::post::Mail| -> (MessageHeader, Vec<u8>) { (mail.header, mail.payload.clone()) };
    let views = model.agents.iter().map(|(&agent, state)| View {
        agent,
        life: state.life,
        faults: state.faults,
        restarts: state.restarts,
        backlog: state.backlog.iter().map(seen).collect(),
    });
    views.collect()
}

fn members(app: &mut App) -> Vec<(u64, Vec<AgentId>)> {
    let mut topics = app.world_mut().query::<(&TopicSpec, &Members)>();
    let mut topics: Vec<_> = topics.iter(app.world()).map(|(topic, members)| (topic.id.0, members.0.clone())).collect();
    topics.sort();
    topics
}

/// The dense tables say what the components say.
fn check_directory(world: &World, views: &[View]) {
    let idle = |life: Lifecycle| life.is_alive() && life != Lifecycle::Active;
    for group in testing::groups(world) {
        let mine = || views.iter().filter(|view| view.agent.group() == group.id);
        assert_eq!(group.alive as usize, mine().filter(|view| view.life.is_alive()).count(), "alive");
        assert_eq!(group.inactive as usize, mine().filter(|view| idle(view.life)).count(), "inactive");
    }
    assert_eq!(testing::inactive(world), views.iter().filter(|view| idle(view.life)).count(), "inactive of all");
    for view in views {
        assert_eq!(testing::lifecycle(world, view.agent), Some(view.life), "the mirror of {}", view.agent);
    }
}

fn inputs(program: &Program, frame: usize) -> FrameInputs {
    program.inputs.get(frame).cloned().unwrap_or_default()
}

/// Each lane of state is the sum of the hashes of what is saved of it.
fn check_lanes(record: &FrameRecord, state: &WorldState) {
    for lane in Lane::ALL.into_iter().filter(|lane| lane.kind() == LaneKind::State) {
        let name = lane.name();
        assert_eq!(testing::lane(state, lane), record.lanes[lane], "lane {name} after frame {}", record.frame);
    }
}

/// Runs a program in both; each difference is a panic that names the frame. Before the frames that `restores` picks, the kernel's
/// state is saved, and goes on in another world: what its agents are is a function, and has no state of its own.
fn compare(program: &Program, restores: impl Fn(usize) -> bool) -> Vec<FrameRecord> {
    let (mut app, mut log) = kernel(program, 2);
    let mut model = Model::new(program.clone());
    let mut records = Vec::new();
    for frame in 0..FRAMES {
        if restores(frame) {
            let state = save_state(app.world_mut());
            (app, log) = kernel(program, 3);
            load_state(app.world_mut(), &state).unwrap_or_else(|error| panic!("frame {frame}: {error}"));
            let again = save_state(app.world_mut());
            assert_eq!(
                state.differences(&again, &Layouts::default(), 5),
                [],
                "what was loaded before frame {frame} is what was saved"
            );
            assert!(again == state, "in the same form");
        }
        let record = run_frame(app.world_mut(), inputs(program, frame));
        check_lanes(&record, &save_state(app.world_mut()));
        model.step();
        let called = std::mem::take(&mut *log.lock().unwrap());
        assert_eq!(called, model.called, "calls of frame {frame}");
        let views = views(&mut app);
        assert_eq!(views, model_views(&model), "agents after frame {frame}");
        check_directory(app.world(), &views);
        let counts = FrameCounts { inference_jobs: 0, inference_batches: 0, ..record.counts };
        assert_eq!(counts, model.counts, "counts of frame {frame}");
        assert_eq!(record.faults, model.faults, "faults of frame {frame}");
        let topics: Vec<_> =
            model.topics.iter().map(|(&topic, members)| (topic, members.iter().copied().collect())).collect();
        assert_eq!(members(&mut app), topics, "members after frame {frame}");
        records.push(record);
    }
    records
}

fn digests(program: &Program, chunk_agents: usize, settings: Option<ScheduleBuildSettings>) -> Vec<FrameRecord> {
    let (mut app, _) = kernel(program, chunk_agents);
    if let Some(settings) = settings {
        app.edit_schedule(Frame, |schedule| {
            schedule.set_build_settings(settings.clone());
        });
    }
    (0..FRAMES).map(|frame| run_frame(app.world_mut(), inputs(program, frame))).collect()
}

/// How the kernel's systems are put into an order that their constraints allow, and how its runtime spreads its agents, is no
/// part of a frame.
fn check_digests(program: &Program, records: &[FrameRecord]) {
    for chunk_agents in [1, 1_000] {
        assert_eq!(digests(program, chunk_agents, None), records, "{chunk_agents} agents in a chunk");
    }
    let settings = ScheduleBuildSettings { ambiguity_detection: LogLevel::Error, ..ScheduleBuildSettings::default() };
    for shuffle_seed in [1, 2, 3].map(Some) {
        let shuffled = ScheduleBuildSettings { shuffle_seed, ..settings.clone() };
        assert_eq!(digests(program, 2, Some(shuffled)), records, "shuffled with {shuffle_seed:?}");
    }
    let unsynced = ScheduleBuildSettings { auto_insert_apply_deferred: false, ..settings };
    assert_eq!(digests(program, 2, Some(unsynced)), records, "without automatic sync points");
}

/// A run that is saved and loaded, once or before each frame, is the same run.
fn check_restored(program: &Program, records: &[FrameRecord]) {
    // Any frame, but the same one for the same program.
    let cut = (records[FRAMES - 1].digest.0 % FRAMES as u128) as usize;
    assert_eq!(compare(program, |frame| frame == cut), records, "restored before frame {cut}");
    // Many worlds take their time.
    if cut.is_multiple_of(4) {
        assert_eq!(compare(program, |_| true), records, "restored before each frame");
    }
}

fn check(program: &Program) {
    let records = compare(program, |_| false);
    check_digests(program, &records);
    check_restored(program, &records);
}

#[expect(clippy::disallowed_methods, reason = "how much is tested is no part of a frame")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a whole number"))
}

#[test]
fn the_kernel_does_what_its_model_does() {
    let (cases, seed) = (setting("KERNEL_MODEL_CASES", 256), setting("KERNEL_MODEL_SEED", 1));
    println!("{cases} programs of seed {seed}");
    let config =
        Config { cases: cases as u32, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let result = runner.run(&program(), |program| {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&program)));
        checked.map_err(|panic| TestCaseError::fail(panic.downcast_ref::<String>().cloned().unwrap_or_default()))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, program)) => panic!("seed {seed}: {reason}\n{program:?}"),
        Err(error) => panic!("seed {seed}: {error}"),
    }
}
