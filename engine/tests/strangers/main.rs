//! Forty modules of strangers beside two good groups: nothing that they do reaches the good ones, the screen, or the disk.
#![allow(clippy::unwrap_used, reason = "a test ends at what it doesn't expect")]

#[path = "../common/mod.rs"]
mod common;
mod modules;
mod scenario;

use std::path::Path;

use common::{engine, stderr, summary};
use modules::{Stranger, strangers};
use scenario::Sizes;
use serde_json::Value;

/// Frames of a run.
const FRAMES: u64 = 60;
/// Most bytes that the folder of a recorded run may have.
const FOLDER_BYTES_MAX: u64 = 10_000_000;
/// The groups that a person would run.
const GOOD: [&str; 2] = ["counters", "ring"];

/// Writes the scenario, with the strangers under a tenant or not.
fn write(folder: &Path, strangers: &[Stranger], tenant: bool) {
    let samples = common::root().join("agents/samples/wasm");
    let sizes = Sizes { frames: FRAMES, ring: 32, audit_every: 10, tenant, fuel: 40_000_000 };
    scenario::write(folder, &samples, strangers, &sizes);
}

/// Runs the scenario into the folder `out`, and gives the summary.
fn run(folder: &Path, out: &str, options: &[&str]) -> Value {
    let mut args = vec!["run", "strangers.toml", "--out", out, "--summary", "json", "--digest", "full"];
    args.extend_from_slice(options);
    let output = engine(folder, &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let (said, printed) =
        (String::from_utf8(output.stderr.clone()).unwrap(), String::from_utf8(output.stdout.clone()).unwrap());
    for text in [&said, &printed] {
        let control = text.chars().find(|&c| c.is_control() && c != '\n');
        assert_eq!(control, None, "a control character reached the terminal");
        assert!(text.lines().all(|line| line.chars().count() < 20_000), "a line without an end");
        assert!(!text.contains('\u{202e}'), "a mark that turns text around reached the terminal");
    }
    summary(&output)
}

/// What must be the same for a group, whoever is beside it.
fn group<'s>(summary: &'s Value, name: &str) -> &'s Value {
    summary["groups"].get(name).unwrap_or_else(|| panic!("no group {name}"))
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let bytes = entries.map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => folder_bytes(&entry.path()),
        metadata => metadata.len(),
    });
    bytes.sum()
}

#[test]
fn forty_strangers_reach_nothing_of_two_good_groups() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let all = strangers();
    assert_eq!(all.len(), 40);
    write(folder, &all, true);

    let alone = run(folder, "alone", &["--set", "strangers=false"]);
    let beside = run(folder, "beside", &["--threads", "1", "--snapshot-every", "16"]);
    for name in GOOD {
        let (alone, beside) = (group(&alone, name), group(&beside, name));
        assert_eq!(alone, beside, "{name} is what it is alone");
        assert!(alone["steps"].as_u64().unwrap() > 100);
    }
    for stranger in all.iter().filter(|stranger| stranger.faults) {
        let faults = &group(&beside, stranger.name)["faults"];
        assert!(faults.as_object().is_some_and(|kinds| !kinds.is_empty()), "{} was to fault: {faults}", stranger.name);
    }
    let bytes = folder_bytes(&folder.join("beside"));
    assert!(bytes < FOLDER_BYTES_MAX, "the run's folder has {bytes} bytes");

    for threads in ["2", "4"] {
        let other = run(folder, &format!("threads-{threads}"), &["--threads", threads]);
        assert_eq!(other["digest"], beside["digest"], "{threads} threads");
    }
    let replay = engine(folder, &["replay", "beside", "--threads", "2"]);
    assert!(replay.status.success(), "{}", stderr(&replay));

    let half = (FRAMES / 2).to_string();
    run(folder, "stopped", &["--frames", &half, "--snapshot-every", "16"]);
    let resumed = engine(folder, &["resume", "stopped", "--frames", &FRAMES.to_string(), "--summary", "json"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert_eq!(summary(&resumed)["digest"], beside["digest"], "resumed");
}

/// Nobody has put them under a tenant: what all groups have together bounds them.
#[test]
fn strangers_without_a_tenant_are_bounded_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, &strangers(), false);
    let alone = run(folder, "alone", &["--set", "strangers=false"]);
    let beside = run(folder, "beside", &[]);
    for name in GOOD {
        assert_eq!(group(&alone, name), group(&beside, name), "{name} is what it is alone");
    }
    let bytes = folder_bytes(&folder.join("beside"));
    assert!(bytes < FOLDER_BYTES_MAX, "the run's folder has {bytes} bytes");
    let other = run(folder, "threads", &["--threads", "2"]);
    assert_eq!(other["digest"], beside["digest"]);
}
