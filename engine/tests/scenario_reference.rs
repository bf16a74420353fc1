//! The reference `docs/SCENARIO.md` against the reader: its examples are read, and no key or limit is missing. The examples of
//! `docs/how-to/schedule-and-supervise.md` are read in the same way.
//!
//! A block fenced as `toml` is a whole scenario, `toml top` goes before the groups of that scenario, `toml group` into its
//! last group, `toml swap` to its end, and `jsonl` are events for it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;
use std::sync::Arc;

use wasm_engine::events::open;
use wasm_engine::problem::thousands;
use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine_components::limits::{
    AGEING_FRAMES_MAX, AGENTS_MAX, DELIVERIES_LEAST, EVENT_SPAWN_BYTES_MAX, EVENT_SPAWNS_MAX, GROUP_AGENTS_MAX,
    PERIOD_FRAMES_MAX, PRIORITY_MAX, TABLE_BYTES_PER_AGENT, TENANTS_MAX,
};
use wasm_engine_components::{GroupLimits, ModuleLimits, Schedule, SchedulerMode, SchedulerSettings, Trigger};

fn reference() -> String {
    document("docs/SCENARIO.md")
}

fn document(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap()
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
    let options = LoadOptions { set: set.iter().map(|set| (*set).to_owned()).collect(), ..LoadOptions::default() };
    load(&path, &options).map_err(|problems| problems.to_string().replace(&format!("{}/", folder.display()), ""))
}

#[test]
fn the_examples_can_be_read() {
    let document = reference();
    let [whole] = &blocks(&document, "toml")[..] else { panic!("one whole example") };
    let folder = tempfile::tempdir().unwrap();
    let events = blocks(&document, "jsonl");
    assert_eq!(events.len(), 2, "messages, and commands");
    let scenario = read(folder.path(), whole, &["readers=5"]).unwrap();
    assert_eq!(scenario.groups[0].agents, 5);
    for events in events {
        std::fs::write(folder.path().join("events.jsonl"), events).unwrap();
        open(&scenario, Arc::default()).map(|_| ()).unwrap();
    }

    let (before_groups, groups) = whole.split_at(whole.find("[[groups]]").unwrap());
    let top = blocks(&document, "toml top");
    let (before_expect, _) = whole.split_at(whole.find("[[expect]]").unwrap());
    let group = blocks(&document, "toml group");
    assert_eq!((top.len(), group.len()), (3, 3));
    for part in &top {
        read(folder.path(), &format!("{before_groups}{part}\n{groups}"), &[]).unwrap();
    }
    let before_expect = before_expect.replace("readers = 3", "readers = 3\nsabotage = false").replacen(
        "[[groups]]",
        &format!("{}\n[[groups]]", top.concat()),
        1,
    );
    for part in group {
        read(folder.path(), &format!("{before_expect}{part}"), &[]).unwrap();
    }
}

