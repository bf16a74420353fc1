//! How fast batches are, next to a loop that calls ONNX Runtime directly. Run with
//! `cargo test --release -p wasm-engine --lib inference::tests -- --ignored --nocapture`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ort::value::{DynTensor, TensorElementType};
use wasm_engine_components::ModelId;
use wasm_engine_systems::ports::{ModelBatch, ModelResults};

use super::batch::{self, Batcher};
use super::binding::BoundModel;
use super::form::BatchForm;
use super::layout::Said;
use super::runtime;
use super::session::{self, ModelLimits, OpenModel};
use super::watchdog::Deadline;

/// Samples of each side, in turns.
const SAMPLES: usize = 41;
/// The largest batch that a scenario gets without saying anything.
const BATCH_ROWS_MAX: u32 = 64;

fn open(path: &std::path::Path) -> OpenModel {
    let time = ModelLimits {
        load: Deadline::after(Duration::from_secs(600)),
        run: Duration::from_secs(60),
        memory_bytes: 1 << 30,
    };
    let content = std::fs::read(path).unwrap();
    session::open(runtime::start(&mut |line| eprintln!("{line}")).unwrap(), &content, Said::default(), time).unwrap()
}

/// Microseconds for a call, the mean of a sample of some milliseconds.
fn sample_us(calls: usize, call: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed().as_secs_f64() * 1e6 / calls as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// One call of ONNX Runtime with all rows in one batch, on tensors that are bound once and filled again: the fastest that there is.
fn plain_batching(model: &mut OpenModel, rows: &[&[u8]]) -> impl FnMut() {
    let [input_plan, output_plan] = [model.inputs[0].clone(), model.outputs[0].clone()];
    let count = u32::try_from(rows.len()).unwrap();
    let flat = rows.concat();
    let tensor = |plan: &super::layout::TensorPlan| {
        DynTensor::new(model.session.allocator(), TensorElementType::Float32, plan.shape(count)).unwrap()
    };
    let (mut input, mut output) = (tensor(&input_plan), tensor(&output_plan));
    let mut binding = model.session.create_binding().unwrap();
    binding.bind_input(&input_plan.info.name, &input).unwrap();
    binding.bind_output(&output_plan.info.name, &mut output).unwrap();
    let session = &mut model.session;
    move || {
        let floats: &mut [f32] = input.try_extract_tensor_mut::<f32>().unwrap().1;
        bytemuck::cast_slice_mut::<_, u8>(floats).copy_from_slice(&flat);
        drop(session.run_binding(&binding).unwrap());
        std::hint::black_box(output.try_extract_tensor::<f32>().unwrap().1.to_vec());
    }
}

/// The jobs of a frame: planned, run and put in their places.
fn frame(batcher: &Batcher, rows: &[&[u8]], threads: usize, results: &mut ModelResults) {
    results.clear();
    let batches: Vec<_> = rows.chunks(BATCH_ROWS_MAX as usize).map(|rows| ModelBatch::new(ModelId(1), rows)).collect();
    let (patience, mut units) = (batcher.patience(), Vec::new());
    batches.iter().for_each(|batch| batcher.plan(batch, true, &patience, results, &mut units));
    let ran = batch::run_all(&units, threads);
    units.iter().zip(ran).for_each(|(unit, ran)| unit.place(ran, results));
    assert_eq!(results.rows.len(), rows.len());
}

#[test]
#[ignore = "measures; nothing is asserted"]
fn what_the_forms_of_a_small_network_cost_next_to_plain_batching() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models/mlp.onnx");
    let forms = [BatchForm::Any, BatchForm::Multiple(4), BatchForm::Multiple(16), BatchForm::Alone];
    let batchers = forms.map(|form| Batcher::new(BoundModel::new(open(&path), form, BATCH_ROWS_MAX, true)));
    println!(
        "medians of {SAMPLES} samples in turns; plain batching in one call, then each form in frames of the engine: us, and the speed next to plain batching"
    );
    println!("threads  jobs     plain  {}", forms.map(|form| format!("{:>22}", form.name())).join(""));
    for threads in [1, 2] {
        for jobs in [1_usize, 4, 8, 1_000] {
            let rows: Vec<Vec<u8>> = (0..jobs)
                .map(|row| (0..32).flat_map(|at| ((row * 7 + at) as f32 / 100.0).to_le_bytes()).collect())
                .collect();
            let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            let mut raw = open(&path);
            let mut plain = plain_batching(&mut raw, &rows);
            let mut results = ModelResults::default();
            let calls = 4_000 / (jobs + 3) + 1;
            let mut samples: Vec<Vec<f64>> = vec![Vec::new(); forms.len() + 1];
            for _ in 0..SAMPLES {
                samples[0].push(sample_us(calls, &mut plain));
                for (at, batcher) in batchers.iter().enumerate() {
                    samples[at + 1].push(sample_us(calls, &mut || frame(batcher, &rows, threads, &mut results)));
                }
            }
            let medians: Vec<f64> = samples.into_iter().map(median).collect();
            let cell = |us: &f64| format!("{us:>13.2} {:>8.2}", medians[0] / us);
            println!("{threads:7} {jobs:5} {:9.2}  {}", medians[0], medians[1..].iter().map(cell).collect::<String>());
        }
    }
}
