//! Swaps in the frame, with tables for ports: who takes what along, who begins anew, and what is on the record.

use std::sync::{Arc, Mutex};

use bevy_app::App;
use wasm_engine_abi::{CallKind, FaultNotice, MessageHeader, Op, kind, name_id};
use wasm_engine_components::{
    AgentFault, AgentId, AgentSlot, Digest, ExternalEvent, FaultHistory, FaultKind, FaultPolicy, FrameInputs,
    FrameRecord, GroupId, Lane, Lifecycle, LoadedFile, ModelId, ModuleSwap, Recipient, Swap, SwapOutcome, SwapRecord,
};
use wasm_engine_systems::ports::{
    AgentPort, AgentRuntime, ImportedLine, ModelBatch, ModelPort, ModelResults, ModelRuntime, RowResult, StepBatch,
    StepResults, SwapBatch, SwapRequest, SwapResults,
};
use wasm_engine_systems::{Population, SwapCatalog, inspect, run_frame, testing};

use crate::common::table::{Call, Table, app, group, model};

/// Agents that are functions, and what a swap gives them.
struct Swapping<F, S> {
    table: Table<F>,
    swap: S,
}

impl<F, S> AgentRuntime for Swapping<F, S>
where
    F: FnMut(Call<'_>) + Send + Sync + 'static,
    S: FnMut(&SwapBatch<'_>, &mut SwapResults) + Send + Sync + 'static,
{
    fn step(&mut self, batch: &StepBatch<'_>, results: &mut StepResults) {
        self.table.step(batch, results);
    }

    fn swap(&mut self, batch: &SwapBatch<'_>, results: &mut SwapResults) {
        (self.swap)(batch, results);
    }
}

fn id(group: u32, ordinal: u32) -> AgentId {
    AgentId::new(GroupId(group), ordinal)
}

fn to_module(group: u32, module: u32) -> Swap {
    Swap::Module(ModuleSwap { group: GroupId(group), module })
}

/// Two modules; group 1 and group 2 may get the second, and group 1 isn't given the third.
fn catalog() -> SwapCatalog {
    let file = |name: &str, byte| LoadedFile { name: name.into(), sha256: [byte; 32] };
    let swaps = [
        (to_module(1, 0), Ok(())),
        (to_module(1, 1), Ok(())),
        (to_module(2, 1), Ok(())),
        (to_module(1, 2), Err("it is no good".to_owned())),
    ];
    SwapCatalog {
        modules: vec![file("old", 1), file("new", 2), file("bad", 3)],
        swaps: swaps.into_iter().collect(),
        ..SwapCatalog::default()
    }
}

fn swapping_app(
    population: Population,
    step: impl FnMut(Call<'_>) + Send + Sync + 'static,
    swap: impl FnMut(&SwapBatch<'_>, &mut SwapResults) + Send + Sync + 'static,
) -> App {
    let mut app = app(population, |_| {});
    let table = Table { chunk_agents: 2, step };
    app.insert_resource(AgentPort(Box::new(Swapping { table, swap })));
    app.insert_resource(catalog());
    app
}

fn frame(app: &mut App, swaps: &[Swap]) -> FrameRecord {
    run_frame(app.world_mut(), FrameInputs { swaps: swaps.to_vec(), ..FrameInputs::default() })
}

/// Agents with an even ordinal take their state along.
fn evens(batch: &SwapBatch<'_>, results: &mut SwapResults) {
    results.carried.extend(batch.requests.iter().map(|request| request.agent.ordinal().is_multiple_of(2)));
}

type Calls = Arc<Mutex<Vec<(u64, AgentId, CallKind, Vec<u64>)>>>;

fn note(calls: &Calls, call: &Call<'_>) {
    let frames = call.inbox.iter().map(|(header, _): &(MessageHeader, Vec<u8>)| header.frame).collect();
    calls.lock().unwrap().push((call.frame, call.agent, call.call, frames));
}

fn outcome(record: &FrameRecord) -> &SwapOutcome {
    &record.swaps[0].outcome
}

#[test]
fn an_agent_without_its_state_begins_anew_in_the_frame_and_loses_no_message() {
    let calls = Calls::default();
    let noted = calls.clone();
    let groups = vec![group(1, 3), group(2, 1)];
    let step = move |call: Call<'_>| {
        if call.agent == id(2, 0) {
            (0..2).for_each(|ordinal| call.out.send(id(1, ordinal), 1, &[]));
        } else {
            note(&noted, &call);
        }
    };
    let mut app = swapping_app(Population { groups, ..Population::default() }, step, evens);
    for at in 0..6 {
        let swaps = if at == 3 { vec![to_module(1, 1)] } else { vec![] };
        let record = frame(&mut app, &swaps);
        let expected = SwapRecord {
            swap: to_module(1, 1),
            name: "new".into(),
            sha256: [2; 32],
            outcome: SwapOutcome::Done { carried: 2, fresh: 1 },
        };
        assert_eq!(record.swaps, if at == 3 { vec![expected] } else { vec![] });
        assert_eq!((record.counts.faults, record.counts.dropped, record.counts.agents), (0, 0, 4));
        assert_eq!(record.counts.steps, [0, 4, 4, 3, 4, 4][at]);
    }
    let of = |ordinal: u32| -> Vec<_> {
        let calls = calls.lock().unwrap();
        let own = calls.iter().filter(|call| call.1 == id(1, ordinal) && call.0 >= 2);
        own.map(|(frame, _, call, frames)| (*frame, *call, frames.clone())).collect()
    };
    use CallKind::{Init, Step};
    assert_eq!(of(0), [(2, Step, vec![1]), (3, Step, vec![2]), (4, Step, vec![3]), (5, Step, vec![4])]);
    assert_eq!(of(1), [(2, Step, vec![1]), (3, Init, vec![]), (4, Step, vec![2, 3]), (5, Step, vec![4])]);
    assert_eq!(*inspect::modules(app.world()), [(GroupId(1), 1)].into());
}

#[test]
fn a_swap_is_in_the_inputs_and_in_its_groups_digest_only() {
    let run = |swaps: &[Swap]| {
        let groups = vec![group(1, 2), group(2, 2)];
        let mut app = swapping_app(
            Population { groups, ..Population::default() },
            |_| {},
            |batch, results| {
                results.carried.resize(batch.requests.len(), true);
            },
        );
        frame(&mut app, &[]);
        let swapped = frame(&mut app, swaps);
        let last = frame(&mut app, &[]);
        let groups: Vec<_> = last.groups.iter().map(|group| group.digest).collect();
        (swapped.lanes[Lane::Inputs], groups, last.digest)
    };
    let (none, first, second) = (run(&[]), run(&[to_module(1, 1)]), run(&[to_module(2, 1)]));
    assert_eq!(none.0, Digest(0));
    assert!(first.0 != second.0 && first.0 != none.0 && first.2 != none.2);
    assert_eq!((first.1[1], second.1[0]), (none.1[1], none.1[0]));
    assert!(first.1[0] != none.1[0] && second.1[1] != none.1[1]);
    assert_eq!(first, run(&[to_module(1, 1)]));
    let mut app = swapping_app(Population { groups: vec![group(1, 1)], ..Population::default() }, |_| {}, evens);
    let to = Recipient::Agent(id(1, 0));
    let events = vec![ExternalEvent { to, kind: 1, correlation: 0, payload: vec![] }];
    let inputs = FrameInputs { events, swaps: vec![to_module(1, 1)], ..FrameInputs::default() };
    let both = run_frame(app.world_mut(), inputs).lanes[Lane::Inputs];
    assert!(both != first.0 && both != Digest(0), "beside events");
    let (back, forth) = (run(&[to_module(1, 1), to_module(1, 0)]), run(&[to_module(1, 0), to_module(1, 1)]));
    assert!(back.0 != forth.0 && back.1[0] != forth.1[0], "the order counts");
}

#[test]
fn a_refused_swap_leaves_everything_but_the_inputs() {
    let run = |swaps: &[Swap]| {
        let groups = vec![group(1, 2)];
        let mut app = swapping_app(Population { groups, ..Population::default() }, |_| {}, |_, _| panic!("refused"));
        frame(&mut app, &[]);
        let record = frame(&mut app, swaps);
        assert!(inspect::modules(app.world()).is_empty());
        record
    };
    let none = run(&[]);
    for (swap, reason, name) in [
        (to_module(1, 2), "it is no good", "bad"),
        (to_module(1, 7), "it wasn't prepared before the first frame", ""),
        (to_module(9, 1), "it wasn't prepared before the first frame", "new"),
        (Swap::Model { model: ModelId(1), with: ModelId(2) }, "it wasn't prepared before the first frame", ""),
    ] {
        let record = run(&[swap]);
        assert_eq!(outcome(&record), &SwapOutcome::Refused(reason.into()));
        assert_eq!(record.swaps[0].name, name);
        assert_ne!(record.lanes[Lane::Inputs], none.lanes[Lane::Inputs]);
        assert_eq!((&record.groups, record.counts), (&none.groups, none.counts));
    }
}

#[test]
fn a_fault_of_a_swap_is_on_the_record_and_the_policy_has_no_say() {
    // The policy of the table's groups is `terminate`.
    let groups = vec![group(1, 3)];
    let step = |call: Call<'_>| {
        if call.agent == id(1, 0) {
            call.out.push(Op::Log, 0, 2, 0, b"step");
        }
    };
    let mut app = swapping_app(Population { groups, ..Population::default() }, step, |batch, results| {
        results.carried.extend([true, false, true]);
        results.faults =
            vec![AgentFault { agent: id(1, 1), kind: FaultKind::OutOfFuel, detail: 0, reached: 0, allowed: 0 }];
        results.log_lines = vec![ImportedLine { agent: batch.requests[0].agent, level: 1, text: "swap".into() }];
        results.fuel = 1_000;
        results.memory_sum = 5;
    });
    (0..2).for_each(|_| drop(frame(&mut app, &[])));
    let before = frame(&mut app, &[]);
    let record = frame(&mut app, &[to_module(1, 1)]);
    assert_eq!(
        record.faults,
        [AgentFault { agent: id(1, 1), kind: FaultKind::OutOfFuel, detail: 0, reached: 0, allowed: 0 }]
    );
    assert_eq!((record.counts.faults, record.groups[0].faults().total()), (1, 1));
    assert_ne!(record.lanes[Lane::Faults], Digest(0));
    assert_ne!(record.lanes[Lane::Logs], before.lanes[Lane::Logs]);
    assert_eq!(record.lanes[Lane::Memories], Digest(5));
    let lines: Vec<_> = record.logs.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines, ["swap", "step"]);
    // Two steps and an initialisation, of 10 each.
    assert_eq!(record.groups[0].totals.fuel - before.groups[0].totals.fuel, 1_030);
    let next = frame(&mut app, &[]);
    assert_eq!((next.counts.agents, next.counts.steps, next.counts.faults), (3, 3, 0));
    let agent = testing::entity(app.world(), id(1, 1)).unwrap();
    let entity = app.world().entity(agent);
    let history = FaultHistory { faults: 1, ..FaultHistory::default() };
    assert_eq!(entity.get::<FaultHistory>(), Some(&history));
    assert_eq!(entity.get::<Lifecycle>(), Some(&Lifecycle::Active));
}

#[test]
fn a_group_waits_for_the_fuel_of_its_swaps_and_for_what_their_traps_may_have_used() {
    let mut bounded = group(1, 2);
    bounded.group.limits.fuel_per_frame_max = 20;
    let population = Population { groups: vec![bounded, group(2, 1)], ..Population::default() };
    let mut app = swapping_app(
        population,
        |_| {},
        |batch, results| {
            results.carried.resize(batch.requests.len(), true);
            (results.fuel, results.uncounted) = (40, 60);
        },
    );
    (0..5).for_each(|_| drop(frame(&mut app, &[])));
    let steps = |record: FrameRecord| record.counts.steps;
    // Two steps of 10 fit into a frame; the swap takes five frames more.
    let swap = [to_module(1, 1)];
    let seen: Vec<_> = (0..8).map(|n| steps(frame(&mut app, if n == 0 { &swap[..] } else { &[] }))).collect();
    assert_eq!(seen, [3, 1, 1, 1, 1, 1, 3, 3]);
}

/// Three agents fault in a swap, and again as they begin anew. Their supervisor has room for one notice a frame.
#[test]
fn an_escalation_after_a_fault_in_a_swap_of_the_same_frame_waits_as_any_other() {
    let mut supervisor = group(1, 1);
    supervisor.group.limits.mailbox_messages_max = 1;
    let mut shaky = group(2, 3);
    (shaky.group.supervisor, shaky.group.on_fault) = (Some(GroupId(1)), FaultPolicy::Escalate);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = heard.clone();
    let step = move |call: Call<'_>| match (call.agent.group().0, call.call) {
        (1, _) => {
            let notices = call.inbox.iter().filter(|(header, _)| header.kind == kind::NOTICE);
            let notices = notices.map(|(header, payload)| {
                (call.frame, AgentId(header.topic), bytemuck::pod_read_unaligned::<FaultNotice>(payload).faults)
            });
            noted.lock().unwrap().extend(notices);
        }
        (2, CallKind::Init) if call.frame == 3 => call.out.fault = Some(FaultKind::Unreachable),
        _ => {}
    };
    let population = Population { groups: vec![supervisor, shaky], ..Population::default() };
    let mut app = swapping_app(population, step, |batch, results| {
        let fault = |request: &SwapRequest| AgentFault {
            agent: request.agent,
            kind: FaultKind::Trap,
            detail: 1,
            reached: 0,
            allowed: 0,
        };
        results.carried.resize(batch.requests.len(), false);
        results.faults.extend(batch.requests.iter().map(fault));
    });
    let swap = [to_module(2, 1)];
    for at in 0..8 {
        frame(&mut app, if at == 3 { &swap } else { &[] });
    }
    assert_eq!(*heard.lock().unwrap(), [(4, id(2, 0), 2), (5, id(2, 1), 2), (6, id(2, 2), 2)]);
}

