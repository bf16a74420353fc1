//! What the commands of time travel say to people: of runs that are complete, or cut off, or damaged, of agents that ended, and of
//! what differs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::common::{RING, engine, path, stderr, summary};
use serde_json::{Value, json};

/// What a command prints, which ends with this exit status.
fn said(folder: &Path, args: &[&str], status: i32) -> String {
    let output = engine(folder, args);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON that a command prints, which ends with this exit status.
fn told(folder: &Path, args: &[&str], status: i32) -> Value {
    let output = engine(folder, &[args, &["--summary", "json"]].concat());
    assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
    summary(&output)
}

/// What a command that is refused says: what is wrong, and what to do.
fn refused(folder: &Path, args: &[&str]) -> String {
    let output = engine(folder, args);
    let text = stderr(&output).to_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(text.contains("\n  help: "), "{args:?}: {text}");
    text
}

/// The kernel's tour in `run`, with snapshots.
fn tour(folder: &Path) {
    said(folder, &["run", &path("agents/scenarios/kernel-tour.toml"), "--out", "run", "--snapshot-every", "50"], 0);
}

fn counter(folder: &Path, frames: &str, out: &str) {
    let args = ["run", &path("agents/scenarios/counter.toml"), "--frames", frames, "--out", out];
    said(folder, &[&args[..], &["--snapshot-every", "4"]].concat(), 0);
}

/// Bytes and times of all files.
fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            found.insert(path.clone(), (fs::read(&path).unwrap(), changed));
        }
    }
    found
}

/// Who may write to the folder says so in its file `lock`. It says again what it said before where nothing was written.
#[test]
fn a_command_that_is_refused_leaves_the_folder_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = folder.join("run");
    counter(folder, "10", "run");
    let commands = ["replay", "resume", "inspect"];
    let segment = run.join("journal/000000.wej");
    let whole = fs::read(&segment).unwrap();
    let mut old = whole.clone();
    // The version of the format follows the eight bytes by which a segment is known, and isn't covered by what comes before it.
    old[8] -= 1;
    fs::write(&segment, &old).unwrap();
    fs::write(run.join("lock"), "written 1\n").unwrap();
    let before = files(&run);
    for command in commands {
        assert!(
            refused(folder, &[command, "run"]).contains("has the journal format 2 (at byte 8), this engine reads 3")
        );
        assert!(before == files(&run), "{command} has changed the folder");
    }
    // A folder that came without the file gets none.
    fs::remove_file(run.join("lock")).unwrap();
    let before = files(&run);
    for command in commands {
        refused(folder, &[command, "run"]);
        assert!(before == files(&run), "{command} has changed the folder");
    }
    // Nor does a command change it that only reads, or is refused later on.
    fs::write(&segment, &whole).unwrap();
    fs::write(run.join("lock"), "").unwrap();
    let before = files(&run);
    said(folder, &["replay", "run"], 0);
    refused(folder, &["resume", "run", "--frames", "3"]);
    refused(folder, &["resume", "run", "--frames", "30", "--disk-max", "20kB"]);
    assert!(before == files(&run));
}

#[test]
fn a_complete_run_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    counter(folder, "10", "run");
    // What the scenario expects of ten frames doesn't hold of eleven: a run that isn't run again is none that fails.
    assert_eq!(engine(folder, &["resume", "run", "--frames", "11"]).status.code(), Some(1));
    let (before, line) = (files(&folder.join("run")), fs::read_to_string(folder.join("run/summary.json")).unwrap());
    let digest = serde_json::from_str::<Value>(&line).unwrap()["digest"].as_str().unwrap().to_owned();
    let complete = format!("complete: 11 frames, digest {digest}; nothing to do (--frames N gives it more)\n");
    assert_eq!(said(folder, &["resume", "run"], 0), complete);
    assert_eq!(said(folder, &["resume", "run", "--frames", "11"], 0), complete);
    assert_eq!(said(folder, &["resume", "run", "--quiet"], 0), "");
    assert_eq!(said(folder, &["resume", "run", "--summary", "json"], 0), line);
    assert!(before == files(&folder.join("run")), "a file was written");

    for at in (0..line.len()).step_by(9) {
        let mut bytes = line.clone().into_bytes();
        bytes[at] ^= 1;
        fs::write(folder.join("run/summary.json"), bytes).unwrap();
        let told = refused(folder, &["resume", "run", "--summary", "json"]);
        assert!(told.contains("summary.json: isn't the summary of this run"), "byte {at}: {told}");
    }
    let journal = folder.join("run/journal/000000.wej");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[100] ^= 1;
    fs::write(&journal, bytes).unwrap();
    assert!(refused(folder, &["resume", "run"]).contains("000000.wej"));
}

