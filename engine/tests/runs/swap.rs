//! Hot swaps from the command line: modules and models that are replaced while a run goes on, the same at any number of threads.

use crate::common;

use std::fs;
use std::path::Path;

use crate::common::{POSTROOM, root, stderr, wasm_engine};
use serde_json::{Value, json};

/// A counter as text: each step adds `by` and records the count. `rest` comes besides.
fn counter(by: u32, rest: &str) -> String {
    format!(
        r#"(module
  (memory (export "memory") 1)
  (global (export "agent_exchange") i32 (i32.const 1024))
  (data (i32.const 1024) "WAGT\01\00\00\00\80\00\00\00\00\10\00\00\00\20\00\00\00\10\00\00")
  (global $n (mut i32) (i32.const 0))
  (func (export "agent_init") (param i32) (result i32) i32.const 0)
  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $n (i32.add (global.get $n) (i32.const {by})))
    (i64.store (i32.const 9216) (i64.extend_i32_u (global.get $n)))
    (i32.store (i32.const 9232) (i32.const 7)) (i32.store (i32.const 9236) (i32.const 1))
    (i32.store (i32.const 9240) (i32.const 1)) (i64.store (i32.const 9248) (i64.const 0x6e))
    (i32.store offset=56 (local.get $ctx) (i32.const 1)) (i32.store offset=60 (local.get $ctx) (i32.const 40))
    i32.const 0)
  {rest})"#
    )
}

/// Leaves its count as its state, unless it is the agent 7: that one traps.
const EXPORT: &str = r#"(func (export "agent_export_state") (param $ctx i32) (result i32)
    (if (i32.eq (i32.load offset=28 (local.get $ctx)) (i32.const 7)) (then unreachable))
    (i32.store (i32.const 9216) (global.get $n)) (i32.store offset=60 (local.get $ctx) (i32.const 4)) i32.const 0)"#;

/// Takes the count from the payload of the first record of its inbox.
const IMPORT: &str = r#"(func (export "agent_import_state") (param $ctx i32) (result i32)
    (global.set $n (i32.load (i32.const 1200))) i32.const 0)"#;

const COUNTERS: &str = r#"name = "counters"
frames = 12
[modules]
one.path = "one.wasm"
two.path = "two.wasm"
three.path = "three.wasm"
bad.path = "bad.wasm"
[[groups]]
name = "counters"
module = "one"
agents = 600
on_fault = "terminate"
[[groups]]
name = "others"
module = "one"
agents = 2
[[expect]]
group = "others"
output = "n"
equals = 22
"#;

const SWAPS: &str = r#"
[[swaps]]
frame = 9
group = "counters"
module = "three"
[[swaps]]
frame = 10
group = "others"
module = "bad"
[[swaps]]
frame = 4
group = "counters"
module = "two"
"#;

fn counters(folder: &Path, swaps: &str) {
    let both = format!("{EXPORT} {IMPORT}");
    let modules = [
        ("one", counter(1, &both)),
        ("two", counter(100, &both)),
        ("three", counter(7, "")),
        ("bad", counter(1, "").replace("(module", "(module (import \"env\" \"f\" (func))")),
    ];
    for (name, text) in modules {
        fs::write(folder.join(format!("{name}.wasm")), wat::parse_str(text).expect("WebAssembly")).expect("a file");
    }
    // What no swap names must be good.
    let scenario =
        if swaps.is_empty() { COUNTERS.replace("bad.path = \"bad.wasm\"\n", "") } else { COUNTERS.to_owned() };
    fs::write(folder.join("counters.toml"), scenario + swaps).expect("a file");
}

/// Runs a scenario of a folder into a folder of it: the summary, what was said, and the lines of a table.
fn run(folder: &Path, scenario: &str, out: &str, more: &[&str]) -> (Value, String, Vec<Value>) {
    let mut args = vec!["run", scenario, "--quiet", "--summary", "json", "--out", out];
    args.extend_from_slice(more);
    let output = wasm_engine(folder).args(&args).output().expect("the binary starts");
    assert!(output.status.success(), "{args:?} failed: {}", stderr(&output));
    let table = fs::read_to_string(folder.join(out).join("swaps.jsonl")).expect("swaps.jsonl");
    let lines = table.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    (common::summary(&output), stderr(&output).to_owned(), lines)
}

