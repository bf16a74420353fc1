//! What a run leaves behind, from records made by hand: the run directory, the summary as JSON and as text.
//! The expected files are in `tests/data/records`; `BLESS=1` writes them anew.

use std::path::Path;
use std::time::Duration;

use wasm_engine_components::{
    AgentFault, AgentId, Digest, EventCounts, FaultKind, FrameCounts, FrameRecord, GroupId, GroupRecord, GroupTotals,
    Lane, LogLine, ModelId, ModelNotice, ModelNoticeKind, ModuleSwap, NamedOutput, OutputValue, Swap, SwapOutcome,
    SwapRecord,
};
use wasm_engine_core::problem::ErrorKind;
use wasm_engine_core::run_dir::{OutputDir, RecordedFrame, RunDir, RunOptions};
use wasm_engine_core::scenario::{LoadOptions, Scenario, load};
use wasm_engine_core::simulation::LoadedFile;
use wasm_engine_core::summary::{Collector, RunFacts, Summary};

const SCENARIO: &str = r#"name = "office"
seed = 9
frames = 2
[params]
agents = 2000
title = "a \"b\""
[modules.a]
path = "a.wasm"
[[groups]]
name = "clerks"
module = "a"
agents = "$agents"
[[groups]]
name = "off"
enabled = false
module = "a"
agents = 1
[[groups]]
name = "saboteurs"
module = "a"
agents = 3
[[expect]]
group = "clerks"
output = "sum"
equals = 1_000_002
[[expect]]
group = "clerks"
output = "sum"
equals_output = "expected"
[[expect]]
group = "clerks"
output = "accuracy"
at_least = 0.95
[[expect]]
group = "saboteurs"
output = "sum"
at_most = 1
"#;

fn scenario(folder: &Path) -> Scenario {
    std::fs::write(folder.join("a.wasm"), b"\0asm").unwrap();
    let path = folder.join("office.toml");
    std::fs::write(&path, SCENARIO).unwrap();
    load(&path, &LoadOptions::default()).unwrap()
}

fn output(group: u32, ordinal: u32, name: &str, value: OutputValue) -> NamedOutput {
    NamedOutput { agent: AgentId::new(GroupId(group), ordinal), name: name.to_owned(), value }
}

/// Two frames in which something of each sort happens.
fn records() -> [FrameRecord; 2] {
    let counts = FrameCounts {
        agents: 2003,
        steps: 2003,
        messages: 1500,
        delivered: 1400,
        dropped: 100,
        dropped_by_reason: [0, 0, 60, 0, 0, 40, 0, 0, 0, 0],
        faults: 0,
        commands: 0,
        deferred: 0,
        commands_refused: 0,
        events_lost: 1,
        log_lines_dropped: 0,
        log_bytes_dropped: 0,
        outputs_dropped: 0,
        output_bytes_dropped: 0,
        inference_jobs: 96,
        inference_batches: 2,
    };
    let mut first = FrameRecord { frame: 0, digest: Digest(1), counts, ..FrameRecord::default() };
    first.inputs.counts = EventCounts { delivered: 4, disabled: 1 };
    first.lanes[Lane::Agents] = Digest(0xabc);
    first.outputs = vec![
        output(1, 0, "sum", OutputValue::I64(5)),
        output(1, 1, "sum", OutputValue::I64(1_000_000)),
        output(1, 1, "note", OutputValue::Text("é\n".repeat(200))),
        output(3, 0, "bytes", OutputValue::Bytes(vec![1, 2])),
    ];
    first.logs = vec![LogLine { agent: AgentId::new(GroupId(1), 0), level: 2, text: "a \"line\"".to_owned() }];
    let swap = |swap, name: &str, outcome| SwapRecord { swap, name: name.to_owned(), sha256: [0xcd; 32], outcome };
    first.swaps = vec![
        swap(
            Swap::Module(ModuleSwap { group: GroupId(3), module: 0 }),
            "b",
            SwapOutcome::Done { carried: 2, fresh: 1 },
        ),
        swap(
            Swap::Module(ModuleSwap { group: GroupId(1), module: 0 }),
            "a",
            SwapOutcome::Refused("it \"can't\"".to_owned()),
        ),
        swap(
            Swap::Model { model: ModelId(7), with: ModelId(8) },
            "digits-2",
            SwapOutcome::Done { carried: 0, fresh: 0 },
        ),
    ];
    let notice = |kind, rows, reason: &str| ModelNotice { model: ModelId(7), kind, rows, reason: reason.to_owned() };
    first.inference.notices = vec![
        notice(ModelNoticeKind::Failed, 3, "it \"can't\""),
        notice(ModelNoticeKind::AuditFailed, 1, "row 2 had another result"),
    ];
    let mut totals = GroupTotals { steps: 6, fuel: 1_000_000, messages: 12, ..GroupTotals::default() };
    totals.faults.add(FaultKind::OutOfFuel);
    totals.faults.add(FaultKind::OutOfFuel);
    totals.faults.add(FaultKind::Unreachable);
    let counts = FrameCounts {
        agents: 2002,
        faults: 3,
        commands: 5,
        deferred: 1001,
        inference_batches: 1,
        inference_jobs: 32,
        ..counts
    };
    let mut second = FrameRecord { frame: 1, digest: Digest(u128::MAX), counts, ..FrameRecord::default() };
    second.groups = vec![
        GroupRecord {
            group: 1,
            agents: 2000,
            digest: Digest(0x11),
            totals: GroupTotals { steps: 4000, ..totals_of(3) },
        },
        GroupRecord { group: 2, ..GroupRecord::default() },
        GroupRecord { group: 3, agents: 2, totals, digest: Digest(0xff << 120) },
    ];
    // The third agent that has the number 2.
    let third = AgentId::of_generation(GroupId(3), 2, 2);
    second.faults =
        vec![AgentFault { agent: third, kind: FaultKind::OutOfFuel, detail: 0, reached: 20_000, allowed: 20_000 }];
    second.logs = vec![LogLine { agent: third, level: 1, text: "again".to_owned() }];
    second.outputs = vec![
        output(1, 0, "sum", OutputValue::I64(2)),
        output(1, 0, "expected", OutputValue::I64(1_000_002)),
        output(1, 7, "accuracy", OutputValue::F64(0.975)),
        output(1, 8, "accuracy", OutputValue::F64(f64::NAN)),
        output(3, 2, "life", OutputValue::I64(1)),
        NamedOutput { agent: third, name: "life".to_owned(), value: OutputValue::I64(3) },
    ];
    [first, second]
}

