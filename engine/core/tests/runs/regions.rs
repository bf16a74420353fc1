//! Shared regions from a scenario to the agents' memories and back: the same digests on any number of threads, with native
//! systems among those who write, and faults for whoever breaks the rules.

use std::path::Path;

use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::system::Res;
use wasm_engine_abi::name_id;
use wasm_engine_components::{
    AgentFault, AgentId, DigestScope, FaultKind, FrameInputs, FrameRecord, GroupId, Lane, RegionId,
};
use wasm_engine_core::scenario::{LoadOptions, load};
use wasm_engine_core::simulation::{Simulation, SimulationOptions};
use wasm_engine_systems::{AuthorSystems, BadRegionWrite, Frame, FrameClock, RegionWriter, Regions};

/// The exchange block at 1,024: context at 1,088, outbox at 9,216, regions area at 33,792 with room for two of 8 bytes.
fn agent(step: &str) -> Vec<u8> {
    let words: [u32; 8] = [wasm_engine_abi::MAGIC, 1, 128, 4096, 8192, 8192, 33_792, 88];
    let header: String = words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{header}")
  (global (export "agent_exchange") i32 (i32.const 1024))
  (global $sum (mut i64) (i64.const 1))
  (func (export "agent_init") (param i32) (result i32) i32.const 0)
  ;; Writes its running sum to a region: eight bytes from the byte `start` on.
  (func $write (param $region i64) (param $start i64)
    (i64.store (i32.const 9216) (local.get $region))
    (i64.store (i32.const 9224) (local.get $start))
    (i64.store (i32.const 9232) (i64.const 17))
    (i64.store (i32.const 9240) (i64.const 8))
    (i64.store (i32.const 9248) (global.get $sum))
    (i32.store (i32.const 1144) (i32.const 1))
    (i32.store (i32.const 1148) (i32.const 40)))
  ;; Adds what it sees of its two regions, versions and bytes.
  (func $look
    (global.set $sum (i64.add (i64.mul (global.get $sum) (i64.const 31)) (i64.load offset=8 (i32.const 33792))))
    (global.set $sum (i64.add (i64.mul (global.get $sum) (i64.const 31)) (i64.load offset=72 (i32.const 33792))))
    (global.set $sum (i64.add (i64.mul (global.get $sum) (i64.const 31)) (i64.load offset=80 (i32.const 33792)))))
  (func (export "agent_step") (param $ctx i32) (result i32) {step} i32.const 0))"#
    );
    wat::parse_str(text).unwrap()
}

const SCENARIO: &str = r#"
frames = 12
[modules.writer]
path = "writer.wasm"
[modules.reader]
path = "reader.wasm"
[regions.map]
bytes = 8
writer = "writers"
readers = ["writers", "readers"]
[regions.sky]
bytes = 8
writer = "native"
readers = ["readers", "writers"]
[[groups]]
name = "writers"
module = "writer"
agents = 300
on_fault = { policy = "restart", restarts_max = 100 }
[[groups]]
name = "readers"
module = "reader"
agents = 300
on_fault = { policy = "restart", restarts_max = 1000 }
"#;

fn files(folder: &Path) {
    // Writers write where the frame says. One of them, every so often, a byte too far.
    let map = name_id("map").cast_signed();
    let writer = format!(
        "(local $at i64) (call $look)
         (local.set $at (i64.extend_i32_u (i32.and (i32.eq (i32.load offset=28 (local.get $ctx)) (i32.const 7))
           (i64.eqz (i64.rem_u (i64.load (local.get $ctx)) (i64.const 5))))))
         (if (i64.ne (i64.rem_u (i64.load (local.get $ctx)) (i64.const 3)) (i64.const 2))
           (then (call $write (i64.const {map}) (local.get $at))))"
    );
    std::fs::write(folder.join("writer.wasm"), agent(&writer)).unwrap();
    // A reader sends what it makes of it to itself. One writes what isn't its own.
    let reader = format!(
        "(call $look)
         (if (i32.eqz (i32.load offset=28 (local.get $ctx)))
           (then (call $write (i64.const {map}) (i64.const 0)))
           (else (call $write (i64.load offset=8 (local.get $ctx)) (i64.const 0))
                 (i64.store (i32.const 9232) (i64.const 1))))"
    );
    std::fs::write(folder.join("reader.wasm"), agent(&reader)).unwrap();
    std::fs::write(folder.join("regions.toml"), SCENARIO).unwrap();
}

