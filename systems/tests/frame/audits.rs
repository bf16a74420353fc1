//! Audits of models in the frame, with a table for the port: which rows are audited, and what a failed audit changes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bevy_app::App;
use wasm_engine_abi::{CallKind, Op};
use wasm_engine_components::{
    Digest, FrameInputs, FrameRecord, Lane, ModelAnswers, ModelId, ModelNotice, ModelNoticeKind,
};
use wasm_engine_systems::ports::{ModelBatch, ModelPort, ModelResults, ModelRuntime};
use wasm_engine_systems::state::{load_state, save_state};
use wasm_engine_systems::{Population, RunSeed, run_frame, testing};

use crate::common::table::{Call, Doubler, app, group, model};

const GOOD: ModelId = ModelId(1);
const BAD: ModelId = ModelId(2);

/// How a batch was asked for: model, rows, whether they go alone, which of them is audited.
type Asked = (ModelId, usize, bool, Option<u32>);

/// The frame in which a run of `BAD` is left behind in these tests.
const LEFT: u64 = 4;

/// Doubles; in one frame, leaves behind a run of one model.
#[derive(Clone, Default)]
struct Leaving {
    asked: Arc<Mutex<Vec<Vec<ModelId>>>>,
    doubler: Doubler,
}

impl ModelRuntime for Leaving {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        self.doubler.infer(batches, results);
        let mut asked = self.asked.lock().unwrap();
        asked.push(batches.iter().map(|batch| batch.model).collect());
        // Agents ask from frame 1 on.
        if asked.len() as u64 == LEFT && batches.iter().any(|batch| batch.model == BAD) {
            results.notice(BAD, ModelNoticeKind::GivenUp, 1, || "it doesn't end".to_owned());
        }
    }
}

/// Nobody asks it.
struct Unasked;

impl ModelRuntime for Unasked {
    fn infer(&mut self, _: &[ModelBatch<'_>], _: &mut ModelResults) {
        panic!("what was recorded is given back");
    }
}

/// Doubles, and fails the audits of one model.
#[derive(Clone, Default)]
struct Audited {
    asked: Arc<Mutex<Vec<Vec<Asked>>>>,
    doubler: Doubler,
}

impl ModelRuntime for Audited {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        self.doubler.infer(batches, results);
        let asked = batches.iter().map(|batch| (batch.model, batch.rows.len(), batch.alone, batch.audit));
        self.asked.lock().unwrap().push(asked.collect());
        for _ in batches.iter().filter(|batch| batch.model == BAD && batch.audit.is_some()) {
            results.notice(BAD, ModelNoticeKind::AuditFailed, 1, || "other bytes".to_owned());
        }
    }
}

/// Three agents, each of which asks both models in each step.
fn world() -> App {
    let model = |id: ModelId| {
        let mut model = model(&id.0.to_string(), (2, 2, 1));
        model.spec.id = id;
        model
    };
    let models = vec![model(GOOD), model(BAD)];
    let population = Population { groups: vec![group(1, 3)], models, seed: 5, ..Population::default() };
    app(population, |call: Call<'_>| {
        if call.call == CallKind::Step {
            for model in [GOOD, BAD] {
                call.out.push(Op::Infer, model.0, 0, call.frame, &[call.agent.ordinal() as u8, 2]);
            }
        }
    })
}

fn audited() -> (App, Audited) {
    let (mut app, port) = (world(), Audited::default());
    app.insert_resource(ModelPort(Box::new(port.clone())));
    (app, port)
}

fn frame(app: &mut App) -> FrameRecord {
    run_frame(app.world_mut(), FrameInputs::default())
}

#[test]
fn a_model_that_fails_an_audit_has_no_company_from_the_next_frame_on() {
    let (mut app, port) = audited();
    let records: Vec<FrameRecord> = (0..400).map(|_| frame(&mut app)).collect();
    let asked = port.asked.lock().unwrap();
    let of = |model| asked.iter().map(move |batches| batches.iter().filter(move |batch| batch.0 == model));
    // Three rows, at most two in a batch.
    assert!(of(BAD).all(|batches| batches.map(|batch| batch.1).eq([2, 1])));
    assert!(asked.iter().flatten().all(|batch| batch.3.is_none_or(|row| (row as usize) < batch.1)));
    let failed = of(BAD).position(|mut batches| batches.any(|batch| batch.3.is_some())).unwrap();
    for (number, mut batches) in of(BAD).enumerate() {
        assert!(batches.all(|batch| batch.2 == (number > failed)), "{number}");
    }
    assert!(of(GOOD).flatten().all(|batch| !batch.2), "the other model goes on as it did");
    let audits: BTreeSet<usize> =
        (0..).zip(of(GOOD)).filter(|(_, b)| b.clone().any(|b| b.3.is_some())).map(|(n, _)| n).collect();
    assert!(audits.len() > 3 && audits.len() < 40, "{audits:?}");
    // Agents ask from frame 1 on.
    let notice =
        ModelNotice { model: BAD, kind: ModelNoticeKind::AuditFailed, rows: 1, reason: "other bytes".to_owned() };
    let first = records.iter().find(|record| record.model_notices().next().is_some()).unwrap();
    assert_eq!((first.frame, &first.inference.notices), (failed as u64 + 1, &vec![notice]));
}

