//! Compares two run directories that must be the same: the tables byte for byte, and the summary without what depends on the machine.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// Tables of a run.
const TABLES: [&str; 6] =
    ["frames.jsonl", "faults.jsonl", "logs.jsonl", "outputs.jsonl", "swaps.jsonl", "models.jsonl"];
/// Keys of a summary that are about the process and the machine, and not about the run.
const MACHINE: [&str; 5] = ["threads", "frames_here", "wall_s", "frames_per_s", "run_dir"];
/// Number of characters of a line or value that a complaint shows, and how many of them are before the difference.
const SHOWN_CHARS: usize = 300;
const BEFORE_CHARS: usize = 60;

/// Returns the first difference between two runs, if there is one. Errors are differences, too.
/// `found` has the frames from `first_frame` on.
pub(super) fn difference(expected: &Path, found: &Path, first_frame: u64) -> Option<String> {
    // The frames first: they say where it began.
    TABLES.iter().find_map(|table| table_difference(table, expected, found, first_frame)).or_else(|| {
        match (summary(expected), summary(found)) {
            (Ok(expected), Ok(found)) => summary_difference(&expected, &found),
            (Err(error), _) | (_, Err(error)) => Some(error),
        }
    })
}

/// Returns a run's summary.
pub(super) fn summary(run: &Path) -> Result<Map<String, Value>, String> {
    let path = run.join("summary.json");
    let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn table_difference(table: &str, expected: &Path, found: &Path, first_frame: u64) -> Option<String> {
    let read = |run: &Path| {
        let path = run.join(table);
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (expected, found) = match (read(expected), read(found)) {
        (Ok(expected), Ok(found)) => (from_frame(expected, first_frame), found),
        (Err(error), _) | (_, Err(error)) => return Some(error),
    };
    if expected == found {
        return None;
    }
    let (mut left, mut right) = (expected.split(|byte| *byte == b'\n'), found.split(|byte| *byte == b'\n'));
    for number in 1_u64.. {
        let (left, right) = (left.next(), right.next());
        if left != right || left.is_none() {
            let text = |line: Option<&[u8]>| line.map(|line| String::from_utf8_lossy(line).into_owned());
            return Some(told(&format!("{table}, line {number}"), text(left), text(right)));
        }
    }
    None
}

/// Returns the lines of a table that are about frames from a given one on. Each line of a table names its frame.
fn from_frame(table: Vec<u8>, first_frame: u64) -> Vec<u8> {
    if first_frame == 0 {
        return table;
    }
    let frame = |line: &[u8]| serde_json::from_slice::<Value>(line).ok()?.get("frame")?.as_u64();
    let lines = table.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| frame(line).is_some_and(|frame| frame >= first_frame)).flatten().copied().collect()
}

fn summary_difference(expected: &Map<String, Value>, found: &Map<String, Value>) -> Option<String> {
    let keys = expected.keys().chain(found.keys()).filter(|key| !MACHINE.contains(&key.as_str()));
    keys.into_iter().find_map(|key| {
        let (left, right) = (expected.get(key), found.get(key));
        let text = |value: Option<&Value>| value.map(ToString::to_string);
        (left != right).then(|| told(&format!("summary.json, {key}"), text(left), text(right)))
    })
}

/// Returns a text about a difference, from a little before its first byte.
fn told(place: &str, expected: Option<String>, found: Option<String>) -> String {
    let (left, right) = (expected.as_deref().unwrap_or_default(), found.as_deref().unwrap_or_default());
    let same = left.chars().zip(right.chars()).take_while(|(left, right)| left == right).count();
    let text = |text: Option<String>| match text {
        Some(text) => text.chars().skip(same.saturating_sub(BEFORE_CHARS)).take(SHOWN_CHARS).collect(),
        None => "nothing".to_owned(),
    };
    format!("{place}, from character {same} on:\n  expected {}\n  found    {}", text(expected), text(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(folder: &Path, name: &str, frames: &str, summary: &str) -> std::path::PathBuf {
        let run = folder.join(name);
        fs::create_dir_all(&run).unwrap();
        for table in TABLES {
            fs::write(run.join(table), "").unwrap();
        }
        fs::write(run.join("frames.jsonl"), frames).unwrap();
        fs::write(run.join("summary.json"), summary).unwrap();
        run
    }

    #[test]
    fn differences_are_found_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let one = |name, frames, summary| run(folder.path(), name, frames, summary);
        let a = one("a", "1\n2\n", r#"{"digest":"a","wall_s":1.5,"run_dir":"a"}"#);
        let b = one("b", "1\n2\n", r#"{"digest":"a","wall_s":2.5,"run_dir":"b"}"#);
        assert_eq!(difference(&a, &b, 0), None);
        let longer = one("c", "1\n2\n3\n", r#"{"digest":"a"}"#);
        let told = difference(&a, &longer, 0).unwrap();
        assert!(told.starts_with("frames.jsonl, line 3"), "{told}");
        assert!(difference(&longer, &a, 0).is_some());
        let other = one("d", "1\n2\n", r#"{"digest":"b"}"#);
        let told = difference(&a, &other, 0).unwrap();
        assert!(told.starts_with("summary.json, digest") && told.contains("\"b\""), "{told}");
        let new = one("e", "1\n2\n", r#"{"digest":"a","new":1}"#);
        assert!(difference(&a, &new, 0).unwrap().contains("summary.json, new"));
        let lines = ["{\"frame\":8}\n", "{\"frame\":9,\"x\":1}\n", "{\"frame\":10}\n"];
        let (all, tail) = (one("f", &lines.concat(), "{}"), one("g", &lines[1..].concat(), "{}"));
        assert_eq!(difference(&all, &tail, 9), None);
        assert!(difference(&all, &tail, 8).is_some() && difference(&all, &tail, 10).is_some());
        fs::remove_file(new.join("swaps.jsonl")).unwrap();
        assert!(difference(&a, &new, 0).unwrap().contains("swaps.jsonl"));
    }
}