#[test]
fn a_run_that_goes_on_says_what_it_runs_and_how_fast() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    counter(folder, "6", "run");
    let first = engine(folder, &["resume", "run", "--frames", "9"]);
    let expected =
        "6 frames are recorded; runs those from 4 on again (a snapshot is there), and then new ones up to frame 8\n";
    assert_eq!(stderr(&first), expected);
    let text = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(text.contains("frames     9 (5 here) in "), "{text}");
    let summary = told(folder, &["resume", "run", "--frames", "10"], 0);
    assert_eq!((&summary["frames"], &summary["frames_here"]), (&json!(10), &json!(2)));
    let rate = 2.0 / summary["wall_s"].as_f64().unwrap();
    assert!((summary["frames_per_s"].as_f64().unwrap() / rate - 1.0).abs() < 1e-9, "{summary}");
    let branch = told(folder, &["branch", "run", "--at", "3", "--out", "branch"], 0);
    assert_eq!((&branch["frames"], &branch["frames_here"]), (&json!(10), &json!(7)));

    let plan = |run: &str, args: &[&str]| {
        fs::remove_file(folder.join(run).join("summary.json")).unwrap();
        let output = engine(folder, &[&["resume", run], args].concat());
        stderr(&output).lines().find(|line| !line.starts_with("warning: ")).unwrap().to_owned()
    };
    assert_eq!(plan("run", &[]), "10 frames are recorded; runs those from 8 on again (a snapshot is there)");
    assert_eq!(plan("run", &["--frames", "12"]).split_once(", and then ").unwrap().1, "new ones up to frame 11");
    assert_eq!(plan("run", &[]), "12 frames are recorded, and there is nothing to run: the end is written");
    fs::remove_dir_all(folder.join("run/snapshots")).unwrap();
    assert_eq!(plan("run", &[]), "12 frames are recorded; runs them again, because there is no later snapshot");
    fs::write(folder.join("run/journal/000000.wej"), "").unwrap();
    assert_eq!(plan("run", &[]), "no frame is recorded; runs frames 0 to 11");
    assert_eq!(plan("branch", &[]).split_once("; ").unwrap().0, "7 frames are recorded");
}

#[test]
fn a_replay_says_what_is_recorded_and_where_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    counter(folder, "10", "run");
    let replay = |args: &[&str]| said(folder, &[&["replay", "run"], args].concat(), 0);
    let started = |text: &str, start: &str| assert!(text.starts_with(start), "{text}");
    started(&replay(&[]), "identical: frames 0 to 9 in ");
    started(&replay(&["--from", "8"]), "identical: frames 8 to 9 in ");
    let part = "identical: frames 4 to 9 (from the snapshot before frame 4; 6 was asked for) in ";
    started(&replay(&["--from", "6"]), part);
    let whole = "identical: frames 0 to 9 (from the beginning, because no snapshot is nearer; 3 was asked for) in ";
    started(&replay(&["--from", "3"]), whole);

    fs::remove_file(folder.join("run/summary.json")).unwrap();
    let text = replay(&[]);
    assert!(
        text.ends_with(
            "the run is whole, with 10 frames, but the summary isn't there: `wasm-engine resume` writes it\n"
        )
    );
    let json = told(folder, &["replay", "run"], 0);
    assert_eq!((&json["ended"], &json["complete"]), (&json!(false), &json!(true)));
    let journal = folder.join("run/journal/000000.wej");
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 76]).unwrap();
    let text = replay(&[]);
    assert!(
        text.ends_with("the run was cut off after 9 of 10 frames: `wasm-engine resume` goes on with it\n"),
        "{text}"
    );
    assert_eq!(told(folder, &["replay", "run"], 0)["complete"], false);
    fs::write(&journal, "").unwrap();
    started(&replay(&[]), "identical: no frame was recorded\nthe run was cut off after 0 of 10 frames: ");
}

