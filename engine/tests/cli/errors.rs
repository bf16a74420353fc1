//! The command line as a user meets it: exit status, standard error and standard output for what is wrong before a run.

use crate::common;

use std::path::Path;
use std::process::Output;

const SCENARIO: &str = r#"
frames = 5
input = "events.jsonl"
topics = ["desk-0"]
[params]
agents = 3
[modules.a]
path = "a.wasm"
[[groups]]
name = "readers"
module = "a"
agents = "$agents"
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.wasm"), b"\0asm").unwrap();
    std::fs::write(folder.path().join("x.toml"), SCENARIO).unwrap();
    std::fs::write(folder.path().join("events.jsonl"), "{\"frame\":0,\"topic\":\"desk-0\"}\n").unwrap();
    folder
}

fn wasm_engine(folder: &Path, args: &[&str]) -> Output {
    common::wasm_engine(folder).args(args).output().unwrap()
}

/// Exit status 2, nothing on standard output, `expected` on standard error, and no folder for results.
fn refused(args: &[&str], expected: &str) {
    let folder = folder();
    std::fs::write(folder.path().join("bad.toml"), SCENARIO.replace("frames", "farmes")).unwrap();
    std::fs::write(folder.path().join("bad.jsonl"), "\n{\"frame\":0,\"to\":\"reader/0\"}\n").unwrap();
    std::fs::create_dir(folder.path().join("full")).unwrap();
    std::fs::write(folder.path().join("full/mine.txt"), "mine").unwrap();
    let output = wasm_engine(folder.path(), args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(stderr.contains(expected), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty() && !folder.path().join("runs").exists(), "{args:?}");
    assert_eq!(std::fs::read_dir(folder.path().join("full")).unwrap().count(), 1);
}

#[test]
fn bad_input_ends_with_status_2_before_anything_runs() {
    refused(
        &["run", "no.toml"],
        "error: the file `no.toml` doesn't exist\n  help: name a scenario file, such as my-scenario.toml\n",
    );
    refused(
        &["run", "bad.toml"],
        "error: bad.toml:2:1: farmes: unknown key\n  help: did you mean `frames`? known: `name`",
    );
    refused(&["run", "bad.toml"], "error: bad.toml:1:1: frames: missing\n");
    refused(
        &["run", "x.toml", "--set", "agent=1"],
        "error: x.toml: --set agent=1: the scenario has no parameter `agent`\n  help: did you mean `agents`? known: `agents`\n",
    );
    refused(
        &["run", "x.toml", "--set", "agents=0"],
        "error: x.toml:12:10: groups[0].agents: 0 (parameter `agents`) is out of range\n  help: use 1 to 4,000,000\n",
    );
    refused(
        &["run", "x.toml", "--input", "bad.jsonl"],
        "error: bad.jsonl:2: to: there is no group `reader`\n  help: did you mean `readers`? known: `readers`\n",
    );
    refused(&["run", "x.toml", "--input", "no.jsonl"], "error: no.jsonl: doesn't exist\n");
    refused(&["run", "x.toml", "--out", "full"], "error: full: the output folder isn't empty\n");
    refused(&["run", "x.toml", "--out", "x.toml/run"], "error: x.toml/run: isn't a folder\n");
}

/// What is wrong with a module is found as it is loaded, and told as everything else about a scenario is: where it says so, and what to do.
#[test]
fn what_is_wrong_with_a_module_is_told_with_its_place_in_the_scenario() {
    let folder = folder();
    let path = folder.path();
    let text = |of_module: &str, of_group: &str| {
        let group = "[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 1\n";
        format!("frames = 1\n[modules.a]\npath = \"bad.wasm\"\n{of_module}{group}{of_group}")
    };
    let module = |first: &str, pages: u32, last: &str| {
        let exports = "(global (export \"agent_exchange\") i32 (i32.const 1024))
            (data (i32.const 1024) \"WAGT\\01\\00\\00\\00\\80\\00\\00\\00\\00\\01\\00\\00\\00\\02\\00\\00\\00\\01\\00\\00\")
            (func (export \"agent_init\") (param i32) (result i32) i32.const 0)
            (func (export \"agent_step\") (param i32) (result i32) i32.const 0)";
        wat::parse_str(format!("(module {first} (memory (export \"memory\") {pages}) {exports} {last})")).unwrap()
    };
    let log = module("(import \"wasm_engine\" \"log\" (func (param i32 i32 i32)))", 1, "");
    let start = module("", 1, "(func $s (loop (br 0))) (start $s)");
    let (large, plain) = (module("", 17, ""), module("", 1, ""));
    let params = format!("params = \"{}\"\n", "x".repeat(300));
    let hash = format!("sha256 = \"{}\"\n", "ab".repeat(32));
    let cases = [
        (
            &log[..],
            "capabilities = []\n",
            "m.toml:8:16: groups[0].capabilities: module `a` (bad.wasm): it imports `wasm_engine.log`, and group `g` isn't granted `log`\n  help: add it to the group's capabilities\n",
        ),
        (
            &start,
            "",
            "m.toml:4:1: groups[0].limits.fuel_per_step_max: module `a` (bad.wasm): its start used up the fuel of a step, of which group `g` allows 1000000 (`limits.fuel_per_step_max`)\n  help: raise the limit",
        ),
        (
            &start,
            "limits = { fuel_per_step_max = 5_000 }\n",
            "m.toml:8:32: groups[0].limits.fuel_per_step_max: module `a` ",
        ),
        (
            &large,
            "",
            "m.toml:4:1: groups[0].limits.memory_bytes_max: module `a` (bad.wasm): it starts with 1114112 bytes of memory, and group `g` allows 1048576 ",
        ),
        (&plain, &params, "m.toml:8:10: groups[0].params: module `a` (bad.wasm): the parameters of group `g` take "),
        (b"text", "", "m.toml:3:8: modules.a.path: module `a` (bad.wasm): the file isn't a WebAssembly module"),
        (&plain, &hash, "m.toml:4:10: modules.a.sha256: the module `a` (bad.wasm) has the sha256 "),
    ];
    for (bytes, more, expected) in cases {
        std::fs::write(path.join("bad.wasm"), bytes).unwrap();
        let text = if more.starts_with("sha256") { text(more, "") } else { text("", more) };
        std::fs::write(path.join("m.toml"), text).unwrap();
        let output = wasm_engine(path, &["run", "m.toml", "--out", "out"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.starts_with("error: m.toml:") && stderr.contains(expected) && stderr.contains("\n  help: "),
            "{stderr}"
        );
        assert!(!path.join("out").exists());
    }
    // A model's place is told, too.
    std::fs::write(path.join("bad.wasm"), &plain).unwrap();
    std::fs::write(path.join("m.onnx"), "no model").unwrap();
    std::fs::write(path.join("m.toml"), format!("{}[models.m]\npath = \"m.onnx\"\n", text("", ""))).unwrap();
    let output = wasm_engine(path, &["run", "m.toml", "--out", "out"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: m.toml:9:8: models.m.path: the model `m` (m.onnx) "), "{stderr}");
}

#[test]
fn a_bad_command_line_ends_with_status_2() {
    refused(&[], "Usage: wasm-engine [OPTIONS] <COMMAND>");
    refused(&["rnu"], "unrecognized subcommand 'rnu'");
    refused(&["run"], "<SCENARIO>");
    refused(&["run", "x.toml", "--frames", "0"], "0 is not in 1..=281474976710656");
    refused(&["run", "x.toml", "--frames", "-1"], "invalid value '-1' for '--frames <N>'");
    refused(&["run", "x.toml", "--threads", "0"], "0 is not in 1..=1024");
    refused(&["run", "x.toml", "--threads", "1025"], "1025 is not in 1..=1024");
    refused(
        &["run", "x.toml", "--seed", "18446744073709551616"],
        "invalid value '18446744073709551616' for '--seed <S>'",
    );
    refused(&["run", "x.toml", "--seed", "-1"], "invalid value '-1' for '--seed <S>'");
    refused(&["run", "x.toml", "--digest", "half"], "[possible values: frame, full]");
    refused(&["run", "x.toml", "--summary", "xml"], "[possible values: text, json]");
    refused(&["run", "x.toml", "--thread", "1"], "a similar argument exists: '--threads'");
}

#[test]
fn doctor_says_what_there_is() {
    let folder = folder();
    let output = wasm_engine(folder.path(), &["doctor"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    for name in ["engine", "system", "cores", "webassembly", "cache", "onnx runtime", "python pip", "guest target"] {
        assert!(
            stdout.lines().any(|line| line.get(8..).is_some_and(|rest| rest.starts_with(name))),
            "{name}: {stdout}"
        );
    }
    // The release that was built, and not one that is written down somewhere.
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let lock: toml::Value = toml::from_str(&lock).unwrap();
    let packages = lock["package"].as_array().unwrap();
    let wasmtime = packages.iter().find(|package| package["name"].as_str() == Some("wasmtime")).unwrap();
    let release = format!(" wasmtime {}\n", wasmtime["version"].as_str().unwrap());
    assert!(stdout.contains(&release), "{release}: {stdout}");
    let output = wasm_engine(folder.path(), &["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["checks"][0]["name"], "engine");
}
