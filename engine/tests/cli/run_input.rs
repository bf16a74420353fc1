//! Runs fed from files and from standard input, and how runs end: from the command line, on the ring's module.

use crate::common;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use serde_json::Value;

use crate::common::{stderr, summary};

const EVENTS: &str = "{\"frame\":0,\"topic\":\"t\"}\n{\"frame\":5,\"topic\":\"t\"}\n{\"frame\":25,\"topic\":\"t\"}\n";

/// A ring of four agents in a temporary folder. Nobody is a member of its topic: a ring takes no messages from outside.
fn folder() -> tempfile::TempDir {
    let module = common::root().join("agents/samples/wasm/ring.wasm");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(module, folder.path().join("ring.wasm")).unwrap();
    std::fs::write(folder.path().join("events.jsonl"), EVENTS).unwrap();
    let scenario = "frames = 20\ntopics = [\"t\"]\nparams.tokens = 4\nmodules.ring.path = \"ring.wasm\"\n\
        [[groups]]\nname = \"ring\"\nmodule = \"ring\"\nagents = 4\n\
        params = { agents = 4, tokens = 4, audit_every = 5 }\n\
        [[expect]]\ngroup = \"ring\"\noutput = \"tokens\"\nequals = \"$tokens\"\n";
    std::fs::write(folder.path().join("r.toml"), scenario).unwrap();
    folder
}