fn totals_of(messages: u64) -> GroupTotals {
    GroupTotals { messages, inference_jobs: 128, ..GroupTotals::default() }
}

fn facts(run_dir: &Path) -> RunFacts {
    RunFacts {
        late_events: 2,
        frames_expected: 2,
        threads: 2,
        wall: Duration::from_millis(250),
        run_dir: run_dir.display().to_string(),
        ..RunFacts::default()
    }
}

fn summary(scenario: &Scenario, facts: &RunFacts) -> Summary {
    let mut collector = Collector::default();
    records().iter().for_each(|record| collector.add(record));
    collector.summary(scenario, facts)
}

fn options() -> RunOptions {
    let module = LoadedFile { name: "a".to_owned(), sha256: [0xab; 32] };
    RunOptions { threads: 2, modules: vec![module], record: true, ..RunOptions::default() }
}

#[test]
fn a_run_directory_holds_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path());
    let out = folder.path().join("deep/run");
    let mut run_dir = RunDir::create(&OutputDir::new(Some(&out), "office"), &scenario, &options()).unwrap();
    for record in records() {
        run_dir.append(RecordedFrame::new(record)).unwrap();
    }
    assert!(!out.join("summary.json").exists(), "the summary is there only once the run has ended");
    let summary = summary(&scenario, &facts(&out));
    run_dir.finish(&summary).unwrap();

    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "faults.jsonl",
            "files",
            "frames.jsonl",
            "journal",
            "lock",
            "logs.jsonl",
            "manifest.toml",
            "models.jsonl",
            "outputs.jsonl",
            "scenario.toml",
            "snapshots",
            "summary.json",
            "swaps.jsonl",
        ]
    );
    assert_eq!(std::fs::read_to_string(out.join("scenario.toml")).unwrap(), SCENARIO);
    let shown = |text: &str| text.replace(&folder.path().display().to_string(), "FOLDER");
    let is_text = |name: &&String| name.contains('.') && *name != "scenario.toml";
    for name in names.iter().filter(is_text) {
        check_file(name, &hide_machine(&shown(&std::fs::read_to_string(out.join(name)).unwrap())));
    }
    check_file("summary.txt", &shown(summary.text().as_str()));
}