#[test]
fn only_those_that_have_a_state_are_asked_for_it() {
    let mut paused = group(1, 3);
    paused.group.on_fault = FaultPolicy::Pause;
    let mut restarted = group(2, 2);
    restarted.group.on_fault = FaultPolicy::Restart { restarts_max: 9, backoff_frames: 3 };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (noted, calls) = (asked.clone(), Calls::default());
    let noted_calls = calls.clone();
    let step = move |call: Call<'_>| {
        note(&noted_calls, &call);
        if call.frame == 1 && call.agent.ordinal() == 1 {
            call.out.fault = Some(FaultKind::Unreachable);
        }
    };
    let population = Population { groups: vec![paused, restarted], ..Population::default() };
    let mut app = swapping_app(population, step, move |batch, results| {
        noted.lock().unwrap().extend_from_slice(batch.requests);
        results.carried.resize(batch.requests.len(), false);
    });
    // In frame 0 all are initialised in any case.
    assert_eq!(outcome(&frame(&mut app, &[to_module(1, 1)])), &SwapOutcome::Done { carried: 0, fresh: 3 });
    assert!(asked.lock().unwrap().is_empty());
    frame(&mut app, &[]);
    let record = frame(&mut app, &[to_module(1, 1), to_module(2, 1)]);
    assert_eq!(record.swaps[1].outcome, SwapOutcome::Done { carried: 0, fresh: 2 });
    let expected = [(id(1, 0), 0, false), (id(1, 1), 1, true), (id(1, 2), 2, false), (id(2, 0), 3, false)];
    let expected = expected.map(|(agent, slot, init)| SwapRequest { agent, slot: AgentSlot(slot), init });
    assert_eq!(*asked.lock().unwrap(), expected);
    (0..3).for_each(|_| drop(frame(&mut app, &[])));
    let of = |agent: AgentId| -> Vec<_> {
        let calls = calls.lock().unwrap();
        calls.iter().filter(|call| call.1 == agent && call.0 >= 2).map(|call| (call.0, call.2)).collect()
    };
    assert_eq!(of(id(1, 1)), [], "who was paused stays so");
    assert_eq!(of(id(2, 1)), [(4, CallKind::Init), (5, CallKind::Step)], "who waits for its restart waits on");
    assert_eq!(of(id(2, 0))[..2], [(2, CallKind::Init), (3, CallKind::Step)]);
}

