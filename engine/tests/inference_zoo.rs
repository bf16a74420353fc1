//! A row's result is that of the row in its model's canonical form, whoever shares the run: on the models of the tests, and on a zoo of
//! generated and real ones that `.ci/parts/zoo` makes.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod inference_common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inference_common::{Outcome, entry_at, run, try_load};
use wasm_engine::inference::{BatchForm, ElementType, InferenceError, ModelInfo, OnnxRuntime, TensorInfo};
use wasm_engine::scenario::ModelEntry;

/// Rows of each model. Every third one is hostile.
const ROWS: usize = 96;

/// Random numbers, the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// From -1 to 1.
    fn unit(&mut self) -> f64 {
        self.next() as u32 as f64 / f64::from(1_u32 << 30) - 1.0
    }
}

/// An element of a row: of the row's own magnitude, or, in a hostile row, no number, infinite, huge or next to zero.
fn element(numbers: &mut Numbers, row: usize) -> f64 {
    if row % 3 == 2 && numbers.next().is_multiple_of(3) {
        let hostile = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e38, -1e38, 1e-40, -0.0, 0.0, 2e6];
        return hostile[numbers.next() as usize % hostile.len()];
    }
    numbers.unit() * f64::from(1_u32 << (row % 11)) / 16.0
}

fn put(tensor: &TensorInfo, slots: u32, row: usize, numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    let elements = tensor.shape.iter().flatten().product::<u32>() / slots;
    for _ in 0..elements {
        match tensor.dtype {
            ElementType::F32 => bytes.extend((element(numbers, row) as f32).to_le_bytes()),
            ElementType::F64 => bytes.extend(element(numbers, row).to_le_bytes()),
            ElementType::I64 => bytes.extend((numbers.next() % 32).to_le_bytes()),
            ElementType::I32 => bytes.extend((numbers.next() as u32 % 32).to_le_bytes()),
            ElementType::U8 | ElementType::I8 => bytes.push(numbers.next() as u8),
            ElementType::Bool => bytes.push(numbers.next() as u8 & 1),
        }
    }
}

const fn bytes_of(dtype: ElementType) -> u32 {
    match dtype {
        ElementType::F64 | ElementType::I64 => 8,
        ElementType::F32 | ElementType::I32 => 4,
        ElementType::U8 | ElementType::I8 | ElementType::Bool => 1,
    }
}

fn rows(info: &ModelInfo) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(1);
    let bytes = |tensor: &TensorInfo| tensor.shape.iter().flatten().product::<u32>() * bytes_of(tensor.dtype);
    // More than one where the model has a number of rows of its own.
    let slots = info.inputs.iter().map(bytes).sum::<u32>().checked_div(info.row_bytes).unwrap_or(1).max(1);
    let row = |row: usize| {
        let mut bytes = Vec::new();
        info.inputs.iter().for_each(|tensor| put(tensor, slots, row, &mut numbers, &mut bytes));
        assert_eq!(bytes.len(), info.row_bytes as usize);
        bytes
    };
    (0..ROWS).map(row).collect()
}

/// Runs the rows alone and in company of many sizes and orders. Returns in which batch a row has another result.
fn differs(runtime: &mut OnnxRuntime, info: &ModelInfo) -> Option<String> {
    let rows = rows(info);
    let alone: Vec<Outcome> = rows.iter().map(|row| run(runtime, info, std::slice::from_ref(row)).remove(0)).collect();
    for size in [2, 3, 5, 7, 16, 23, 64, ROWS] {
        // Coprime with the number of rows, so that each has every place in some batch.
        for (stride, shift) in [(1, 0), (37, size), (59, 2 * size + 1)] {
            let order: Vec<usize> = (0..ROWS).map(|at| (at * stride + shift) % ROWS).collect();
            for batch in order.chunks(size) {
                let asked: Vec<Vec<u8>> = batch.iter().map(|&row| rows[row].clone()).collect();
                let found = run(runtime, info, &asked);
                let wrong = batch.iter().zip(found).position(|(&row, outcome)| outcome != alone[row]);
                if let Some(at) = wrong {
                    return Some(format!("row {} at place {at} of a batch of {}", batch[at], batch.len()));
                }
            }
        }
    }
    None
}

