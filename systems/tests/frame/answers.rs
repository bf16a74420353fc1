//! The frame as a function of its inputs, where those say what models answered: its record is that of the frame in which they computed
//! it. And a record holds what went into its frame.

use bevy_app::App;
use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::{
    Action, EventCounts, ExternalEvent, FrameInputs, FrameRecord, GroupId, LateRows, LifecycleAction, ModelAnswers,
    ModelResults, ModuleSwap, Recipient, Swap,
};
use wasm_engine_systems::ports::{ModelBatch, ModelPort, ModelRuntime};
use wasm_engine_systems::run_frame;

use crate::common::busy::{self, NEWS, ORACLE, SIBYL, id};

const FRAMES: u64 = 40;

/// Answers nothing, because nobody is to ask it.
struct Nobody;

impl ModelRuntime for Nobody {
    fn infer(&mut self, _: &[ModelBatch<'_>], _: &mut ModelResults) {
        panic!("what was recorded is given back");
    }
}

/// Doubles each byte of a row as the busy world's models do. Of frame 20 on, one row in so many is another one, or takes too long.
struct Other {
    frames: u64,
    answer: fn(&[u8]) -> Option<Vec<u8>>,
}

impl ModelRuntime for Other {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        self.frames += 1;
        for row in batches.iter().flat_map(|batch| batch.rows) {
            let doubled: Vec<u8> = row.iter().map(|byte| byte.wrapping_mul(2)).collect();
            match if self.frames < 20 { Some(doubled) } else { (self.answer)(row) } {
                Some(output) => results.push(InferenceStatus::Ok, &output),
                None => results.push(InferenceStatus::TimedOut, &[]),
            }
        }
    }
}

/// What enters the busy world: of everything something.
fn inputs(frame: u64) -> FrameInputs {
    let event = |to| ExternalEvent { to, kind: 1, correlation: frame, payload: vec![frame as u8; 9] };
    let mut inputs = FrameInputs::default();
    if frame == 2 {
        inputs.swaps = vec![Swap::Module(ModuleSwap { group: GroupId(1), module: 1 })];
    }
    if frame % 3 == 1 {
        inputs.events = vec![event(Recipient::Agent(id(1, 0))), event(Recipient::Topic(NEWS))];
        inputs.commands = vec![
            Action::Spawn { group: GroupId(5), kind: 4, payload: vec![5; 6] },
            Action::Agent(
                id(3, 1),
                if frame.is_multiple_of(2) { LifecycleAction::Pause } else { LifecycleAction::Resume },
            ),
        ];
        inputs.counts = EventCounts { delivered: 4, disabled: frame };
    }
    inputs
}

fn run(app: &mut App, inputs: impl IntoIterator<Item = FrameInputs>) -> Vec<FrameRecord> {
    inputs.into_iter().map(|inputs| run_frame(app.world_mut(), inputs)).collect()
}

/// The frames in which models computed.
fn computed() -> Vec<FrameRecord> {
    let records = run(&mut busy::app(), (0..FRAMES).map(inputs));
    assert!(records.iter().filter(|record| !record.inference.rows.is_empty()).count() > 20, "models are asked");
    assert!(records.iter().any(|record| record.inference.notices.len() == 1), "and something is told of them");
    records
}

fn with(models: impl ModelRuntime) -> App {
    let mut app = busy::app();
    app.insert_resource(ModelPort(Box::new(models)));
    app
}

/// The inputs of a replay.
fn again(records: &[FrameRecord], answers: fn(ModelResults) -> ModelAnswers) -> impl Iterator<Item = FrameInputs> {
    records.iter().map(move |record| FrameInputs { models: answers(record.inference.clone()), ..record.inputs.clone() })
}

#[test]
fn a_frame_with_recorded_answers_has_the_record_of_the_frame_that_computed_them() {
    let records = computed();
    assert_eq!(run(&mut with(Nobody), again(&records, ModelAnswers::Recorded)), records);
    // Without the notices, its models have company for longer: they are part of what models answered.
    let unheard = |recorded| ModelAnswers::Recorded(ModelResults { notices: Vec::new(), ..recorded });
    let other = run(&mut with(Nobody), again(&records, unheard));
    assert_ne!(other.last().map(|record| record.digest), records.last().map(|record| record.digest));
}

