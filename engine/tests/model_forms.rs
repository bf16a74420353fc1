//! The form of a model's runs, where a person and a program see it: `model check`, the manifest, and what is said where a run goes on in
//! another form.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use std::fs;
use std::path::Path;

use common::{engine, path, stderr};
use serde_json::{Value, json};

fn model(name: &str) -> String {
    path(&format!("engine/tests/models/{name}.onnx"))
}

fn checked(folder: &Path, args: &[&str]) -> String {
    let output = engine(folder, &[&["model", "check"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn model_check_tells_a_person_what_a_row_is_and_how_rows_share_runs() {
    let folder = tempfile::tempdir().unwrap();
    let text = checked(folder.path(), &[&path("agents/models/digits/digits-s8.onnx")]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "input   image i8[batch, 64]",
            "output  logits i32[batch, 10]",
            "row     64 bytes in, 40 bytes out",
            "form    any: any number of rows share a run",
        ]
    );
    assert!(lines[4].starts_with("on      ONNX Runtime 1.") && lines.len() == 5, "{text}");
    let text = checked(folder.path(), &[&model("rare")]);
    assert!(text.contains("form    alone: each row is a run of its own\n"), "{text}");
    assert!(text.contains("\nnode    ") && text.contains(" needs alone: "), "{text}");
    let text = checked(folder.path(), &[&model("sine")]);
    assert!(text.contains("form    multiple of 16: a multiple of 16 rows share a run\n"), "{text}");
}

#[test]
fn model_check_tells_programs_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let parsed = |args: &[&str]| -> Value {
        let text = checked(folder.path(), &[args, &["--json"]].concat());
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let rare = parsed(&[&model("rare")]);
    assert_eq!((&rare["form"], &rare["row_bytes"], &rare["output_bytes"]), (&json!("alone"), &json!(8), &json!(8)));
    assert_eq!(rare["inputs"], json!([{ "name": "x", "dtype": "f32", "shape": [null, 2] }]));
    let node = &rare["nodes"][0];
    assert_eq!(node["needs"], "alone");
    for key in ["name", "operator", "reason"] {
        assert!(node[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {node}");
    }
    assert!(!rare["reasons"].as_array().unwrap().is_empty());
    // Sizes and the dimension of the rows are said as in a scenario.
    let seq = parsed(&[&model("seq"), "--dims", "seq=7"]);
    assert_eq!(seq["inputs"][0]["shape"], json!([null, 7]));
    let state = parsed(&[&model("state")]);
    let axes: Vec<usize> = state["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| input["shape"].as_array().unwrap().iter().position(Value::is_null).unwrap())
        .collect();
    assert!(axes.contains(&1), "the rows of a state are in its dimension 1: {state}");
    for (args, part) in [
        (vec![model("seq")], "seq = SIZE"),
        (vec![model("seq"), "--dims".into(), "seq".into()], "NAME=NUMBER"),
        (vec![model("truncated")], "has a graph that the engine can't read"),
        (vec![model("policy")], "draws random numbers in the node"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let refused = engine(folder.path(), &[&["model", "check"], &args[..]].concat());
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(stderr(&refused).contains(part), "{args:?}: {}", stderr(&refused));
    }
}

/// One agent that asks a model with a form in each of its kinds.
fn scenario(folder: &Path) {
    let text = format!(
        r#"
frames = 4
input = "events.jsonl"
[models.sine]
path = {:?}
[models.gemm]
path = {:?}
[models.alone]
path = {:?}
[modules.ask]
path = {:?}
[[groups]]
name = "a"
module = "ask"
agents = 1
params = {{ model = "gemm" }}
[groups.limits]
fuel_per_step_max = 1000000000
memory_bytes_max = 2097152
"#,
        model("sine"),
        model("gemm"),
        model("rare"),
        path("engine/tests/data/inference/ask.wasm"),
    );
    fs::write(folder.join("s.toml"), text).unwrap();
    let row: Vec<u8> = (0..24).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let event = |frame: u64| json!({ "frame": frame, "to": "a/0", "numbers": row, "type": "u8" }).to_string();
    fs::write(folder.join("events.jsonl"), event(1) + "\n" + &event(3) + "\n").unwrap();
}

/// Writes another form into a run's manifest, as if it had been recorded on another machine.
fn set_form(run: &Path, model: &str, form: &str) {
    let file = run.join("manifest.toml");
    let text = fs::read_to_string(&file).unwrap();
    let own = forms(run)[model].as_str().unwrap().to_owned();
    let body: String =
        text.lines().filter(|line| !line.starts_with("# checksum ")).map(|line| line.to_owned() + "\n").collect();
    let at = body.find(&format!("{model} = ")).or_else(|| body.find(&format!("[models.{model}]"))).unwrap();
    let (before, after) = body.split_at(at);
    let changed = before.to_owned() + &after.replacen(&format!("\"{own}\""), &format!("\"{form}\""), 1);
    fs::write(&file, wasm_engine::run_dir::seal_text(&changed)).unwrap();
    assert_eq!(forms(run)[model], form);
}

/// The forms that a run's manifest has.
fn forms(run: &Path) -> Value {
    let manifest: toml::Table = fs::read_to_string(run.join("manifest.toml")).unwrap().parse().unwrap();
    let models = manifest["models"].as_table().unwrap();
    models
        .iter()
        .map(|(name, model)| (name.clone(), json!(model["form"].as_str().unwrap())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn the_manifest_has_each_models_form_and_who_goes_on_in_another_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    scenario(folder);
    let ran = engine(folder, &["run", "s.toml", "--out", "run", "--frames", "2"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    assert_eq!(forms(&folder.join("run")), json!({ "sine": "multiple of 16", "gemm": "any", "alone": "alone" }));

    // A machine that finds a stricter form than the one that was recorded says so, and names both.
    set_form(&folder.join("run"), "alone", "any");
    let told =
        "warning: the model `alone` has the form `alone` on this machine, and had `any` where the run was recorded";
    let recomputed = engine(folder, &["replay", "run", "--inference", "recompute"]);
    assert!(stderr(&recomputed).contains(told), "{}", stderr(&recomputed));
    let replayed = engine(folder, &["replay", "run"]);
    assert!(!stderr(&replayed).contains("has the form"), "nothing is computed: {}", stderr(&replayed));
    let branched = engine(folder, &["branch", "run", "--at", "2", "--out", "branch", "--frames", "4"]);
    assert!(stderr(&branched).contains(told), "{}", stderr(&branched));
    let resumed = engine(folder, &["resume", "run", "--frames", "4"]);
    assert!(resumed.status.success() && stderr(&resumed).contains(told), "{}", stderr(&resumed));

    // One that finds a looser form runs the model in the recorded one.
    let ran = engine(folder, &["run", "s.toml", "--out", "strict", "--frames", "2"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    set_form(&folder.join("strict"), "gemm", "alone");
    let resumed = engine(folder, &["resume", "strict", "--frames", "4"]);
    assert!(resumed.status.success() && !stderr(&resumed).contains("has the form"), "{}", stderr(&resumed));
}
