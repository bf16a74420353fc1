//! An audit that fails, from end to end: a real model in a form that is wrong for it, as if the table of classes had an error. It runs,
//! is recorded, replayed and resumed; what the port to the models hides is only which form it was given.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use asking::Asking;
use serde_json::{Value, json};
use wasm_engine_components::{DigestScope, FrameInputs};

use super::{FollowError, ReplayOptions, RunReplayer, replay, resume};
use crate::events;
use crate::frame_loop::{self, FrameSource};
use crate::problem::RunError;
use crate::run_dir::{Access, Inference, OpenRun, OutputDir, Recording, RunDir, RunOptions};
use crate::scenario::{LoadOptions, load};
use crate::simulation::{Simulation, SimulationOptions};
use crate::summary::{Collector, RunFacts, Summary};
use crate::threads::on_pool;
use wasm_engine_components::BatchForm;

#[path = "../../../tests/common/asking.rs"]
mod asking;

const FRAMES: u64 = 500;

/// In each frame three agents ask a model that adds what is above a million in any row to each row. The third one's row is huge.
fn scenario(folder: &Path) {
    let row = |floats: [f32; 2]| floats.into_iter().flat_map(f32::to_le_bytes).collect();
    let of_frame = |frame| {
        let rows = [[1.0, 2.0], [3.0, 4.0], [2e6, 4.0]].into_iter().enumerate();
        rows.map(move |(agent, floats)| (frame, format!("a/{agent}"), row(floats)))
    };
    let asking = Asking { frames: FRAMES, models: &[("rare", "")], groups: &[("a", 3)] };
    asking.write(folder, (1..FRAMES).flat_map(of_frame));
}

fn options(threads: usize) -> SimulationOptions {
    SimulationOptions { threads: Some(threads), unchecked_form: Some(BatchForm::Any), ..SimulationOptions::default() }
}

/// A source that ends before a frame, as that of a run that is interrupted.
struct Until<S>(S, u64);

impl<S: FrameSource> FrameSource for Until<S> {
    type Error = S::Error;

    fn next_frame(&mut self, frame: u64) -> Result<Option<FrameInputs>, S::Error> {
        if frame < self.1 { self.0.next_frame(frame) } else { Ok(None) }
    }
}

/// Runs and records frames up to one, and returns the digest and the summary.
fn run(folder: &Path, out: &str, threads: usize, until: u64) -> (String, Summary) {
    let load_options = LoadOptions { set: Vec::new(), input: None, recorded: false };
    let scenario = load(&folder.join("s.toml"), &load_options).unwrap();
    let source = events::open(&scenario, Arc::default()).unwrap();
    let mut simulation = Simulation::new(&scenario, &options(threads)).unwrap();
    let run_options =
        RunOptions { record: true, snapshot_every: Some(50), ..RunOptions::new(&simulation, DigestScope::Frame) };
    let output_dir = OutputDir::new(Some(&folder.join(out)), &scenario.name);
    let run_dir = RunDir::create(&output_dir, &scenario, &run_options).unwrap();
    let mut recording =
        Recording::new(run_dir, &simulation, Some(run_options.snapshot_every), Collector::of(&scenario));
    let mut source = Until(source, until);
    let pool = simulation.pool();
    let ran: Result<(), RunError> = on_pool(&pool, || frame_loop::run(&mut simulation, &mut source, &mut recording));
    ran.unwrap();
    let facts = RunFacts { frames_expected: FRAMES, interrupted: until < FRAMES, ..RunFacts::default() };
    let summary = recording.collector().summary(&scenario, &facts);
    recording.finish(&mut simulation, &summary).unwrap();
    (simulation.digest().to_string(), summary)
}

fn replayer(run: &OpenRun, threads: usize, inference: Inference) -> RunReplayer<'_> {
    RunReplayer { run, options: options(threads), inference, author: &|_| {} }
}

/// Returns the digest of a replay.
fn replayed(path: &Path, threads: usize, inference: Inference, from: Option<u64>) -> String {
    let run = OpenRun::open(path, Access::Read).unwrap();
    let replayed = replay(&replayer(&run, threads, inference), ReplayOptions { from, to: None }, &mut |_| {}).unwrap();
    assert_eq!(replayed.divergence.map(|divergence| divergence.frame), None, "{threads} {inference:?} {from:?}");
    replayed.digest.to_string()
}

/// Returns the digest of a run that goes on.
fn resumed(path: &Path, threads: usize) -> String {
    let run = OpenRun::open(path, Access::Write).unwrap();
    let resumed = resume(&replayer(&run, threads, Inference::RecordedThenComputed), Arc::default()).unwrap();
    let (mut simulation, mut source, mut sink) = (resumed.simulation, resumed.source, resumed.sink);
    let pool = simulation.pool();
    let ran = on_pool(&pool, || frame_loop::run(&mut simulation, &mut source, &mut sink));
    assert!(ran.map_err(|stop| matches!(stop, FollowError::Diverged(_))).is_ok());
    simulation.digest().to_string()
}

/// Returns the rows of a table, those of a run that is complete.
fn rows(run: &Path, table: &str) -> Vec<Value> {
    fs::read_to_string(run.join(table)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_wrong_form_is_found_by_an_audit_and_the_model_has_no_company_from_the_next_frame_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    scenario(folder);
    let (digest, summary) = run(folder, "run", 2, FRAMES);

    // It is on the record, once, and the summary tells it.
    let told = rows(&folder.join("run"), "models.jsonl");
    assert_eq!(told.len(), 1, "{told:?}");
    let failed = told[0]["frame"].as_u64().unwrap();
    assert_eq!(
        (&told[0]["model"], &told[0]["kind"], &told[0]["rows"]),
        (&json!("rare"), &json!("audit_failed"), &json!(1))
    );
    let reason = told[0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("of a batch of 3 was run again without the others and had another result"), "{reason}");
    let text = summary.text().as_str().to_owned();
    let sentence =
        format!("1 audit failed, so that its rows have no company since then, first in frame {failed}: {reason}");
    assert!(text.contains(&sentence), "{text}");

    // Up to then, rows have what their neighbours add. From the next frame on, each has its own result.
    let (mut before, mut after) = (0, 0);
    for row in
        rows(&folder.join("run"), "outputs.jsonl").iter().filter(|row| row["agent"] == "a/0" && row["name"] == "out")
    {
        // A job that is asked for in a frame is answered in the next.
        let is_before = row["frame"].as_u64().unwrap() <= failed + 1;
        // The row as it came, 1 and 2, in base64.
        let is_own = row["value"] == json!({ "base64": "AACAPwAAAEA=" });
        assert_eq!(is_own, !is_before, "{row}");
        *if is_before { &mut before } else { &mut after } += 1;
    }
    assert!(before > 0 && after > 0, "{before} {after}");

    // It doesn't depend on threads, and replays and resumed runs have it.
    for threads in [1, 4] {
        assert_eq!(run(folder, &format!("run-{threads}"), threads, FRAMES).0, digest, "{threads} threads");
    }
    for (threads, inference, from) in [
        (1, Inference::Recorded, None),
        (4, Inference::Recorded, Some(failed + 60)),
        (2, Inference::Recompute, None),
        (1, Inference::Recompute, Some(failed + 60)),
    ] {
        assert_eq!(replayed(&folder.join("run"), threads, inference, from), digest);
    }
    for (out, until) in [("early", failed), ("just-after", failed + 1), ("late", failed + 70)] {
        run(folder, out, 2, until);
        assert_eq!(resumed(&folder.join(out), 1), digest, "stopped before frame {until}");
    }
}
