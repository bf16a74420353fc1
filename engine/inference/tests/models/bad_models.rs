//! Models that can't be used: each error names the model, the file, and what to do. And rows that a model can't be given.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common;

use std::process::Command;

use crate::common::{entry, entry_at, f32s, load, run, try_load, with_dims};
use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::ModelSpec;
use wasm_engine_components::causes::with_causes;
use wasm_engine_files::{FileProblem, cache_folder};
use wasm_engine_inference::{InferenceError, LibraryLocation, ModelProblem, probe};

/// Loads a model that can't be used, and looks for these parts in what is said.
fn check(entry: ModelSpec, parts: &[&str]) {
    let path = entry.path.display().to_string();
    let name = format!("the model `{}`", entry.name);
    let error = with_causes(&try_load(&[entry]).err().unwrap());
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
    check(entry("truncated"), &["has a graph that the engine can't read: it isn't a model of ONNX", "is it whole?"]);
    check(entry("unknown-operator"), &["NoSuchOperator"]);
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.onnx");
    std::fs::write(&empty, "").unwrap();
    check(entry_at("empty", empty), &["it has no graph"]);
    let text = folder.path().join("text.onnx");
    std::fs::write(&text, "This is text.").unwrap();
    check(entry_at("text", text), &["it isn't a model of ONNX"]);
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

/// A field of a message of protocol buffers.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    if number > 15 {
        bytes = vec![(number << 3 | 2) | 0x80, number >> 4];
    }
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

/// A field that is a number below 128.
fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// A node of a graph, with an attribute or none.
fn node(operator: &str, inputs: &[&str], output: &str, attribute: &[u8]) -> Vec<u8> {
    let inputs: Vec<_> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    field(1, &[&inputs[..], &field(2, output.as_bytes()), &field(4, operator.as_bytes()), attribute].concat())
}

/// An input (11) or an output (12) of a graph: four elements of a type in each row.
fn tensor(put: u8, name: &str, of: u8) -> Vec<u8> {
    let shape = [field(1, &field(2, b"batch")), field(1, &number(1, 4))].concat();
    let of = field(1, &[number(1, of), field(2, &shape)].concat());
    field(put, &[field(1, name.as_bytes()), field(2, &of)].concat())
}

/// `y = operator(a, b)`, where other parts of the graph say what `b` is.
fn division(operator: &str, of: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let divides = node(operator, &["a", "b"], "y", &[]);
    let graph = [tensor(11, "a", of), parts.concat(), divides, tensor(12, "y", of)].concat();
    [number(1, 8), field(8, &number(2, 17)), field(7, &[field(2, b"g"), graph].concat())].concat()
}

/// The pinned ONNX Runtime looks for zeros, in each of the types that rows may have.
#[test]
fn a_whole_number_divided_by_0_fails_its_row_alone() {
    const F32: u8 = 1;
    const U8: u8 = 2;
    const I8: u8 = 3;
    const I32: u8 = 6;
    const I64: u8 = 7;
    let i64s = |values: [i64; 4]| values.map(i64::to_le_bytes).concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("divides.onnx");
    let write = |operator: &str, of, parts: &[Vec<u8>]| {
        std::fs::write(&path, division(operator, of, parts)).unwrap();
        entry_at("divides", path.clone())
    };
    let run_both = |entry: ModelSpec, [good, bad]: [Vec<u8>; 2], right: Vec<u8>| {
        let (mut runtime, info) = load(&entry);
        for _ in 0..2 {
            let found = run(&mut runtime, &info, &[good.clone(), bad.clone(), good.clone()]);
            assert_eq!(found, [Ok(right.clone()), Err(InferenceStatus::Failed), Ok(right.clone())]);
        }
    };
    for (operator, small, said) in
        [("Div", [3, 4, 0, 9], "Integer division by zero"), ("Mod", [1, 1, 0, 0], "Integer modulo by zero")]
    {
        for of in [U8, I8] {
            let rows = [[7, 9, 0, 9, 2, 2, 5, 1].to_vec(), [7, 9, 0, 9, 2, 0, 5, 1].to_vec()];
            run_both(write(operator, of, &[tensor(11, "b", of)]), rows, small.to_vec());
        }
        // Divided by the place of a row's greatest number, which is 3 or 0.
        let axis = field(5, &[field(1, b"axis"), number(3, 1), vec![0xa0, 1, 2]].concat());
        let greatest = [node("ArgMax", &["x"], "b", &axis), tensor(11, "x", F32)];
        let numbers = [7, 9, 5, 8];
        let rows = [[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]].map(|x| [i64s(numbers), f32s(&x)].concat());
        let right = numbers.map(|n| if operator == "Div" { n / 3 } else { n % 3 });
        run_both(write(operator, I64, &greatest), rows, i64s(right));
        // Every row would fail: ONNX Runtime takes no such model.
        let zero = field(5, &[number(2, I32), field(8, b"b"), field(9, &[0; 4])].concat());
        check(write(operator, I32, &[zero]), &[said]);
    }
}

/// A function of a model, which nobody calls: its domain and name, and a node.
fn function(domain: &str, name: &str, node: &[u8]) -> Vec<u8> {
    let parts =
        [field(1, name.as_bytes()), field(4, b"a"), field(5, b"b"), field(7, node), field(10, domain.as_bytes())];
    field(25, &parts.concat())
}