#[test]
fn a_snapshot_that_is_passed_over_is_told_with_what_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    counter(folder, "10", "run");
    let damage = |name: &str| fs::write(folder.join("run/snapshots").join(name), "damaged").unwrap();
    damage("0000000008.wes");
    let output = engine(folder, &["replay", "run", "--from", "9"]);
    assert!(stderr(&output).ends_with("; the snapshot before frame 4 is used instead\n"), "{}", stderr(&output));
    damage("0000000004.wes");
    let output = engine(folder, &["replay", "run", "--from", "9"]);
    let warnings: Vec<_> = stderr(&output).lines().collect();
    let [warning] = warnings[..] else { panic!("{warnings:?}") };
    assert!(
        warning.contains("0000000008.wes: ")
            && warning.ends_with("; nor can 1 more snapshot be used; the run's beginning is used instead"),
        "{warning}"
    );
    // A replay from the beginning uses none, and says once that it can't hold memories against them.
    let output = engine(folder, &["replay", "run"]);
    let warnings: Vec<_> = stderr(&output).lines().collect();
    let [warning] = warnings[..] else { panic!("{warnings:?}") };
    let meaning = "; nor can 1 more snapshot be used; agents' memories aren't checked before frame 4 and the frames of the others";
    assert!(output.status.success() && warning.contains("0000000004.wes: ") && warning.ends_with(meaning), "{warning}");
}

#[test]
fn what_is_no_run_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    counter(folder, "5", "run");
    fs::write(folder.join("file"), "").unwrap();
    fs::create_dir(folder.join("other")).unwrap();
    for (manifest, expected) in [
        (&b"hello"[..], "doesn't say the version of its format"),
        (
            b"\xff\xfe",
            "\n  help: see that it is a file that you may read, or take it from a copy of the run directory\n",
        ),
        (b"format = 3\n# checksum xxh3-128 0\n", "doesn't match the checksum"),
    ] {
        fs::write(folder.join("other/manifest.toml"), manifest).unwrap();
        let text = refused(folder, &["replay", "other"]);
        assert!(text.contains(expected), "{text}");
    }
    // With a checksum that is right.
    fs::write(folder.join("other/manifest.toml"), wasm_engine::run_dir::seal_text("format = 3\n")).unwrap();
    assert!(refused(folder, &["inspect", "other"]).contains("isn't a manifest"));
    let text = refused(folder, &["replay", "file"]);
    assert!(text.starts_with("error: file: is a file, and not the folder of a run\n"), "{text}");
    fs::remove_file(folder.join("run/scenario.toml")).unwrap();
    let text = refused(folder, &["resume", "run"]);
    assert!(
        text.contains("scenario.toml: can't be read")
            && text.contains("help: see that you may read it, or copy it from "),
        "{text}"
    );
}

