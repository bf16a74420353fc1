//! A row that takes too long is an answer like any other: recorded, told, replayed without a clock, and gone on from.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use std::fs;
use std::path::Path;

use common::{engine, loop_scenario, stderr, summary};
use serde_json::{Value, json};
use wasm_engine_abi::InferenceStatus;

fn told(folder: &Path, args: &[&str]) -> Value {
    let output = engine(folder, &[args, &["--summary", "json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    summary(&output)
}

fn lines(file: &Path) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_row_that_takes_too_long_is_recorded_and_replayed_without_a_clock() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The second one's would never end.
    loop_scenario(folder, 200, &[(1, 0, 1), (1, 1, 1 << 62), (1, 2, 2), (3, 1, 3)]);
    let run = told(folder, &["run", "s.toml", "--out", "run", "--snapshot-every", "2"]);
    let late = json!({ "rows": 1, "first_frame": 1, "reason": "it took longer than 200 ms" });
    assert_eq!(run["models"], json!({ "loop": { "timed_out": late } }));
    let row = json!({ "frame": 1, "model": "loop", "kind": "timed_out", "rows": 1, "reason": late["reason"] });
    assert_eq!(lines(&folder.join("run/models.jsonl")), [row]);
    let status = |row: &Value| (row["name"] == "status").then(|| (row["agent"].clone(), row["value"].clone()));
    let statuses: Vec<_> = lines(&folder.join("run/outputs.jsonl")).iter().filter_map(status).collect();
    // The agent was built with an SDK that doesn't know `TimedOut` yet, and takes what it doesn't know for `Failed`.
    let failed = InferenceStatus::Failed as u32;
    let expected = [("a/0", 0), ("a/1", failed), ("a/2", 0), ("a/1", 0)];
    assert_eq!(statuses, expected.map(|(agent, status)| (json!(agent), json!(status))), "its neighbours have results");
    let text = engine(folder, &["run", "s.toml", "--out", "again"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("model      loop: 1 row took too long, first in frame 1: it took longer than 200 ms"),
        "{text}"
    );

    for inference in ["recorded", "recompute"] {
        told(folder, &["replay", "run", "--inference", inference]);
    }
    // A run that ends in the frame after, and goes on.
    told(folder, &["run", "s.toml", "--out", "half", "--frames", "3", "--snapshot-every", "2"]);
    let resumed = told(folder, &["resume", "half", "--frames", "6"]);
    assert_eq!((&resumed["digest"], &resumed["models"]), (&run["digest"], &run["models"]));
    for table in ["models.jsonl", "outputs.jsonl", "frames.jsonl"] {
        assert_eq!(lines(&folder.join("half").join(table)), lines(&folder.join("run").join(table)), "{table}");
    }
}
