//! `kernel-tour.toml` from the command line: everything that it is to show happens, the same at any number of threads.

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::{root, stderr, wasm_engine};
use serde_json::{Value, json};

const TOUR: &str = "agents/scenarios/kernel-tour.toml";

/// Runs the tour into a folder: its summary, and what was said.
fn run(folder: &Path, more: &[&str]) -> (Value, String) {
    let mut args = vec!["run", TOUR, "--quiet", "--summary", "json", "--out", folder.to_str().expect("UTF-8")];
    args.extend_from_slice(more);
    let output = wasm_engine(&root()).args(&args).output().expect("the binary starts");
    assert!(output.status.success(), "{args:?} failed: {}", stderr(&output));
    (common::summary(&output), stderr(&output).to_owned())
}

fn rows(folder: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(name)).expect("a file of the run");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

/// What the agents of a group recorded under a name at last, summed.
fn sum(summary: &Value, group: &str, name: &str) -> u64 {
    let outputs = &summary["outputs"][group];
    outputs[name]["sum"].as_u64().unwrap_or_else(|| panic!("no {name} in {outputs}"))
}

#[test]
fn the_tour_shows_what_it_says() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let folder = out.path().join("run");
    let (summary, _) = run(&folder, &[]);
    let sum = |name: &str| sum(&summary, "foremen", name);
    assert_eq!(sum("spawned"), 12);
    assert_eq!(sum("faults"), sum("restarted"), "each escalated fault is answered by a restart");
    assert!(sum("restarted") > 0 && sum("timeouts") > 0);
    assert_eq!(sum("given"), sum("answers") + sum("timeouts"), "no task is lost");
    assert_eq!(sum("reports"), 12, "each worker had its last words");
    assert_eq!(summary["groups"]["workers"]["agents"], 0, "they were ended");
    assert_eq!(summary["commands_refused"], 1, "an agent that isn't paused can't be resumed");
    assert_eq!(summary["groups"]["sleepers"]["agents"], 1_002);
    assert!(summary["deferred"].as_u64() > Some(0));
    assert!(summary["dropped_by_reason"]["over_budget"].as_u64() > Some(0), "the vandals have a budget");

    let frames = rows(&folder, "frames.jsonl");
    let steps: Vec<u64> = frames.iter().filter_map(|frame| frame["counts"]["steps"].as_u64()).collect();
    assert_eq!(steps.len(), 200);
    assert!(steps.iter().all(|&steps| steps <= 66), "the frame's budget");
    let outputs = rows(&folder, "outputs.jsonl");
    assert!(outputs.iter().any(|row| row["agent"] == "sleepers/1#1"), "an ordinal is used again, under another id");
    let mut first = outputs.iter().filter(|row| row["agent"] == "sleepers/1");
    assert!(first.all(|row| row["frame"].as_u64() <= Some(60)), "it was ended in frame 60");
}

#[test]
fn all_watchers_see_each_post_on_the_board() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let folder = out.path().join("run");
    let (summary, _) = run(&folder, &[]);
    assert_eq!(sum(&summary, "heralds", "written"), 49);
    let watchers = |name| sum(&summary, "watchers", name);
    assert_eq!((watchers("versions"), watchers("number"), watchers("missed")), (5 * 49, 5 * 49, 0));
    assert_eq!(watchers("stale"), 5 * (197 - 49), "they look in each frame up to the last post");
    assert_eq!(summary["groups"]["watchers"]["faults"], json!({}), "no post was torn");

    // What is written in a frame is seen in the next, by all.
    let rows = rows(&folder, "outputs.jsonl");
    let frames = |name: &str| -> BTreeMap<(String, u64), u64> {
        let rows = rows.iter().filter(|row| row["name"] == name);
        let number = |value: &Value| value.as_u64().expect("a whole number");
        let agent = |row: &Value| row["agent"].as_str().expect("a name").to_owned();
        rows.map(|row| ((agent(row), number(&row["value"])), number(&row["frame"]))).collect()
    };
    let written = frames("written");
    let seen = frames("number");
    assert_eq!((written.len(), seen.len()), (49, 5 * 49));
    for ((watcher, number), frame) in seen {
        assert_eq!(written[&("heralds/0".to_owned(), number)] + 1, frame, "post {number}, seen by {watcher}");
    }
}

#[test]
fn sleepers_keep_their_counts_over_the_swap_and_watchers_keep_their_module() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let folder = out.path().join("run");
    let (summary, said) = run(&folder, &[]);
    assert_eq!(summary["swaps"], json!({"done": 2, "refused": 1}));
    let warning = "warning: group `watchers` keeps its module in frame 150, because module `counter`";
    assert!(said.contains(warning), "{said}");
    let swaps = rows(&folder, "swaps.jsonl");
    let [done, back, refused] = &swaps[..] else { panic!("three swaps, not {swaps:?}") };
    let as_expected = |swap: &Value, expected: &Value| {
        let keys = expected.as_object().expect("an object");
        assert!(keys.iter().all(|(key, value)| swap[key] == *value), "{swap} isn't {expected}");
    };
    as_expected(done, &json!({"frame": 100, "group": "sleepers", "module": "sleeper-next", "outcome": "done"}));
    as_expected(done, &json!({"carried": 1_002, "fresh": 0}));
    as_expected(back, &json!({"frame": 140, "group": "sleepers", "module": "sleeper", "carried": 1_002}));
    as_expected(refused, &json!({"frame": 150, "group": "watchers", "module": "counter", "outcome": "refused"}));
    assert!(refused["reason"].as_str().is_some_and(|why| why.contains("regions area")), "{refused}");

    // Each sleeper goes on counting where it was, but for the one that is restarted in frame 120.
    let mut wakes: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for row in rows(&folder, "outputs.jsonl").iter().filter(|row| row["name"] == "wakes") {
        let [frame, count] = [&row["frame"], &row["value"]].map(|number| number.as_u64().expect("a whole number"));
        wakes.entry(row["agent"].as_str().expect("a name").to_owned()).or_default().push((frame, count));
    }
    let restarted = wakes.remove("sleepers/3").expect("it woke");
    assert!(restarted.iter().any(|&(frame, count)| frame > 120 && count == 1), "{restarted:?}");
    for (sleeper, wakes) in &wakes {
        assert!(wakes.iter().zip(1..).all(|(&(_, count), expected)| count == expected), "{sleeper}: {wakes:?}");
        let before = wakes.iter().filter(|&&(frame, _)| frame < 100).count();
        let lived_on = sleeper != "sleepers/1";
        assert!(before > 0 && (wakes.len() > before) == lived_on, "{sleeper}: {wakes:?}");
    }
}

#[test]
fn the_tour_gives_one_digest_at_any_number_of_threads() {
    for mode in ["frame", "full"] {
        let digest = |threads: &str| {
            let out = tempfile::tempdir().expect("a temporary folder");
            let (summary, _) = run(&out.path().join("run"), &["--threads", threads, "--digest", mode]);
            (summary["digest"].clone(), summary["groups"].clone(), summary["swaps"].clone())
        };
        let reference = digest("1");
        for threads in ["1", "2", "2", "4", "4"] {
            assert_eq!(digest(threads), reference, "{threads} threads, --digest {mode}");
        }
    }
}
