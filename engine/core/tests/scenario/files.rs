//! Scenario files: what good ones mean, and what each kind of bad one is told. The messages are in
//! `tests/data/scenario_errors.txt` and, of swaps, `tests/data/swap_errors.txt`; `BLESS=1` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use wasm_engine_abi::{Capabilities, Capability, name_id};
use wasm_engine_components::{
    AgentId, FaultPolicy, GroupId, GroupLimits, ModelId, ModuleSwap, OverflowPolicy, RegionOwner, RegionSpec, Schedule,
    SchedulerMode, SchedulerSettings, Swap, Tenant, TenantId, TopicId, Trigger,
};
use wasm_engine_core::scenario::{ExpectedValue, LoadOptions, Scenario, load};

/// A folder with the files that the scenarios of these tests name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.wasm"), b"\0asm").unwrap();
    std::fs::write(folder.path().join("m.onnx"), b"onnx").unwrap();
    std::fs::write(folder.path().join("params.bin"), [1, 2, 3]).unwrap();
    std::fs::write(folder.path().join("big.bin"), vec![0; (1 << 20) + 1]).unwrap();
    folder
}

fn load_text(folder: &Path, text: &str, set: &[&str]) -> Result<Scenario, String> {
    let path = folder.join("x.toml");
    std::fs::write(&path, text).unwrap();
    let options = LoadOptions { set: set.iter().map(|set| (*set).to_owned()).collect(), ..LoadOptions::default() };
    load(&path, &options).map_err(|problems| format!("{problems:#}").replace(&format!("{}/", folder.display()), ""))
}

/// What comes before the groups of a scenario in those files, unless it starts with `!`.
const PRELUDE: &str = "frames = 10\ntopics = [\"desk-0\", \"desk-1\"]\nmodules.a.path = \"a.wasm\"\n";

#[test]
fn each_bad_scenario_is_told_what_is_wrong_where_and_what_to_do() {
    check_errors("tests/data/scenario_errors.txt");
}

#[test]
fn each_bad_swap_is_told_what_is_wrong_where_and_what_to_do() {
    check_errors("tests/data/swap_errors.txt");
}

fn check_errors(file: &str) {
    let folder = folder();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let cases = std::fs::read_to_string(&file).unwrap();
    let mut seen = String::new();
    for case in cases.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (input, _) = rest.split_once("---\n").unwrap();
        let (set, toml): (Vec<&str>, Vec<&str>) = input.lines().partition(|line| line.starts_with("--set "));
        let set: Vec<&str> = set.iter().map(|line| &line["--set ".len()..]).collect();
        let toml = toml.join("\n");
        let text = toml.strip_prefix("!\n").map_or_else(|| format!("{PRELUDE}{toml}"), str::to_owned);
        let told = match load_text(folder.path(), &text, &set) {
            Ok(_) => "no error".to_owned(),
            Err(told) => told,
        };
        assert!(told == "no error" || told.lines().all(|line| line.contains("; help: ")), "{told}");
        write!(seen, "=== {title}\n{input}---\n{told}\n\n").unwrap();
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, seen.trim_end().to_owned() + "\n").unwrap();
    } else {
        assert_eq!(cases.trim_end(), seen.trim_end(), "run with BLESS=1 if this is meant");
    }
}

#[test]
fn files_that_are_no_scenario_are_told_so() {
    let folder = folder();
    let cases: [(&str, Option<&[u8]>, &str); 5] = [
        (
            "missing.toml",
            None,
            "the file `missing.toml` doesn't exist; help: name a scenario file, such as my-scenario.toml",
        ),
        ("", None, "`` is a folder, a file is needed; help: name a scenario file, such as my-scenario.toml"),
        ("empty.toml", Some(b" \n"), "empty.toml: the file is empty; help: docs/SCENARIO.md has a small example"),
        (
            "latin.toml",
            Some(b"frames = 1\nname = \"caf\xe9\"\n"),
            "latin.toml:2: the file isn't UTF-8: byte 22 is the first that is wrong; help: save it as UTF-8 text",
        ),
        (
            "bad.toml",
            Some(b"frames = = 1\n"),
            "bad.toml:1:10: isn't TOML: extra `=`, expected nothing; help: write `KEY = VALUE`, texts in quotes and tables as `[NAME]`; https://toml.io/en/v1.0.0 has all of it",
        ),
    ];
    for (name, bytes, expected) in cases {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let told = format!("{:#}", load(&path, &LoadOptions::default()).unwrap_err());
        assert_eq!(told.replace(&format!("{}/", folder.path().display()), ""), expected);
    }
    let path = folder.path().join("large.toml");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len((16 << 20) + 1).unwrap();
    let told = format!("{:#}", load(&path, &LoadOptions::default()).unwrap_err());
    assert!(told.ends_with("the file is too large; help: a scenario has at most 16,777,216 bytes"), "{told}");
}

