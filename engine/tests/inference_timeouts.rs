//! A row that takes too long is an answer like any other: recorded, told, replayed without a clock, and gone on from.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use std::fs;
use std::path::Path;

use common::{engine, path, stderr, summary};
use serde_json::{Value, json};
use wasm_engine_abi::InferenceStatus;

/// Three agents, each of which asks for one row of a model whose third input counts a loop. The second one's would never end.
fn scenario(folder: &Path) {
    let text = format!(
        r#"
frames = 6
input = "events.jsonl"
[models.loop]
path = {:?}
run_ms_max = 200
[modules.ask]
path = {:?}
[[groups]]
name = "a"
module = "ask"
agents = 3
params = {{ model = "loop" }}
[groups.limits]
fuel_per_step_max = 1000000000
memory_bytes_max = 2097152
"#,
        path("engine/tests/models/loop.onnx"),
        path("engine/tests/data/inference/ask.wasm"),
    );
    fs::write(folder.join("s.toml"), text).unwrap();
    let row = |rounds: i64| -> Vec<u8> {
        let floats = [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
        [floats, rounds.to_le_bytes().to_vec()].concat()
    };
    let event = |frame, agent, rounds| {
        let bytes: Vec<Value> = row(rounds).into_iter().map(Value::from).collect();
        json!({ "frame": frame, "to": format!("a/{agent}"), "numbers": bytes, "type": "u8" }).to_string()
    };
    let events = [event(1, 0, 1), event(1, 1, 1 << 62), event(1, 2, 2), event(3, 1, 3)];
    fs::write(folder.join("events.jsonl"), events.join("\n") + "\n").unwrap();
}

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
    scenario(folder);
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
