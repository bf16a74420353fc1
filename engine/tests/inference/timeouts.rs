//! A row that takes too long is an answer like any other: recorded, told, replayed without a clock, and gone on from. So is a model that
//! is given up, because one of its operators doesn't come back.

use crate::common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{engine, loop_scenario, path, stderr, summary, wasm_engine};
use serde_json::{Value, json};
use wasm_engine::run_dir::{Access, Inference, OpenRun};
use wasm_engine::simulation::SimulationOptions;
use wasm_engine::time_travel::{ReplayOptions, Replayed, RunReplayer, replay};
use wasm_engine_abi::InferenceStatus;

/// Three agents, each of which asks for one row of a model that takes as long as a row says: for the second one's, many minutes, in 32 MB.
fn huge_operator(folder: &Path, run_ms_max: u32) {
    loop_scenario(folder, run_ms_max, &[(1, 0, 1), (1, 1, 1 << 22), (1, 2, 2), (3, 1, 3)]);
    let file = folder.join("s.toml");
    let (of_loop, of_operator) = (path("engine/tests/models/loop.onnx"), path("engine/tests/models/operator.onnx"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&of_loop));
    // Another name of the same file, for which nobody asks.
    let twin = format!("\n[models.twin]\npath = {of_operator:?}\nrun_ms_max = {run_ms_max}\n");
    fs::write(file, text.replace(&of_loop, &of_operator) + &twin).unwrap();
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

/// Replays a run whose models compute again, as on a machine on which they take longer than the recorded limits, which are `run_ms_max`
/// and `load_ms_max` here. What probes found is kept in `cache`.
fn recomputed(path: &Path, cache: &Path, threads: usize, [run_ms_max, load_ms_max]: [u32; 2]) -> Replayed {
    let mut run = OpenRun::open(path, Access::Read).unwrap();
    for entry in &mut run.scenario.models {
        (entry.run_ms_max, entry.load_ms_max) = (run_ms_max, load_ms_max);
    }
    let (threads, cache_dir) = (Some(threads), Some(cache.to_owned()));
    let options = SimulationOptions { threads, cache_dir, ..SimulationOptions::default() };
    let replayer = RunReplayer { run: &run, options, inference: Inference::Recompute, author: &|_| {} };
    replay(&replayer, ReplayOptions::default(), &mut |_| {}).unwrap()
}

/// What was done in time when it was recorded is computed again, however long that takes here: neither the limit of a run counts, nor the
/// parts that rows have of a frame. What takes longer than loading a model may isn't compared, which is told, and is no divergence.
#[test]
fn rows_that_were_done_in_time_are_computed_again_without_a_clock() {
    // Rounds for a tenth of a second or so. All rows of a frame together would have ten milliseconds.
    const SLOW: i64 = 1 << 17;
    let folder = tempfile::tempdir().unwrap();
    let (folder, cache) = (folder.path(), tempfile::tempdir().unwrap());
    loop_scenario(folder, 600_000, &[(1, 0, SLOW), (1, 1, SLOW + 1), (1, 2, SLOW + 2), (3, 1, SLOW + 3)]);
    let run = told(folder, &["run", "s.toml", "--out", "run"]);
    assert_eq!(run["models"], json!({}), "all rows have results");
    for threads in [1, 4] {
        let replayed = recomputed(&folder.join("run"), cache.path(), threads, [1, 600_000]);
        assert_eq!(replayed.divergence.as_ref().map(|divergence| (divergence.frame, &divergence.inference)), None);
        assert_eq!((replayed.checked, replayed.rows_not_compared), (6, 0));
        assert_eq!((run["digest"].as_str().unwrap(), &replayed.warnings), (&*replayed.digest.to_string(), &vec![]));
    }

    // Seconds, of which one is there.
    loop_scenario(folder, 600_000, &[(1, 0, 1), (4, 2, 1 << 22)]);
    let run = told(folder, &["run", "s.toml", "--out", "slower"]);
    let replayed = recomputed(&folder.join("slower"), cache.path(), 1, [1, 1_000]);
    assert_eq!(replayed.divergence.as_ref().map(|divergence| (divergence.frame, &divergence.inference)), None);
    assert_eq!((replayed.checked, replayed.rows_not_compared), (6, 1));
    assert_eq!(run["digest"].as_str().unwrap(), replayed.digest.to_string());
    let told = "1 row of models, the first in frame 4 of the model `loop`, wasn't compared: to compute them again took longer than";
    assert!(replayed.warnings.len() == 1 && replayed.warnings[0].starts_with(told), "{:?}", replayed.warnings);
    #[cfg(unix)]
    a_signal_ends_a_replay(folder, "slower");
}

/// The first signal ends a replay that computes for seconds.
#[cfg(unix)]
fn a_signal_ends_a_replay(folder: &Path, run: &str) {
    let command = &mut wasm_engine(folder);
    command.args(["replay", run, "--inference", "recompute", "--quiet"]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let signalled = Instant::now();
    common::signal(&child, libc::SIGTERM);
    let status = child.wait().unwrap();
    println!("ended after {:?}", signalled.elapsed());
    assert_eq!(status.code(), Some(143), "{status}");
}

/// The statuses that agents were told, in the order of frames and agents.
fn statuses(run: &Path) -> Vec<(String, u64)> {
    let status = |row: &Value| {
        let name = row["agent"].as_str().unwrap().to_owned();
        (row["name"] == "status").then(|| (name, row["value"].as_u64().unwrap()))
    };
    lines(&run.join("outputs.jsonl")).iter().filter_map(status).collect()
}

/// One operator that takes many minutes can't be ended: its thread is left behind, the frame ends all the same, the model isn't run any
/// more, and the process doesn't wait when it ends. That is recorded, so that replays and resumed runs have it from there.
#[test]
fn an_operator_that_does_not_come_back_is_left_behind_and_its_model_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    huge_operator(folder, 200);
    let run = told(folder, &["run", "s.toml", "--threads", "2", "--out", "run", "--snapshot-every", "2"]);
    let model = &run["models"]["loop"];
    let reason = "a run took longer than 200 ms, was told to end, and didn't within 5000 ms more";
    let given_up = json!({ "rows": 1, "first_frame": 1, "reason": reason });
    assert_eq!(model["given_up"], given_up);
    // Both names are of one model, so that both are given up at once, and not in whichever frame somebody asks next in this process.
    assert_eq!(run["models"]["twin"], json!({ "given_up": given_up }));
    // The agent's row in frame 1, and that of frame 3, which is quick, but isn't run any more.
    assert_eq!(model["timed_out"]["first_frame"], 1);
    let failed = u64::from(InferenceStatus::Failed as u32);
    let found = statuses(&folder.join("run"));
    assert_eq!(found[0], ("a/0".to_owned(), 0), "who asked before has a result");
    assert_eq!((&found[1], found.last().unwrap()), (&("a/1".to_owned(), failed), &("a/1".to_owned(), failed)));
    let of_frame_3 = lines(&folder.join("run/models.jsonl")).pop().unwrap();
    let late = "the model was given up in frame 1";
    assert_eq!(of_frame_3, json!({ "frame": 3, "model": "loop", "kind": "timed_out", "rows": 1, "reason": late }));
    let text = engine(folder, &["replay", "run", "--from", "2"]);
    assert!(text.status.success(), "from a snapshot that has it: {}", stderr(&text));
    for (inference, threads) in [("recorded", "1"), ("recorded", "4"), ("recompute", "1")] {
        told(folder, &["replay", "run", "--threads", threads, "--inference", inference]);
    }
    told(folder, &["branch", "run", "--at", "3", "--out", "branch"]);
    assert_eq!(statuses(&folder.join("branch")), [("a/1".to_owned(), failed)], "it is given up in a branch, too");
    // A run that was stopped after it goes on with the model given up.
    told(folder, &["run", "s.toml", "--threads", "2", "--out", "half", "--frames", "3", "--snapshot-every", "2"]);
    let resumed = told(folder, &["resume", "half", "--frames", "6", "--threads", "1"]);
    // Whether the third agent's row is run before the model is given up is the machine's, as each `TimedOut` is: so it isn't compared.
    assert_eq!(
        (&resumed["models"]["loop"]["given_up"], &resumed["models"]["twin"]["given_up"]),
        (&given_up, &given_up)
    );
    assert_eq!(statuses(&folder.join("half")).last().unwrap(), &("a/1".to_owned(), failed));
    told(folder, &["replay", "half"]);
}

/// The first signal ends the process within its second, though a thread is at work in an operator that nobody can end.
#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_whose_model_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    huge_operator(folder, 600_000);
    let command = &mut wasm_engine(folder);
    let mut child = command.args(["run", "s.toml", "--out", "run"]).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !folder.join("run/manifest.toml").exists() {
        assert!(started.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    // The frame before the slow one takes microseconds.
    std::thread::sleep(Duration::from_millis(500));
    let signalled = Instant::now();
    common::signal(&child, libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    println!("ended after {:?}", signalled.elapsed());
    assert!(signalled.elapsed() < Duration::from_secs(60), "{:?}", signalled.elapsed());
    assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
    assert!(stderr(&output).contains("ended in the middle of frame 1"), "{}", stderr(&output));
}