/// Reading a device may never end, and opening a pipe may never begin.
#[test]
#[cfg(unix)]
fn devices_and_pipes_are_no_files_of_a_scenario() {
    let folder = folder();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()), "a pipe with a name can be made");
    let group = "[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 1\n";
    let zero = "`/dev/zero` is a device or a pipe, a file is needed";
    for (key, text) in [
        ("modules.b.path", format!("{PRELUDE}modules.b.path = \"/dev/zero\"\n{group}")),
        ("models.m.path", format!("{PRELUDE}models.m.path = \"/dev/zero\"\n{group}")),
        ("groups[0].params_file", format!("{PRELUDE}{group}params_file = \"/dev/zero\"\n")),
    ] {
        for (name, shown) in [("/dev/zero", zero.to_owned()), ("pipe", zero.replace("/dev/zero", "pipe"))] {
            let told = load_text(folder.path(), &text.replace("/dev/zero", name), &[]).unwrap_err();
            assert!(told.contains(&format!("{key}: {shown}; help: ")) && told.lines().count() == 1, "{told}");
        }
    }
    for path in [Path::new("/dev/zero"), &folder.path().join("pipe")] {
        let told = format!("{:#}", load(path, &LoadOptions::default()).unwrap_err());
        assert!(told.contains("is a device or a pipe, a file is needed; help: name a scenario file"), "{told}");
    }
    // Events may come from a pipe.
    load_text(folder.path(), &format!("input = \"pipe\"\n{PRELUDE}{group}"), &[]).unwrap();
}

const FULL: &str = r#"
name = "full"
seed = 18446744073709551615
frames = 200
frame_period_us = 16_667
input = "-"
topics = ["z", "a"]
[params]
agents = 3
sabotage = false
text = "$literal"
rate = 0.5
[modules.ring]
path = "a.wasm"
sha256 = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
[models.digits]
path = "m.onnx"
batch_rows_max = 8
latency_frames = 2
refuse_non_finite = false
dims = { seq = 16 }
[regions.sky]
bytes = 16_777_216
writer = "native"
[regions.map]
bytes = "$agents"
writer = "off"
readers = ["file", "ring"]
[[groups]]
name = "ring"
module = "ring"
agents = "$agents"
params = { z = { b = [1, "$agents"], a = 1.0 }, agents = "$agents", price = "$$5", text = "$text", cost = "$5.00" }
subscribe = ["z", "a"]
capabilities = ["send", "log"]
accepts = ["off", "ring"]
overflow = "drop_oldest"
on_fault = { policy = "restart", backoff_frames = 4 }
limits = { fuel_per_step_max = 5, mailbox_bytes_max = 48 }
[[groups]]
name = "off"
enabled = "$sabotage"
module = "ring"
agents = 1
params_base64 = "AQID"
on_fault = "pause"
[[groups]]
name = "file"
module = "ring"
agents = 1
params_file = "params.bin"
on_fault = { policy = "terminate" }
[[expect]]
group = "ring"
output = "sum"
equals_output = "expected"
[[expect]]
group = "ring"
output = "rate"
at_least = "$rate"
[[expect]]
group = "off"
output = "sum"
equals = 1
"#;

