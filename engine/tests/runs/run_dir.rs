//! Run directories from the command line: fresh, whole, and never half believed.

use crate::common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{RING, root, stderr, wasm_engine};

fn ring() -> String {
    root().join(RING).to_str().expect("UTF-8").to_owned()
}

fn run_in(folder: &Path, args: &[&str]) -> Output {
    let mut command = wasm_engine(folder);
    command.args(["run", &ring(), "--frames", "60"]).args(args).output().expect("the binary starts")
}

#[test]
fn each_run_without_out_gets_a_fresh_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for _ in 0..2 {
        let output = run_in(folder.path(), &["--quiet"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let mut runs: Vec<_> = fs::read_dir(folder.path().join("runs"))
        .expect("a folder runs/")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    runs.sort();
    assert_eq!(runs.len(), 2);
    let digests = |run: &Path| {
        let frames = fs::read_to_string(run.join("frames.jsonl")).expect("frames.jsonl");
        assert_eq!(frames.lines().count(), 60);
        for file in ["manifest.toml", "summary.json", "scenario.toml", "outputs.jsonl", "logs.jsonl"] {
            assert!(run.join(file).is_file(), "no {file}");
        }
        frames
    };
    assert_eq!(digests(&runs[0]), digests(&runs[1]));
}

#[test]
fn an_output_folder_that_holds_something_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("full")).expect("a folder");
    fs::write(folder.path().join("full/mine.txt"), "mine").expect("a file");
    let output = run_in(folder.path(), &["--out", "full"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("full"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(folder.path().join("full")).expect("still there").count(), 1, "nothing was written");
}

#[test]
fn an_output_folder_that_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("file"), "").expect("a file");
    let output = run_in(folder.path(), &["--out", "file/run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("file/run"), "{}", stderr(&output));
}

/// A limit on the size of files stands in for a full disk: both make a write fail in the middle of a run.
#[test]
#[cfg(unix)]
fn a_write_that_fails_ends_the_run_with_its_file_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = r#"ulimit -f 40; trap '' XFSZ; exec "$0" "$@""#;
    let output = Command::new("sh")
        .current_dir(folder.path())
        .args(["-c", script, env!("CARGO_BIN_EXE_wasm-engine"), "run", &ring(), "--quiet", "--out", "run"])
        .output()
        .expect("sh starts");
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("run/") && stderr.contains("can't be written"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(!folder.path().join("run/summary.json").exists(), "a failed run has no summary");
}

/// The disk itself is full, where this machine lets a test mount a small one.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_ends_the_run_with_its_file_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = r#"mount -t tmpfs -o size=64k tmpfs disk && exec "$0" "$@""#;
    fs::create_dir(folder.path().join("disk")).expect("a folder");
    let args =
        ["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_wasm-engine"), "run", &ring(), "--quiet", "--out", "disk/run"];
    // What the folder may have is more than the disk has: else the run would end in order before it is full.
    let args = [&args[..], &["--disk-max", "1000000000"]].concat();
    let output = Command::new("unshare").current_dir(folder.path()).args(args).output();
    let Ok(output) = output else { return };
    let stderr = stderr(&output);
    if stderr.contains("unshare") || stderr.contains("mount") {
        println!("no small disk to be had here: {stderr}");
        return;
    }
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("disk/run/") && stderr.contains("can't be written"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
#[cfg(unix)]
fn an_interrupt_ends_after_the_frame_in_hand_with_the_summary() {
    use std::io::Read;
    use std::process::Stdio;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut child = wasm_engine(folder.path())
        .args(["run", &ring(), "--frames", "100000000", "--summary", "json", "--out", "run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let frames = folder.path().join("run/frames.jsonl");
    for _ in 0..600 {
        if fs::metadata(&frames).is_ok_and(|file| file.len() > 0) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    common::signal(&child, libc::SIGINT);
    let mut stdout = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("UTF-8");
    child.wait().expect("it ends");
    let summary: serde_json::Value = serde_json::from_str(stdout.lines().last().expect("a summary")).expect("JSON");
    assert_eq!(summary["interrupted"], true);
    let lines = fs::read_to_string(&frames).expect("frames").lines().count();
    assert_eq!(summary["frames"].as_u64(), Some(lines as u64), "every frame that was run is on the record");
    assert!(folder.path().join("run/summary.json").is_file());
}
