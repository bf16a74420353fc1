//! Signals while a model is at work: as it is tried, and in a batch of a frame.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::common::{engine, loop_scenario, path, stderr, summary, wasm_engine};
use crate::process::{digest, signalled, start, start_of, wait_until};

/// Rounds of the model's loop that take some seconds, and as many as never end.
const SOME_ROUNDS: i64 = 3_000_000;
const ENDLESS_ROUNDS: i64 = 1 << 62;

/// ONNX Runtime may have to be fetched first, which isn't what is signalled here.
fn have_onnx_runtime(folder: &Path) {
    let output = engine(folder, &["model", "check", &path("engine/tests/models/gemm.onnx")]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Waits a while, in which the command must not end.
fn goes_on(child: &mut Child, millis: u64) {
    let started = Instant::now();
    assert!(wait_until(child, || started.elapsed() > Duration::from_millis(millis)), "it was to go on");
}

#[test]
fn a_model_that_is_being_tried_is_left_by_every_command_that_tries_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    have_onnx_runtime(folder);
    let endless = path("engine/tests/models/endless.onnx");
    let text = format!(
        "frames = 2\nmodules.ring.path = {:?}\nmodels.m.path = {endless:?}\n[[groups]]\nname = \"ring\"\nmodule = \"ring\"\n\
         agents = 4\nparams = {{ agents = 4, tokens = 4, audit_every = 5 }}\n",
        path("agents/samples/wasm/ring.wasm")
    );
    fs::write(folder.join("s.toml"), text).unwrap();
    let cases: [(&[&str], &str); 2] = [
        (&["run", "s.toml", "--out", "out"], "ended before the first frame: nothing was run\n"),
        (&["model", "check", &endless], "ended before there was a result\n"),
    ];
    for (args, told) in cases {
        for number in [libc::SIGINT, libc::SIGTERM] {
            let mut command = wasm_engine(folder);
            command.args(args);
            let mut child = start_of(&mut command);
            goes_on(&mut child, 1_500);
            let (output, took) = signalled(child, number);
            println!("{args:?}: ended after {took:?}");
            assert_eq!(output.status.code(), Some(128 + number), "{args:?}: {}", stderr(&output));
            assert!(stderr(&output).ends_with(told) && output.stdout.is_empty(), "{args:?}: {}", stderr(&output));
            assert!(!folder.join("out").exists());
        }
    }
}

#[test]
fn a_batch_that_is_being_run_is_left_and_run_again_by_who_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    have_onnx_runtime(folder);
    loop_scenario(folder, 600_000, &[(0, 0, 1), (2, 1, SOME_ROUNDS), (2, 2, 2), (4, 0, 3)]);
    let whole = digest(folder, &["run", "s.toml", "--out", "whole"]);
    for (at, number) in [libc::SIGINT, libc::SIGTERM].into_iter().enumerate() {
        let out = format!("run-{at}");
        let mut child = start(folder, &["run", "s.toml", "--out", &out, "--snapshot-every", "1"]);
        assert!(wait_until(&mut child, || folder.join(&out).join("manifest.toml").exists()));
        goes_on(&mut child, 500);
        let (output, took) = signalled(child, number);
        println!("ended after {took:?}");
        assert_eq!(output.status.code(), Some(128 + number), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("ended in the middle of frame 2: all frames before it are kept"),
            "{}",
            stderr(&output)
        );
        // Who goes on runs the batch again, and is left in the middle of it as well.
        let mut child = start(folder, &["resume", &out]);
        goes_on(&mut child, 1_000);
        let (output, _) = signalled(child, number);
        assert_eq!(output.status.code(), Some(128 + number), "{}", stderr(&output));
        let resumed = engine(folder, &["resume", &out, "--summary", "json"]);
        assert_eq!(summary(&resumed)["digest"], whole.as_str(), "{}", stderr(&resumed));
        assert_eq!(digest(folder, &["replay", &out]), whole);
    }
}

#[test]
fn a_batch_that_never_ends_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    have_onnx_runtime(folder);
    loop_scenario(folder, 86_400_000, &[(1, 0, ENDLESS_ROUNDS)]);
    let mut child = start(folder, &["run", "s.toml", "--out", "run"]);
    assert!(wait_until(&mut child, || folder.join("run/manifest.toml").exists()));
    goes_on(&mut child, 500);
    let (output, took) = signalled(child, libc::SIGTERM);
    println!("ended after {took:?}");
    assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
    assert!(stderr(&output).contains("ended in the middle of frame 1"), "{}", stderr(&output));
    // What was run before it is there, and whoever asks that it be computed again can leave that, too.
    assert_eq!(engine(folder, &["replay", "run"]).status.code(), Some(0));
}
