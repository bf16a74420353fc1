//! Standard output and standard error that are full, closed or gone: they never end a run, and the exit status says what matters.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{path, stderr, wasm_engine};

const TOUR: &str = "agents/scenarios/kernel-tour.toml";

/// A disk without room.
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe that nobody reads any more.
fn broken_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A command through the shell, which redirects.
fn shell(folder: &Path, redirected: &str, args: &[&str]) -> Output {
    let script = format!(r#"exec "$0" "$@" {redirected}"#);
    Command::new("sh")
        .current_dir(folder)
        .args(["-c", &script, env!("CARGO_BIN_EXE_wasm-engine")])
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_standard_error_that_takes_nothing_ends_no_command() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tour = path(TOUR);
    // Which warns that a swap is refused, and ends with its expectations met.
    for (at, way) in ["full", "gone", "closed"].into_iter().enumerate() {
        let out = |name: &str| format!("{name}-{at}");
        let (run_dir, branch) = (out("run"), out("branch"));
        let commands: [&[&str]; 4] = [
            &["run", &tour, "--frames", "20", "--snapshot-every", "10", "--out", &run_dir],
            &["branch", &run_dir, "--at", "10", "--frames", "20", "--out", &branch],
            &["resume", &run_dir, "--frames", "30"],
            &["replay", &branch],
        ];
        let run = |args: &[&str]| match way {
            "full" => wasm_engine(folder).args(args).stderr(full()).output().unwrap(),
            "gone" => wasm_engine(folder).args(args).stderr(broken_pipe()).output().unwrap(),
            _ => shell(folder, "2>&-", args),
        };
        for args in commands {
            let output = run(args);
            assert_eq!(output.status.code(), Some(0), "{way}: {args:?}");
            assert!(!output.stdout.is_empty(), "{way}: {args:?}");
        }
        assert!(
            folder.join(&run_dir).join("summary.json").is_file() && folder.join(&branch).join("summary.json").is_file()
        );
        let all = ["run", &tour, "--frames", "5", "--no-record", "-vvv", "--log", "json"];
        assert_eq!(run(&all).status.code(), Some(0), "{way}");
        // What is wrong is told by the status, where nobody can be told in words.
        assert_eq!(run(&["run", "no.toml"]).status.code(), Some(2), "{way}");
        assert_eq!(run(&["run"]).status.code(), Some(2), "{way}");
        if way == "gone" {
            // There is much that nobody takes.
            assert!(wasm_engine(folder).args(all).output().unwrap().stderr.len() > 1 << 15);
        }
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure_and_a_full_disk_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = |out: &str| {
        let mut command = wasm_engine(folder);
        command.args(["run", &path(TOUR), "--frames", "20", "--out", out]);
        command
    };
    assert_eq!(run("gone").stdout(broken_pipe()).output().unwrap().status.code(), Some(0));
    let closed = ["run", &path(TOUR), "--frames", "20", "--out", "closed"];
    assert_eq!(shell(folder, ">&-", &closed).status.code(), Some(0));
    let output = run("full").stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("error: standard output can't be written: No space left"), "{}", stderr(&output));
    // The run itself is whole.
    for out in ["gone", "closed", "full"] {
        assert!(folder.join(out).join("summary.json").is_file(), "{out}");
        assert_eq!(wasm_engine(folder).args(["replay", out]).output().unwrap().status.code(), Some(0));
    }
}
