//! Recorded runs from the command line: replayed, resumed, branched, compared and looked at.

use crate::common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::common::{POSTROOM, RING, engine, path, stderr, summary, wasm_engine};
use serde_json::{Value, json};

const TOUR: &str = "agents/scenarios/kernel-tour.toml";

/// What two runs have in common that are the same run.
const SAME: [&str; 16] = [
    "frames",
    "agents",
    "steps",
    "messages",
    "delivered",
    "dropped_by_reason",
    "faults",
    "commands",
    "deferred",
    "swaps",
    "inference_jobs",
    "digest",
    "groups",
    "outputs",
    "expectations",
    "events",
];
const TABLES: [&str; 6] =
    ["frames.jsonl", "faults.jsonl", "logs.jsonl", "outputs.jsonl", "swaps.jsonl", "models.jsonl"];

/// The JSON that a command that goes well prints last. What a scenario expects, it expects of as many frames as its file says.
fn told(folder: &Path, args: &[&str]) -> Value {
    common::told(&engine(folder, &[args, &["--summary", "json"]].concat()))
}

/// What a command that is refused says.
fn refused(folder: &Path, args: &[&str], status: i32) -> String {
    let output = engine(folder, args);
    let text = stderr(&output).to_owned();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn assert_same_run(a: &Value, b: &Value, folder: &Path, [run_a, run_b]: [&str; 2]) {
    for key in SAME {
        assert_eq!(a[key], b[key], "{key}");
    }
    for table in TABLES {
        let read = |run: &str| fs::read_to_string(folder.join(run).join(table)).unwrap();
        assert!(read(run_a) == read(run_b), "{table} of {run_a} and {run_b}");
    }
}

/// A run of a tenth of a second and more, started and left alone until it has run some frames.
fn start_long(folder: &Path, out: &str, frames: &str) -> Child {
    let mut child = wasm_engine(folder)
        .args(["run", &path(TOUR), "--frames", frames, "--out", out, "--snapshot-every", "40", "--quiet"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let snapshots = folder.join(out).join("snapshots");
    for _ in 0..1_000 {
        let names = fs::read_dir(&snapshots).into_iter().flatten().flatten();
        if names.filter(|name| name.path().extension().is_some_and(|end| end == "wes")).count() > 2 {
            return child;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("no snapshot was taken");
}

#[test]
fn a_replay_is_identical_at_any_number_of_threads_and_from_any_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = told(folder, &["run", &path(TOUR), "--out", "run", "--snapshot-every", "30"]);
    for threads in ["1", "2", "4"] {
        let replayed = told(folder, &["replay", "run", "--threads", threads]);
        assert_eq!((&replayed["identical"], &replayed["digest"]), (&json!(true), &run["digest"]));
        assert_eq!((&replayed["from"], &replayed["frames"]), (&json!(0), &run["frames"]));
    }
    let part = told(folder, &["replay", "run", "--from", "100", "--to", "130"]);
    assert_eq!((&part["from"], &part["frames"]), (&json!(90), &json!(41)), "from the snapshot before frame 90");
    let text = engine(folder, &["replay", "run"]);
    assert!(String::from_utf8_lossy(&text.stdout).starts_with("identical: frames 0 to 199 in "), "{text:?}");
    assert!(
        refused(folder, &["replay", "run", "--from", "200", "--to", "300"], 2)
            .contains("the run has the frames 0 to 199")
    );
}

#[test]
fn a_full_digest_is_replayed_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let args = ["run", &path(RING), "--set", "agents=50", "--frames", "30", "--digest", "full", "--out", "run"];
    let run = told(folder, &[&args[..], &["--snapshot-every", "7"]].concat());
    assert_eq!(told(folder, &["replay", "run", "--from", "20"])["digest"], run["digest"]);
}

#[test]
fn models_are_replayed_without_onnx_runtime_or_recomputed_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = told(folder, &["run", &path(POSTROOM), "--out", "run", "--snapshot-every", "25"]);
    let mut replay = wasm_engine(folder);
    replay.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so").args(["replay", "run", "--summary", "json"]);
    let output = replay.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(summary(&output)["digest"], run["digest"]);
    replay.args(["--inference", "recompute"]);
    let output = replay.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nowhere/libonnxruntime.so"), "{}", stderr(&output));
    let recomputed = told(folder, &["replay", "run", "--inference", "recompute", "--from", "60"]);
    assert_eq!(recomputed["digest"], run["digest"]);
}

#[test]
fn a_run_goes_on_to_more_frames_as_if_it_had_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (scenario, frames, more) in [(TOUR, "90", "200"), (POSTROOM, "40", "85")] {
        let whole = told(folder, &["run", &path(scenario), "--frames", more, "--out", "whole"]);
        // There is a snapshot before the frame after the last one, too.
        told(folder, &["run", &path(scenario), "--frames", frames, "--out", "part", "--snapshot-every", "5"]);
        assert!(refused(folder, &["resume", "part", "--frames", "10"], 2).contains("frames already"));
        let resumed = told(folder, &["resume", "part", "--frames", more]);
        assert_same_run(&whole, &resumed, folder, ["whole", "part"]);
        assert_eq!(told(folder, &["replay", "part"])["frames"], whole["frames"]);
        // It is complete: to resume it once more changes nothing.
        let again = told(folder, &["resume", "part", "--frames", more]);
        assert_same_run(&whole, &again, folder, ["whole", "part"]);
        for run in ["whole", "part"] {
            fs::remove_dir_all(folder.join(run)).unwrap();
        }
    }
}

#[cfg(unix)]
#[test]
fn a_killed_run_is_resumed_and_ends_as_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let frames = "1500";
    let whole = told(folder, &["run", &path(TOUR), "--frames", frames, "--out", "whole"]);
    let mut child = start_long(folder, "killed", frames);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.join("killed/summary.json").exists());
    let partial = told(folder, &["replay", "killed"]);
    assert_eq!((&partial["identical"], &partial["ended"]), (&json!(true), &json!(false)));
    let resumed = told(folder, &["resume", "killed", "--threads", "1"]);
    assert_same_run(&whole, &resumed, folder, ["whole", "killed"]);
}