#[test]
fn what_did_not_happen_is_not_in_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::default();
    collector.add(&records()[0]);
    let summary = collector.summary(&scenario(folder.path()), &facts(folder.path()));
    assert_eq!((summary.commands, summary.deferred), (0, 0));
    assert!(
        summary
            .json()
            .contains("\"commands\":0,\"commands_refused\":0,\"log_lines_dropped\":0,\"log_bytes_dropped\":0,"),
        "{}",
        summary.json()
    );
    let text = summary.text().to_string();
    assert!(!text.contains("commands") && !text.contains("deferred"), "{text}");
}

/// What differs from machine to machine is hidden.
fn hide_machine(text: &str) -> String {
    text.replace(&format!("os = \"{}\"", std::env::consts::OS), "os = \"OS\"")
        .replace(&format!("arch = \"{}\"", std::env::consts::ARCH), "arch = \"ARCH\"")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
        .lines()
        .map(|line| match line {
            // Of each run another one.
            line if line.starts_with("id = ") => "id = ID\n".to_owned(),
            line if line.starts_with("# checksum ") => "# checksum\n".to_owned(),
            line => format!("{line}\n"),
        })
        .collect()
}

fn check_file(name: &str, seen: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/records");
    let file = folder.join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&file, seen).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), seen, "{name}: run with BLESS=1 if this is meant");
}

#[test]
fn a_manifest_is_toml() {
    let folder = tempfile::tempdir().unwrap();
    let mut scenario = scenario(folder.path());
    scenario.seed = u64::MAX >> 1;
    let out = folder.path().join("run");
    RunDir::create(&OutputDir::new(Some(&out), "office"), &scenario, &options()).unwrap();
    let manifest: toml::Table = std::fs::read_to_string(out.join("manifest.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["params"]["agents"].as_integer(), Some(2000));
    assert_eq!(manifest["params"]["title"].as_str(), Some("a \"b\""));
    assert_eq!(manifest["scenario"]["name"].as_str(), Some("office"));
    // The hash of what was loaded, whatever lies there now.
    assert_eq!(manifest["modules"]["a"]["sha256"].as_str(), Some("ab".repeat(32).as_str()));
}

#[test]
fn expectations_count_only_at_the_end_of_the_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path());
    let whole = summary(&scenario, &facts(folder.path()));
    assert_eq!(whole.expectations.iter().map(|one| one.met).collect::<Vec<_>>(), [true, true, false, false]);
    assert_eq!(whole.unmet().count(), 2);
    let shorter = summary(&scenario, &RunFacts { frames_expected: 3, ..facts(folder.path()) });
    assert_eq!(shorter.unmet().count(), 0);
    let failed = summary(&scenario, &RunFacts { error: Some("no".to_owned()), ..facts(folder.path()) });
    assert_eq!(failed.unmet().count(), 0);
}

#[test]
fn fresh_folders_are_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path());
    let runs = folder.path().join("runs");
    std::fs::create_dir_all(runs.join("office-0041-old")).unwrap();
    std::fs::create_dir_all(runs.join("office-b-0007")).unwrap();
    let create = |name: &str| {
        let output_dir = OutputDir::Fresh(runs.clone(), name.to_owned());
        RunDir::create(&output_dir, &scenario, &options())
            .unwrap()
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(create("office"), "office-0001");
    assert_eq!(create("office"), "office-0002");
    std::fs::create_dir(runs.join("office-12345")).unwrap();
    assert_eq!(create("office"), "office-12346");
    assert_eq!(create("office-b"), "office-b-0008");
    let names: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| create("many"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), 8, "{names:?}");
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path());
    let create = |out: &Path| {
        let output_dir = OutputDir::new(Some(out), "office");
        match RunDir::create(&output_dir, &scenario, &options()) {
            Ok(_) => panic!("{} was taken", out.display()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Input, "{error}");
                format!("{error:#}").replace(&format!("{}/", folder.path().display()), "")
            }
        }
    };
    std::fs::create_dir(folder.path().join("full")).unwrap();
    std::fs::write(folder.path().join("full/mine.txt"), "mine").unwrap();
    let full = "full: the output folder isn't empty; help: name another folder with --out, or empty this one; a run never \
                overwrites another";
    assert_eq!(create(&folder.path().join("full")), full);
    assert_eq!(create(&folder.path().join("a.wasm")), "a.wasm: isn't a folder; help: name a folder with --out");
    let below = create(&folder.path().join("a.wasm/run"));
    assert_eq!(below, "a.wasm/run: isn't a folder; help: name a folder with --out");
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    RunDir::create(&OutputDir::new(Some(&folder.path().join("empty")), "office"), &scenario, &options()).unwrap();
}