fn start(folder: &Path, args: &[&str]) -> Child {
    common::wasm_engine(folder)
        .args(["run", "r.toml", "--out", "out"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(folder: &Path, args: &[&str], stdin: &str) -> Output {
    let mut child = start(folder, args);
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_file_and_standard_input_are_the_same_events() {
    let json = ["--summary", "json"];
    let from = |input: &str, stdin: &str| {
        let folder = folder();
        let output = run(folder.path(), &[&json[..], &["--input", input]].concat(), stdin);
        assert!(output.status.success(), "{}", stderr(&output));
        summary(&output)
    };
    let (file, stdin) = (from("events.jsonl", ""), from("-", EVENTS));
    assert_eq!(file["digest"], stdin["digest"]);
    assert_eq!(file["events"], serde_json::json!({"delivered": 2, "lost": 0, "disabled": 0, "late": 1}));
    assert_eq!(stdin["events"]["delivered"], 2);
    let without = summary(&run(folder().path(), &json, ""));
    assert_ne!(without["digest"], file["digest"], "events are a part of what happened");
}

#[test]
fn the_summary_as_json_is_one_line_and_the_last() {
    let folder = folder();
    let output = run(folder.path(), &["--summary", "json"], "");
    assert!(output.status.success(), "{}", stderr(&output));
    let stdout = std::str::from_utf8(&output.stdout).unwrap();
    assert!(stdout.ends_with("}\n") && stdout.lines().count() == 1, "{stdout}");
    assert_eq!(std::fs::read_to_string(folder.path().join("out/summary.json")).unwrap(), stdout);
    assert_eq!(summary(&output)["frames"], 20);
}

#[test]
fn a_bad_line_of_standard_input_ends_the_run_and_keeps_what_was_run() {
    let folder = folder();
    let bad = "{\"frame\":0,\"topic\":\"t\"}\n{\"frame\":5,\"topic\":\"t\"}\n{\"frame\":6,\"topc\":\"t\"}\n";
    let output = run(folder.path(), &["--input", "-", "--summary", "json", "--quiet"], bad);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: standard input:3:22: unknown key `topc`\n"), "{}", stderr(&output));
    let frames = std::fs::read_to_string(folder.path().join("out/frames.jsonl")).unwrap();
    assert_eq!(frames.lines().count(), 5);
    let kept: Value = serde_json::from_slice(&std::fs::read(folder.path().join("out/summary.json")).unwrap()).unwrap();
    assert_eq!(kept, summary(&output));
    assert_eq!(kept["frames"], 5);
    assert!(kept["error"].as_str().unwrap().contains("topc"));
}

#[test]
fn a_bad_line_of_a_file_fails_before_anything_runs() {
    let folder = folder();
    std::fs::write(folder.path().join("events.jsonl"), format!("{EVENTS}{{}}\n")).unwrap();
    let output = run(folder.path(), &["--input", "events.jsonl"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: events.jsonl:4: frame: missing\n"), "{}", stderr(&output));
    assert!(!folder.path().join("out").exists());
}

#[test]
fn an_expectation_that_does_not_hold_fails_the_run_at_its_end() {
    let ended = folder();
    let output = run(ended.path(), &["--set", "tokens=5", "--quiet"], "");
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: r.toml:10: an expectation isn't met: ring: tokens equals 5: it is 4\n";
    assert_eq!(stderr(&output), expected);
    assert!(std::str::from_utf8(&output.stdout).unwrap().contains("UNMET    ring: tokens equals 5: it is 4"));
    // The run itself was whole, and its results are kept.
    assert!(ended.path().join("out/summary.json").is_file());

    let shorter = folder();
    let output = run(shorter.path(), &["--set", "tokens=5", "--frames", "10", "--quiet"], "");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "quiet says nothing");
}

#[test]
#[cfg(unix)]
fn a_run_that_waits_for_input_can_be_interrupted() {
    let folder = folder();
    let mut child = start(folder.path(), &["--input", "-", "--summary", "json"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"frame\":0,\"topic\":\"t\"}\n{\"frame\":5,\"topic\":\"t\"}\n").unwrap();
    let manifest = folder.path().join("out/outputs.jsonl");
    for _ in 0..600 {
        if manifest.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    common::signal(&child, libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(matches!(output.status.code(), Some(143)), "{}", stderr(&output));
    let summary = summary(&output);
    assert_eq!((summary["interrupted"].as_bool(), summary["frames"].as_u64()), (Some(true), Some(5)));
    let help = "ended before frame 5, in order\n  help: `wasm-engine resume out` goes on with the run\n";
    assert!(stderr(&output).ends_with(help), "{}", stderr(&output));
}

/// The run loads for as long as it takes to check its events, of which there are many.
#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_while_loading_ends_before_the_first_frame() {
    use std::io::{BufRead as _, BufReader};

    let folder = folder();
    std::fs::write(folder.path().join("many"), "{\"frame\":0,\"topic\":\"t\"}\n".repeat(2_000_000)).unwrap();
    let mut child = start(folder.path(), &["--input", "many"]);
    let caught = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(|mask| mask.trim().to_owned());
        u64::from_str_radix(&mask.unwrap(), 16).unwrap() & (1 << (libc::SIGINT - 1)) != 0
    };
    // Until it listens, a signal would kill it.
    while !caught(std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap()) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    common::signal(&child, libc::SIGINT);
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<_> = said.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(said, ["ended before the first frame: nothing was run"]);
    assert!(!folder.path().join("out").exists());
}

/// The sample `dice` records a value for each message, and one for each step.
#[test]
fn an_event_reaches_an_agent_that_is_spawned_in_its_frame_wherever_the_line_stands() {
    let spawn = "{\"frame\":3,\"command\":\"spawn\",\"group\":\"a\"}\n";
    let lost = "{\"frame\":2,\"to\":\"a/1\",\"text\":\"too early\"}\n";
    let events = "{\"frame\":3,\"to\":\"a/1\",\"text\":\"by name\"}\n{\"frame\":3,\"to\":\"a/*\",\"text\":\"by group\"}\n\
        {\"frame\":3,\"topic\":\"t\",\"text\":\"by topic\"}\n";
    let told = [format!("{lost}{spawn}{events}"), format!("{lost}{events}{spawn}")].map(|lines| {
        let folder = tempfile::tempdir().unwrap();
        let module = common::path("agents/samples/wasm/dice.wasm");
        let scenario = format!(
            "frames = 8\ninput = \"e.jsonl\"\ntopics = [\"t\"]\nmodules.dice.path = {module:?}\n\
             [[groups]]\nname = \"a\"\nmodule = \"dice\"\nagents = 1\nagents_max = 2\nsubscribe = [\"t\"]\n"
        );
        std::fs::write(folder.path().join("r.toml"), scenario).unwrap();
        std::fs::write(folder.path().join("e.jsonl"), lines).unwrap();
        let output = run(folder.path(), &["--summary", "json"], "");
        let outputs = std::fs::read_to_string(folder.path().join("out/outputs.jsonl")).unwrap();
        let rows = outputs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let rows = rows.filter(|row| row["frame"] == 4 && row["agent"] == "a/1");
        assert_eq!(rows.count(), 4, "three messages and a step: {outputs}");
        let told = common::told(&output);
        assert_eq!(told["events"], serde_json::json!({"delivered": 4, "lost": 1, "disabled": 0, "late": 0}));
        assert_eq!(told["dropped_by_reason"], serde_json::json!({"unknown_recipient": 1}));
        told["digest"].clone()
    });
    assert_eq!(told[0], told[1], "the order of the lines of events and commands is no part of the state");
}

#[test]
fn commands_that_are_refused_are_named_with_why_the_first_ones() {
    let folder = folder();
    let lines = [
        r#"{"frame":1,"command":"spawn","group":"ring"}"#,
        r#"{"frame":1,"command":"resume","agent":"ring/0"}"#,
        r#"{"frame":2,"command":"terminate","agent":"ring/1"}"#,
        r#"{"frame":5,"command":"pause","agent":"ring/1"}"#,
        r#"{"frame":7,"command":"spawn","group":"ring","count":1000}"#,
    ];
    std::fs::write(folder.path().join("commands.jsonl"), lines.join("\n")).unwrap();
    let args = ["--input", "commands.jsonl", "--summary", "json", "--quiet"];
    let output = run(folder.path(), &args, "");
    let told = stderr(&output);
    let full = "the group, or its tenant, has no place for one more agent";
    let expected = [
        format!("warning: the command `spawn` of frame 1 in group `ring` wasn't carried out: {full}"),
        "warning: the command `resume` of frame 1 for agent `ring/0` wasn't carried out: it doesn't fit the agent's state: an active agent \
         can be paused, and a paused one resumed"
            .to_owned(),
        "warning: the command `pause` of frame 5 for agent `ring/1` wasn't carried out: the agent has ended".to_owned(),
    ];
    let mut lines = told.lines();
    assert_eq!(lines.by_ref().take(3).collect::<Vec<_>>(), expected, "{told}");
    let spawn = expected[0].replace("frame 1", "frame 7");
    assert_eq!(lines.by_ref().take(5).collect::<Vec<_>>(), [spawn.as_str(); 5], "{told}");
    assert_eq!(lines.next(), Some("warning: no more is said of commands; the summary counts all (`commands_refused`)"));
    assert_eq!(summary(&output)["commands_refused"], 3 + 999);
    // Who runs frames again is told nothing twice.
    let resumed = common::engine(folder.path(), &["resume", "out", "--frames", "21", "--quiet"]);
    assert!(!stderr(&resumed).contains("the command"), "{}", stderr(&resumed));
}
