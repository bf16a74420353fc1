//! What an agent reached of the limit that it passed is on the record: in words, in the tables, and in the digest.

use std::fs;
use std::path::Path;

use crate::common::{engine, stderr, summary};
use serde_json::{Value, json};

/// An agent with its context at 1,088 and an outbox of 16,384 bytes at 9,216, which does something in frame 12.
fn module(then: &str, more: &str) -> Vec<u8> {
    let words: [u32; 8] = [wasm_engine_abi::MAGIC, 1, 128, 4096, 8192, 16_384, 0, 0];
    let header: String = words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
  {more}
  (memory (export "memory") 1)
  (data (i32.const 1024) "{header}")
  (global (export "agent_exchange") i32 (i32.const 1024))
  ;; So many records of an operation, with payloads of so many bytes, to the agent itself.
  (func $put (param $records i32) (param $op i32) (param $kind i32) (param $bytes i32)
    (local $at i32)
    (local.set $at (i32.const 9216))
    (i32.store (i32.const 1144) (local.get $records))
    (loop $next
      (i64.store (local.get $at) (i64.load (i32.const 1096)))
      (i64.store offset=8 (local.get $at) (i64.const 0))
      (i32.store offset=16 (local.get $at) (local.get $op))
      (i32.store offset=20 (local.get $at) (local.get $kind))
      (i32.store offset=24 (local.get $at) (local.get $bytes))
      (i32.store offset=28 (local.get $at) (i32.const 0))
      (local.set $at (i32.add (i32.add (local.get $at) (i32.const 32)) (local.get $bytes)))
      (local.set $records (i32.sub (local.get $records) (i32.const 1)))
      (br_if $next (local.get $records)))
    (i32.store (i32.const 1148) (i32.sub (local.get $at) (i32.const 9216))))
  (func $deep (param $left i32) (if (local.get $left) (then (call $deep (i32.sub (local.get $left) (i32.const 1))))))
  (func (export "agent_init") (param i32) (result i32) i32.const 0)
  (func (export "agent_step") (param $ctx i32) (result i32)
    (if (i64.eq (i64.load (i32.const 1088)) (i64.const 12)) (then {then}))
    i32.const 0))"#
    );
    let map = wasm_engine_abi::name_id("map").cast_signed();
    wat::parse_str(text.replace("$map", &map.to_string())).unwrap()
}

/// Writes a scenario of one agent, in the group `market`.
fn files(folder: &Path, module: &[u8], group: &str) {
    fs::write(folder.join("a.wasm"), module).unwrap();
    let text = format!(
        "frames = 16\nmodules.a.path = \"a.wasm\"\n[regions.map]\nbytes = 40\nwriter = \"market\"\nreaders = []\n[[groups]]\n\
         name = \"market\"\nmodule = \"a\"\nagents = 1\non_fault = \"terminate\"\n{group}\n"
    );
    fs::write(folder.join("s.toml"), text).unwrap();
}

