//! Events that can't be read again, from standard input or a pipe: they are in the journal, so a run of them is replayed, resumed and
//! branched as any other.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use common::{root, stderr, summary, wasm_engine};
use serde_json::Value;

const TOUR: &str = "agents/scenarios/kernel-tour.toml";

fn path(name: &str) -> String {
    root().join(name).to_str().unwrap().to_owned()
}

fn events() -> String {
    fs::read_to_string(path("agents/scenarios/kernel-tour/orders.jsonl")).unwrap()
}

/// A command that is given a text on standard input, which then ends.
fn fed(folder: &Path, args: &[&str], text: &str) -> Output {
    let mut child = wasm_engine(folder)
        .args(args)
        .args(["--summary", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read all of it.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

/// The summary of a command that goes well, but for what a scenario expects of other numbers of frames.
fn told(output: &Output) -> Value {
    let only_unmet =
        || stderr(output).lines().all(|line| !line.starts_with("error: ") || line.contains("expected, but not so"));
    assert!(output.status.success() || output.status.code() == Some(1) && only_unmet(), "{}", stderr(output));
    summary(output)
}

#[test]
fn a_stopped_run_of_standard_input_goes_on_and_counts_each_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tour = path(TOUR);
    let whole = told(&fed(folder, &["run", &tour, "--input", "-", "--out", "whole"], &events()));
    let file = told(&fed(folder, &["run", &tour, "--out", "file"], ""));
    assert_eq!((&whole["digest"], &whole["events"]), (&file["digest"], &file["events"]));
    assert!(whole["events"]["delivered"].as_u64().unwrap() > 5, "{}", whole["events"]);
    for (run, every) in [("with-snapshots", "7"), ("without", "1000")] {
        let out = ["--out", run, "--snapshot-every", every];
        told(&fed(folder, &[&["run", &tour, "--input", "-", "--frames", "60"], &out[..]].concat(), &events()));
        // All of them again, or, another time, those that weren't taken.
        let end = told(&fed(folder, &["resume", run, "--frames", "130"], &events()));
        assert_eq!(end["frames"], 130);
        let frame = |line: &str| serde_json::from_str::<Value>(line).unwrap()["frame"].as_u64().unwrap_or(0);
        let rest: String = events().lines().filter(|line| frame(line) >= 130).map(|line| format!("{line}\n")).collect();
        let end = told(&fed(folder, &["resume", run, "--frames", "200"], &rest));
        assert_eq!((&end["digest"], &end["events"]), (&whole["digest"], &whole["events"]), "{run}");
        let replayed = told(&fed(folder, &["replay", run, "--from", "100"], ""));
        assert_eq!(replayed["digest"], whole["digest"]);
    }
}

#[test]
fn a_branch_keeps_the_events_that_nobody_can_give_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = told(&fed(folder, &["run", &path(TOUR), "--input", "-", "--out", "whole"], &events()));
    let branch = told(&fed(folder, &["branch", "whole", "--at", "20", "--frames", "90", "--out", "branch"], ""));
    assert_eq!(branch["frames"], 90);
    // The run that they were given to is needed no more.
    fs::remove_dir_all(folder.join("whole")).unwrap();
    // A branch of the branch, at a frame that it hasn't got to before it was stopped.
    let twice = told(&fed(folder, &["branch", "branch", "--at", "50", "--frames", "200", "--out", "twice"], ""));
    assert_eq!((&twice["digest"], &twice["events"]), (&whole["digest"], &whole["events"]));
    let resumed = told(&fed(folder, &["resume", "branch", "--frames", "200"], ""));
    assert_eq!((&resumed["digest"], &resumed["events"]), (&whole["digest"], &whole["events"]));
    for run in ["branch", "twice"] {
        assert_eq!(told(&fed(folder, &["replay", run], ""))["digest"], whole["digest"]);
    }
    fs::remove_file(folder.join("branch/snapshots/0000000020.wes")).unwrap();
    let refused = fed(folder, &["resume", "branch", "--frames", "210"], "");
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("branch again from the first run"), "{}", stderr(&refused));
}

#[test]
fn a_branch_of_standard_input_ends_when_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    told(&fed(folder, &["run", &path(TOUR), "--input", "-", "--out", "run"], &events()));
    let mut child = wasm_engine(folder)
        .args(["branch", "run", "--at", "20", "--frames", "100000000", "--out", "branch", "--quiet"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let frames = folder.join("branch/frames.jsonl");
    let begun = (0..3_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        frames.metadata().is_ok_and(|file| file.len() > 1_000)
    });
    common::signal(&child, libc::SIGINT);
    let status = child.wait().unwrap();
    assert!(begun && status.code().is_some(), "{status}");
    assert!(folder.join("branch/summary.json").exists());
    let replayed = told(&fed(folder, &["replay", "branch"], ""));
    assert_eq!(replayed["identical"], true);
}

#[cfg(unix)]
#[test]
fn events_of_a_pipe_are_those_of_standard_input_under_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pipe = folder.join("events");
    common::pipe(&pipe);
    let give = || {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::write(pipe, events()))
    };
    let whole = told(&fed(folder, &["run", &path(TOUR), "--input", "-", "--out", "whole"], &events()));
    let writer = give();
    let run = told(&fed(folder, &["run", &path(TOUR), "--input", "events", "--frames", "60", "--out", "run"], ""));
    let _ = writer.join().unwrap();
    assert_eq!(run["frames"], 60);
    assert!(!fs::read_to_string(folder.join("run/manifest.toml")).unwrap().contains("input_sha256"));
    let writer = give();
    let resumed = told(&fed(folder, &["resume", "run", "--frames", "200"], ""));
    let _ = writer.join().unwrap();
    assert_eq!((&resumed["digest"], &resumed["events"]), (&whole["digest"], &whole["events"]));
    // Nobody reads from it for these.
    assert_eq!(told(&fed(folder, &["replay", "run"], ""))["digest"], whole["digest"]);
    let branch = told(&fed(folder, &["branch", "run", "--at", "30", "--out", "branch"], ""));
    assert_eq!(branch["digest"], whole["digest"]);
    // The pipe of a run that was read from a file: nobody waits for a writer.
    let file = folder.join("orders.jsonl");
    fs::write(&file, events()).unwrap();
    told(&fed(folder, &["run", &path(TOUR), "--input", "orders.jsonl", "--frames", "60", "--out", "of-file"], ""));
    fs::remove_file(&file).unwrap();
    common::pipe(&file);
    let refused = fed(folder, &["resume", "of-file", "--frames", "200"], "");
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("orders.jsonl: isn't a file any more"), "{}", stderr(&refused));
}