/// A model that answers with its own number.
struct Named(Arc<Mutex<Vec<(ModelId, usize)>>>);

impl ModelRuntime for Named {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        for batch in batches {
            self.0.lock().unwrap().push((batch.model, batch.rows.len()));
            for _ in batch.rows {
                let offset = results.bytes.len();
                results.bytes.extend(batch.model.0.to_le_bytes());
                let status = wasm_engine_abi::InferenceStatus::Ok;
                results.rows.push(RowResult { status, offset, bytes: 8 });
            }
        }
    }
}

#[test]
fn jobs_go_to_the_new_model_and_results_in_flight_stay() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let step = move |call: Call<'_>| {
        for (header, payload) in &call.inbox {
            assert_eq!((header.kind, header.topic), (kind::INFERENCE, name_id("a")), "the name that was asked for");
            let answer = u64::from_le_bytes(payload[..8].try_into().unwrap());
            noted.lock().unwrap().push((call.frame, header.correlation, answer == name_id("b")));
        }
        if call.call == CallKind::Step && call.agent.ordinal() == 0 {
            call.out.push(Op::Infer, name_id("a"), 0, call.frame, &[1, 2]);
        }
    };
    let models = vec![model("a", (2, 8, 2)), model("b", (2, 1, 1))];
    let population = Population { groups: vec![group(1, 1)], models, ..Population::default() };
    let mut app = swapping_app(population, step, evens);
    let asked = Arc::new(Mutex::new(Vec::new()));
    app.insert_resource(ModelPort(Box::new(Named(asked.clone()))));
    let (a, b) = (ModelId(name_id("a")), ModelId(name_id("b")));
    let (there, back) = (Swap::Model { model: a, with: b }, Swap::Model { model: a, with: a });
    let files = [(a, "a"), (b, "b")].map(|(id, name)| (id, LoadedFile { name: name.into(), sha256: [9; 32] }));
    let swaps = [there, back].map(|swap| (swap, Ok(())));
    let catalog = SwapCatalog { models: files.into(), swaps: swaps.into(), ..SwapCatalog::default() };
    app.insert_resource(catalog);
    for at in 0..8_u64 {
        let swaps: Vec<_> = [(3, there), (5, back)].into_iter().filter_map(|(f, s)| (f == at).then_some(s)).collect();
        let record = frame(&mut app, &swaps);
        assert_eq!(record.swaps.len(), swaps.len());
        assert_ne!(swaps.is_empty(), record.lanes[Lane::Inputs] != Digest(0));
        if at == 3 {
            let expected = SwapOutcome::Done { carried: 0, fresh: 0 };
            assert_eq!((outcome(&record), record.swaps[0].name.as_str()), (&expected, "b"));
        }
    }
    // Asked in frames 1 and 2 of a, with a latency of 2; in 3 and 4 of b, with 1; from 5 on of a again.
    let expected = [(3, 1, false), (4, 2, false), (4, 3, true), (5, 4, true), (7, 5, false)];
    assert_eq!(*seen.lock().unwrap(), expected);
    let asked: Vec<_> = asked.lock().unwrap().iter().map(|(model, _)| *model == b).collect();
    assert_eq!(asked, [false, false, true, true, false, false, false]);
}