fn run(folder: &Path, more: &[&str]) -> Value {
    let output = engine(folder, &[&["run", "s.toml", "--summary", "json"], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    summary(&output)
}

fn faults(run: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(run.join("faults.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Imports `log`, and calls it without an end.
const LOG: &str = r#"(import "wasm_engine" "log" (func $log (param i32 i32 i32)))"#;
const LOG_FOR_EVER: &str = "(loop $l (call $log (i32.const 3) (i32.const 0) (i32.const 0)) (br $l))";

/// Writes 16 bytes of the region `map`, from the byte 30 on.
const WRITE: &str = "(call $put (i32.const 1) (i32.const 17) (i32.const 0) (i32.const 16))
  (i64.store (i32.const 9216) (i64.const $map)) (i64.store (i32.const 9224) (i64.const 30))";

/// What an agent does, what its module has besides, and its group; in which frame it faults, how much it reached and was allowed, under which key, and
/// the same in words.
type Case = (&'static str, &'static str, &'static str, u64, (u64, u64), Option<&'static str>, &'static str);

const CASES: &[Case] = &[
    (
        "(call $put (i32.const 300) (i32.const 1) (i32.const 0) (i32.const 0))",
        "",
        "",
        12,
        (300, 256),
        Some("records_per_step_max"),
        "300 records in a step, more than limits.records_per_step_max = 256",
    ),
    (
        "(i32.store (i32.const 1144) (i32.const -1))",
        "",
        "limits.records_per_step_max = 4000",
        12,
        (u32::MAX as u64, 4000),
        Some("records_per_step_max"),
        "4,294,967,295 records in a step, more than limits.records_per_step_max = 4,000",
    ),
    (
        "(call $put (i32.const 2) (i32.const 1) (i32.const 0) (i32.const 1000))",
        "",
        "limits.payload_bytes_max = 256",
        12,
        (1000, 256),
        Some("payload_bytes_max"),
        "1,000 bytes in a payload, more than limits.payload_bytes_max = 256",
    ),
    (
        "(call $put (i32.const 7) (i32.const 6) (i32.const 3) (i32.const 0))",
        "",
        "limits.log_lines_per_step_max = 4",
        12,
        (7, 4),
        Some("log_lines_per_step_max"),
        "7 log lines in a step, more than limits.log_lines_per_step_max = 4",
    ),
    (
        LOG_FOR_EVER,
        LOG,
        "limits.log_lines_per_step_max = 4",
        12,
        (5, 4),
        Some("log_lines_per_step_max"),
        "5 log lines in a step, more than limits.log_lines_per_step_max = 4",
    ),
    (
        "(loop $l (br $l))",
        "",
        "limits.fuel_per_step_max = 20000",
        12,
        (20_000, 20_000),
        Some("fuel_per_step_max"),
        "20,000 of fuel in a step, all that limits.fuel_per_step_max = 20,000 allows",
    ),
    (
        "(call $put (i32.const 9) (i32.const 1) (i32.const 0) (i32.const 0))",
        "",
        "overflow = \"fault\"\nlimits.mailbox_messages_max = 4",
        13,
        (5, 4),
        Some("mailbox_messages_max"),
        "5 messages in its mailbox, more than limits.mailbox_messages_max = 4",
    ),
    (
        "(call $put (i32.const 9) (i32.const 1) (i32.const 0) (i32.const 8))",
        "",
        "overflow = \"fault\"\nlimits.mailbox_bytes_max = 200\nlimits.payload_bytes_max = 64",
        13,
        (224, 200),
        Some("mailbox_bytes_max"),
        "224 bytes in its mailbox, more than limits.mailbox_bytes_max = 200",
    ),
    (
        "(call $put (i32.const 100) (i32.const 1) (i32.const 0) (i32.const 0))",
        "",
        "overflow = \"fault\"\nlimits.mailbox_messages_max = 100",
        13,
        (86 * 48, 4096),
        None,
        "4,128 bytes in its mailbox, more than the 4,096 that limits.mailbox_bytes_max and its module's inbox area have room for",
    ),
    ("(call $deep (i32.const 5000))", "", "", 12, (1001, 1000), None, "calls nested 1,001 deep, more than 1,000"),
    (WRITE, "", "", 12, (46, 40), None, "a write up to byte 46 of a shared region, which has 40"),
    (
        "(i32.store (i32.const 1148) (i32.const 16392))",
        "",
        "",
        12,
        (16_392, 16_384),
        None,
        "16,392 bytes of outbox, more than the 16,384 of its outbox area",
    ),
];

#[test]
fn each_limit_that_an_agent_passes_is_told_with_what_was_reached() {
    for (then, more, group, frame, (reached, allowed), key, words) in CASES {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path(), &module(then, more), group);
        let json = run(folder.path(), &["--out", "out", "--no-record"]);
        let first = &json["groups"]["market"]["first_fault"];
        assert_eq!(first["text"], format!("market/0 ended in frame {frame}: {words}"), "{json}");
        let mut limit = json!({ "value": allowed, "reached": reached });
        if let Some(key) = key {
            limit["key"] = (*key).into();
        }
        assert_eq!(first["limit"], limit, "{words}");
        let rows = faults(&folder.path().join("out"));
        let [row] = &rows[..] else { panic!("{words}: {rows:?}") };
        assert_eq!(
            (&row["frame"], &row["reached"], &row["allowed"]),
            (&json!(frame), &json!(reached), &json!(allowed))
        );
    }
}

#[test]
fn what_is_about_no_limit_is_told_in_words() {
    let put = "(call $put (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0))";
    let region = format!("{put} (i32.store (i32.const 9232) (i32.const 17))");
    let reserved = format!("{put} (i32.store (i32.const 9244) (i32.const 1))");
    let unknown = format!("{put} (i32.store (i32.const 9232) (i32.const 99))");
    let cases = [
        ("unreachable", "", "unreachable"),
        ("(return (i32.const -3))", "", "it returned the status -3"),
        (
            "(return (i32.const 0x80000003))",
            "",
            "it returned the status 0x80000003 of the SDK: a parameter has another type or range",
        ),
        (put, "capabilities = [\"log\", \"regions\"]", "its group isn't granted the capability `send`"),
        (&region, "", "a write to a shared region that there isn't"),
        (&unknown, "", "its outbox isn't well formed: an operation that there isn't"),
        (&reserved, "", "its outbox isn't well formed: a reserved field or kind"),
        (
            "(i32.store (i32.const 1148) (i32.const 32))",
            "",
            "its outbox isn't well formed: its records don't end where it does",
        ),
    ];
    for (then, group, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path(), &module(then, ""), group);
        let json = run(folder.path(), &["--out", "out", "--no-record"]);
        let first = &json["groups"]["market"]["first_fault"];
        assert_eq!(first["text"], format!("market/0 ended in frame 12: {words}"), "{json}");
        assert_eq!(first.get("limit"), None);
        let rows = faults(&folder.path().join("out"));
        assert_eq!((&rows[0]["reached"], &rows[0]["allowed"]), (&json!(0), &json!(0)));
    }
}

#[test]
fn what_was_reached_is_state() {
    let put = |records: u32| format!("(call $put (i32.const {records}) (i32.const 1) (i32.const 0) (i32.const 0))");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let group = "limits.records_per_step_max = \"$most\"\n[params]\nmost = 256";
    files(folder, &module(&put(300), ""), group);
    let first = "market/0 ended in frame 12: 300 records in a step, more than limits.records_per_step_max = 256";
    let text = |json: &Value| json["groups"]["market"]["first_fault"]["text"].clone();
    let reference = run(folder, &["--out", "1", "--threads", "1", "--snapshot-every", "14"]);
    assert_eq!(text(&reference), first);
    for (out, threads) in [("1b", "1"), ("2", "2"), ("4", "4")] {
        let json = run(folder, &["--out", out, "--threads", threads]);
        assert_eq!((&json["digest"], text(&json)), (&reference["digest"], first.into()), "{threads} threads");
        assert_eq!(faults(&folder.join(out)), faults(&folder.join("1")));
    }
    let replay = engine(folder, &["replay", "1"]);
    assert!(replay.status.success(), "{}", stderr(&replay));
    // The end is run again, from a snapshot after the fault, which has it.
    run(folder, &["--out", "short", "--snapshot-every", "14", "--frames", "15"]);
    let resumed = engine(folder, &["resume", "short", "--frames", "16", "--summary", "json"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let resumed = summary(&resumed);
    assert_eq!((&resumed["digest"], text(&resumed)), (&reference["digest"], first.into()));
    assert_eq!(faults(&folder.join("short")), faults(&folder.join("1")));
    // A branch that allows more says what was allowed in that frame.
    let branch =
        engine(folder, &["branch", "1", "--at", "14", "--out", "branch", "--set", "most=400", "--summary", "json"]);
    assert!(branch.status.success(), "{}", stderr(&branch));
    assert_eq!(text(&summary(&branch)), first);
    let inspected = engine(folder, &["inspect", "1", "--at", "12"]);
    let shown = String::from_utf8(inspected.stdout).unwrap();
    let reason = first.split_once(": ").unwrap().1;
    assert!(shown.contains(&format!("fault of market/0: over_limit: {reason}\n")), "{shown}");
    // An outbox that is refused leaves nothing else: the digest tells one of 301 records by what was reached alone.
    files(folder, &module(&put(301), ""), group);
    let other = run(folder, &["--out", "other"]);
    assert_ne!(other["digest"], reference["digest"]);
    assert_eq!(faults(&folder.join("other"))[0]["reached"], 301);
}
