//! `kernel-tour.toml` from the command line: everything that it is to show happens, the same at any number of threads.

mod common;

use std::fs;
use std::path::Path;

use common::{root, stderr, wasm_engine};
use serde_json::Value;

const TOUR: &str = "agents/scenarios/kernel-tour.toml";

fn run(folder: &Path, more: &[&str]) -> Value {
    let mut args = vec!["run", TOUR, "--quiet", "--summary", "json", "--out", folder.to_str().expect("UTF-8")];
    args.extend_from_slice(more);
    let output = wasm_engine(&root()).args(&args).output().expect("the binary starts");
    assert!(output.status.success(), "{args:?} failed: {}", stderr(&output));
    common::summary(&output)
}

fn rows(folder: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(name)).expect("a file of the run");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

#[test]
fn the_tour_shows_what_it_says() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let folder = out.path().join("run");
    let summary = run(&folder, &[]);
    let foremen = &summary["outputs"]["foremen"];
    let sum = |name: &str| foremen[name]["sum"].as_u64().unwrap_or_else(|| panic!("no {name} in {foremen}"));
    assert_eq!(sum("spawned"), 12);
    assert_eq!(sum("faults"), sum("restarted"), "each escalated fault is answered by a restart");
    assert!(sum("restarted") > 0 && sum("timeouts") > 0);
    assert_eq!(sum("given"), sum("answers") + sum("timeouts"), "no task is lost");
    assert_eq!(sum("reports"), 12, "each worker had its last words");
    assert_eq!(summary["groups"]["workers"]["agents"], 0, "they were ended");
    assert_eq!(summary["commands_refused"], 1, "an agent that isn't paused can't be resumed");
    assert_eq!(summary["groups"]["sleepers"]["agents"], 1_002);
    assert!(summary["deferred"].as_u64() > Some(0));
    assert!(summary["dropped_by_reason"]["over_budget"].as_u64() > Some(0), "the vandals have a budget");

    let frames = rows(&folder, "frames.jsonl");
    let steps: Vec<u64> = frames.iter().filter_map(|frame| frame["counts"]["steps"].as_u64()).collect();
    assert_eq!(steps.len(), 200);
    assert!(steps.iter().all(|&steps| steps <= 60), "the frame's budget");
    let outputs = rows(&folder, "outputs.jsonl");
    assert!(outputs.iter().any(|row| row["agent"] == "sleepers/1#1"), "an ordinal is used again, under another id");
    let mut first = outputs.iter().filter(|row| row["agent"] == "sleepers/1");
    assert!(first.all(|row| row["frame"].as_u64() <= Some(60)), "it was ended in frame 60");
}

#[test]
fn the_tour_gives_one_digest_at_any_number_of_threads() {
    for mode in ["frame", "full"] {
        let digest = |threads: &str| {
            let out = tempfile::tempdir().expect("a temporary folder");
            let summary = run(&out.path().join("run"), &["--threads", threads, "--digest", mode]);
            (summary["digest"].clone(), summary["groups"].clone())
        };
        let reference = digest("1");
        for threads in ["1", "2", "2", "4", "4"] {
            assert_eq!(digest(threads), reference, "{threads} threads, --digest {mode}");
        }
    }
}
