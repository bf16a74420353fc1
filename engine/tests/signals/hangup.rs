//! Terminals that go: who runs something in one that is closed finds it ended in order, and who uses `nohup` finds it done.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::common::{self, stderr, terminal::Terminal, wasm_engine};
use crate::process::{digest, signalled, slow_scenario, start, start_of, wait_until};

/// For a frame of some seconds.
const SOME_LOOPS: u64 = 3_000_000_000;

/// A command as `nohup` starts it, but for what it does with the streams.
fn nohup(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.current_dir(folder).args(["-c", r#"trap "" HUP; exec "$0" "$@""#, env!("CARGO_BIN_EXE_wasm-engine")]);
    command.args(args);
    command
}

#[test]
fn a_hangup_ends_a_run_as_sigterm_does_unless_it_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    slow_scenario(folder, SOME_LOOPS);
    let whole = digest(folder, &["run", "slow.toml", "--out", "whole"]);
    let mut child = start(folder, &["run", "slow.toml", "--out", "run"]);
    assert!(wait_until(&mut child, || folder.join("run/manifest.toml").exists()));
    std::thread::sleep(Duration::from_millis(300));
    let (output, _) = signalled(child, libc::SIGHUP);
    assert_eq!(output.status.code(), Some(129), "{}", stderr(&output));
    assert_eq!(digest(folder, &["resume", "run"]), whole);

    let mut child = start_of(&mut nohup(folder, &["run", "slow.toml", "--out", "nohup", "--summary", "json"]));
    assert!(wait_until(&mut child, || folder.join("nohup/manifest.toml").exists()));
    common::signal(&child, libc::SIGHUP);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(common::summary(&output)["digest"], whole.as_str());
}

/// The run's own lines go to the terminal, with a bar, until that is closed: the system tells whoever it controls by a hangup.
#[test]
fn a_terminal_that_is_closed_ends_its_runs_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    slow_scenario(folder, 1);
    // Many short frames, so that there is time for a bar.
    let text = fs::read_to_string(folder.join("slow.toml")).unwrap();
    let text = text.replace("frames = 20", "frames = 4000").replace("agents = 1\n", "agents = 2000\n");
    fs::write(folder.join("many.toml"), text).unwrap();
    let whole = digest(folder, &["run", "many.toml", "--out", "whole"]);
    for (out, ignored) in [("run", false), ("nohup", true)] {
        let args = ["run", "many.toml", "--out", out];
        let mut command = match ignored {
            false => wasm_engine(folder),
            true => nohup(folder, &[]),
        };
        command.args(args).env("TERM", "xterm");
        let terminal = Terminal::open();
        command.stdin(terminal.stdio()).stdout(terminal.stdio()).stderr(terminal.stdio());
        terminal.controls(&mut command);
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut screen = terminal.into_screen();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("frames/s") {
            let mut some = [0; 1_000];
            let count = screen.read(&mut some).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&seen)));
            seen.extend_from_slice(&some[..count]);
        }
        drop(screen);
        let status = child.wait().unwrap();
        let text = fs::read_to_string(folder.join(out).join("summary.json")).unwrap();
        let summary: Value = serde_json::from_str(&text).unwrap();
        match ignored {
            false => {
                assert_eq!(status.code(), Some(129), "{text}");
                assert_eq!(summary["interrupted"], true, "{text}");
                assert_eq!(digest(folder, &["resume", out]), whole);
            }
            // Its summary had nowhere to go, and is in the folder.
            true => {
                assert_eq!(status.code(), Some(0), "{text}");
                assert_eq!(summary["digest"], whole.as_str());
            }
        }
    }
}
