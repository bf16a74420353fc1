//! What a hostile group costs others: a trap is charged what ran, so a tenant's other groups go on as if they were alone.

use std::path::Path;

use crate::common::{engine, stderr, told};
use serde_json::Value;
use wasm_engine_abi::{MAGIC, Op};

/// An agent whose step is `step`, written to a file.
fn write_agent(file: &Path, step: &str, rest: &str) {
    let words = [MAGIC, 1, 128, 1024, 1152, 1024, 0, 0_u32];
    let header: String = words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module (memory (export "memory") 2) (data (i32.const 64) "{header}")
           (global (export "agent_exchange") i32 (i32.const 64))
           (func (export "agent_init") (param i32) (result i32) i32.const 0)
           (func (export "agent_step") (param i32) (result i32) {step}) {rest})"#
    );
    std::fs::write(file, wat::parse_str(text).unwrap()).unwrap();
}

/// Two good agents of a tenant with little fuel; beside them five of the same tenant whose steps are `step`.
fn run_tenant(folder: &Path, step: &str, threads: &str) -> Value {
    write_agent(&folder.join("bad.wasm"), step, "");
    let turns = "(local $n i32) (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 100)))) i32.const 0";
    write_agent(&folder.join("good.wasm"), turns, "");
    let text = r#"
frames = 50
modules.bad.path = "bad.wasm"
modules.good.path = "good.wasm"
tenants.t.fuel_per_frame_max = 200_000
[[groups]]
name = "bad"
module = "bad"
agents = 5
tenant = "t"
on_fault = { policy = "restart", restarts_max = 1000, backoff_frames = 1 }
[[groups]]
name = "good"
module = "good"
agents = 2
tenant = "t"
"#;
    run(folder, text, threads)
}

/// Runs a scenario, and replays it.
fn run(folder: &Path, text: &str, threads: &str) -> Value {
    std::fs::write(folder.join("t.toml"), text).unwrap();
    let out = tempfile::tempdir_in(folder).unwrap();
    let out = out.path().to_str().unwrap();
    let args = ["run", "t.toml", "--summary", "json", "--quiet", "--snapshot-every", "10", "--out"];
    let run = engine(folder, &[&args[..], &[out, "--threads", threads]].concat());
    let replay = engine(folder, &["replay", out, "--threads", "2"]);
    assert!(replay.status.success(), "{}", stderr(&replay));
    told(&run)
}

#[test]
fn traps_of_one_group_never_cost_another_of_its_tenant_a_step() {
    let folder = tempfile::tempdir().unwrap();
    // The first call of each group is expected to cost its limit, and the others wait for it: for one frame, and not for all first calls.
    let alone = run_tenant(folder.path(), "i32.const 0", "1");
    assert!(alone["groups"]["good"]["steps"].as_u64() >= Some(94), "{alone}");
    for step in [
        "unreachable",
        "(i32.load (i32.const -1))",
        "(i32.div_u (i32.const 1) (i32.load (i32.const 0)))",
        "i32.const 3",
    ] {
        let beside = run_tenant(folder.path(), step, "1");
        let faults = beside["groups"]["bad"]["faults"].as_object().unwrap();
        assert!(faults.values().all(|number| number.as_u64() >= Some(5)) && faults.len() == 1, "{beside}");
        assert_eq!(beside["groups"]["good"], alone["groups"]["good"], "{step}");
        assert_eq!(run_tenant(folder.path(), step, "2")["digest"], beside["digest"], "{step}");
    }
}

/// The step of an agent that spawns so many agents of the second group.
fn spawning(records: u32) -> String {
    let (op, bytes) = (Op::Spawn as u32, records * 32);
    format!(
        "(local $n i32) (local $at i32) (local.set $at (i32.const 1216))
         (loop $l
           (i64.store (local.get $at) (i64.const 2))
           (i32.store offset=16 (local.get $at) (i32.const {op}))
           (local.set $at (i32.add (local.get $at) (i32.const 32)))
           (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {records}))))
         (i32.store offset=56 (local.get 0) (i32.const {records})) (i32.store offset=60 (local.get 0) (i32.const {bytes}))
         i32.const 0"
    )
}

/// Each agent that is spawned may use the fuel of a step before it traps, of which nothing is charged.
#[test]
fn who_spawns_agents_that_trap_waits_for_what_they_may_have_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_agent(&folder.join("good.wasm"), "i32.const 0", "");
    write_agent(&folder.join("spawner.wasm"), &spawning(16), "");
    let trapping = "(local $n i32) (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 10000)))) (i32.load (i32.const -1))";
    write_agent(&folder.join("bad.wasm"), trapping, "");
    let of = |spawners: u32| {
        format!(
            r#"
frames = 60
modules.bad.path = "bad.wasm"
modules.good.path = "good.wasm"
modules.spawner.path = "spawner.wasm"
tenants.t.fuel_per_frame_max = 200_000
[[groups]]
name = "good"
module = "good"
agents = 2
tenant = "t"
[[groups]]
name = "bad"
module = "bad"
agents = 0
agents_max = 300
tenant = "t"
on_fault = {{ policy = "terminate" }}
[[groups]]
name = "spawner"
module = "spawner"
agents = 1
enabled = {}
tenant = "t"
controls = ["bad"]
"#,
            spawners > 0
        )
    };
    let alone = run(folder, &of(0), "1");
    let beside = run(folder, &of(1), "1");
    let faults = beside["groups"]["bad"]["faults"]["memory_out_of_bounds"].as_u64().unwrap();
    // The first ones, before the group owes anything; and then one for each million of the tenant's fuel.
    assert!((16..16 * 3 + 60 / 5).contains(&faults), "{beside}");
    assert!(beside["groups"]["spawner"]["steps"].as_u64() > Some(50), "{beside}");
    let steps = |summary: &Value| summary["groups"]["good"]["steps"].as_u64().unwrap();
    assert!(steps(&beside) + 8 >= steps(&alone), "{beside} {alone}");
    assert_eq!(run(folder, &of(1), "2")["digest"], beside["digest"]);
}