#[test]
fn two_models_that_answer_for_each_other_keep_their_own_batches() {
    let step = |call: Call<'_>| {
        if call.call == CallKind::Step {
            (0..3).for_each(|at| call.out.push(Op::Infer, name_id("a"), 0, at, &[1, 2]));
            call.out.push(Op::Infer, name_id("b"), 0, 9, &[1, 2]);
        }
    };
    let id = |name: &str| ModelId(name_id(name));
    let models = vec![model("a", (2, 8, 1)), model("b", (2, 1, 1))];
    let population = Population { groups: vec![group(1, 1)], models, ..Population::default() };
    let mut app = swapping_app(population, step, evens);
    let asked = Arc::new(Mutex::new(Vec::new()));
    app.insert_resource(ModelPort(Box::new(Named(asked.clone()))));
    let swaps = [("a", "b"), ("b", "a")].map(|(model, with)| Swap::Model { model: id(model), with: id(with) });
    app.insert_resource(SwapCatalog { swaps: swaps.map(|swap| (swap, Ok(()))).into(), ..SwapCatalog::default() });
    frame(&mut app, &swaps);
    frame(&mut app, &[]);
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    let mut expected = vec![(id("a"), 1), (id("b"), 1), (id("b"), 1), (id("b"), 1)];
    expected.sort();
    assert_eq!(asked, expected);
}

#[test]
fn a_native_system_swaps_what_the_scenario_has_prepared() {
    use bevy_ecs::schedule::IntoScheduleConfigs;
    use bevy_ecs::system::Res;
    use wasm_engine_systems::{AgentCommands, AuthorSystems, Frame, FrameClock};
    let mut app = swapping_app(Population { groups: vec![group(1, 2)], ..Population::default() }, |_| {}, evens);
    let ask = |clock: Res<FrameClock>, mut control: AgentCommands| match clock.frame {
        1 => control.swap(to_module(1, 1)),
        3 => control.swap(to_module(1, 1_000)),
        _ => {}
    };
    app.add_systems(Frame, ask.in_set(AuthorSystems::Simulate));
    let records: Vec<_> = (0..6).map(|_| frame(&mut app, &[])).collect();
    assert!(matches!(outcome(&records[2]), SwapOutcome::Done { .. }));
    assert!(matches!(outcome(&records[4]), SwapOutcome::Refused(_)), "nobody prepared it");
    assert_ne!(records[1].lanes[Lane::Commands].0, 0, "what is asked for is state");
    assert!(records[5].swaps.is_empty());
}