#[test]
fn an_agent_that_ended_is_told_with_who_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tour(folder);
    let at = |run: &'static str, at: &'static str, agent: &'static str| ["inspect", run, "--at", at, "--agent", agent];
    // The outside ends it in frame 60, and spawns another one in frame 71.
    let text = said(folder, &at("run", "65", "sleepers/1"), 0);
    assert!(text.starts_with("sleepers/1 after frame 65: terminated\nsleepers/1 ended in frame 60\n"), "{text}");
    assert_eq!(told(folder, &at("run", "59", "sleepers/1"), 0).get("ended"), None);
    for frame in ["71", "120", "199"] {
        let text = refused(folder, &at("run", frame, "sleepers/1"));
        assert!(text.contains("sleepers/1 ended in frame 60; sleepers/1#1 has its place now\n"), "{text}");
    }
    assert!(refused(folder, &at("run", "65", "sleepers/1#1")).contains("isn't spawned yet: sleepers/1 has its place"));
    assert!(refused(folder, &at("run", "65", "sleepers/1001")).contains("it isn't spawned yet\n"));
    assert!(refused(folder, &at("run", "65", "sleepers/1002")).contains("room for 1,002 agents"));

    let text = said(folder, &["inspect", "run", "--agent", "sleepers/1"], 0);
    let end = "sleepers/1 ended in frame 60; sleepers/1#1 has its place from frame 71 on\n";
    assert!(text.ends_with(&format!("\n{end}")), "{text}");
    let json = told(folder, &["inspect", "run", "--agent", "sleepers/1"], 0);
    assert_eq!(json["ended"], json!({"frame": 60, "next": "sleepers/1#1"}));
    assert_eq!(told(folder, &["inspect", "run", "--agent", "workers/0"], 0)["ended"]["frame"], 181);
    assert!(!said(folder, &["inspect", "run", "--agent", "sleepers/1#1"], 0).contains("ended"));

    said(folder, &["branch", "run", "--at", "100", "--frames", "110", "--out", "branch"], 0);
    let before = "sleepers/1 ended before frame 100, with which this branch begins; sleepers/1#1 has its place";
    assert_eq!(said(folder, &["inspect", "branch", "--agent", "sleepers/1"], 0), format!("{before}\n"));
    assert!(refused(folder, &at("branch", "105", "sleepers/1")).contains(&format!("{before} now\n")));
}

#[test]
fn a_branch_warns_of_the_swaps_that_it_still_has_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tour(folder);
    let warned = |at: &str| {
        let output = engine(folder, &["branch", "run", "--at", at, "--out", at]);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output).to_owned()
    };
    let text = warned("150");
    let warning = "warning: group `watchers` keeps its module in frame 150, because module `counter` is refused: ";
    assert!(text.starts_with(warning) && !text.contains(".wasm"), "{text}");
    assert_eq!(warned("151"), "");
}

#[test]
fn messages_are_shown_or_said_not_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tour(folder);
    let text = said(folder, &["inspect", "run", "--at", "5", "--messages", "--agent", "sleepers/3"], 0);
    assert_eq!(text, "in frame 5, sleepers/3 sent no message, and nobody sent one to it alone\n");
    let text = said(folder, &["inspect", "run", "--at", "50", "--messages", "--agent", "workers/3"], 0);
    assert!(text.starts_with("1 message sent in frame 50 by workers/3, or to it alone\n\nsender "), "{text}");
    let json = told(folder, &["inspect", "run", "--at", "199", "--messages"], 0);
    let messages = json["messages"].as_array().unwrap();
    let of = |refused: Option<&str>| messages.iter().find(|message| message["refused"].as_str() == refused).unwrap();
    assert!(of(None)["payload_base64"].is_string());
    let refused = of(Some("refused"));
    assert!(refused["payload_bytes"] == 2 && refused.get("payload_base64").is_none(), "{refused}");
    // One that a budget took back was sent, and is there once all the same.
    assert!(of(Some("over_budget")).get("payload_base64").is_none());
    let mut sent: Vec<_> =
        messages.iter().map(|message| (message["sender"].as_str(), message["sequence"].as_u64())).collect();
    sent.retain(|(sender, _)| sender.is_some_and(|sender| sender.contains('/')));
    let count = sent.len();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent.len(), count, "{messages:?}");

    said(folder, &["run", &path(RING), "--set", "agents=2", "--frames", "1", "--out", "quiet"], 0);
    assert_eq!(said(folder, &["inspect", "quiet", "--messages"], 0), "no message was sent in frame 0\n");
}