/// ONNX Runtime takes files that the engine's reader doesn't, or reads them otherwise. Nobody looked into such a model for what ends a
/// process or draws random numbers, so it isn't loaded.
#[test]
fn a_graph_that_the_engine_cant_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let identity = [field(1, b"a"), field(2, b"b"), field(4, b"Identity")].concat();
    let nested = (0..14).fold(field(1, &identity), |graph, _| {
        let attribute = field(5, &[field(1, b"body"), field(6, &graph)].concat());
        field(1, &[field(4, b"Loop"), attribute].concat())
    });
    let with_attribute = |parts: &[Vec<u8>]| [identity.clone(), field(5, &parts.concat())].concat();
    let constant = with_attribute(&[field(1, b"value"), field(5, &[[8, 1]; 65].concat())]);
    let twice = with_attribute(&[field(1, b"value"), field(5, b""), field(5, b"")]);
    let both = [identity.clone(), field(5, &field(1, b"to")), field(5, &field(1, b"to"))].concat();
    let of_node = |node: &[u8]| function("own", "f", node);
    for (added, said) in [
        (field(7, b""), "a graph twice"),
        (of_node(&field(3, &[0xff])), "isn't a model of ONNX"),
        (of_node(&field(1, b"a").repeat(4_097)), "a node with more than 4,096 inputs"),
        (of_node(&field(5, b"").repeat(2)), "an attribute of a node twice"),
        (of_node(&both), "an attribute of a node twice"),
        (of_node(&twice), "a constant of an attribute twice"),
        (of_node(&constant), "a constant with more than 64 dimensions"),
        (of_node(&field(5, &[field(1, b"body"), field(6, &nested)].concat())), "nested more than 12 deep"),
        (function("own", "f", &identity).repeat(2), "a function twice"),
        (field(25, &field(7, b"").repeat(300_000)), "more than 262,144 nodes"),
        (field(8, b"").repeat(2_200_000), "more than 2,097,152 names"),
        // One that ONNX Runtime runs its own operator in the place of.
        (function("", "Div", &identity), "a function `Div` of its own in the domain `ai.onnx`"),
        (
            function("", "RandomUniformLike", &identity),
            "a function `RandomUniformLike` of its own in the domain `ai.onnx`",
        ),
        (
            function("com.microsoft", "Gelu", &identity),
            "in the domain `com.microsoft`, in which ONNX Runtime has operators",
        ),
    ] {
        for name in ["divides", "random", "gemm"] {
            let content = [std::fs::read(entry(name).path).unwrap(), added.clone()].concat();
            std::fs::write(&path, content).unwrap();
            check(entry_at(name, path.clone()), &[said]);
        }
    }
    // Functions in a domain of the model's own are looked into, each for itself.
    check(entry("function-divides"), &["divides whole numbers in the node `c` (Div)"]);
    let (mut runtime, info) = common::load(&entry("function"));
    let row = common::i32s(&[7, i32::MIN, 0, -1]);
    let halved = common::i32s(&[3, i32::MIN / 2]);
    assert_eq!(common::run(&mut runtime, &info, &[row]), [Ok(halved)]);
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
        let wrong = entry("gemm").with(|model| model.sha256 = Some([0; 32]));
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
                "couldn't be fetched into",
                "python3 -m pip: there is no such program",
                "pip3: there is no such program",
                "python3 -m pip download --no-deps",
                "ToBeFetched",
            ],
        ),
    ] {
        let said = passes(child("a_library_that_isnt_one").envs(variables.iter().copied()));
        for part in parts {
            assert!(said.contains(part), "{part} isn't in: {said}");
        }
    }
}

/// One of these tests in a process of its own, where it does what it is about.
fn child(test: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    child.args([&name, "--exact", "--nocapture"]).env("INFERENCE_TEST_CHILD", "1");
    child
}

/// Runs that one test, and returns what it printed.
fn passes(child: &mut Command) -> String {
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(" 1 passed;"), "{said}");
    said.into_owned()
}

/// The official build would report each session to its maker, and keep a database for that in the user's cache folder.
#[test]
#[cfg(target_os = "linux")]
fn nothing_is_reported_to_anybody() {
    common::load(&entry("gemm"));
    if std::env::var_os("INFERENCE_TEST_CHILD").is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = child("nothing_is_reported_to_anybody");
    // What would keep it silent anyway isn't there.
    child.env_remove("CI").env_remove("ORT_DISABLE_TELEMETRY").env_remove("ORT_RUNNING_UNIT_TESTS");
    passes(child.env("XDG_CACHE_HOME", folder.path()).env("WASM_ENGINE_CACHE_DIR", cache_folder().unwrap()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_doctor_sees_what_is_loaded() {
    common::load(&entry("gemm"));
    let status = probe();
    assert!(matches!(status.location, LibraryLocation::Here(_)), "{status:?}");
    let loaded = status.loaded.unwrap().unwrap();
    assert!(loaded.version.starts_with("1.") && !loaded.providers.is_empty(), "{loaded:?}");
}