#[test]
fn every_key_means_what_the_reference_says() {
    let folder = folder();
    let scenario = load_text(folder.path(), FULL, &[]).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.seed, scenario.frames), ("full", u64::MAX, 200));
    assert_eq!((scenario.frame_period_us, scenario.input.as_deref()), (16_667, Some(Path::new("-"))));
    assert_eq!(scenario.source, FULL);
    let topic = |name| TopicId(name_id(name));
    assert_eq!(
        scenario.topics.iter().map(|t| (t.name.as_str(), t.id)).collect::<Vec<_>>(),
        [("a", topic("a")), ("z", topic("z"))]
    );
    let params: Vec<_> = scenario.params.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(params, [("agents", "3"), ("rate", "0.5"), ("sabotage", "false"), ("text", "\"$literal\"")]);
    assert_eq!(scenario.modules[0].sha256.unwrap()[..3], [0x00, 0x11, 0x22]);
    let model = &scenario.models[0];
    assert_eq!((model.batch_rows_max, model.latency_frames, model.refuse_non_finite), (8, 2, false));
    assert_eq!(model.dims, [("seq".to_owned(), 16)]);
    let region = |name: &str, bytes, writer, readers: &[u32]| {
        let readers = readers.iter().map(|&group| GroupId(group)).collect();
        RegionSpec::new(name, bytes, writer).with(|region| region.readers = readers)
    };
    let map = region("map", 3, RegionOwner::Group(GroupId(2)), &[1, 3]);
    assert_eq!(scenario.regions, [map, region("sky", 16 << 20, RegionOwner::Native, &[])]);

    let [ring, off, file] = &scenario.groups[..] else { panic!("three groups") };
    assert_eq!((ring.id, ring.agents, ring.enabled), (GroupId(1), 3, true));
    assert_eq!(
        String::from_utf8(ring.params.clone()).unwrap(),
        "agents = 3\ncost = \"$5.00\"\nprice = \"$5\"\ntext = \"$literal\"\nz = { a = 1.0, b = [1, 3] }\n"
    );
    let mut subscribed = [topic("a"), topic("z")];
    subscribed.sort();
    assert_eq!(ring.subscribe, subscribed);
    assert_eq!(ring.capabilities, Capabilities::NONE.with(Capability::Send).with(Capability::Log));
    assert_eq!(ring.accepts, Some(vec![GroupId(1), GroupId(2)]));
    assert_eq!(ring.overflow, OverflowPolicy::DropOldest);
    assert_eq!(ring.on_fault, FaultPolicy::Restart { restarts_max: 3, backoff_frames: 4 });
    let limits = GroupLimits { fuel_per_step_max: 5, mailbox_bytes_max: 48, ..GroupLimits::DEFAULT };
    assert_eq!(ring.limits, limits);
    assert_eq!(
        (off.enabled, off.id, &off.params[..], off.on_fault),
        (false, GroupId(2), &[1, 2, 3][..], FaultPolicy::Pause)
    );
    assert_eq!((off.capabilities, off.accepts.clone(), off.limits), (Capabilities::ALL, None, GroupLimits::DEFAULT));
    assert_eq!((&file.params[..], file.on_fault), (&[1, 2, 3][..], FaultPolicy::Terminate));

    let expected: Vec<_> =
        scenario.expect.iter().map(|e| (e.group, e.output.as_str(), e.value.clone(), e.line)).collect();
    assert_eq!(
        expected,
        [
            (Some(GroupId(1)), "sum", ExpectedValue::EqualsOutput("expected".to_owned()), 53),
            (Some(GroupId(1)), "rate", ExpectedValue::AtLeast(0.5), 57),
        ]
    );
    assert_eq!(scenario.agent_name(AgentId::new(GroupId(3), 7)), "file/7");
    assert_eq!(scenario.agent_name(AgentId::of_generation(GroupId(3), 7, 2)), "file/7#2");
}