#[test]
fn which_rows_are_audited_follows_from_the_seed_and_costs_no_digest() {
    let run = |seed: u64| {
        let (mut app, port) = audited();
        app.insert_resource(RunSeed(seed));
        (0..50).for_each(|_| drop(frame(&mut app)));
        port.asked.lock().unwrap().clone()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
    let mut plain = world();
    let (mut watched, _) = audited();
    for _ in 0..400 {
        let (plain, watched) = (frame(&mut plain), frame(&mut watched));
        let is_before = watched.inference.notices.is_empty();
        let same = plain.lanes == watched.lanes;
        assert!(same || !is_before || watched.lanes[Lane::Inference] != plain.lanes[Lane::Inference]);
        if !is_before {
            assert_ne!(plain.lanes[Lane::Inference], watched.lanes[Lane::Inference], "a failed audit is state");
            return;
        }
        assert_eq!(plain.digest, watched.digest);
    }
    panic!("no audit in so many frames");
}

#[test]
fn a_model_that_is_given_up_is_not_run_any_more() {
    let (mut app, port) = (world(), Leaving::default());
    app.insert_resource(ModelPort(Box::new(port.clone())));
    let records: Vec<FrameRecord> = (0..10).map(|_| frame(&mut app)).collect();
    for (at, models) in (1_u64..).zip(&*port.asked.lock().unwrap()) {
        assert_eq!(models.contains(&BAD), at <= LEFT, "{at}");
        assert!(models.contains(&GOOD), "the other model goes on as it did");
    }
    assert_eq!(testing::model(app.world(), BAD), (false, Some(LEFT)));
    for record in &records {
        let told = |kind| record.model_notices().find(|notice| notice.kind == kind);
        assert_eq!(told(ModelNoticeKind::GivenUp).is_some(), record.frame == LEFT);
        let late = told(ModelNoticeKind::TimedOut).map(|notice| (notice.model, notice.rows, notice.reason.as_str()));
        let expected = (BAD, 3, "the model was given up in frame 4");
        assert_eq!(late, (record.frame > LEFT).then_some(expected), "{}", record.frame);
        assert_eq!(record.counts.inference_jobs, if record.frame == 0 { 0 } else { 6 }, "its jobs count");
    }
    // A replay in which no model runs gives it up in the same frame, and tells the same.
    let mut replayed = world();
    replayed.insert_resource(ModelPort(Box::new(Unasked)));
    for record in &records {
        let models = ModelAnswers::Recorded(record.inference.clone());
        assert_eq!(&run_frame(replayed.world_mut(), FrameInputs { models, ..FrameInputs::default() }), record);
    }
    // It is state, saved and loaded.
    let state = save_state(app.world_mut());
    let mut restored = world();
    restored.insert_resource(ModelPort(Box::new(Leaving::default())));
    load_state(restored.world_mut(), &state).unwrap();
    assert_eq!(testing::model(restored.world(), BAD), (false, Some(LEFT)));
    let digests = |app: &mut App| -> Vec<Digest> { (0..20).map(|_| frame(app).digest).collect() };
    assert_eq!(digests(&mut restored), digests(&mut app));
}

/// Models that failed an audit, in frame 0 of these, and that were given up, in the frame after.
struct Told([Vec<ModelId>; 2]);

impl ModelRuntime for Told {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        Doubler::default().infer(batches, results);
        for (kind, models) in [ModelNoticeKind::AuditFailed, ModelNoticeKind::GivenUp].into_iter().zip(&mut self.0) {
            models.drain(..).for_each(|model| results.notice(model, kind, 1, String::new));
        }
    }
}

/// Whichever of two models failed an audit, and whichever was given up.
#[test]
fn any_two_models_that_failed_or_were_given_up_are_saved_and_loaded() {
    let sets = [vec![], vec![GOOD], vec![BAD], vec![GOOD, BAD]];
    for (alone, given_up) in sets.iter().flat_map(|alone| sets.iter().map(move |given_up| (alone, given_up))) {
        let mut app = world();
        app.insert_resource(ModelPort(Box::new(Told([alone.clone(), given_up.clone()]))));
        (0..3).for_each(|_| drop(frame(&mut app)));
        let state = save_state(app.world_mut());
        let mut restored = world();
        load_state(restored.world_mut(), &state).unwrap();
        let found = |app: &App| [GOOD, BAD].map(|model| testing::model(app.world(), model));
        let expected = [GOOD, BAD].map(|model| (alone.contains(&model), given_up.contains(&model).then_some(1)));
        assert_eq!((found(&app), found(&restored)), (expected, expected));
        assert_eq!(save_state(restored.world_mut()), state);
    }
}

#[test]
fn a_failed_audit_is_saved_and_loaded() {
    let (mut app, port) = audited();
    while !testing::model(app.world(), BAD).0 {
        frame(&mut app);
    }
    let state = save_state(app.world_mut());
    let (mut restored, after) = audited();
    load_state(restored.world_mut(), &state).unwrap();
    assert_eq!([GOOD, BAD].map(|model| testing::model(restored.world(), model).0), [false, true]);
    let digests = |app: &mut App| -> Vec<Digest> { (0..20).map(|_| frame(app).digest).collect() };
    assert_eq!(digests(&mut restored), digests(&mut app));
    let (before, after) = (port.asked.lock().unwrap(), after.asked.lock().unwrap());
    assert_eq!(before[before.len() - 20..], after[..], "the same batches in the same form");
    let mut other = save_state(restored.world_mut());
    let section = other.sections.iter_mut().find(|section| section.component == "ModelsAlone").unwrap();
    section.push(77, |_| {});
    let error = load_state(audited().0.world_mut(), &other).unwrap_err().to_string();
    assert!(error.contains("the scenario lacks it"), "{error}");
}
