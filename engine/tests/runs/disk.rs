//! What a run takes of the disk: agents that write without end are bounded, counted and told of.

use crate::common;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

/// A scenario of one agent that writes as much as it can: `logs` or `outputs`. At its defaults, it was 860 MB and 191 MB in 200 frames.
fn flood(folder: &Path, what: &str, more: &str) {
    let module = common::path(&format!("engine/tests/data/floods/{what}.wasm"));
    let text = format!(
        "name = \"{what}\"\nframes = 200\nmodules.a.path = {module:?}\n[[groups]]\nname = \"a\"\nmodule = \"a\"\nagents = 1\n{more}"
    );
    fs::write(folder.join(format!("{what}.toml")), text).unwrap();
}

fn run(folder: &Path, what: &str, args: &[&str]) -> Output {
    let scenario = format!("{what}.toml");
    let args = [&["run", &scenario, "--summary", "json"], args].concat();
    common::engine(folder, &args)
}

/// The bytes of all files in a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let sizes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => bytes(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    sizes.sum()
}

/// The number that follows `before` in what was told.
fn number(told: &str, before: &str) -> u64 {
    let rest = told.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {told}")).1;
    let digits: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {before:?} in {told}"))
}

#[test]
fn a_flood_of_logs_and_outputs_is_bounded_counted_and_told_once() {
    for (what, rows, lost, bytes_max) in
        [("logs", "log line", "log_lines_dropped", 1_000_000), ("outputs", "output", "outputs_dropped", 1_000_000)]
    {
        let folder = tempfile::tempdir().unwrap();
        flood(folder.path(), what, "");
        let output = run(folder.path(), what, &["--out", "one", "--threads", "1"]);
        let told = common::told(&output);
        assert!(told[lost].as_u64().unwrap() > 100, "{told}");
        let warnings = common::stderr(&output).lines().filter(|line| line.starts_with("warning: ")).collect::<Vec<_>>();
        let [warning] = warnings[..] else { panic!("told once: {warnings:?}") };
        let key = format!("{}_bytes_per_step_max = ", &what[..what.len() - 1]);
        assert!(warning.starts_with("warning: group `a` writes more than is kept: in frame "), "{warning}");
        assert!(warning.contains(rows) && warning.contains(&key) && warning.contains(lost), "{warning}");
        let size = bytes(&folder.path().join("one"));
        assert!(size < bytes_max, "{what}: {size} bytes");
        // What isn't kept is decided in the frame, so that every run and every replay keeps the same.
        let again = common::told(&run(folder.path(), what, &["--out", "two", "--threads", "2"]));
        assert_eq!((&again["digest"], &again[lost]), (&told["digest"], &told[lost]));
        let table = format!("{what}.jsonl");
        let read = |out: &str| fs::read(folder.path().join(out).join(&table)).unwrap();
        assert!(read("one") == read("two"), "{table}");
        assert!(common::engine(folder.path(), &["replay", "one"]).status.success());
    }
}

#[test]
fn limits_and_tenants_say_how_much_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let of = |more: &str| {
        flood(folder.path(), "outputs", more);
        let output = run(folder.path(), "outputs", &["--no-record", "--frames", "20"]);
        let stderr = common::stderr(&output).to_owned();
        let summary: Value = common::summary(&output);
        (summary["outputs_dropped"].as_u64().unwrap(), stderr)
    };
    let (all, _) =
        of("limits = { output_bytes_per_step_max = 67_108_864, output_bytes_per_frame_max = 1_000_000_000 }\n");
    assert_eq!(all, 0, "it writes no more than that");
    let step = "output_bytes_per_step_max = 67_108_864";
    let (some, told) = of(&format!("limits = {{ {step}, output_bytes_per_frame_max = 100_000 }}\n"));
    assert!(some > 0 && told.contains("limits.output_bytes_per_frame_max = 100,000;"), "{told}");
    let (more, told) =
        of(&format!("tenant = \"t\"\nlimits = {{ {step} }}\n[tenants.t]\noutput_bytes_per_frame_max = 0\n"));
    assert!(more > some && told.contains("tenants.t.output_bytes_per_frame_max = 0;"), "{told}");
}