#[test]
fn a_group_gets_other_modules_and_its_agents_keep_what_they_can() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    counters(folder, SWAPS);
    let (summary, said, swaps) = run(folder, "counters.toml", "run", &["--threads", "1"]);
    let hash = |name: &str| wasm_engine::files::sha256_of_file(&folder.join(name)).expect("a file");
    // The agent 7 couldn't export, and began anew.
    assert_eq!(
        swaps[0],
        json!({"frame": 4, "group": "counters", "module": "two", "sha256": hash("two.wasm"), "outcome": "done",
               "carried": 599, "fresh": 1})
    );
    assert_eq!(
        swaps[1],
        json!({"frame": 9, "group": "counters", "module": "three", "sha256": hash("three.wasm"), "outcome": "done",
               "carried": 0, "fresh": 600})
    );
    let refused = &swaps[2];
    assert_eq!(
        (&refused["frame"], &refused["group"], &refused["outcome"]),
        (&json!(10), &json!("others"), &json!("refused"))
    );
    let reason = refused["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("it imports `env.f`, and the engine offers only"), "{reason}");
    assert!(reason.ends_with("; build it without (for Rust: for `wasm32-unknown-unknown`)"), "{reason}");
    let warning = "warning: group `others` keeps its module in frame 10, because module `bad` is refused: it imports";
    assert!(said.starts_with(warning) && said.lines().count() == 1, "{said}");
    assert_eq!(summary["swaps"], json!({"done": 2, "refused": 1}));
    assert_eq!(summary["groups"]["counters"]["faults"], json!({"unreachable": 1}));
    assert_eq!(summary["groups"]["counters"]["agents"], 600, "the policy `terminate` has no say in a swap");

    // Initialised in 0, and three steps of 1; five steps of 100, of which agent 7 took four, from nothing; initialised in 9.
    let outputs = fs::read_to_string(folder.join("run/outputs.jsonl")).expect("outputs");
    let count = |frame: u64, agent: &str| {
        let mut rows = outputs.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON object"));
        rows.find(|row| row["frame"] == frame && row["agent"] == agent).map(|row| row["value"].clone())
    };
    for (frame, of_most, of_seven) in [
        (3, Some(3), Some(3)),
        (4, Some(103), None),
        (8, Some(503), Some(400)),
        (9, None, None),
        (10, Some(7), Some(7)),
    ] {
        assert_eq!(count(frame, "counters/599"), of_most.map(Value::from), "frame {frame}");
        assert_eq!(count(frame, "counters/7"), of_seven.map(Value::from), "frame {frame}");
    }
}

#[test]
fn swaps_give_one_digest_at_any_number_of_threads_and_disturb_nobody_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    for mode in ["frame", "full"] {
        counters(folder, SWAPS);
        let (reference, _, swaps) = run(folder, "counters.toml", &format!("{mode}-reference"), &["--digest", mode]);
        for threads in ["1", "2", "2", "4"] {
            let out = format!("{mode}-{threads}-{}", fs::read_dir(folder).expect("a folder").count());
            let more = ["--threads", threads, "--digest", mode];
            let (summary, _, again) = run(folder, "counters.toml", &out, &more);
            assert_eq!(
                (&summary["digest"], &summary["groups"]),
                (&reference["digest"], &reference["groups"]),
                "{threads}"
            );
            assert_eq!(again, swaps);
        }
        counters(folder, "");
        let (without, said, swaps) = run(folder, "counters.toml", &format!("{mode}-without"), &["--digest", mode]);
        assert_eq!((swaps.len(), said.as_str()), (0, ""));
        assert_eq!(without["groups"]["others"], reference["groups"]["others"]);
        assert_ne!(without["groups"]["counters"]["digest"], reference["groups"]["counters"]["digest"]);
        assert_ne!(without["digest"], reference["digest"]);
    }
}

/// The scenario of the post room with more models and swaps, anywhere.
fn postroom(folder: &Path, more: &str) {
    let root = root();
    let path = |relative: &str| root.join(relative).canonicalize().expect("a path").display().to_string();
    let text = fs::read_to_string(root.join(POSTROOM)).expect("the scenario");
    let text = text.replace("\"../", &format!("\"{}/", path("agents")));
    let text = text.replace("\"postroom/", &format!("\"{}/", path("agents/scenarios/postroom")));
    let more = more.replace("AGENTS", &path("agents")).replace("TESTS", &path("engine/tests"));
    fs::write(folder.join("postroom.toml"), format!("{text}\n{more}")).expect("a file");
}

