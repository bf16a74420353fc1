//! The reference `docs/SCENARIO.md` against the reader: its examples are read, and no key or limit is missing. The examples of
//! `docs/how-to/schedule-and-supervise.md` are read in the same way.
//!
//! A block fenced as `toml` is a whole scenario, `toml top` goes before the groups of that scenario, `toml group` into its
//! last group, `toml swap` to its end, and `jsonl` are events for it.

use std::path::Path;
use std::sync::Arc;

use wasm_engine_abi::Capability;
use wasm_engine_components::limits::{
    AGEING_FRAMES_MAX, AGENTS_MAX, BACKOFF_FRAMES_MAX, BATCH_ROWS_MAX, DELIVERIES_LEAST, DELIVERY_BYTES,
    EVENT_BYTES_PER_FRAME_MAX, EVENT_LINE_BYTES_MAX, EVENT_SPAWN_BYTES_MAX, EVENT_SPAWNS_MAX, EVENTS_PER_FRAME_MAX,
    EXPECTATIONS_MAX, FRAMES_MAX, GLOBALS_MAX, GROUP_AGENTS_MAX, GROUP_REGIONS_BYTES_MAX, GROUPS_MAX,
    INSTANCE_BYTES_FREE, LATENCY_FRAMES_MAX, LimitKey, MODEL_AXIS_MAX, MODEL_BYTES_MAX, MODEL_DIM_MAX,
    MODEL_MEMORY_BYTES_MAX, MODEL_MEMORY_BYTES_MIN, MODEL_MS_MAX, MODELS_MAX, MODULE_BYTES_MAX, NAME_BYTES_MAX,
    PAYLOAD_BYTES_MAX, PERIOD_FRAMES_MAX, PRIORITY_MAX, REGION_BYTES_MAX, REGIONS_BYTES_MAX, REGIONS_MAX, RESTARTS_MAX,
    SUMMARY_VALUES_MAX, SWAPS_MAX, TABLE_BYTES_PER_AGENT, TABLE_ELEMENTS_MAX, TABLE_ROW_BYTES, TABLES_MAX, TENANTS_MAX,
    TOPICS_MAX,
};
use wasm_engine_components::{
    FaultPolicy, GroupLimits, ModuleLimits, OverflowPolicy, Schedule, SchedulerMode, SchedulerSettings, Trigger,
};
use wasm_engine_core::events::open;
use wasm_engine_core::problem::thousands;
use wasm_engine_core::scenario::{LoadOptions, Scenario, load};

fn reference() -> String {
    document("docs/SCENARIO.md")
}