#[test]
fn the_examples_of_the_how_to_can_be_read() {
    let document = document("docs/how-to/schedule-and-supervise.md");
    let folder = tempfile::tempdir().unwrap();
    for file in ["sensor.wasm", "planner.wasm", "worker.wasm", "overseer.wasm"] {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    std::fs::write(folder.path().join("plant.jsonl"), blocks(&document, "jsonl").concat()).unwrap();
    let [whole] = &blocks(&document, "toml")[..] else { panic!("one whole example") };
    let (before_groups, groups) = whole.split_at(whole.find("[[groups]]").unwrap());
    let (top, group) = (blocks(&document, "toml top"), blocks(&document, "toml group"));
    assert_eq!((top.len(), group.len()), (4, 4));
    let mut scenarios = vec![whole.clone()];
    scenarios.extend(top.iter().map(|part| format!("{before_groups}{part}\n{groups}")));
    scenarios.extend(group.iter().map(|part| format!("{whole}{part}")));
    for text in &scenarios {
        let scenario = read(folder.path(), text, &[]).unwrap_or_else(|told| panic!("{told}\n{text}"));
        open(&scenario, Arc::default()).map(|_| ()).unwrap();
    }

    let both =
        whole.replace("after = [\"sensors\"]", "after = [\"workers\"]") + "after = [\"planners\", \"sensors\"]\n";
    let told = read(folder.path(), &both, &[]).unwrap_err();
    let shown = blocks(&document, "text").concat();
    let told = told.replace("office.toml", "plant.toml").replace("; help: ", "\n  help: ");
    assert_eq!(format!("error: {told}\n"), shown);
}

#[test]
fn the_swaps_it_shows_can_be_read() {
    let document = reference();
    let whole = blocks(&document, "toml").concat();
    let [swaps] = &blocks(&document, "toml swap")[..] else { panic!("one example of swaps") };
    let folder = tempfile::tempdir().unwrap();
    let scenario = read(folder.path(), &format!("{whole}\n{swaps}"), &[]).unwrap();
    assert_eq!(scenario.swaps.iter().filter_map(|entry| entry.frame).collect::<Vec<_>>(), [100, 100]);
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
        format!("{start}{group}schedule = {{ zzzzzzzz = 1 }}\n"),
        format!("{start}scheduler.zzzzzzzz = 1\n{group}"),
        format!("{start}tenants.t.zzzzzzzz = 1\n{group}"),
        format!("{start}{group}[[swaps]]\nframe = 1\ngroup = \"g\"\nmodule = \"reader\"\nzzzzzzzz = 1\n"),
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
    assert_eq!(keys, 15 + 2 + 10 + 3 + 19 + 32 + 3 + 4 + 8 + 8 + 5 + 7);
}

/// The same for the keys of events.
#[test]
fn every_key_of_events_is_in_it() {
    let document = reference();
    let folder = tempfile::tempdir().unwrap();
    let scenario = read(folder.path(), &blocks(&document, "toml").concat(), &[]).unwrap();
    std::fs::write(folder.path().join("events.jsonl"), "{\"zzzzzzzz\":1}\n").unwrap();
    let told = open(&scenario, Arc::default()).map(|_| ()).unwrap_err().to_string();
    let known = told.split_once("known: ").unwrap().1;
    assert_eq!(known.split(", ").count(), 16);
    let events = &document[document.find("## External events").unwrap()..];
    for key in known.split(", ") {
        assert!(events.contains(&format!("\n| {key} | ")), "{key} isn't in docs/SCENARIO.md");
    }
}

#[test]
fn the_limits_are_those_of_the_engine() {
    let document = reference();
    macro_rules! check {
        ($limits:ident: $($key:ident),*) => {
            $({
                let row = document.lines().find(|line| line.starts_with(concat!("| `", stringify!($key), "` |"))).unwrap();
                let all = [$limits::MIN.$key, $limits::DEFAULT.$key, $limits::MAX.$key];
                let [min, default, max] = all.map(u64::from);
                let bound = |n: u64, word: &str| match n {
                    GroupLimits::UNBOUNDED => word.to_owned(),
                    GroupLimits::BY_AGENTS => by_agents(),
                    n => thousands(n),
                };
                let numbers = [thousands(min), bound(default, "none"), bound(max, "2^63 - 1")].join(" | ");
                assert!(row.ends_with(&format!("| {numbers} |")), "{row}");
            })*
        };
    }
    check!(GroupLimits: fuel_per_step_max, memory_bytes_max, records_per_step_max, payload_bytes_max, jobs_per_step_max);
    check!(GroupLimits: log_lines_per_step_max, mailbox_messages_max, mailbox_bytes_max, requests_max, fuel_per_frame_max);
    check!(GroupLimits: messages_per_frame_max, message_bytes_per_frame_max, jobs_per_frame_max, log_lines_per_frame_max);
    check!(ModuleLimits: module_bytes_max, module_functions_max, module_types_max, module_segments_max, module_segment_bytes_max);
    check!(ModuleLimits: module_names_bytes_max, module_cost_max, function_bytes_max, function_blocks_max, function_branches_max);
    check!(ModuleLimits: function_operands_max, function_cost_max);
    check!(GroupLimits: deliveries_per_step_max, deliveries_per_frame_max);
    check!(GroupLimits: log_bytes_per_step_max, output_bytes_per_step_max, log_bytes_per_frame_max, output_bytes_per_frame_max);
    let more = format!("or {} for each agent of `agents_max` where that is more", thousands(TABLE_BYTES_PER_AGENT));
    assert!(document.contains(&more));
}

/// The default of limits that are counted in deliveries.
fn by_agents() -> String {
    format!("one for each agent, at least {}", thousands(DELIVERIES_LEAST))
}

/// A row of a table of keys, from the heading `section` on.
fn row<'a>(document: &'a str, section: &str, key: &str) -> &'a str {
    let (_, section) = document.split_once(&format!("\n{section}\n")).unwrap();
    section.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap_or_else(|| panic!("no row {key}"))
}

