//! The reference scenarios from the command line: what a user sees, the same at any number of threads.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine is a member of the workspace").into()
}

fn wasm_engine(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wasm-engine")).current_dir(root()).args(args).output().expect("the binary starts")
}

/// Runs a scenario into a fresh folder, and returns the summary, which is the last line of standard output.
fn summary(scenario: &str, more: &[&str]) -> Value {
    let out = tempfile::tempdir().expect("a temporary folder");
    let folder = out.path().join("run");
    let mut args = vec!["run", scenario, "--quiet", "--summary", "json", "--out", folder.to_str().expect("UTF-8")];
    args.extend_from_slice(more);
    let output = wasm_engine(&args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} failed: {stderr}");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    serde_json::from_str(stdout.lines().last().expect("a last line")).expect("a JSON object")
}

const POSTROOM: &str = "agents/scenarios/postroom.toml";
const RING: &str = "agents/scenarios/ring.toml";

#[test]
fn postroom_reads_the_held_out_digits() {
    let summary = summary(POSTROOM, &[]);
    let ledger = &summary["outputs"]["ledger"];
    assert_eq!(ledger["read"]["sum"], 600);
    let accuracy = ledger["accuracy"]["sum"].as_f64().expect("a number");
    assert!(accuracy > 0.95, "accuracy is {accuracy}");
    assert_eq!(summary["scenario"], "postroom");
    assert_eq!(summary["inference_jobs"], 1800);
    assert_eq!(summary["dropped"].as_u64().map(|dropped| dropped > 0), Some(true), "forged votes are refused");
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
    let other = summary(POSTROOM, &["--seed", "12345"]);
    assert_ne!(other["digest"], digest("2", "frame").0, "another seed gives another digest");
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
