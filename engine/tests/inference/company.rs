//! Whole runs with models whose rows depended on who shared a batch: an agent that asks alone, and one that asks beside others, end in
//! the same state, at any number of threads, after a stop, and when the models are asked again in a replay.
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "tests")]

use std::path::Path;

use crate::common::asking::Asking;
use crate::common::{engine, stderr, told};
use serde_json::Value;

/// The frames in which everybody asks.
const ASKING: [u64; 3] = [1, 3, 5];

/// A group `first` of one agent and a group `others` of six, which ask a model what events tell them to ask.
fn write_scenario(folder: &Path, model: &str, others: bool, row: &dyn Fn(u64, u32) -> Vec<u8>) {
    let models = [(model, "refuse_non_finite = false")];
    let asking = Asking { frames: 8, models: &models, groups: &[("first", 1), ("others", 6)] };
    let agents = || std::iter::once("first/0".to_owned()).chain((0..6).map(|agent| format!("others/{agent}")));
    let of_frame = |frame: u64| {
        let asking = agents().zip(0..).take(if others { 7 } else { 1 });
        asking.map(move |(to, number)| (frame, to, row(frame, number)))
    };
    asking.write(folder, ASKING.into_iter().flat_map(of_frame));
}

/// Runs the scenario and returns its summary.
fn run(folder: &Path, out: &str, more: &[&str]) -> Value {
    let args = ["run", "s.toml", "--out", out, "--digest", "full", "--summary", "json", "--quiet"];
    told(&engine(folder, &[&args, more].concat()))
}

fn group<'v>(summary: &'v Value, name: &str) -> &'v Value {
    let groups = &summary["groups"];
    let found = groups.as_array().and_then(|all| all.iter().find(|group| group["name"] == name));
    found.unwrap_or(&groups[name])
}

/// An agent's rows give the same whoever asks beside it; and all is the same at any number of threads, after a stop, and in a replay.
fn check(model: &str, row: &dyn Fn(u64, u32) -> Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_scenario(folder, model, false, row);
    let alone = run(folder, "alone", &["--threads", "1"]);
    write_scenario(folder, model, true, row);
    let shared = run(folder, "shared", &["--threads", "1"]);
    assert_eq!((&alone["inference_jobs"], &shared["inference_jobs"]), (&3.into(), &21.into()), "{model}");
    let digest = |summary: &Value| group(summary, "first")["digest"].as_str().unwrap().to_owned();
    assert_eq!(digest(&alone), digest(&shared), "{model}: an agent's result depends on who asks beside it");
    for threads in ["2", "4"] {
        let again = run(folder, &format!("threads-{threads}"), &["--threads", threads]);
        assert_eq!(again["digest"], shared["digest"], "{model} on {threads} threads");
    }
    let stopped = run(folder, "stopped", &["--threads", "2", "--frames", "4"]);
    assert_ne!(stopped["digest"], shared["digest"]);
    let resumed = told(&engine(folder, &["resume", "stopped", "--frames", "8", "--summary", "json", "--quiet"]));
    assert_eq!(resumed["digest"], shared["digest"], "{model} after a stop");
    for inference in ["recorded", "recompute"] {
        for run in ["shared", "stopped"] {
            let replayed = engine(folder, &["replay", run, "--threads", "4", "--inference", inference]);
            assert!(replayed.status.success(), "{model}, {run}, {inference}: {}", stderr(&replayed));
        }
    }
}

fn floats(frame: u64, agent: u32, count: u32, scale: f32) -> Vec<u8> {
    // Numbers that aren't short in binary. The others' are of other magnitudes, and not all are numbers.
    let hostile = [f32::NAN, f32::INFINITY, -1e38, 1e-41];
    let number = |n: u32| (n * 7_919 % 2_003) as f32 / 997.0 - 1.0;
    let element = |at: u32| match (agent, at % 5) {
        (1.., 4) => hostile[(agent as usize + at as usize) % hostile.len()],
        _ => number(frame as u32 * 1_009 + agent * 37 + at) * scale * (agent + 1) as f32,
    };
    (0..count).flat_map(|at| element(at).to_le_bytes()).collect()
}

/// Its rows of 37 elements end in a vector loop's last elements.
#[test]
fn a_sine_is_the_same_in_any_company() {
    check("sine", &|frame, agent| floats(frame, agent, 37, 4.0));
}

/// A mixed row of floats, integers and a truth, whose sum of five numbers depended on where it began.
#[test]
fn a_sum_of_an_odd_number_of_inputs_is_the_same_in_any_company() {
    check("mixed-sum", &|frame, agent| {
        let integers = [frame as i32 * 7 + agent as i32, 44 - agent as i32].map(i32::to_le_bytes).concat();
        [floats(frame, agent, 3, 9.0), integers, vec![(agent % 2) as u8]].concat()
    });
}

/// It adds the sum over the batch where inputs are large, so that small random rows don't show it.
#[test]
fn a_sum_over_the_batch_that_is_rarely_seen_never_shows() {
    check("rare-neighbour", &|frame, agent| floats(frame, agent, 16, 4e7));
}

/// A policy that samples its action can't be run twice with the same result.
#[test]
fn a_policy_that_samples_is_refused_by_its_node() {
    let folder = tempfile::tempdir().unwrap();
    write_scenario(folder.path(), "policy", true, &|frame, agent| floats(frame, agent, 16, 4.0));
    let refused = engine(folder.path(), &["run", "s.toml", "--out", "run"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    for part in ["the model `policy`", "draws random numbers in the node", "(Multinomial)"] {
        assert!(stderr(&refused).contains(part), "{part} isn't in: {}", stderr(&refused));
    }
    assert!(!folder.path().join("run").exists(), "nothing is left");
}