fn run(folder: &Path, threads: usize) -> Vec<FrameRecord> {
    let scenario = load(&folder.join("regions.toml"), &LoadOptions::default()).unwrap();
    let options =
        SimulationOptions { threads: Some(threads), digest: DigestScope::Full, ..SimulationOptions::default() };
    let sky = |clock: Res<FrameClock>, regions: Regions, mut writer: RegionWriter| {
        let (version, bytes) = regions.read(RegionId(name_id("map"))).unwrap();
        if clock.frame.is_multiple_of(2) {
            writer.write(RegionId(name_id("sky")), 0, &[version as u8, bytes[0] ^ bytes[7]]).unwrap();
        }
    };
    let author = |app: &mut bevy_app::App| {
        app.add_systems(Frame, sky.in_set(AuthorSystems::Simulate));
    };
    let mut simulation = Simulation::with_plugins(&scenario, &options, author).unwrap();
    (0..scenario.frames).map(|_| simulation.frame(FrameInputs::default())).collect()
}

#[test]
fn digests_are_the_same_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let reference = run(folder.path(), 1);
    for threads in [1, 2, 4] {
        assert_eq!(run(folder.path(), threads), reference, "{threads} threads");
    }
    let writer = AgentFault {
        agent: AgentId::new(GroupId(1), 7),
        kind: FaultKind::BadRegionWrite,
        detail: BadRegionWrite::OutOfBounds as u32,
        reached: 9,
        allowed: 8,
    };
    let reader = AgentFault {
        agent: AgentId::new(GroupId(2), 0),
        kind: FaultKind::BadRegionWrite,
        detail: BadRegionWrite::NotOwner as u32,
        reached: 0,
        allowed: 0,
    };
    assert_eq!((&reference[0].faults[..], &reference[1].faults[..]), (&[][..], &[reader][..]));
    assert_eq!(reference[10].faults, [writer]);
    // What agents saw differs from frame to frame: it went through the regions.
    let regions: Vec<_> = reference.iter().map(|record| record.lanes[Lane::Regions]).collect();
    assert!(regions.windows(2).filter(|pair| pair[0] != pair[1]).count() >= 9, "{regions:?}");
    let memories: Vec<_> = reference.iter().map(|record| record.groups[1].digest).collect();
    assert!(memories.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_reader_without_an_area_is_refused_when_the_scenario_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    std::fs::write(folder.path().join("regions.toml"), SCENARIO.replace("bytes = 8", "bytes = 9")).unwrap();
    let scenario = load(&folder.path().join("regions.toml"), &LoadOptions::default()).unwrap();
    let error = Simulation::new(&scenario, &SimulationOptions::default()).err().unwrap();
    let text = format!("{:#}", error.of_run(&scenario, &scenario.path));
    let expected = "the shared regions that group `writers` reads take 104 bytes of its regions area, and it has 88; help: build the agent with a larger one";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_reading_group_that_takes_no_part_needs_no_area() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let text = SCENARIO.replace("bytes = 8", "bytes = 9").replace("[[groups]]", "[[groups]]\nenabled = false");
    let alone =
        "[modules.alone]\npath = \"writer.wasm\"\n[[groups]]\nname = \"alone\"\nmodule = \"alone\"\nagents = 1\n";
    std::fs::write(folder.path().join("regions.toml"), text + alone).unwrap();
    let scenario = load(&folder.path().join("regions.toml"), &LoadOptions::default()).unwrap();
    let mut simulation = Simulation::new(&scenario, &SimulationOptions::default()).unwrap();
    let [first, second] = [0, 1].map(|_| simulation.frame(FrameInputs::default()));
    assert_eq!(first.lanes[Lane::Regions], second.lanes[Lane::Regions]);
    assert_eq!(second.faults[0].detail, BadRegionWrite::NotOwner as u32);
}