const SCHEDULED: &str = r#"
frames = 10
modules.a.path = "a.wasm"
params.period = 4
[scheduler]
mode = "round_robin"
steps_per_frame_max = 9_223_372_036_854_775_807
fuel_per_frame_max = 1
deliveries_per_frame_max = 5_000
host_deliveries_per_frame_max = 0
log_bytes_per_frame_max = 6_000
output_bytes_per_frame_max = 0
[tenants.zoo]
agents_max = 20
deliveries_per_frame_max = 7
memory_bytes_max = 10_485_760
[tenants.acme]
fuel_per_frame_max = 3
messages_per_frame_max = 0
jobs_per_frame_max = 5
[[groups]]
name = "overseer"
module = "a"
agents = 1
agents_max = 8
controls = ["pool", "overseer"]
tenant = "acme"
schedule = { on = "message" }
[[groups]]
name = "pool"
module = "a"
agents = 0
agents_max = 4_000_000
after = ["sensors", "overseer"]
supervisor = "overseer"
on_fault = "escalate"
tenant = "zoo"
schedule = { on = "timer", priority = 1_000 }
limits = { requests_max = 0, fuel_per_frame_max = 7, messages_per_frame_max = 6, message_bytes_per_frame_max = 5, jobs_per_frame_max = 4, log_lines_per_frame_max = 3, deliveries_per_step_max = 2, deliveries_per_frame_max = 0 }
[[groups]]
name = "sensors"
module = "a"
agents = 10
tenant = "zoo"
on_fault = { policy = "escalate" }
supervisor = "overseer"
schedule = { every = "$period", phase = 3 }
"#;

#[test]
fn schedules_orders_supervisors_and_tenants_mean_what_the_reference_says() {
    let folder = folder();
    let scenario = load_text(folder.path(), SCHEDULED, &[]).unwrap();
    let settings = SchedulerSettings {
        mode: SchedulerMode::RoundRobin,
        steps_per_frame_max: i64::MAX as u64,
        fuel_per_frame_max: 1,
        ageing_frames: 0,
        deliveries_per_frame_max: 5_000,
        host_deliveries_per_frame_max: 0,
        log_bytes_per_frame_max: 6_000,
        output_bytes_per_frame_max: 0,
    };
    assert_eq!(scenario.scheduler, settings);
    let none = GroupLimits::UNBOUNDED;
    let tenant = |name: &str, agents_max, memory_bytes_max, [fuel, messages, jobs]: [u64; 3]| Tenant {
        name: name.to_owned(),
        agents_max,
        memory_bytes_max,
        fuel_per_frame_max: fuel,
        messages_per_frame_max: messages,
        jobs_per_frame_max: jobs,
        deliveries_per_frame_max: if name == "zoo" { 7 } else { GroupLimits::BY_AGENTS },
        log_bytes_per_frame_max: none,
        output_bytes_per_frame_max: none,
    };
    let tenants = [tenant("acme", none, none, [3, 0, 5]), tenant("zoo", 20, 10 << 20, [none; 3])];
    assert_eq!(scenario.tenants, tenants, "in the order of their names");

    let [overseer, pool, sensors] = &scenario.groups[..] else { panic!("three groups") };
    assert_eq!((overseer.agents, overseer.agents_max), (1, 8));
    assert_eq!((pool.agents, pool.agents_max), (0, 4_000_000));
    assert_eq!((sensors.agents, sensors.agents_max), (10, 10), "as many as it starts with");
    assert_eq!(overseer.schedule, Schedule { trigger: Trigger::Message, priority: 0 });
    assert_eq!(pool.schedule, Schedule { trigger: Trigger::Timer, priority: 1_000 });
    assert_eq!(sensors.schedule, Schedule { trigger: Trigger::Every { period: 4, phase: 3 }, priority: 0 });
    assert_eq!((&overseer.after[..], &pool.after[..]), (&[][..], &[GroupId(1), GroupId(3)][..]));
    assert_eq!((&overseer.controls[..], &pool.controls[..]), (&[GroupId(1), GroupId(2)][..], &[][..]));
    assert_eq!((overseer.supervisor, pool.supervisor), (None, Some(GroupId(1))));
    assert_eq!((pool.on_fault, sensors.on_fault), (FaultPolicy::Escalate, FaultPolicy::Escalate));
    assert_eq!((overseer.tenant, pool.tenant), (Some(TenantId(0)), Some(TenantId(1))));
    let limits = GroupLimits {
        requests_max: 0,
        fuel_per_frame_max: 7,
        messages_per_frame_max: 6,
        message_bytes_per_frame_max: 5,
        jobs_per_frame_max: 4,
        log_lines_per_frame_max: 3,
        deliveries_per_step_max: 2,
        deliveries_per_frame_max: 0,
        ..GroupLimits::default_of(4_000_000)
    };
    assert_eq!(pool.limits, limits);

    let plain = load_text(folder.path(), FULL, &[]).unwrap();
    assert_eq!((plain.scheduler, &plain.tenants[..]), (SchedulerSettings::default(), &[][..]));
    let ring = &plain.groups[0];
    assert_eq!((ring.agents_max, ring.schedule), (3, Schedule::default()));
    assert_eq!((ring.supervisor, ring.tenant), (None, None));
    assert!(ring.after.is_empty() && ring.controls.is_empty());
}

