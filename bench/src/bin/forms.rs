//! Measures the cost of results that don't depend on other rows: the jobs of a frame in each form of runs, beside one call of ONNX Runtime
//! for all rows at once. Samples in turns, medians.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use wasm_engine::inference::{BatchForm, InferenceError, ModelLoadOptions, OnnxRuntime};
use wasm_engine::scenario::ModelSpec;
use wasm_engine_abi::name_id;
use wasm_engine_bench::median;
use wasm_engine_components::ModelId;
use wasm_engine_components::causes::with_causes;
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime as _};

/// Largest batch of a model by default.
const BATCH_ROWS_MAX: u32 = 64;
const FORMS: [BatchForm; 4] = [BatchForm::Any, BatchForm::Multiple(4), BatchForm::Multiple(16), BatchForm::Alone];

/// Compares the jobs of a frame, in each form, with one call of ONNX Runtime
#[derive(Parser)]
struct Args {
    /// Numbers of jobs in a frame
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 8, 1_000])]
    jobs: Vec<usize>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Samples of each side
    #[arg(long, default_value_t = 41, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
}

fn main() {
    let args = Args::parse();
    if let Err(error) = compare(&args) {
        println!("error: {}", with_causes(&error));
        std::process::exit(2);
    }
}

fn compare(args: &Args) -> Result<(), InferenceError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/models/mlp.onnx");
    let mut models = FORMS.into_iter().map(|form| load(&path, form)).collect::<Result<Vec<_>, _>>()?;
    println!(
        "forms: medians of {} samples in turns; one call for all rows, then each form in frames of the engine: microseconds, and the speed next \
         to one call",
        args.samples
    );
    println!("threads  jobs  one call  {}", FORMS.map(|form| format!("{:>22}", form.name())).concat());
    for &threads in &args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.unwrap_or_else(|error| panic!("no threads: {error}"));
        for &jobs in &args.jobs {
            let medians = pool.install(|| measure(args, &path, jobs, &mut models))?;
            let cell = |us: &f64| format!("{us:>13.2} {:>8.2}", medians[0] / us);
            println!("{threads:7} {jobs:5} {:9.2}  {}", medians[0], medians[1..].iter().map(cell).collect::<String>());
        }
    }
    Ok(())
}

/// Returns the medians of the call of ONNX Runtime and of a frame in each form, in microseconds.
fn measure(args: &Args, path: &Path, jobs: usize, models: &mut [OnnxRuntime]) -> Result<Vec<f64>, InferenceError> {
    let element = |row: usize, at: usize| ((row * 7 + at) as f32 / 100.0).to_le_bytes();
    let rows: Vec<Vec<u8>> = (0..jobs).map(|row| (0..32).flat_map(|at| element(row, at)).collect()).collect();
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let mut bare = OnnxRuntime::bare(path, &rows)?;
    let calls = 4_000 / (jobs + 3) + 1;
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); models.len() + 1];
    let mut results = ModelResults::default();
    for _ in 0..args.samples {
        samples[0].push(sample_us(calls, || drop(std::hint::black_box(bare.run()))));
        for (model, samples) in models.iter_mut().zip(&mut samples[1..]) {
            samples.push(sample_us(calls, || frame(model, &rows, &mut results)));
        }
    }
    Ok(samples.into_iter().map(median).collect())
}

/// Runs the jobs of a frame: plans them, runs them and puts the results in their places.
fn frame(model: &mut OnnxRuntime, rows: &[&[u8]], results: &mut ModelResults) {
    let batches: Vec<_> = rows.chunks(BATCH_ROWS_MAX as usize).map(|rows| ModelBatch::new(id(), rows)).collect();
    model.infer(&batches, results);
    assert_eq!(results.rows.len(), rows.len(), "each job has its result");
}

/// Returns the microseconds of a call, as the mean of a sample of some milliseconds.
fn sample_us(calls: usize, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed().as_secs_f64() * 1e6 / calls as f64
}

fn id() -> ModelId {
    ModelId(name_id("mlp"))
}

/// Loads the model in a given form, as a run that goes on does.
fn load(path: &Path, form: BatchForm) -> Result<OnnxRuntime, InferenceError> {
    let entry = entry(path.to_path_buf());
    let load = |forms| {
        let options = ModelLoadOptions { forms, ..ModelLoadOptions::default() };
        OnnxRuntime::load(std::slice::from_ref(&entry), &options)
    };
    let (_, infos) = load(BTreeMap::new())?;
    let (runtime, infos) = load(BTreeMap::from([(("mlp".to_owned(), infos[0].sha256), form)]))?;
    assert_eq!(infos[0].form, form, "the form that is to be measured");
    Ok(runtime)
}

fn entry(path: PathBuf) -> ModelSpec {
    ModelSpec::new("mlp", path).with(|model| (model.id, model.batch_rows_max) = (id(), BATCH_ROWS_MAX))
}