#[cfg(unix)]
#[test]
fn a_run_in_hand_is_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut child = start_long(folder, "run", "100000000");
    for command in ["resume", "replay", "inspect"] {
        let text = refused(folder, &[command, "run"], 2);
        assert!(text.contains("run") && text.contains(&child.id().to_string()), "{text}");
    }
    common::signal(&child, libc::SIGTERM);
    child.wait().unwrap();
    told(folder, &["inspect", "run"]);
}

#[cfg(unix)]
#[test]
fn a_signal_asks_for_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut child = wasm_engine(folder)
        .args(["run", &path(TOUR), "--frames", "100000000", "--out", "run", "--quiet"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let frames = folder.join("run/journal");
    while !frames.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // The handler is there once frames are run.
    std::thread::sleep(std::time::Duration::from_millis(500));
    common::signal(&child, libc::SIGUSR1);
    let snapshots = folder.join("run/snapshots");
    let mut found = false;
    for _ in 0..500 {
        found = fs::read_dir(&snapshots)
            .into_iter()
            .flatten()
            .flatten()
            .any(|name| name.path().extension().is_some_and(|end| end == "wes"));
        if found {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    common::signal(&child, libc::SIGTERM);
    child.wait().unwrap();
    assert!(found, "SIGUSR1 took no snapshot");
    assert_eq!(told(folder, &["replay", "run", "--from", "1"])["identical"], true);
}

#[test]
fn events_from_standard_input_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let events = fs::read_to_string(path("agents/scenarios/kernel-tour/orders.jsonl")).unwrap();
    let mut child = wasm_engine(folder)
        .args(["run", &path(TOUR), "--input", "-", "--out", "run", "--summary", "json", "--snapshot-every", "64"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(events.as_bytes()).unwrap();
    let live = summary(&child.wait_with_output().unwrap());
    let file = told(folder, &["run", &path(TOUR), "--out", "file"]);
    assert_eq!(live["digest"], file["digest"]);
    assert_eq!(told(folder, &["replay", "run"])["digest"], live["digest"]);
    assert_eq!(told(folder, &["replay", "run", "--from", "150"])["digest"], live["digest"]);
    // A branch is given what came from standard input, too.
    let branch = told(folder, &["branch", "run", "--at", "20", "--out", "branch"]);
    assert_eq!(branch["digest"], live["digest"]);
    // What was read belongs to earlier frames: the same again is passed over.
    let mut resume = wasm_engine(folder)
        .args(["resume", "run", "--frames", "210", "--summary", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    resume.stdin.take().unwrap().write_all(events.as_bytes()).unwrap();
    let resumed = resume.wait_with_output().unwrap();
    let longer = told(folder, &["run", &path(TOUR), "--frames", "210", "--out", "longer"]);
    assert_eq!(common::told(&resumed)["digest"], longer["digest"]);
}

/// A ring whose budget is a parameter: a branch with another one goes its own way.
fn budgeted(folder: &Path) {
    fs::copy(path("agents/samples/wasm/ring.wasm"), folder.join("ring.wasm")).unwrap();
    let scenario = "frames = 40\nparams.steps = 1_000\nparams.agents = 20\nmodules.ring.path = \"ring.wasm\"\n\
        [scheduler]\nsteps_per_frame_max = \"$steps\"\n\
        [[groups]]\nname = \"ring\"\nmodule = \"ring\"\nagents = \"$agents\"\n\
        params = { agents = 20, tokens = 20, audit_every = 0 }\n";
    fs::write(folder.join("budgeted.toml"), scenario).unwrap();
}

#[test]
fn a_branch_is_the_same_run_until_a_parameter_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    budgeted(folder);
    let run = told(folder, &["run", "budgeted.toml", "--out", "run", "--seed", "5"]);
    let same = told(folder, &["branch", "run", "--at", "13", "--out", "same"]);
    for key in SAME {
        assert_eq!(run[key], same[key], "{key}");
    }
    let frames = |run: &str| fs::read_to_string(folder.join(run).join("frames.jsonl")).unwrap();
    let tail: Vec<_> = frames("run").lines().skip(13).map(str::to_owned).collect();
    assert_eq!(frames("same").lines().collect::<Vec<_>>(), tail);
    let manifest = fs::read_to_string(folder.join("same/manifest.toml")).unwrap();
    assert!(manifest.contains("[branch]\nrun = ") && manifest.contains("frame = 13\n"), "{manifest}");
    let compared = told(folder, &["diff", "run", "same"]);
    assert_eq!((&compared["identical"], &compared["first_common_frame"]), (&json!(true), &json!(13)));

    // As a crash leaves it in the moment in which the journal is begun anew.
    fs::write(folder.join("same/journal/000000.wej"), "").unwrap();
    fs::remove_file(folder.join("same/summary.json")).unwrap();
    let again = told(folder, &["resume", "same"]);
    assert_same_run(&same, &again, folder, ["same", "same"]);
    assert_eq!(told(folder, &["replay", "same"])["frames"], 27);

    let other = told(folder, &["branch", "run", "--at", "13", "--out", "other", "--set", "steps=7", "--frames", "50"]);
    assert_eq!(other["frames"], 50);
    assert_ne!(other["digest"], run["digest"]);
    let replayed = told(folder, &["replay", "other"]);
    assert_eq!((&replayed["from"], &replayed["digest"]), (&json!(13), &other["digest"]));
    let resumed = told(folder, &["resume", "other", "--frames", "60"]);
    assert_eq!(resumed["frames"], 60);
    let output = engine(folder, &["diff", "run", "other"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("params.steps  a: 1000  b: 7"), "{text}");
    assert!(text.contains("first difference: frame 13, in "), "{text}");
    // A branch of a branch.
    let twice = told(folder, &["branch", "other", "--at", "30", "--out", "twice", "--frames", "60"]);
    assert_eq!(twice["digest"], resumed["digest"]);
}

#[test]
fn a_branch_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    budgeted(folder);
    told(folder, &["run", "budgeted.toml", "--out", "run"]);
    let branch = ["branch", "run", "--out", "branch", "--at"];
    let cases: [(&[&str], &str); 5] = [
        (&["41"], "use 0 to 40"),
        (&["40"], "--at: a branch from frame 40 on would have no frame of its own, as it is to have 40 frames in all"),
        (&["10", "--frames", "10"], "more than 10"),
        (&["10", "--set", "nothing=1"], "no parameter `nothing`"),
        (&["10", "--set", "agents=21"], "group ring: it began with 20 agents, and here with 21"),
    ];
    for (args, expected) in cases {
        let text = refused(folder, &[&branch[..], args].concat(), 2);
        assert!(text.contains(expected), "{args:?}: {text}");
        assert!(!folder.join("branch/manifest.toml").exists(), "{args:?}");
    }
}

#[test]
fn two_runs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (out, seed) in [("a", "1"), ("b", "1"), ("c", "2")] {
        told(folder, &["run", &path(RING), "--set", "agents=30", "--frames", "20", "--seed", seed, "--out", out]);
    }
    assert_eq!(told(folder, &["diff", "a", "b"])["identical"], true);
    let output = engine(folder, &["diff", "a", "c"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("because they begin with other seeds"), "{text}");
}

#[test]
fn a_recorded_run_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    told(folder, &["run", &path(TOUR), "--out", "run", "--snapshot-every", "50"]);
    let state = told(folder, &["inspect", "run", "--at", "120"]);
    let groups: Vec<_> = state["groups"].as_array().unwrap().iter().map(|group| group["group"].clone()).collect();
    assert!(groups.contains(&json!("sleepers")) && groups.contains(&json!("watchers")), "{groups:?}");
    let record: Value = {
        let frames = fs::read_to_string(folder.join("run/frames.jsonl")).unwrap();
        serde_json::from_str(frames.lines().nth(120).unwrap()).unwrap()
    };
    assert_eq!(state["digest"], record["digest"]);
    let alive = |group: &Value| {
        group["states"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|state| state[0] != "terminated")
            .map(|state| state[1].as_u64().unwrap())
            .sum::<u64>()
    };
    let agents: u64 = state["groups"].as_array().unwrap().iter().map(alive).sum();
    assert_eq!(json!(agents), record["counts"]["agents"]);

    let messages = told(folder, &["inspect", "run", "--at", "120", "--messages"]);
    let of_agents = messages["messages"].as_array().unwrap().iter();
    let of_agents = of_agents.filter(|message| !message["sender"].as_str().unwrap().starts_with("the engine"));
    assert_eq!(json!(of_agents.count()), record["counts"]["messages"]);

    let agent = told(folder, &["inspect", "run", "--at", "120", "--agent", "sleepers/3"]);
    assert_eq!(agent["agent"], "sleepers/3");
    assert!(agent["memory_bytes"].as_u64().unwrap() >= 65_536, "{agent}");
    let followed = told(folder, &["inspect", "run", "--agent", "foremen/0"]);
    assert!(followed["frames"].as_array().unwrap().len() > 50, "{followed}");
    for args in [&["--at", "120"][..], &["--at", "120", "--messages"], &["--at", "120", "--agent", "sleepers/3"]] {
        let output = engine(folder, &[&["inspect", "run"], args].concat());
        assert!(output.status.success() && output.stdout.len() > 200, "{args:?}: {output:?}");
    }
    assert!(refused(folder, &["inspect", "run", "--agent", "sleeper/3"], 2).contains("did you mean `sleepers`"));
    assert!(refused(folder, &["inspect", "run", "--at", "200"], 2).contains("the run has the frames 0 to 199"));
}

#[test]
fn without_a_record_there_is_nothing_to_open() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    told(folder, &["run", &path(RING), "--frames", "5", "--out", "run", "--no-record"]);
    assert!(!folder.join("run/journal").exists());
    for command in ["replay", "resume", "inspect"] {
        assert!(refused(folder, &[command, "run"], 2).contains("--no-record"));
    }
}

/// What a scenario expects, it expects of as many frames as its file says: a run that was stopped before is held to no more when it
/// goes on.
#[test]
fn a_resumed_run_is_held_to_what_its_scenario_expects_of_all_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let counter = path("agents/scenarios/counter.toml");
    assert!(engine(folder, &["run", &counter, "--frames", "5", "--out", "run"]).status.success());
    fs::remove_file(folder.join("run/summary.json")).unwrap();
    let resumed = engine(folder, &["resume", "run"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert_eq!(engine(folder, &["resume", "run", "--frames", "10"]).status.code(), Some(0));
}

/// A snapshot of another run in the place of the one that a branch begins with.
#[test]
fn a_branch_begins_with_no_other_runs_state() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    budgeted(folder);
    for (run, seed, branch) in [("a", "1", "branch-a"), ("b", "2", "branch-b")] {
        told(folder, &["run", "budgeted.toml", "--seed", seed, "--out", run]);
        told(folder, &["branch", run, "--at", "13", "--out", branch]);
    }
    let first = "snapshots/0000000013.wes";
    fs::copy(folder.join("branch-b").join(first), folder.join("branch-a").join(first)).unwrap();
    let text = refused(folder, &["replay", "branch-a"], 2);
    assert!(text.contains("isn't one of this run"), "{text}");
}