#[test]
fn schedules_scheduler_and_tenants_have_the_bounds_and_defaults_of_the_engine() {
    let document = reference();
    let bound = |n: u64| if n == GroupLimits::UNBOUNDED { "2^63 - 1".to_owned() } else { thousands(n) };
    let check = |section: &str, key: &str, min: u64, max: u64, default: &str| {
        let row = row(&document, section, key);
        let start = format!("| `{key}` | integer, {} to {} | {default} | ", bound(min), bound(max));
        assert!(row.starts_with(&start), "{row}\nbegins otherwise than\n{start}");
    };
    let (group, none) = (GroupLimits::MIN, GroupLimits::UNBOUNDED);
    check("## Groups", "agents", 1, GROUP_AGENTS_MAX.into(), "required");
    check("## Groups", "agents_max", 1, GROUP_AGENTS_MAX.into(), "`agents`");
    let Trigger::Every { period, phase } = Trigger::default() else { panic!("agents are stepped in each frame") };
    check("## Groups", "every", 1, PERIOD_FRAMES_MAX.into(), &period.to_string());
    check("## Groups", "phase", 0, u64::from(PERIOD_FRAMES_MAX) - 1, &phase.to_string());
    check("## Groups", "priority", 0, PRIORITY_MAX.into(), &Schedule::default().priority.to_string());
    let scheduler = SchedulerSettings::default();
    assert_eq!((scheduler.steps_per_frame_max, scheduler.fuel_per_frame_max), (u64::MAX, u64::MAX));
    check("## Scheduler", "steps_per_frame_max", 1, none, "none");
    check("## Scheduler", "fuel_per_frame_max", 1, none, "none");
    check("## Scheduler", "ageing_frames", 0, AGEING_FRAMES_MAX.into(), &scheduler.ageing_frames.to_string());
    let deliveries = (scheduler.deliveries_per_frame_max, scheduler.host_deliveries_per_frame_max);
    assert_eq!(deliveries, (GroupLimits::BY_AGENTS, GroupLimits::BY_AGENTS));
    let tables = (scheduler.log_bytes_per_frame_max, scheduler.output_bytes_per_frame_max);
    assert_eq!(tables, (GroupLimits::BY_AGENTS, GroupLimits::BY_AGENTS));
    for key in ["deliveries_per_frame_max", "log_bytes_per_frame_max", "output_bytes_per_frame_max"] {
        check("## Scheduler", key, 0, none, "[parts](#what-all-groups-have-together)");
    }
    check("## Scheduler", "host_deliveries_per_frame_max", 0, none, &by_agents());
    assert_eq!(scheduler.mode, SchedulerMode::Priority);
    assert!(row(&document, "## Scheduler", "mode").starts_with("| `mode` | string | `\"priority\"` | "));
    check("## Tenants", "agents_max", 1, AGENTS_MAX.into(), "none");
    check("## Tenants", "memory_bytes_max", group.memory_bytes_max, none, "none");
    check("## Tenants", "fuel_per_frame_max", group.fuel_per_frame_max, none, "none");
    check("## Tenants", "messages_per_frame_max", group.messages_per_frame_max, none, "none");
    check("## Tenants", "jobs_per_frame_max", group.jobs_per_frame_max, none, "none");
    check("## Tenants", "deliveries_per_frame_max", group.deliveries_per_frame_max, none, &by_agents());
    check("## Tenants", "log_bytes_per_frame_max", group.log_bytes_per_frame_max, none, "none");
    check("## Tenants", "output_bytes_per_frame_max", group.output_bytes_per_frame_max, none, "none");
    check("### Commands", "count", 1, EVENT_SPAWNS_MAX.into(), "1");
    assert!(document.contains(&format!("at most {} bytes", thousands(EVENT_SPAWN_BYTES_MAX))));
    let tenants = format!("by name: groups that share totals. At most {}. |", thousands(TENANTS_MAX));
    assert!(document.contains(&tenants));
}