/// A start may be as large as the tenant's totals, and what isn't enabled takes no part in them.
#[test]
fn a_start_fills_a_tenant_to_the_brim() {
    let folder = folder();
    let group = |name: &str, agents: u32| {
        format!("[[groups]]\nname = \"{name}\"\nmodule = \"a\"\nagents = {agents}\nagents_max = 500\ntenant = \"t\"\n")
    };
    let start = "tenants.t = { agents_max = 10, memory_bytes_max = 10_485_760 }\n";
    let full = format!("{PRELUDE}{start}{}{}{}enabled = false\n", group("g", 4), group("h", 6), group("off", 500));
    load_text(folder.path(), &full, &[]).unwrap();
    let more = full.replace("agents = 6", "agents = 7");
    let told = load_text(folder.path(), &more, &[]).unwrap_err();
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("tenants.t.agents_max: 10 is less than the 11 agents that its groups start with"), "{told}");
}

#[test]
fn set_takes_the_place_of_a_default_of_the_same_type() {
    let folder = folder();
    let set = ["agents=10", "sabotage=true", "rate=1", "text=7 up"];
    let scenario = load_text(folder.path(), FULL, &set).unwrap();
    assert_eq!((scenario.groups[0].agents, scenario.groups[1].enabled), (10, true));
    assert_eq!(scenario.expect[1].value, ExpectedValue::AtLeast(1.0));
    assert_eq!(scenario.expect.len(), 3, "what is expected of a group counts where it takes part");
    let params: Vec<_> = scenario.params.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(params, ["10", "1.0", "true", "\"7 up\""]);
    let quoted = load_text(folder.path(), FULL, &["text=\"a\\tb\""]).unwrap();
    assert_eq!(quoted.params[3].1, "\"a\\tb\"");
}

#[test]
fn a_name_is_the_files_stem_where_the_file_says_none() {
    let folder = folder();
    let path = folder.path().join("my ring (2).toml");
    let text = format!("{PRELUDE}[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 1\n");
    std::fs::write(&path, text).unwrap();
    assert_eq!(load(&path, &LoadOptions::default()).unwrap().name, "my-ring--2-");
}

#[test]
fn swaps_come_by_frame_and_those_of_groups_that_take_no_part_are_left_out() {
    let folder = folder();
    let text = format!(
        "{PRELUDE}modules.b.path = \"a.wasm\"\nmodels.m.path = \"m.onnx\"\nmodels.n.path = \"m.onnx\"\n\
         [params]\non = false\nat = 7\n\
         [[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 1\n\
         [[groups]]\nname = \"h\"\nmodule = \"a\"\nagents = 1\nenabled = \"$on\"\n\
         [[swaps]]\nframe = \"$at\"\ngroup = \"g\"\nmodule = \"b\"\n\
         [[swaps]]\nframe = 3\nmodel = \"n\"\nwith = \"m\"\n\
         [[swaps]]\nframe = 3\ngroup = \"h\"\nmodule = \"b\"\n\
         [[swaps]]\nframe = 3\ngroup = \"g\"\nmodule = \"a\"\n"
    );
    let model = |name| ModelId(name_id(name));
    let module = |group, module| Swap::Module(ModuleSwap { group: GroupId(group), module });
    let n_by_m = Swap::Model { model: model("n"), with: model("m") };
    let swaps = |set: &[&str]| -> Vec<_> {
        let scenario = load_text(folder.path(), &text, set).unwrap();
        scenario.swaps.iter().map(|entry| (entry.frame.unwrap(), entry.swap)).collect()
    };
    assert_eq!(swaps(&[]), [(3, n_by_m), (3, module(1, 0)), (7, module(1, 1))]);
    assert_eq!(swaps(&["on=true", "at=0"]), [(0, module(1, 1)), (3, n_by_m), (3, module(2, 1)), (3, module(1, 0))]);
}
