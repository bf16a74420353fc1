//! The reference scenarios from the command line: what a user sees, the same at any number of threads.

use crate::common;

use std::fs;
use std::path::Path;

use crate::common::{POSTROOM, RING, root, stderr, wasm_engine};
use serde_json::Value;

/// Runs a scenario into a fresh folder, and returns the summary.
fn summary(scenario: &str, more: &[&str]) -> Value {
    let out = tempfile::tempdir().expect("a temporary folder");
    run_into(&out.path().join("run"), scenario, more)
}

fn run_into(folder: &Path, scenario: &str, more: &[&str]) -> Value {
    let mut args = vec!["run", scenario, "--quiet", "--summary", "json", "--out", folder.to_str().expect("UTF-8")];
    args.extend_from_slice(more);
    let output = wasm_engine(&root()).args(&args).output().expect("the binary starts");
    assert!(output.status.success(), "{args:?} failed: {}", stderr(&output));
    common::summary(&output)
}

#[test]
fn postroom_reads_the_held_out_digits() {
    let summary = summary(POSTROOM, &[]);
    let ledger = &summary["outputs"]["ledger"];
    assert_eq!(ledger["read"]["sum"], 600);
    let accuracy = ledger["accuracy"]["sum"].as_f64().expect("a number");
    assert!(accuracy > 0.95, "accuracy is {accuracy}");
    assert_eq!(summary["scenario"], "postroom");
    assert_eq!(summary["inference_jobs"], 1800);
    assert!(summary["dropped_by_reason"]["refused"].as_u64() > Some(0), "forged votes are refused");
    for key in ["frames", "agents", "steps", "messages", "faults", "inference_rows_per_batch", "wall_s", "run_dir"] {
        assert!(!summary[key].is_null(), "the summary has no {key}");
    }
    assert_eq!(summary["digest"].as_str().map(str::len), Some(32));
}

#[test]
fn postroom_gives_one_digest_at_any_number_of_threads() {
    let digest = |threads: &str, mode: &str| {
        let summary = summary(POSTROOM, &["--threads", threads, "--digest", mode]);
        (summary["digest"].clone(), summary["groups"].clone())
    };
    for mode in ["frame", "full"] {
        let reference = digest("1", mode);
        for threads in ["1", "2", "2", "4", "4"] {
            assert_eq!(digest(threads, mode), reference, "{threads} threads, --digest {mode}");
        }
    }
}

/// The frame's digest has the seed in it, so that it differs for another one whatever happens. What agents ask for and what
/// they record haven't: those differ only where the seed reaches the agents, here through the pixels that the readers lose.
#[test]
fn another_seed_is_another_run_of_the_postroom() {
    let run = |seed: &str| {
        let out = tempfile::tempdir().expect("a temporary folder");
        let folder = out.path().join("run");
        let digest = run_into(&folder, POSTROOM, &["--seed", seed])["digest"].clone();
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file of the run");
        let row = |line: &str| serde_json::from_str::<Value>(line).expect("a JSON object");
        let outboxes: Vec<Value> =
            read("frames.jsonl").lines().map(|line| row(line)["lanes"]["outboxes"].clone()).collect();
        assert!(outboxes.iter().any(Value::is_string), "frames have a lane of outboxes");
        (digest, outboxes, read("outputs.jsonl"))
    };
    let (first, again, other) = (run("12345"), run("12345"), run("12346"));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0, "digest");
    assert_ne!(first.1, other.1, "outboxes");
    assert_ne!(first.2, other.2, "outputs");
}

#[test]
fn saboteurs_disturb_nobody() {
    for mode in ["frame", "full"] {
        let with = summary(POSTROOM, &["--digest", mode]);
        let without = summary(POSTROOM, &["--digest", mode, "--set", "sabotage=false"]);
        for group in ["readers", "clerks", "ledger"] {
            assert_eq!(with["groups"][group], without["groups"][group], "{group}, --digest {mode}");
        }
        assert_ne!(with["digest"], without["digest"]);
        assert!(without["groups"]["saboteurs"].is_null());
        let faults = with["groups"]["saboteurs"]["faults"].as_object().expect("faults by kind");
        for kind in ["unreachable", "out_of_fuel", "over_limit", "memory_out_of_bounds", "bad_outbox", "call_depth"] {
            assert!(faults.get(kind).is_some_and(|count| count.as_u64() > Some(0)), "no {kind} in {faults:?}");
        }
    }
}

#[test]
fn ring_passes_all_tokens_on() {
    let digest = |threads: &str, more: &[&str]| {
        let mut args = vec!["--threads", threads, "--set", "agents=10000", "--set", "tokens=10000"];
        args.extend_from_slice(more);
        let summary = summary(RING, &args);
        assert_eq!(summary["frames"], 200);
        let ring = &summary["outputs"]["ring"];
        assert_eq!(ring["tokens"]["sum"], 10_000);
        assert_eq!(ring["sum"]["sum"], ring["expected"]["sum"]);
        // Started in frame 0 with 0, and one more in each of the frames 1 to 199.
        assert_eq!(ring["sum"]["sum"], 10_000 * 199);
        assert_eq!(summary["dropped"], 0);
        summary["digest"].clone()
    };
    let reference = digest("1", &[]);
    for threads in ["1", "2", "2", "4", "4"] {
        assert_eq!(digest(threads, &[]), reference, "{threads} threads");
    }
}

/// What the README shows of the two scenarios is what they print, but for times, folders and what it leaves out.
#[test]
fn the_readme_shows_what_scenarios_print() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    for (scenario, starts) in
        [(POSTROOM, "scenario   postroom,"), ("agents/scenarios/kernel-tour.toml", "scenario   kernel-tour,")]
    {
        let shown = readme.split("```text\n").find(|block| block.starts_with(starts)).expect("it is shown");
        let shown = shown.split("```").next().expect("the block has an end");
        let out = tempfile::tempdir().expect("a temporary folder");
        let folder = out.path().join("run");
        let args = ["run", scenario, "--out", folder.to_str().expect("UTF-8")];
        let output = wasm_engine(&root()).args(args).output().expect("the binary starts");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        let passes = |line: &&str| {
            !["", "..."].contains(line) && !["frames  ", "results in "].iter().any(|start| line.starts_with(start))
        };
        let missing: Vec<_> =
            shown.lines().filter(passes).filter(|line| !printed.lines().any(|printed| printed == *line)).collect();
        assert!(missing.is_empty(), "{scenario} doesn't print {missing:#?} but\n{printed}");
        assert!(shown.lines().count() > 8, "{shown}");
        let digest = printed.lines().find(|line| line.starts_with("digest ")).expect("a digest");
        let replay = fs::read_to_string(root().join("docs/how-to/travel-in-time.md")).expect("the how-to");
        assert!(scenario == POSTROOM || replay.contains(digest), "the how-to shows {digest}");
    }
}