#[test]
fn a_run_ends_in_order_before_its_folder_has_more_than_disk_max_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // Two of its outputs have room in each frame.
    flood(folder.path(), "outputs", "limits = { output_bytes_per_step_max = 170_000 }\n");
    let whole = common::told(&run(folder.path(), "outputs", &["--out", "whole"]));
    let all = bytes(&folder.path().join("whole"));

    let mut ended = Vec::new();
    let mut output = run(folder.path(), "outputs", &["--out", "run", "--disk-max", "3MB"]);
    for max in [3_000_000, 6_000_000] {
        let stderr = common::stderr(&output).to_owned();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        let beyond = format!("more would be beyond --disk-max, {},000,000 bytes", max / 1_000_000);
        assert!(stderr.contains(&beyond), "{stderr}");
        assert!(
            stderr.contains("help: give it more with --disk-max SIZE; `wasm-engine resume` goes on from there"),
            "{stderr}"
        );
        let size = bytes(&folder.path().join("run"));
        assert!(size <= max && size > max - 1_000_000, "{size} of {max}");
        assert!(!folder.path().join("run/summary.json").exists(), "it isn't at its end");
        // The frame that had no room is no part of the run, nor of what is told of it.
        let frames = fs::read_to_string(folder.path().join("run/frames.jsonl")).unwrap();
        let last: Value = serde_json::from_str(frames.lines().last().unwrap()).unwrap();
        let told = common::summary(&output);
        assert_eq!((&told["frames"], &told["digest"]), (&frames.lines().count().into(), &last["digest"]), "{told}");
        ended.push(stderr);
        output = common::engine(folder.path(), &["resume", "run", "--summary", "json", "--disk-max", "6MB"]);
        if max == 6_000_000 {
            output = common::engine(folder.path(), &["resume", "run", "--summary", "json"]);
        }
    }
    assert_ne!(ended[0], ended[1], "it got further");
    let resumed = common::told(&output);
    assert_eq!((&resumed["digest"], &resumed["outputs_dropped"]), (&whole["digest"], &whole["outputs_dropped"]));
    let read = |out: &str| fs::read(folder.path().join(out).join("outputs.jsonl")).unwrap();
    assert!(read("run") == read("whole"), "nothing is missing, and nothing there twice");
    assert!(bytes(&folder.path().join("run")).abs_diff(all) < 1_000_000);
    assert!(common::engine(folder.path(), &["replay", "run"]).status.success());
}

#[test]
fn snapshots_and_branches_count_and_so_does_a_run_without_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    flood(folder.path(), "logs", "");
    let scenario = fs::read_to_string(folder.path().join("logs.toml")).unwrap();
    fs::write(
        folder.path().join("logs.toml"),
        scenario.replace(
            "agents = 1",
            "agents = 40\nlimits = { log_lines_per_step_max = 65_536, log_bytes_per_step_max = 0 }",
        ),
    )
    .unwrap();
    let max = 400_000;
    let output = run(folder.path(), "logs", &["--out", "a", "--snapshot-every", "1", "--disk-max", "400kB"]);
    assert_eq!(output.status.code(), Some(3), "{}", common::stderr(&output));
    let size = bytes(&folder.path().join("a"));
    assert!(size <= max, "{size}");
    assert!(fs::read_dir(folder.path().join("a/snapshots")).unwrap().count() > 2);
    let resumed = common::engine(folder.path(), &["resume", "a", "--disk-max", "1GB", "--frames", "150"]);
    assert!(resumed.status.success(), "{}", common::stderr(&resumed));

    let branch =
        |max: &str| common::engine(folder.path(), &["branch", "a", "--at", "50", "--out", "d", "--disk-max", max]);
    let branched = branch("66kB");
    let told = common::stderr(&branched);
    assert_eq!(branched.status.code(), Some(2), "{told}");
    assert!(told.contains("--disk-max: 66,000 bytes are too few to begin with"), "{told}");
    let advised = number(told, "give it ");
    // Enough for the copies, and not for the snapshot.
    let branched = branch(&(number(told, "events have ") + number(told, "bytes, and ") + 100).to_string());
    let told = common::stderr(&branched);
    assert_eq!(branched.status.code(), Some(3), "{told}");
    let why =
        "the snapshot with which the branch begins has no room, and nothing was run: more would be beyond --disk-max";
    assert!(
        told.contains(why) && told.contains("help: give it more with --disk-max SIZE; then branch again"),
        "{told}"
    );
    // What the first one was told to give is enough for both.
    let branched = branch(&advised.to_string());
    assert!(branched.status.success(), "{}", common::stderr(&branched));
    let output = run(folder.path(), "logs", &["--no-record", "--out", "c", "--disk-max", "100kB"]);
    assert_eq!(output.status.code(), Some(3), "{}", common::stderr(&output));
    assert!(common::stderr(&output).contains("; run it again"), "{}", common::stderr(&output));
    assert!(bytes(&folder.path().join("c")) <= 100_000);
    let bad = run(folder.path(), "logs", &["--disk-max", "much"]);
    assert_eq!(bad.status.code(), Some(2));
}

