//! Models that can't be used: each error names the model, the file, and what to do.
#![allow(clippy::unwrap_used, reason = "tests")]

mod inference_common;

use std::process::Command;

use inference_common::{entry, entry_at, try_load, with_dims};
use wasm_engine::files::FileProblem;
use wasm_engine::inference::{InferenceError, LibraryLocation, ModelProblem, cache_folder, probe};
use wasm_engine::scenario::ModelEntry;

/// Loads a model that can't be used, and looks for these parts in what is said.
fn check(entry: ModelEntry, parts: &[&str]) {
    let path = entry.path.display().to_string();
    let name = format!("the model `{}`", entry.name);
    let error = try_load(&[entry]).err().unwrap().to_string();
    println!("{error}\n");
    for part in [&name, &path].into_iter().map(String::as_str).chain(parts.iter().copied()) {
        assert!(error.contains(part), "{part} isn't in: {error}");
    }
}

#[test]
fn a_file_that_isnt_a_model() {
    check(entry("no-such-file"), &["can't be read"]);
    check(entry_at("folder", entry("gemm").path.parent().unwrap().into()), &["can't be read", "it is a folder"]);
    #[cfg(unix)]
    check(entry_at("endless", "/dev/zero".into()), &["can't be read", "a device or a pipe"]);
    check(entry("truncated"), &["isn't a model that ONNX Runtime", "is the file whole?"]);
    check(entry("unknown-operator"), &["NoSuchOperator"]);
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.onnx");
    std::fs::write(&empty, "").unwrap();
    check(entry_at("empty", empty), &["isn't a model that ONNX Runtime"]);
    let text = folder.path().join("text.onnx");
    std::fs::write(&text, "This is text.").unwrap();
    check(entry_at("text", text), &["isn't a model that ONNX Runtime"]);
}

/// Files cut short anywhere are an error, or load as what they then are; nothing else happens.
#[test]
fn a_model_cut_anywhere_is_never_a_panic() {
    let whole = std::fs::read(entry("two").path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.onnx");
    for end in 0..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        if let Err(error) = try_load(&[entry_at("cut", path.clone())]) {
            assert!(error.problem().is_some(), "{error}");
        }
    }
}

#[test]
fn weights_outside_of_the_file() {
    check(entry("external"), &["keeps weights in other files", "save it as one file"]);
    // Also where they would be found: next to the model, and in the current folder.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("external.onnx");
    std::fs::copy(entry("external").path, &path).unwrap();
    std::fs::write(folder.path().join("weights.bin"), vec![0; 4096]).unwrap();
    check(entry_at("external", path), &["keeps weights in other files"]);
}

#[test]
fn a_model_that_nobody_can_replay() {
    check(
        entry("random"),
        &["draws random numbers in the node `noise` (RandomUniformLike)", "send random numbers as an input"],
    );
}

/// The least whole number divided by -1 would end the process, which no agent's row may do.
#[test]
fn a_division_that_would_end_the_process() {
    check(
        entry("divides"),
        &["divides whole numbers in the node `ratio` (Div)", "divide by a constant, or cast to floats before"],
    );
}

#[test]
fn types_that_agents_cant_exchange() {
    check(entry("float16"), &["the input `x` of type f16", "f32, f64, i64, i32, u8, i8 and bool"]);
    check(entry("string"), &["the input `x` of type String"]);
    check(entry("sequence"), &["the output `y` of type Sequence"]);
}

#[test]
fn dimensions_without_a_size() {
    check(entry("seq"), &["`seq` at position 1 of the input `x`", "add seq = SIZE to the model's `dims`"]);
    check(entry("unnamed"), &["without a name at position 1 of the input `x`"]);
    check(with_dims("seq", &[("sec", 3), ("seq", 3)]), &["no dynamic dimension `sec`", "it has `batch`, `seq`"]);
    check(with_dims("gemm", &[("seq", 3)]), &["it has `batch`"]);
    check(entry("two-leading"), &["input `a` is `batch`", "input `b` is `seq`", "say in the model's `batch_axes`"]);
    check(with_dims("seq", &[("seq", 1 << 20)]), &["rows of 4194304 bytes of input", "1048576"]);
}

/// Files are checked before ONNX Runtime is looked for; then its absence has a clear error. In a process of its own, because
/// the library is loaded once.
#[test]
fn a_library_that_isnt_one() {
    if std::env::var_os("INFERENCE_TEST_CHILD").is_some() {
        let wrong = ModelEntry { sha256: Some([0; 32]), ..entry("gemm") };
        let error = try_load(&[wrong]).err().unwrap();
        assert!(matches!(error.problem(), Some(ModelProblem::File(FileProblem::WrongHash { .. }))), "{error}");
        let error = try_load(&[entry("gemm")]).err().unwrap();
        assert!(matches!(error, InferenceError::Library(_)));
        println!("<{error}>");
        let status = probe();
        println!("{:?}", status);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "not a library").unwrap();
    let missing = folder.path().join("missing.so").display().to_string();
    let text = text.display().to_string();
    let cache = folder.path().join("cache").display().to_string();
    for (variables, parts) in [
        (&[("ORT_DYLIB_PATH", &*missing)][..], &["ORT_DYLIB_PATH is set to", "doesn't exist", &missing][..]),
        (&[("ORT_DYLIB_PATH", &text)], &["can't be loaded as ONNX Runtime", &text, "let ORT_DYLIB_PATH name"]),
        // A machine without pip.
        (
            &[("ORT_DYLIB_PATH", ""), ("WASM_ENGINE_CACHE_DIR", &cache), ("PATH", "")],
            &[
                "isn't on this machine yet",
                "python3 -m pip: there is no such program",
                "pip3: there is no such program",
                "python3 -m pip download --no-deps",
                "ToBeFetched",
            ],
        ),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["a_library_that_isnt_one", "--exact", "--nocapture"]).env("INFERENCE_TEST_CHILD", "1");
        let output = child.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} isn't in: {said}");
        }
    }
}

/// The official build would report each session to its maker, and keep a database for that in the user's cache folder.
#[test]
#[cfg(target_os = "linux")]
fn nothing_is_reported_to_anybody() {
    inference_common::load(&entry("gemm"));
    if std::env::var_os("INFERENCE_TEST_CHILD").is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["nothing_is_reported_to_anybody", "--exact"]).env("INFERENCE_TEST_CHILD", "1");
    // What would keep it silent anyway isn't there.
    child.env_remove("CI").env_remove("ORT_DISABLE_TELEMETRY").env_remove("ORT_RUNNING_UNIT_TESTS");
    child.env("XDG_CACHE_HOME", folder.path()).env("WASM_ENGINE_CACHE_DIR", cache_folder().unwrap());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_doctor_sees_what_is_loaded() {
    inference_common::load(&entry("gemm"));
    let status = probe();
    assert!(matches!(status.location, LibraryLocation::Here(_)), "{status:?}");
    let loaded = status.loaded.unwrap().unwrap();
    assert!(loaded.version.starts_with("1.") && !loaded.providers.is_empty(), "{loaded:?}");
}