const TWIN: &str = r#"
[models.twin]
path = "AGENTS/models/digits/digits-s8.onnx"
[[swaps]]
frame = 40
model = "digits"
with = "twin"
"#;

#[test]
fn a_model_is_swapped_for_its_twin_and_nobody_notices() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    postroom(folder, "");
    let (plain, ..) = run(folder, "postroom.toml", "plain", &[]);
    postroom(folder, TWIN);
    let (reference, said, swaps) = run(folder, "postroom.toml", "twin", &["--threads", "1"]);
    assert_eq!(said, "");
    let digits = "21cc3fa3e795e0722e09a8e42a68699b60697ce1bf3696c35688d43edfbb2831";
    assert_eq!(swaps, [json!({"frame": 40, "model": "digits", "with": "twin", "sha256": digits, "outcome": "done"})]);
    assert_eq!((&reference["groups"], &reference["outputs"]), (&plain["groups"], &plain["outputs"]));
    assert_eq!(reference["inference_jobs"], 1800);
    assert_ne!(reference["digest"], plain["digest"], "a swap is an input");
    for threads in ["2", "4"] {
        let (summary, ..) = run(folder, "postroom.toml", threads, &["--threads", threads]);
        assert_eq!(summary["digest"], reference["digest"], "{threads} threads");
    }
}

#[test]
fn a_model_of_another_shape_is_refused_and_the_old_one_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let more = TWIN.replace("AGENTS/models/digits/digits-s8.onnx", "TESTS/models/gemm.onnx");
    postroom(folder, &more);
    let (summary, said, swaps) = run(folder, "postroom.toml", "run", &[]);
    assert_eq!(summary["outputs"]["ledger"]["read"]["sum"], 600);
    assert_eq!((&swaps[0]["outcome"], &summary["swaps"]["refused"]), (&json!("refused"), &json!(1)));
    let warning = "warning: model `digits` stays as it is in frame 40, because model `twin` can't answer for it: its rows differ: ";
    let shapes = "and they must be as image i8[batch, 64] -> logits i32[batch, 10]\n";
    assert!(said.starts_with(warning) && said.ends_with(shapes), "{said}");
}

#[test]
fn a_file_of_another_hash_is_an_error_and_no_refusal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    counters(folder.path(), SWAPS);
    let text = fs::read_to_string(folder.path().join("counters.toml")).expect("the scenario");
    let text = text.replace(
        "bad.path = \"bad.wasm\"",
        &format!("bad = {{ path = \"bad.wasm\", sha256 = \"{}\" }}", "ab".repeat(32)),
    );
    fs::write(folder.path().join("counters.toml"), text).expect("a file");
    let output = wasm_engine(folder.path()).args(["run", "counters.toml"]).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("the module `bad` (bad.wasm) has the sha256 "), "{}", stderr(&output));
}

#[test]
fn a_swap_that_is_for_a_frame_after_the_last_one_is_warned_of() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let swap =
        |frame: u64, module: &str| format!("[[swaps]]\nframe = {frame}\ngroup = \"others\"\nmodule = \"{module}\"\n");
    counters(folder, &[swap(11, "two"), swap(12, "three")].concat());
    let text = fs::read_to_string(folder.join("counters.toml")).expect("the scenario");
    fs::write(
        folder.join("counters.toml"),
        text.replace("bad.path = \"bad.wasm\"\n", "").replace("equals = 22", "at_least = 0"),
    )
    .expect("a file");
    let (summary, said, _) = run(folder, "counters.toml", "run", &[]);
    let warning =
        "warning: the swap of group `others` is for frame 12, and isn't done: the run has 12 frames, from 0 on\n";
    assert_eq!(said, warning);
    assert_eq!(summary["swaps"], json!({"done": 1, "refused": 0}));
    let (_, said, _) = run(folder, "counters.toml", "more", &["--frames", "13"]);
    assert_eq!(said, "", "it has the frame now");
}