fn document(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
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

/// The scenario of a text, whose files are empty ones in `folder`.
fn read(folder: &Path, text: &str, set: &[&str]) -> Result<Scenario, String> {
    let folders = ["../samples/wasm/", "../models/digits/", "office/"];
    let text = folders.into_iter().fold(text.to_owned(), |text, folder| text.replace(folder, ""));
    for file in ["reader.wasm", "clerk.wasm", "ledger.wasm", "digits-s8.onnx", "speech.onnx", "scans.jsonl"] {
        let path = folder.join(file);
        if !path.exists() {
            std::fs::write(path, "").unwrap();
        }
    }
    let path = folder.join("office.toml");
    std::fs::write(&path, text).unwrap();
    let options = LoadOptions { set: set.iter().map(|set| (*set).to_owned()).collect(), ..LoadOptions::default() };
    load(&path, &options).map_err(|problems| format!("{problems:#}").replace(&format!("{}/", folder.display()), ""))
}

#[test]
fn the_examples_can_be_read() {
    let document = reference();
    let [whole] = &blocks(&document, "toml")[..] else { panic!("one whole example") };
    // It is one of the repository's, whose command in the document is run by the test `docs`.
    assert_eq!(*whole, self::document("agents/scenarios/office.toml"));
    let folder = tempfile::tempdir().unwrap();
    let events = blocks(&document, "jsonl");
    assert_eq!(events.len(), 2, "messages, and commands");
    let scenario = read(folder.path(), whole, &["readers=5"]).unwrap();
    assert_eq!(scenario.groups[0].agents, 5);
    for events in events {
        std::fs::write(folder.path().join("scans.jsonl"), events).unwrap();
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
        // A group has its parameters once.
        let own = if part.contains("params = ") {
            before_expect.replace("params = { clerks = 2 }\n", "")
        } else {
            before_expect.clone()
        };
        read(folder.path(), &format!("{own}{part}"), &[]).unwrap();
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
    assert_eq!(keys, 15 + 2 + 10 + 3 + 19 + 33 + 3 + 4 + 8 + 8 + 5 + 7);
}

/// The same for the keys of events.
#[test]
fn every_key_of_events_is_in_it() {
    let document = reference();
    let folder = tempfile::tempdir().unwrap();
    let scenario = read(folder.path(), &blocks(&document, "toml").concat(), &[]).unwrap();
    std::fs::write(folder.path().join("scans.jsonl"), "{\"zzzzzzzz\":1}\n").unwrap();
    let told = format!("{:#}", open(&scenario, Arc::default()).map(|_| ()).unwrap_err());
    let known = told.split_once("known: ").unwrap().1;
    assert_eq!(known.split(", ").count(), 16);
    let events = &document[document.find("## External events").unwrap()..];
    for key in known.split(", ") {
        assert!(events.contains(&format!("\n| {key} | ")), "{key} isn't in docs/SCENARIO.md");
    }
}

/// The words that are told for one that isn't known.
#[test]
fn every_command_is_in_it() {
    let document = reference();
    let folder = tempfile::tempdir().unwrap();
    let scenario = read(folder.path(), &blocks(&document, "toml").concat(), &[]).unwrap();
    let line = "{\"frame\":1,\"command\":\"zzzzzzzz\",\"agent\":\"readers/0\"}\n";
    std::fs::write(folder.path().join("scans.jsonl"), line).unwrap();
    let told = format!("{:#}", open(&scenario, Arc::default()).map(|_| ()).unwrap_err());
    let known: Vec<_> = told.split_once("known: ").unwrap().1.split(", ").collect();
    assert!(known.contains(&"`pause`") && known.contains(&"`spawn`"), "{told}");
    let row = row(&document, "### Commands", "command");
    for command in known {
        assert!(row.contains(&format!("{command}: ")), "docs/SCENARIO.md doesn't say what {command} does");
    }
}

#[test]
fn the_limits_are_those_of_the_engine() {
    let document = reference();
    let check = |name: &str, [min, default, max]: [u64; 3]| {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        let bound = |n: u64, word: &str| match n {
            GroupLimits::UNBOUNDED => word.to_owned(),
            GroupLimits::BY_AGENTS => by_agents(),
            n => thousands(n),
        };
        let numbers = [thousands(min), bound(default, "none"), bound(max, "2^63 - 1")].join(" | ");
        assert!(row.ends_with(&format!("| {numbers} |")), "{row}");
    };
    for LimitKey { name, of } in GroupLimits::KEYS {
        check(name, [GroupLimits::MIN, GroupLimits::DEFAULT, GroupLimits::MAX].each_ref().map(of));
    }
    for LimitKey { name, of } in ModuleLimits::KEYS {
        check(name, [ModuleLimits::MIN, ModuleLimits::DEFAULT, ModuleLimits::MAX].each_ref().map(of));
    }
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

/// A number as the document writes it: large powers of two as such.
fn written(n: u64) -> String {
    match n {
        GroupLimits::UNBOUNDED => "2^63 - 1".to_owned(),
        u64::MAX => "2^64 - 1".to_owned(),
        n if n >= u64::from(u32::MAX >> 1) && (n + 1).is_power_of_two() => format!("2^{} - 1", n.trailing_ones()),
        n if n >= 1 << 41 && n.is_power_of_two() => format!("2^{}", n.trailing_zeros()),
        n => thousands(n),
    }
}

/// The row of a whole number says its bounds and its default.
fn check_row(document: &str, section: &str, key: &str, (min, max): (u64, u64), default: &str) {
    let row = row(document, section, key);
    let start = format!("| `{key}` | integer, {} to {} | {default} | ", written(min), written(max));
    assert!(row.starts_with(&start), "{row}\nbegins otherwise than\n{start}");
}

#[test]
fn schedules_scheduler_and_tenants_have_the_bounds_and_defaults_of_the_engine() {
    let document = reference();
    let check = |section: &str, key: &str, min: u64, max: u64, default: &str| {
        check_row(&document, section, key, (min, max), default);
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

/// What a scenario has that says as little as it may, and its events: each default that the tables name.
#[test]
fn what_holds_where_a_scenario_says_nothing_is_what_the_tables_name() {
    let document = reference();
    let folder = tempfile::tempdir().unwrap();
    let text = "frames = 1\nmodules.reader.path = \"reader.wasm\"\nmodels.m.path = \"speech.onnx\"\n\
                [[groups]]\nname = \"g\"\nmodule = \"reader\"\nagents = 1\n\
                [[groups]]\nname = \"h\"\nmodule = \"reader\"\nagents = 1\non_fault = { policy = \"restart\" }\n";
    let scenario = read(folder.path(), text, &[]).unwrap();
    assert_eq!(scenario.name, "office", "the file's stem");
    let check = |section: &str, key: &str, bounds: (u64, u64), default: u64| {
        check_row(&document, section, key, bounds, &thousands(default));
    };
    check("## The scenario", "seed", (0, u64::MAX), scenario.seed);
    check("## The scenario", "frame_period_us", (0, u32::MAX.into()), scenario.frame_period_us.into());
    check_row(&document, "## The scenario", "frames", (1, FRAMES_MAX), "required");
    assert_eq!((scenario.input, scenario.topics.len(), scenario.swaps.len(), scenario.expect.len()), (None, 0, 0, 0));

    let model = &scenario.models[0];
    check("## Models", "batch_rows_max", (1, BATCH_ROWS_MAX.into()), model.batch_rows_max.into());
    check("## Models", "latency_frames", (1, LATENCY_FRAMES_MAX.into()), model.latency_frames.into());
    check("## Models", "run_ms_max", (1, MODEL_MS_MAX.into()), model.run_ms_max.into());
    check("## Models", "load_ms_max", (1, MODEL_MS_MAX.into()), model.load_ms_max.into());
    let memory = (MODEL_MEMORY_BYTES_MIN, MODEL_MEMORY_BYTES_MAX);
    check("## Models", "run_memory_bytes_max", memory, model.run_memory_bytes_max);
    let starts = |section: &str, start: &str| {
        let key = start.split('`').nth(1).unwrap();
        assert!(row(&document, section, key).starts_with(start), "{key} is described otherwise than {start}");
    };
    starts("## Models", &format!("| `refuse_non_finite` | boolean | `{}` | ", model.refuse_non_finite));
    starts("## Models", &format!("| `dims` | table of integers, 1 to {} | none | ", thousands(MODEL_DIM_MAX)));
    starts("## Models", &format!("| `batch_axes` | table of integers, 0 to {MODEL_AXIS_MAX} | found | "));

    for group in &scenario.groups {
        let FaultPolicy::Restart { restarts_max, backoff_frames } = group.on_fault else { panic!("a restart") };
        check("## Groups", "restarts_max", (0, RESTARTS_MAX.into()), restarts_max.into());
        check("## Groups", "backoff_frames", (1, BACKOFF_FRAMES_MAX.into()), backoff_frames.into());
    }
    let group = &scenario.groups[0];
    assert_eq!((group.overflow, group.agents_max), (OverflowPolicy::Reject, group.agents));
    let nothing = group.accepts.is_none() && group.supervisor.is_none() && group.tenant.is_none();
    assert!(nothing && [&group.after, &group.controls].iter().all(|groups| groups.is_empty()));
    assert!(group.params.is_empty() && group.subscribe.is_empty());
    starts("## Groups", "| `overflow` | string | `\"reject\"` | ");
    starts("## Groups", "| `on_fault` | string, or table | `\"restart\"` | ");
    starts("## Groups", &format!("| `enabled` | boolean | `{}` | ", group.enabled));
    starts("## Groups", "| `accepts` | array of strings | all | ");
    assert!(Capability::ALL.iter().all(|&capability| group.capabilities.has(capability)));
    let names = Capability::ALL.map(|capability| format!("`{}`", capability.name())).join(", ");
    starts("## Groups", &format!("| `capabilities` | array of strings | all | What the agents may do: {names}. |"));

    check_row(&document, "## Shared regions", "bytes", (1, REGION_BYTES_MAX.into()), "required");
    check_row(&document, "## Hot swaps", "frame", (0, FRAMES_MAX - 1), "none");
    check_row(&document, "## External events", "frame", (0, FRAMES_MAX - 1), "required");
    check("## External events", "kind", (0, u64::from(wasm_engine_abi::kind::RESERVED) - 1), 0);
    check("## External events", "correlation", (0, u64::MAX), 0);
}

/// The numbers that the text says beside the tables' own columns.
#[test]
fn the_bounds_in_its_text_are_those_of_the_engine() {
    let text = reference().split_whitespace().collect::<Vec<_>>().join(" ");
    let delivery = u64::from(DELIVERY_BYTES);
    let header = u64::from(wasm_engine_abi::MessageHeader::BYTES);
    for said in [
        format!("Names of groups and of the scenario are up to {NAME_BYTES_MAX} letters"),
        format!("tenants are up to {NAME_BYTES_MAX} bytes without control characters"),
        format!("publish and subscribe. At most {}.", thousands(TOPICS_MAX)),
        format!("[Models](#models) by name. At most {}.", thousands(MODELS_MAX)),
        format!("[Shared regions](#shared-regions) by name. At most {}.", thousands(REGIONS_MAX)),
        format!("[Groups](#groups) of agents, 1 to {}.", thousands(GROUPS_MAX)),
        format!("have at most {} agents at one time", thousands(AGENTS_MAX)),
        format!("[Hot swaps](#hot-swaps). At most {}.", thousands(SWAPS_MAX)),
        format!("[Expectations](#expectations). At most {}.", thousands(EXPECTATIONS_MAX)),
        format!(
            "The `.wasm` file, at most {} MiB; {} MiB unless",
            MODULE_BYTES_MAX >> 20,
            ModuleLimits::DEFAULT.module_bytes_max >> 20
        ),
        format!("The `.onnx` file, less than {} GiB", (MODEL_BYTES_MAX + 1) >> 30),
        format!("What `agent_init` is given; see below. At most {} bytes.", thousands(PAYLOAD_BYTES_MAX)),
        format!("functions and globals where those take more than {}", thousands(INSTANCE_BYTES_FREE)),
        format!("bytes in a mailbox, {header} for each header included"),
        format!("counts for about what it takes in its table: {TABLE_ROW_BYTES} bytes"),
        format!("each {delivery} bytes that are begun of the message, of which its header is {header}."),
        format!("reach everybody once with up to {} bytes", delivery - header),
        format!(
            "Fixed are {TABLES_MAX} tables with {} elements together, {} globals",
            thousands(TABLE_ELEMENTS_MAX),
            thousands(GLOBALS_MAX)
        ),
        format!("an equal one of {} deliveries", thousands(DELIVERIES_LEAST)),
        format!(
            "and of {} bytes; and of bytes at least {} for each agent",
            thousands(GroupLimits::DEFAULT.log_bytes_per_frame_max),
            thousands(TABLE_BYTES_PER_AGENT)
        ),
        format!("All regions together have at most {} bytes", thousands(REGIONS_BYTES_MAX)),
        format!("that the group reads. Those are at most {} bytes", thousands(GROUP_REGIONS_BYTES_MAX)),
        format!("If more than {} agents have recorded it", thousands(SUMMARY_VALUES_MAX)),
        format!(
            "less a header of {header} bytes, in multiples of {}), for a topic {} bytes",
            wasm_engine_abi::RECORD_ALIGN,
            thousands(PAYLOAD_BYTES_MAX)
        ),
        format!("A line has at most {} bytes", thousands(EVENT_LINE_BYTES_MAX)),
        format!("One frame is given at most {} messages and commands", thousands(EVENTS_PER_FRAME_MAX)),
        format!("is one, and {} bytes of payloads", thousands(EVENT_BYTES_PER_FRAME_MAX)),
    ] {
        assert!(text.contains(&said), "docs/SCENARIO.md doesn't say `{said}`");
    }
}

#[test]
fn a_scenario_expects_no_more_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let one = "[[expect]]\ncount = \"agents\"\nat_least = 1\n";
    let text = |count: u32| {
        "frames = 1\nmodules.reader.path = \"reader.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"reader\"\nagents = 1\n"
            .to_owned()
            + &one.repeat(count as usize)
    };
    assert_eq!(read(folder.path(), &text(EXPECTATIONS_MAX), &[]).unwrap().expect.len(), EXPECTATIONS_MAX as usize);
    let told = read(folder.path(), &text(EXPECTATIONS_MAX + 1), &[]).unwrap_err();
    assert!(told.contains("expect: there are 4,097, more than the limit; help: use at most 4,096"), "{told}");
}