#[test]
fn a_record_holds_what_went_into_its_frame() {
    let records = computed();
    for (record, frame) in records.iter().zip(0..) {
        assert_eq!(record.inputs, inputs(frame), "{frame}");
        assert_eq!(record.late_rows, None);
    }
    // As many rows as were dispatched, each with the outputs of its job.
    let rows = records.iter().map(|record| record.inference.rows.len() as u64);
    assert!(rows.eq(records.iter().map(|record| record.counts.inference_jobs)));
}

#[test]
fn inputs_and_answers_are_moved_through_the_frame() {
    let records = computed();
    let at = records.iter().position(|record| !record.inference.rows.is_empty() && record.frame % 3 == 1).unwrap();
    let mut app = with(Nobody);
    let mut inputs = again(&records, ModelAnswers::Recorded);
    run(&mut app, inputs.by_ref().take(at));
    let inputs = inputs.next().unwrap();
    let of_inputs = |inputs: &FrameInputs| {
        let payload = |action: &Action| match action {
            Action::Spawn { payload, .. } => payload.as_ptr() as usize,
            Action::Agent(..) => 0,
        };
        let events = inputs.events.iter().map(|event| event.payload.as_ptr() as usize);
        let lists = [inputs.events.as_ptr() as usize, inputs.commands.as_ptr() as usize];
        lists.into_iter().chain(events).chain(inputs.commands.iter().map(payload)).collect::<Vec<_>>()
    };
    let of_rows = |results: &ModelResults| [results.rows.as_ptr() as usize, results.bytes.as_ptr() as usize];
    let ModelAnswers::Recorded(recorded) = &inputs.models else { panic!("they were recorded") };
    let before = (of_inputs(&inputs), of_rows(recorded));
    let record = run_frame(app.world_mut(), inputs);
    assert_eq!((of_inputs(&record.inputs), of_rows(&record.inference)), before, "the same allocations");
}

#[test]
fn what_is_computed_again_is_on_the_record_beside_nothing_that_depends_on_the_machine() {
    let records = computed();
    let same = |row: &[u8]| Some(row.iter().map(|byte| byte.wrapping_mul(2)).collect());
    let app = || with(Other { frames: 0, answer: same });
    assert_eq!(run(&mut app(), again(&records, ModelAnswers::Recompute)), records);
    // Another result is another record, from its frame on.
    let mut app = with(Other { frames: 0, answer: |row| Some(row.to_vec()) });
    let others = run(&mut app, again(&records, ModelAnswers::Recompute));
    let first = records.iter().zip(&others).position(|(record, other)| record != other).unwrap();
    let (record, other) = (&records[first], &others[first]);
    assert_ne!(record.inference.row(0), other.inference.row(0));
    assert_ne!(record.digest, other.digest);
    assert_eq!(record.inference.notices, other.inference.notices);
    assert_eq!(other.late_rows, None);
}

#[test]
fn rows_that_take_too_long_now_are_taken_from_the_record_and_told_of() {
    let records = computed();
    let mut app = with(Other { frames: 0, answer: |_| None });
    let mut late = run(&mut app, again(&records, ModelAnswers::Recompute));
    let mut told = late.iter_mut().map(|record| record.late_rows.take());
    let rows: Vec<Option<LateRows>> = told.by_ref().collect();
    assert_eq!(late, records, "but for that, they are the records of the frames in which models computed");
    let asked = records.iter().filter(|record| !record.inference.rows.is_empty());
    let expected = asked.skip(19).map(|record| record.inference.rows.len() as u64);
    assert!(rows.iter().flatten().map(|late| late.rows).eq(expected), "{rows:?}");
    assert!(rows.iter().flatten().all(|late| [ORACLE, SIBYL].contains(&late.model)));
}