fn entry(path: &Path) -> ModelEntry {
    let name = path.file_stem().unwrap().to_str().unwrap();
    ModelEntry { refuse_non_finite: false, ..entry_at(name, path.into()) }
}

fn models(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    all.sort();
    all
}

/// What a sweep over a folder found.
#[derive(Default)]
struct Sweep {
    forms: BTreeMap<String, usize>,
    refused: BTreeMap<String, InferenceError>,
    /// Models whose rows depend on company.
    wrong: Vec<String>,
    /// Models for which the graph asks for less than the probe.
    surprises: Vec<String>,
}

fn sweep(folder: &Path) -> Sweep {
    let mut found = Sweep::default();
    for path in models(folder) {
        let entry = entry(&path);
        let (mut runtime, mut infos) = match try_load(std::slice::from_ref(&entry)) {
            Ok(loaded) => loaded,
            Err(error) => {
                found.refused.insert(entry.name, error);
                continue;
            }
        };
        let info = infos.remove(0);
        *found.forms.entry(info.form.name()).or_default() += 1;
        if info.reasons.iter().any(|reason| reason.starts_with("a row's result")) {
            found.surprises.push(format!("{}: {:?}", info.name, info.reasons));
        }
        if let Some(place) = differs(&mut runtime, &info) {
            found.wrong.push(format!("{} ({}): {place}", info.name, info.form.name()));
        }
    }
    found
}

#[test]
fn no_row_of_the_tests_models_depends_on_who_shares_its_run() {
    let found = sweep(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models"));
    assert_eq!((found.wrong, found.surprises), (vec![], vec![]));
    let names: Vec<&str> = found.forms.keys().map(String::as_str).collect();
    assert_eq!(names, ["alone", "any", "fixed 1", "fixed 4", "multiple of 16"]);
    for (name, operator) in [("random", "RandomUniformLike"), ("policy", "Multinomial")] {
        let error = found.refused[name].to_string();
        assert!(error.contains("draws random numbers in the node") && error.contains(operator), "{error}");
    }
}

/// The operators in which company showed, each in the form that it needs.
#[test]
fn forms_follow_from_the_operators_of_a_graph() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let form = |name: &str| {
        let (_, infos) = try_load(&[entry(&folder.join(format!("{name}.onnx")))]).unwrap();
        (infos[0].form, infos[0].reasons.first().cloned().unwrap_or_default())
    };
    let (sin, why) = form("sine");
    assert_eq!(sin, BatchForm::Multiple(16));
    assert_eq!(why, "of `y` (Sin): the last elements of a tensor are computed otherwise, and a row has 37 elements");
    // Its rows of 5 elements are padded to 8 inside the graph.
    assert_eq!(form("mixed-sum"), (BatchForm::Any, String::new()));
    let (rare, why) = form("rare");
    assert_eq!(rare, BatchForm::Alone);
    assert!(why.contains("(ReduceSum): it computes over the batch"), "{why}");
    assert_eq!(form("gemm"), (BatchForm::Any, String::new()));
}

/// The zoo that `.ci/parts/zoo` makes in the folder `WASM_ENGINE_ZOO`.
#[test]
#[ignore = "needs the zoo of .ci/parts/zoo"]
fn no_row_of_the_zoo_depends_on_who_shares_its_run() {
    let folder = PathBuf::from(std::env::var("WASM_ENGINE_ZOO").expect("WASM_ENGINE_ZOO is the zoo's folder"));
    let found = sweep(&folder);
    println!("forms: {:?}", found.forms);
    for (name, error) in &found.refused {
        println!("refused: {name}: {error}");
    }
    for surprise in &found.surprises {
        println!("the probe knew better: {surprise}");
    }
    assert!(found.forms.values().sum::<usize>() > 0, "there is no model in {}", folder.display());
    assert_eq!(found.wrong, Vec::<String>::new());
}
