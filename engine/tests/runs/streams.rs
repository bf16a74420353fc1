//! Events that can't be read again, from standard input or a pipe: they are in the journal, so a run of them is replayed, resumed and
//! branched as any other.

use crate::common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::common::{path, stderr, told, wasm_engine};
use serde_json::Value;

const TOUR: &str = "agents/scenarios/kernel-tour.toml";

/// The tour's events, and one that swaps in the frame in which the scenario swaps the same group.
fn events() -> String {
    let text = fs::read_to_string(path("agents/scenarios/kernel-tour/orders.jsonl")).unwrap();
    let mut lines: Vec<_> = text.lines().map(|line| (frame(line), line)).collect();
    lines.push((100, r#"{"frame": 100, "command": "swap", "group": "sleepers", "module": "sleeper"}"#));
    lines.sort_by_key(|&(frame, _)| frame);
    lines.into_iter().map(|(_, line)| format!("{line}\n")).collect()
}

/// The frame of a line.
fn frame(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["frame"].as_u64().unwrap_or(0)
}

/// Waits until a run's table of frames has that many.
fn wait_for_frames(run: &Path, frames: usize) {
    for _ in 0..1_500 {
        if fs::read_to_string(run.join("frames.jsonl")).is_ok_and(|text| text.lines().count() >= frames) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{} has no {frames} frames", run.display());
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

#[test]
fn a_stopped_run_of_standard_input_goes_on_and_counts_each_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tour = path(TOUR);
    let whole = told(&fed(folder, &["run", &tour, "--input", "-", "--out", "whole"], &events()));
    fs::write(folder.join("events.jsonl"), events()).unwrap();
    let file = told(&fed(folder, &["run", &tour, "--input", "events.jsonl", "--out", "file"], ""));
    assert_eq!((&whole["digest"], &whole["events"]), (&file["digest"], &file["events"]));
    assert!(whole["events"]["delivered"].as_u64().unwrap() > 5, "{}", whole["events"]);
    for (run, every) in [("with-snapshots", "7"), ("without", "1000")] {
        let out = ["--out", run, "--snapshot-every", every];
        told(&fed(folder, &[&["run", &tour, "--input", "-", "--frames", "60"], &out[..]].concat(), &events()));
        // All of them again, or, another time, those that weren't taken.
        let end = told(&fed(folder, &["resume", run, "--frames", "130"], &events()));
        assert_eq!(end["frames"], 130);
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
    // The snapshot in which they are is another run's, and then isn't there.
    let first = "snapshots/0000000020.wes";
    told(&fed(folder, &["run", &path(TOUR), "--input", "-", "--seed", "2", "--out", "other"], &events()));
    told(&fed(folder, &["branch", "other", "--at", "20", "--out", "other-branch"], ""));
    fs::copy(folder.join("other-branch").join(first), folder.join("branch").join(first)).unwrap();
    for why in ["isn't the snapshot that this branch begins with", "can't be opened"] {
        let refused = fed(folder, &["resume", "branch", "--frames", "210"], "");
        assert_eq!(refused.status.code(), Some(2));
        let said = stderr(&refused);
        assert!(said.contains(why) && said.contains("branch again from the first run"), "{said}");
        fs::remove_file(folder.join("branch").join(first)).unwrap_or_default();
    }
}

/// The lines of a frame that was waiting for more of them, when the run was asked to end, count for the run that goes on.
#[test]
fn lines_of_a_frame_that_was_not_run_are_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = told(&fed(folder, &["run", &path(TOUR), "--input", "-", "--out", "whole"], &events()));
    let mut child = wasm_engine(folder)
        .args(["run", &path(TOUR), "--input", "-", "--out", "run", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let some: String = events().lines().filter(|line| frame(line) <= 120).map(|line| format!("{line}\n")).collect();
    stdin.write_all(some.as_bytes()).unwrap();
    wait_for_frames(&folder.join("run"), 120);
    // Its last snapshot is taken before frame 120, of which some lines were read.
    common::signal(&child, libc::SIGUSR1);
    std::thread::sleep(std::time::Duration::from_millis(100));
    common::signal(&child, libc::SIGINT);
    assert!(child.wait().unwrap().code().is_some());
    drop(stdin);
    assert!(folder.join("run/snapshots/0000000120.wes").exists());
    let resumed = told(&fed(folder, &["resume", "run"], &events()));
    assert_eq!((&resumed["digest"], &resumed["events"]), (&whole["digest"], &whole["events"]));
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
    wait_for_frames(&folder.join("branch"), 5);
    common::signal(&child, libc::SIGINT);
    let status = child.wait().unwrap();
    assert!(status.code().is_some(), "{status}");
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
    // Nor when it is only the summary that is missing.
    fs::remove_file(folder.join("run/summary.json")).unwrap();
    assert_eq!(told(&fed(folder, &["resume", "run"], ""))["digest"], whole["digest"]);
    // A branch keeps its events, whatever is under the pipe's name by now.
    fs::remove_file(&pipe).unwrap();
    fs::write(&pipe, "").unwrap();
    told(&fed(folder, &["branch", "run", "--at", "30", "--frames", "90", "--out", "stopped"], ""));
    assert!(!fs::read_to_string(folder.join("stopped/manifest.toml")).unwrap().contains("input_sha256"));
    let resumed = told(&fed(folder, &["resume", "stopped", "--frames", "200"], ""));
    assert_eq!(resumed["digest"], whole["digest"]);
    // The pipe in the place of a file that a run was read from: nobody waits for a writer.
    let file = folder.join("orders.jsonl");
    fs::write(&file, events()).unwrap();
    told(&fed(folder, &["run", &path(TOUR), "--input", "orders.jsonl", "--frames", "60", "--out", "of-file"], ""));
    fs::remove_file(&file).unwrap();
    common::pipe(&file);
    let resumed = told(&fed(folder, &["resume", "of-file", "--frames", "200"], ""));
    assert_eq!(
        (&resumed["digest"], &resumed["events"]["delivered"]),
        (&whole["digest"], &whole["events"]["delivered"])
    );
}

#[cfg(unix)]
#[test]
fn a_run_that_waits_for_a_pipe_ends_when_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    common::pipe(&folder.join("events"));
    // Nobody sees from outside when a run without a single frame begins to wait. A signal right before it ends the process at once, and says so.
    let begins_to_wait = (0..20).any(|turn| ended_while_it_waited(folder, &format!("nobody-{turn}"), false));
    assert!(begins_to_wait, "no run came as far as its first frame");
    assert!(ended_while_it_waited(folder, "silent", true));
}

/// Interrupts a run that reads the pipe `events`. Returns whether it ended in order, with a summary; else it must have said that it hadn't begun.
#[cfg(unix)]
fn ended_while_it_waited(folder: &Path, out: &str, has_writer: bool) -> bool {
    let child = wasm_engine(folder)
        .args(["run", &path(TOUR), "--input", "events", "--out", out, "--quiet"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let writer = has_writer.then(|| {
        let mut writer = fs::OpenOptions::new().write(true).open(folder.join("events")).unwrap();
        writer.write_all(b"{\"frame\": 9, \"command\": \"pause\", \"agent\": \"sleepers/0\"}\n").unwrap();
        wait_for_frames(&folder.join(out), 9);
        writer
    });
    let manifest = folder.join(out).join("manifest.toml");
    let begun = (0..1_500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        manifest.exists()
    });
    common::signal(&child, libc::SIGINT);
    let output = child.wait_with_output().unwrap();
    drop(writer);
    assert!(output.status.code().is_some() && begun, "{out}: {}", stderr(&output));
    let has_summary = folder.join(out).join("summary.json").exists();
    assert!(has_summary || stderr(&output).contains("ended before the first frame"), "{out}: {}", stderr(&output));
    has_summary
}

/// A journal that was cut back has lost events that nobody can give again, and the rest of the folder shows it.
#[test]
fn a_journal_that_lost_events_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let args = ["--frames", "100", "--snapshot-every", "30"];
    told(&fed(folder, &[&["run", &path(TOUR), "--input", "-", "--out", "run"], &args[..]].concat(), &events()));
    told(&fed(folder, &[&["run", &path(TOUR), "--out", "of-file"], &args[..]].concat(), ""));
    for run in ["run", "of-file"] {
        let journal = folder.join(run).join("journal/000000.wej");
        let bytes = fs::read(&journal).unwrap();
        fs::write(&journal, &bytes[..bytes.len() / 2]).unwrap();
        fs::remove_file(folder.join(run).join("summary.json")).unwrap();
        let replayed = fed(folder, &["replay", run], "");
        assert!(replayed.status.success());
        let said = stderr(&replayed);
        assert!(said.contains(".wes: has 90 frames, and the journal only"), "{said}");
    }
    let refused = fed(folder, &["resume", "run", "--frames", "200"], &events());
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("with it events that can't be read again"), "{}", stderr(&refused));
    let whole = told(&fed(folder, &["run", &path(TOUR), "--out", "whole"], ""));
    let resumed = told(&fed(folder, &["resume", "of-file", "--frames", "200"], ""));
    assert_eq!(resumed["digest"], whole["digest"]);
}

#[cfg(unix)]
#[test]
fn who_asks_for_a_snapshot_where_there_is_none_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut child = wasm_engine(folder)
        .args(["run", &path(TOUR), "--input", "-", "--no-record", "--out", "run", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(events().lines().take(1).map(|line| format!("{line}\n")).collect::<String>().as_bytes()).unwrap();
    while !folder.join("run/manifest.toml").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    common::signal(&child, libc::SIGUSR1);
    stdin.write_all(events().lines().skip(1).map(|line| format!("{line}\n")).collect::<String>().as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

/// A run has a copy of its events file, and a branch of the run has one, too.
#[test]
fn a_run_goes_on_without_the_file_that_its_events_were_in() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("events.jsonl");
    fs::write(&file, events()).unwrap();
    let whole = told(&fed(folder, &["run", &path(TOUR), "--input", "events.jsonl", "--out", "whole"], ""));
    let args = ["--input", "events.jsonl", "--frames", "60", "--out", "run"];
    told(&fed(folder, &[&["run", &path(TOUR)], &args[..]].concat(), ""));
    // Another one is there, and then none.
    fs::write(&file, "").unwrap();
    told(&fed(folder, &["branch", "run", "--at", "30", "--frames", "70", "--out", "branch"], ""));
    fs::remove_file(&file).unwrap();
    for run in ["run", "branch"] {
        let resumed = told(&fed(folder, &["resume", run, "--frames", "200"], ""));
        assert_eq!((&resumed["digest"], &resumed["events"]), (&whole["digest"], &whole["events"]), "{run}");
    }
    let copy = fs::read_dir(folder.join("run/files")).unwrap().map(|entry| entry.unwrap().path());
    let copy = copy.into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
    fs::write(&copy, "").unwrap();
    let refused = fed(folder, &["resume", "run", "--frames", "210"], "");
    assert_eq!(refused.status.code(), Some(2));
    let name = copy.file_name().unwrap().to_str().unwrap();
    let said = stderr(&refused);
    assert!(said.contains("events.jsonl: can't be read") && said.contains(name), "{said}");
}