/// Copies of the scenario, of modules, models and events are written before the first frame, and bounded as everything else is.
#[test]
fn a_start_whose_copies_have_no_room_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let events = format!("{{\"frame\":0,\"to\":\"a/0\",\"text\":\"{}\"}}\n", "x".repeat(1_000)).repeat(200);
    fs::write(folder.join("events.jsonl"), &events).unwrap();
    let comment = format!("# {}\n", "x".repeat(100_000));
    for (more, args) in [("", &["--input", "events.jsonl"][..]), (&comment, &[][..]), (&comment, &["--no-record"][..])]
    {
        flood(folder, "logs", more);
        for out in [&["--out", "run"][..], &[]] {
            let output = run(folder, "logs", &[args, out, &["--disk-max", "150kB"]].concat());
            let told = common::stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{told}");
            let what = "error: --disk-max: 150,000 bytes are too few to begin with: the run's copies of its scenario, modules, models and events have ";
            assert!(told.contains(what) && told.contains("\n  help: give it "), "{told}");
            assert!(!folder.join("run").exists() && !folder.join("runs").exists());
        }
    }
    // What it is told to give is enough for first frames.
    flood(folder, "logs", &comment);
    let output = run(folder, "logs", &["--disk-max", "150kB", "--out", "run"]);
    let advised = number(common::stderr(&output), "give it ");
    let output = run(folder, "logs", &["--disk-max", &advised.to_string(), "--out", "run"]);
    let ended = common::stderr(&output);
    assert!(output.status.code() == Some(0) || number(ended, "the run ended before frame ") > 0, "{ended}");
    assert!(bytes(&folder.join("run")) <= advised);
}

/// A run can't go on within less than it has. It is told what it needs, as it was told when it began, and is left as it was.
#[test]
fn a_run_that_would_go_on_with_less_than_it_has_is_refused_with_what_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    flood(folder, "outputs", "limits = { output_bytes_per_step_max = 170_000 }\n");
    let output = run(folder, "outputs", &["--out", "run", "--disk-max", "3MB"]);
    assert_eq!(output.status.code(), Some(3), "{}", common::stderr(&output));
    let read = || fs::read(folder.join("run/frames.jsonl")).unwrap();
    let (before, has, mut advised) = (read(), bytes(&folder.join("run")), 0);
    for max in ["20kB", "2MB"] {
        let refused = common::engine(folder, &["resume", "run", "--disk-max", max]);
        let told = common::stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.contains(" bytes are too few to go on with: the run's folder has "), "{told}");
        assert!(told.contains("; the run is as it was\n") && read() == before, "{told}");
        assert!(number(told, "the run's folder has ") == has && number(told, "give it ") > has, "{told}");
        advised = number(told, "give it ");
    }
    let resumed = common::engine(folder, &["resume", "run", "--disk-max", &advised.to_string()]);
    let told = common::stderr(&resumed);
    let ended = |told| number(told, "the run ended before frame ");
    assert!(resumed.status.success() || ended(told) > ended(common::stderr(&output)), "{told}");
}
