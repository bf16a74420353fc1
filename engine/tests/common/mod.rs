//! What tests of the whole engine share: where the repository lies, the binary, and its results.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod asking;
pub mod listener;
#[cfg(unix)]
pub mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use asking::Asking;
use serde_json::Value;

pub const POSTROOM: &str = "agents/scenarios/postroom.toml";
pub const RING: &str = "agents/scenarios/ring.toml";

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine is a member of the workspace").into()
}

/// The engine's command, to be run in a folder.
pub fn wasm_engine(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasm-engine"));
    command.current_dir(folder);
    command
}

/// A path in the repository, as an argument.
pub fn path(name: &str) -> String {
    root().join(name).to_str().expect("UTF-8").to_owned()
}

/// Runs the engine's command in a folder.
pub fn engine(folder: &Path, args: &[&str]) -> Output {
    wasm_engine(folder).args(args).output().expect("the engine can be run")
}

/// The summary of a command that goes well, but for what a scenario expects: it expects that of as many frames as its file says.
pub fn told(output: &Output) -> Value {
    let only_unmet =
        || stderr(output).lines().all(|line| !line.starts_with("error: ") || line.contains("an expectation isn't met"));
    assert!(output.status.success() || output.status.code() == Some(1) && only_unmet(), "{}", stderr(output));
    summary(output)
}

/// What a command said on standard error.
pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

/// The keys of a line of `--log json`: those that each has, and those that it may have. `docs/CLI.md` explains them.
pub const LINE_KEYS: ([&str; 4], [&str; 3]) = (["time", "level", "target", "message"], ["help", "fields", "spans"]);

/// Reads what was said on standard error under `--log json`: each line is one whole object with the documented keys and no others, and what to do is in
/// none of their messages.
pub fn said_as_json(text: &str) -> Vec<Value> {
    let read = |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")) };
    let lines: Vec<Value> = text.lines().map(read).collect();
    let (always, maybe) = LINE_KEYS;
    for line in &lines {
        let keys: Vec<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        assert!(always.iter().all(|key| line[key].as_str().is_some_and(|text| !text.is_empty())), "{line}");
        assert!(keys.iter().all(|key| always.contains(key) || maybe.contains(key)), "{line}");
        let (time, level) = (line["time"].as_str().unwrap_or_default(), line["level"].as_str().unwrap_or_default());
        assert!(time.len() == "2026-11-28T21:22:01.000000Z".len() && time.ends_with('Z'), "{line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level), "{line}");
        assert!(line["target"].as_str().is_some_and(|target| target.starts_with("wasm_engine")), "{line}");
        let message = line["message"].as_str().unwrap_or_default();
        let marks = ["help: ", "error: ", "warning: ", "Usage: "];
        // Within quotes, it is somebody's name.
        assert!(!message.lines().any(|line| marks.iter().any(|mark| line.trim_start().starts_with(mark))), "{line}");
        assert!(
            line.get("help").is_none_or(|help| help.as_str().is_some_and(|help| !help.trim().is_empty())),
            "{line}"
        );
    }
    lines
}

/// The summary: the last line of standard output.
pub fn summary(output: &Output) -> Value {
    let stdout = std::str::from_utf8(&output.stdout).expect("UTF-8");
    serde_json::from_str(stdout.lines().last().expect("a last line")).expect("a JSON object")
}

/// Writes the scenario `s.toml` of six frames and three agents, each of which asks for a row of a model when an event tells it to. How long that row
/// takes follows from a number in it, of rounds. `rows` are frames, agents and rounds.
pub fn loop_scenario(folder: &Path, run_ms_max: u32, rows: &[(u64, u32, i64)]) {
    let entry = format!("run_ms_max = {run_ms_max}");
    let asking = Asking { frames: 6, models: &[("loop", &entry)], groups: &[("a", 3)] };
    let row = |&(frame, agent, rounds): &(u64, u32, i64)| {
        let floats = [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
        (frame, format!("a/{agent}"), [floats, rounds.to_le_bytes().to_vec()].concat())
    };
    asking.write(folder, rows.iter().map(row));
}

/// A module of agents that count their steps in `$n`, the one in hand included, and then do `rest`. They send nothing.
pub fn counting_module(rest: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
  (memory (export "memory") 1)
  (global (export "agent_exchange") i32 (i32.const 1024))
  (data (i32.const 1024) "WAGT\01\00\00\00\80\00\00\00\00\01\00\00\00\02\00\00\00\01\00\00")
  (global $n (mut i32) (i32.const 0))
  (func (export "agent_init") (param i32) (result i32) i32.const 0)
  (func (export "agent_step") (param i32) (result i32) (local $i i64)
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    {rest}
    i32.const 0))"#
    );
    wat::parse_str(text).expect("a module as text")
}

/// A pipe with a name, which nobody has opened yet.
#[cfg(unix)]
pub fn pipe(path: &Path) {
    use std::os::unix::ffi::OsStrExt as _;

    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("a path without zeros");
    // SAFETY: a string that ends with a zero, and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0, "{}", path.display());
}

/// Sends a signal to a child that hasn't been waited for.
#[cfg(unix)]
pub fn signal(child: &std::process::Child, number: libc::c_int) {
    let pid = libc::pid_t::try_from(child.id()).expect("a process id");
    // SAFETY: the process is there, because it hasn't been waited for.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
}