#[test]
fn two_runs_that_only_have_other_lengths_are_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (out, frames) in [("short", "2"), ("long", "3"), ("longer", "4")] {
        said(
            folder,
            &["run", &path(RING), "--set", "agents=2", "--set", "tokens=2", "--frames", frames, "--out", out],
            0,
        );
    }
    let end = "\nno difference in frames 0 to 1, with which the other one ends; b goes on for 1 frame\n";
    let text = said(folder, &["diff", "short", "long"], 1);
    assert!(text.ends_with(end), "{text}");
    let text = said(folder, &["diff", "longer", "short"], 1);
    assert!(text.ends_with(&end.replace("b goes on for 1 frame", "a goes on for 2 frames")), "{text}");
    let json = told(folder, &["diff", "short", "long"], 1);
    assert_eq!(
        (&json["identical"], &json["frame"], &json["other_lengths"]),
        (&json!(false), &Value::Null, &json!(true))
    );
    let json = told(folder, &["diff", "short", "short"], 0);
    assert_eq!((&json["identical"], &json["other_lengths"]), (&json!(true), &json!(false)));
}

#[test]
fn a_comparison_names_its_sides_and_says_where_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tour(folder);
    said(folder, &["branch", "run", "--at", "100", "--set", "period=40", "--out", "periods"], 1);
    let json = told(folder, &["diff", "run", "periods"], 1);
    assert_eq!((&json["state_cut"], &json["memories_cut"]), (&json!(true), &json!(true)));
    let text = said(folder, &["diff", "run", "periods"], 1);
    for line in ["perhaps more in the world's state: no more were looked for", "more in memories: 16 are shown"] {
        assert!(text.contains(&format!("\n  and {line}\n")), "{text}");
    }
    said(folder, &["branch", "run", "--at", "100", "--set", "rounds=20", "--out", "rounds"], 1);
    let json = told(folder, &["diff", "run", "rounds"], 1);
    assert_eq!((&json["state_cut"], &json["memories_cut"]), (&json!(false), &json!(false)));
    let differences = json["differences"].as_array().unwrap();
    let text = said(folder, &["diff", "run", "rounds"], 1);
    assert!(!differences.is_empty());
    for difference in differences {
        // Both sides show the first byte that differs, wherever in the value it lies, and the text has the same bytes.
        let at = usize::try_from(difference["byte"].as_u64().unwrap()).unwrap();
        let bytes = ["a", "b"].map(|side| {
            let side = &difference[side];
            let hex = side["hex"].as_str().unwrap();
            let from = usize::try_from(side["from"].as_u64().unwrap()).unwrap();
            assert!(at >= from && at < side["length"].as_u64().unwrap() as usize, "{difference}");
            hex[2 * (at - from)..][..2].to_owned()
        });
        assert_ne!(bytes[0], bytes[1], "{difference}");
        assert!(bytes.iter().all(|byte| text.contains(&format!(">{byte}"))), "{text}");
        for field in difference["fields"].as_array().unwrap() {
            let line = format!("    {}: a {}, b {}\n", field["name"].as_str().unwrap(), field["a"], field["b"]);
            assert!(text.contains(&line.replace('"', "")), "{line}{text}");
        }
    }
    let fuel = differences.iter().find(|difference| difference["component"] == "GroupCounters").unwrap();
    assert_eq!(fuel["field"], "fuel");
    // Without a full digest, no lane tells of memories.
    assert_eq!(json["lanes"], json!(["groups"]));
    assert!(text.contains("\nfirst difference: frame 101, in groups, memories\n"), "{text}");
    assert!(!text.contains("more in "), "{text}");
}
