//! Hostile names from everywhere that a name can come from, through every command: what reaches a terminal is text and nothing else.

use crate::common;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

/// Clears the screen, colours it, sets a title, forges a row and an error, reverses what follows and hides the rest.
const EVIL: &str = "\u{1b}[2J\u{1b}[31m\u{1b}]0;title\u{7}\r\nerror: forged\u{202e}\u{9b}5m\u{200b}\u{2028}end";

/// Longest line of a text, in characters: that of `components/src/limits.rs`, and what stands around it.
const LINE_CHARS_MAX: usize = 4_200;

/// What no text for a terminal holds.
fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Asserts that all that a command says is text: no control character but the newlines, nothing invisible, no endless line.
fn check(what: &str, output: &Output) -> (String, String) {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    for (stream, text) in [("standard output", &stdout), ("standard error", &stderr)] {
        assert!(!text.contains(is_harmful), "{what}: {stream}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{what}: {stream}: {text}");
        let is_json = text.starts_with('{');
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(is_json || longest <= LINE_CHARS_MAX, "{what}: {stream}: a line of {longest} characters");
    }
    (stdout, stderr)
}

/// A record of an outbox.
fn record(target: u64, op: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [target.to_le_bytes(), [0; 8]].concat();
    for word in [op, kind, u32::try_from(payload.len()).unwrap(), 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn wat_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// An agent that logs and records hostile names and texts in each step; `more` is anything else for the module.
fn agent(more: &str) -> Vec<u8> {
    let evil = EVIL.as_bytes();
    let text = [evil, evil].concat();
    let log = [evil, &vec![b'x'; 3_000]].concat();
    let records = [
        record(7, 7, 1, evil),
        record(evil.len() as u64, 7, 3, &text),
        record(0, 6, 1, &log),
        record(0, 6, 3, evil),
        record(u64::MAX, 1, 1, evil),
    ];
    let count = records.len();
    let outbox = records.concat();
    let words = [u32::from_le_bytes(*b"WAGT"), 1, 128, 4096, 8192, 8192, 0, 0];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let text = format!(
        r#"(module {more}
  (memory (export "memory") 1)
  (data (i32.const 1024) "{}")
  (data (i32.const 9216) "{}")
  (global (export "agent_exchange") i32 (i32.const 1024))
  (global $g (mut i32) (i32.const 7))
  (func (export "agent_init") (param i32) (result i32) i32.const 0)
  (func (export "agent_step") (param $ctx i32) (result i32)
    (i32.store offset=56 (local.get $ctx) (i32.const {count}))
    (i32.store offset=60 (local.get $ctx) (i32.const {}))
    i32.const 0))"#,
        wat_bytes(&header),
        wat_bytes(&outbox),
        outbox.len()
    );
    wat::parse_str(text).unwrap()
}

fn scenario(module: &str, more: &str) -> String {
    format!(
        "frames = 6\n[params]\nword = \"a\"\n[modules.a]\npath = '{module}'\n[[groups]]\nname = \"g\"\nmodule = \"a\"\n\
         agents = 2\nparams = {{ word = \"$word\" }}\n{more}"
    )
}

/// A folder with a hostile name, and the scenario in it.
fn folder(under: &Path) -> PathBuf {
    let folder = under.join(format!("runs of {EVIL}").replace('/', "-"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.wasm"), agent("")).unwrap();
    let expect = format!("[[expect]]\ngroup = \"g\"\noutput = {}\nequals = 3\n", toml::Value::from(EVIL));
    std::fs::write(folder.join("s.toml"), scenario("a.wasm", &expect)).unwrap();
    folder
}

fn run(folder: &Path, args: &[&str]) -> (String, String, Output) {
    let mut command = common::wasm_engine(folder);
    command.args(args);
    let output = command.output().unwrap();
    let (stdout, stderr) = check(&format!("{args:?}"), &output);
    // Whoever reads it as JSON has JSON and nothing else.
    let as_json = common::wasm_engine(folder).args(args).args(["--log", "json"]).output().unwrap();
    let (_, told) = check(&format!("{args:?} as JSON"), &as_json);
    common::said_as_json(&told);
    (stdout, stderr, output)
}

#[test]
fn every_command_shows_hostile_names_as_text() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder(temporary.path());
    let out = format!("out {EVIL}").replace('/', "-");
    let (a, b) = (format!("{out}-a"), format!("{out}-b"));
    let (table, told, output) = run(&folder, &["run", "s.toml", "--out", &a, "--snapshot-every", "2"]);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(table.contains("\\u{1b}[2J") && table.contains("error: forged"), "{table}");
    assert!(told.contains("an expectation isn't met: g: \\u{1b}[2J"), "{told}");
    run(&folder, &["run", "s.toml", "--out", &b, "--set", &format!("word={}", toml::Value::from(EVIL))]);
    manifest_is_text(&folder.join(&b));

    // JSON keeps the true text.
    let (json, ..) = run(&folder, &["run", "s.toml", "--no-record", "--summary", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["outputs"]["g"].as_object().unwrap().contains_key(EVIL), "{json}");
    tables_are_text(&folder.join(&a));

    for form in ["text", "json"] {
        for args in [
            &["inspect", &a][..],
            &["inspect", &a, "--agent", "g/1"],
            &["inspect", &a, "--agent", "g/1", "--at", "3"],
            &["inspect", &a, "--messages"],
            &["diff", &a, &b],
            &["replay", &a],
            &["resume", &a],
        ] {
            let args = [args, &["--summary", form]].concat();
            let (stdout, stderr, _) = run(&folder, &args);
            assert!(!stdout.is_empty(), "{args:?}: {stderr}");
        }
    }
    run(&folder, &["branch", &a, "--at", "3", "--out", &format!("{out}-c"), "--set", "word=b"]);
    // A damaged journal is told by its path.
    let segment = std::fs::read_dir(folder.join(&b).join("journal")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(segment, b"not a journal").unwrap();
    let (_, told, output) = run(&folder, &["replay", &b]);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let mut doctor = common::wasm_engine(&folder);
    doctor.arg("doctor").env("WASM_ENGINE_CACHE_DIR", folder.join(EVIL)).env("ORT_DYLIB_PATH", EVIL);
    check("doctor", &doctor.output().unwrap());
}

/// Whoever looks at a manifest in a terminal sees text; whoever reads it has the paths and values as they were.
fn manifest_is_text(run: &Path) {
    let text = std::fs::read_to_string(run.join("manifest.toml")).unwrap();
    assert!(!text.contains(is_harmful), "{text:?}");
    let read: toml::Table = text.parse().unwrap();
    let module = PathBuf::from(read["modules"]["a"]["path"].as_str().unwrap());
    assert_eq!((read["params"]["word"].as_str(), module), (Some(EVIL), run.parent().unwrap().join("a.wasm")));
}

/// Whoever looks at a table or a summary in a terminal sees text; whoever reads it has what the agents wrote.
fn tables_are_text(run: &Path) {
    let read = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(run.join(name)).unwrap();
        assert!(!text.contains(is_harmful), "{name}: {text:?}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for name in ["frames.jsonl", "faults.jsonl", "swaps.jsonl", "models.jsonl"] {
        read(name);
    }
    assert!(read("outputs.jsonl").iter().any(|row| row["name"] == EVIL), "outputs");
    assert!(read("logs.jsonl").iter().any(|row| row["text"].as_str().unwrap().starts_with(EVIL)), "logs");
    assert!(read("summary.json")[0]["outputs"]["g"].as_object().unwrap().contains_key(EVIL), "summary");
}

#[test]
fn every_refusal_shows_hostile_names_as_text() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder(temporary.path());
    let evil = toml::Value::from(EVIL).to_string();
    let long = "n".repeat(100_000);
    let import = |name: &str| agent(&format!("(import \"{}\" \"{name}\" (func))", wat_bytes(EVIL.as_bytes())));
    std::fs::write(folder.join("import.wasm"), import(&wat_bytes(EVIL.as_bytes()))).unwrap();
    std::fs::write(folder.join("long.wasm"), import(&long)).unwrap();
    let export = format!("(func (export \"$we_{}{long}\"))", wat_bytes(EVIL.as_bytes()));
    // An export comes after what it exports: the text of the module has it at the end.
    let reserved = String::from_utf8(b"(module ".to_vec()).unwrap() + &export + ")";
    std::fs::write(folder.join("export.wasm"), wat::parse_str(reserved).unwrap()).unwrap();
    std::fs::write(folder.join("trash.wasm"), EVIL).unwrap();
    std::fs::write(folder.join(format!("{EVIL}.wasm").replace('/', "-")), b"\0asm").unwrap();
    let seq = std::fs::read(common::root().join("engine/tests/models/seq.onnx")).unwrap();
    std::fs::write(folder.join("names.onnx"), renamed(&seq, b"\x01x", b"\x01\x1b")).unwrap();
    std::fs::write(folder.join("dims.onnx"), renamed(&seq, b"\x03seq", b"\x03\x1b[m")).unwrap();
    std::fs::write(folder.join("trash.onnx"), EVIL).unwrap();
    let model = |file: &str| scenario("a.wasm", &format!("[models.m]\npath = \"{file}\"\n"));
    let scenarios = [
        ("import", scenario("import.wasm", "")),
        ("long", scenario("long.wasm", "")),
        ("export", scenario("export.wasm", "")),
        ("trash", scenario("trash.wasm", "")),
        ("missing", scenario("a.wasm", "").replace("'a.wasm'", &evil)),
        ("key", scenario("a.wasm", &format!("{evil} = 1\n"))),
        ("long-key", scenario("a.wasm", &format!("{long} = 1\n"))),
        ("name", format!("name = {evil}\n{}", scenario("a.wasm", ""))),
        ("group", scenario("a.wasm", "").replace("\"g\"", &evil)),
        ("module", scenario("a.wasm", "").replace("module = \"a\"", &format!("module = {evil}"))),
        ("topic", format!("topics = [{evil}]\n{}", scenario("a.wasm", ""))),
        ("syntax", format!("{EVIL}\n")),
        ("string", format!("frames = \"{}\"\n", EVIL.replace('\n', "\\n"))),
        ("tensor-name", model("names.onnx")),
        ("dimension", model("dims.onnx")),
        ("dims", model("dims.onnx") + &format!("dims = {{ {evil} = 3 }}\n")),
        ("no-model", model("trash.onnx")),
    ];
    for (name, text) in scenarios {
        let file = format!("{name} {EVIL}.toml").replace('/', "-");
        std::fs::write(folder.join(&file), text).unwrap();
        let (stdout, stderr, output) = run(&folder, &["run", &file, "--no-record"]);
        assert_eq!(output.status.code(), Some(2), "{name}: {stdout}{stderr}");
        // Before it, it may be said that ONNX Runtime is fetched.
        assert!(stderr.lines().any(|line| line.starts_with("error: ")), "{name}: {stderr}");
        assert!(stderr.len() < 8_000, "{name}: {} bytes", stderr.len());
    }
    let events = [
        format!("{{\"frame\":0,\"to\":{}}}", Value::from(EVIL)),
        format!("{{{}:0}}", Value::from(EVIL)),
        format!("{{\"frame\":0,\"to\":\"{long}\"}}"),
        EVIL.replace('\n', " "),
    ];
    for line in events {
        std::fs::write(folder.join("events.jsonl"), line + "\n").unwrap();
        let (_, stderr, output) = run(&folder, &["run", "s.toml", "--no-record", "--input", "events.jsonl"]);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
    }
    for args in [
        &["run", EVIL][..],
        &["run", "s.toml", "--set", EVIL],
        &["run", "s.toml", "--set", &format!("{EVIL}=1")],
        &["run", "s.toml", "--set", &long],
        &["run", "s.toml", "--input", EVIL],
        &["run", "s.toml", "--out", "s.toml/x\n\u{1b}[0m"],
        &["run", "s.toml", "--threads", EVIL],
        &["run", "s.toml", EVIL],
        &[EVIL],
        &["inspect", EVIL],
        &["inspect", EVIL, "--agent", EVIL],
        &["diff", EVIL, EVIL],
        &["replay", EVIL],
        &["resume", EVIL],
        &["branch", EVIL, "--at", "1", "--out", EVIL],
    ] {
        let (_, stderr, output) = run(&folder, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
    }
    // As a value it is as good as any other text: what isn't so is what the scenario expects.
    let (_, stderr, output) = run(&folder, &["run", "s.toml", "--set", &format!("word={EVIL}")]);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    // Help keeps its words.
    let (help, ..) = run(&folder, &["run", "--help"]);
    assert!(help.contains("Usage: wasm-engine run"), "{help}");
}

/// The bytes with each occurrence of some replaced by as many others.
fn renamed(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        bytes[at + found..at + found + to.len()].copy_from_slice(to);
        at += found + to.len();
    }
    bytes
}
