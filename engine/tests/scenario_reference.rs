//! The reference `docs/SCENARIO.md` against the reader: its examples are read, and no key or limit is missing.
//!
//! A block fenced as `toml` is a whole scenario, `toml top` goes before the groups of that scenario, `toml group` into its
//! last group, and `jsonl` are events for it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;
use std::sync::Arc;

use wasm_engine::events::open;
use wasm_engine::problem::thousands;
use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine_components::GroupLimits;

fn reference() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("docs/SCENARIO.md")).unwrap()
}

/// The blocks of a document with that info string.
fn blocks(document: &str, info: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<(bool, String)> = None;
    for line in document.lines() {
        block = match (block, line.strip_prefix("```")) {
            (None, Some(found)) => Some((found == info, String::new())),
            (Some((wanted, text)), Some(_)) => {
                blocks.extend(wanted.then_some(text));
                None
            }
            (Some((wanted, text)), None) => Some((wanted, text + line + "\n")),
            (None, None) => None,
        };
    }
    blocks
}

fn read(folder: &Path, text: &str, set: &[&str]) -> Result<Scenario, String> {
    for file in ["reader.wasm", "ledger.wasm", "digits-s8.onnx", "speech.onnx", "events.jsonl"] {
        let path = folder.join(file);
        if !path.exists() {
            std::fs::write(path, "").unwrap();
        }
    }
    let path = folder.join("office.toml");
    std::fs::write(&path, text).unwrap();
    let options = LoadOptions { set: set.iter().map(|set| (*set).to_owned()).collect(), input: None };
    load(&path, &options).map_err(|problems| problems.to_string().replace(&format!("{}/", folder.display()), ""))
}

#[test]
fn the_examples_can_be_read() {
    let document = reference();
    let [whole] = &blocks(&document, "toml")[..] else { panic!("one whole example") };
    let folder = tempfile::tempdir().unwrap();
    let [events] = &blocks(&document, "jsonl")[..] else { panic!("one block of events") };
    std::fs::write(folder.path().join("events.jsonl"), events).unwrap();
    let scenario = read(folder.path(), whole, &["readers=5"]).unwrap();
    assert_eq!(scenario.groups[0].agents, 5);
    open(&scenario, Arc::default()).map(|_| ()).unwrap();

    let (before_groups, groups) = whole.split_at(whole.find("[[groups]]").unwrap());
    let top = blocks(&document, "toml top");
    let (before_expect, _) = whole.split_at(whole.find("[[expect]]").unwrap());
    let group = blocks(&document, "toml group");
    assert_eq!((top.len(), group.len()), (2, 2));
    for part in top {
        read(folder.path(), &format!("{before_groups}{part}\n{groups}"), &[]).unwrap();
    }
    for part in group {
        let with_parameter = before_expect.replace("readers = 3", "readers = 3\nsabotage = false");
        read(folder.path(), &format!("{with_parameter}{part}"), &[]).unwrap();
    }
}

#[test]
fn the_error_it_shows_is_the_one_that_is_told() {
    let document = reference();
    let whole = blocks(&document, "toml").concat();
    let folder = tempfile::tempdir().unwrap();
    let told = read(folder.path(), &whole, &["readers=0"]).unwrap_err();
    let shown = blocks(&document, "text").concat();
    assert_eq!(format!("error: {}\n", told.replace("; help: ", "\n  help: ")), shown);
}

/// The readers' own lists of keys, as they tell them for a key that they don't know.
#[test]
fn every_key_is_in_it() {
    let document = reference();
    let folder = tempfile::tempdir().unwrap();
    let group = "[[groups]]\nname = \"g\"\nmodule = \"reader\"\nagents = 1\n";
    let start = "frames = 1\nmodules.reader.path = \"reader.wasm\"\n";
    let scenarios = [
        format!("zzzzzzzz = 1\n{start}{group}"),
        format!("{start}modules.reader.zzzzzzzz = 1\n{group}"),
        format!("{start}models.m = {{ path = \"speech.onnx\", zzzzzzzz = 1 }}\n{group}"),
        format!("{start}regions.r = {{ bytes = 1, writer = \"g\", zzzzzzzz = 1 }}\n{group}"),
        format!("{start}{group}zzzzzzzz = 1\n"),
        format!("{start}{group}limits = {{ zzzzzzzz = 1 }}\n"),
        format!("{start}{group}on_fault = {{ policy = \"pause\", zzzzzzzz = 1 }}\n"),
        format!("{start}{group}[[expect]]\ngroup = \"g\"\noutput = \"x\"\nequals = 1\nzzzzzzzz = 1\n"),
    ];
    let mut keys = 0;
    for scenario in &scenarios {
        let told = read(folder.path(), scenario, &[]).unwrap_err();
        let known = told.split_once("known: ").unwrap_or_else(|| panic!("{told}")).1;
        for key in known.split(", ") {
            assert!(document.contains(&format!("\n| {key} | ")), "{key} isn't in docs/SCENARIO.md");
            keys += 1;
        }
    }
    assert_eq!(keys, 12 + 2 + 6 + 3 + 13 + 8 + 3 + 6);
}

#[test]
fn the_limits_are_those_of_the_engine() {
    let document = reference();
    let (default, min, max) = (GroupLimits::DEFAULT, GroupLimits::MIN, GroupLimits::MAX);
    macro_rules! check {
        ($($key:ident),*) => {
            $({
                let row = document.lines().find(|line| line.starts_with(concat!("| `", stringify!($key), "` |"))).unwrap();
                let numbers = [min.$key.into(), default.$key.into(), max.$key.into()].map(|n: u64| thousands(n)).join(" | ");
                assert!(row.ends_with(&format!("| {numbers} |")), "{row}");
            })*
        };
    }
    check!(fuel_per_step_max, memory_bytes_max, records_per_step_max, payload_bytes_max, jobs_per_step_max);
    check!(log_lines_per_step_max, mailbox_messages_max, mailbox_bytes_max);
}
