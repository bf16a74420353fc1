//! The form of a model's runs, where a person and a program see it: `model check`, the manifest, and what is said where a run goes on in
//! another form.

use std::fs;
use std::path::Path;

use crate::common::asking::Asking;
use crate::common::{engine, path, stderr};
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
        (
            vec!["no.onnx".into()],
            "(no.onnx) can't be read: No such file or directory (os error 2)\n  help: see that it is there",
        ),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let refused = engine(folder.path(), &[&["model", "check"], &args[..]].concat());
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(stderr(&refused).contains(part), "{args:?}: {}", stderr(&refused));
    }
}

/// One agent that asks a model, beside which there are models with other forms.
fn scenario(folder: &Path) {
    let models = [("gemm", ""), ("sine", ""), ("rare", "")];
    let row: Vec<u8> = (0..24).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let rows = [1, 3].map(|frame| (frame, "a/0".to_owned(), row.clone()));
    Asking { frames: 4, models: &models, groups: &[("a", 1)] }.write(folder, rows);
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
    assert_eq!(forms(&folder.join("run")), json!({ "sine": "multiple of 16", "gemm": "any", "rare": "alone" }));

    // A machine that finds a stricter form than the one that was recorded says so, and names both.
    set_form(&folder.join("run"), "rare", "any");
    let told =
        "warning: the model `rare` has the form `alone` on this machine, and had `any` where the run was recorded";
    let recomputed = engine(folder, &["replay", "run", "--inference", "recompute"]);
    assert!(stderr(&recomputed).contains(told), "{}", stderr(&recomputed));
    let replayed = engine(folder, &["replay", "run"]);
    assert!(!stderr(&replayed).contains("has the form"), "nothing is computed: {}", stderr(&replayed));
    let branched = engine(folder, &["branch", "run", "--at", "2", "--out", "branch", "--frames", "4"]);
    assert!(stderr(&branched).contains(told), "{}", stderr(&branched));
    let resumed = engine(folder, &["resume", "run", "--frames", "3"]);
    assert!(resumed.status.success() && stderr(&resumed).contains(told), "{}", stderr(&resumed));

    // The run has the stricter form from there on, whoever goes on with it, and says which it had before.
    assert_eq!(forms(&folder.join("run"))["rare"], "alone");
    let manifest = fs::read_to_string(folder.join("run/manifest.toml")).unwrap();
    assert!(manifest.contains("earlier_forms = [{ form = \"any\", before_frame = 2 }]\n"), "{manifest}");
    let resumed = engine(folder, &["resume", "run", "--frames", "4"]);
    assert!(resumed.status.success() && !stderr(&resumed).contains("form"), "{}", stderr(&resumed));
    let earlier =
        "warning: the model `rare` had the form `any` before frame 2 of this run, and has `alone` since it went on";
    for (args, is_told) in [
        (&["replay", "run"][..], false),
        (&["replay", "run", "--inference", "recompute"], true),
        (&["branch", "run", "--at", "1", "--out", "before"], true),
        (&["branch", "run", "--at", "3", "--out", "after"], false),
    ] {
        let output = engine(folder, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).contains(earlier), is_told, "{args:?}: {}", stderr(&output));
    }

    // A manifest that somebody else wrote can't ask for runs of any number of rows.
    for (form, told) in [
        (
            "multiple of 4294967295",
            "models.gemm.form: `multiple of 4294967295` isn't a form that the runs of a model can have",
        ),
        (
            "fixed 4294967295",
            "can't have had the form `fixed 4294967295` that the run's manifest says: its form is `any`",
        ),
    ] {
        let ran = engine(folder, &["run", "s.toml", "--out", "foreign", "--frames", "2"]);
        assert!(ran.status.success(), "{}", stderr(&ran));
        set_form(&folder.join("foreign"), "gemm", form);
        let resumed = engine(folder, &["resume", "foreign", "--frames", "4"]);
        assert_eq!(resumed.status.code(), Some(2), "{}", stderr(&resumed));
        assert!(stderr(&resumed).contains(told), "{}", stderr(&resumed));
        fs::remove_dir_all(folder.join("foreign")).unwrap();
    }

    // One that finds a looser form runs the model in the recorded one.
    let ran = engine(folder, &["run", "s.toml", "--out", "strict", "--frames", "2"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    set_form(&folder.join("strict"), "gemm", "alone");
    let resumed = engine(folder, &["resume", "strict", "--frames", "4"]);
    assert!(resumed.status.success() && !stderr(&resumed).contains("has the form"), "{}", stderr(&resumed));
}
