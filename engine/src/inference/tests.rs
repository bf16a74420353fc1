//! How fast batches are, next to a loop that calls ONNX Runtime directly. Run with
//! `cargo test --release -p wasm-engine --lib inference::tests -- --ignored --nocapture`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ort::value::{DynTensor, TensorElementType, TensorRef};
use wasm_engine_components::ModelId;
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime as _};

use super::layout::Said;
use super::session::TimeLimits;
use super::watchdog::Deadline;
use super::{ModelLoadOptions, OnnxRuntime, runtime, session};
use crate::scenario::ModelEntry;

const ROUNDS: usize = 61;

/// The best of many short rounds, in microseconds per call: what else runs on the machine then matters least.
fn best_us(calls: usize, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_secs_f64() * 1e6 / calls as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "measures; nothing is asserted"]
fn digits_next_to_a_raw_loop() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../agents/models/digits/digits-s8.onnx");
    let entry = ModelEntry {
        name: "digits".into(),
        id: ModelId(1),
        path: path.clone(),
        sha256: None,
        batch_rows_max: 1024,
        latency_frames: 1,
        refuse_non_finite: true,
        dims: vec![],
        run_ms_max: 60_000,
        load_ms_max: 600_000,
        batch_axes: vec![],
    };
    let start = Instant::now();
    let (mut engine, infos) =
        OnnxRuntime::load(&[entry], &ModelLoadOptions::default(), &mut |line| eprintln!("{line}")).unwrap();
    println!("{}\nloaded and probed in {:?}", infos[0], start.elapsed());
    let mut raw = {
        let time = TimeLimits { load: Deadline::after(Duration::from_secs(60)), run: Duration::from_secs(60) };
        session::open(runtime::start(&mut |_| ()).unwrap(), &std::fs::read(path).unwrap(), Said::default(), time)
            .unwrap()
    };
    println!("rows   engine us/call  rows/s      raw us/call  raw bound us/call");
    for rows in [1_usize, 33, 64, 1024] {
        let images: Vec<Vec<u8>> =
            (0..rows).map(|row| (0..64).map(|at| ((row * 7 + at) % 17) as u8).collect()).collect();
        let views: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let calls = 4_000 / (rows + 20) + 1;
        let mut results = ModelResults::default();
        let batches = [ModelBatch::new(ModelId(1), &views)];
        let ours = best_us(calls, || engine.infer(&batches, &mut results));
        let flat: Vec<i8> = images.concat().into_iter().map(u8::cast_signed).collect();
        let copied = best_us(calls, || {
            let input = TensorRef::from_array_view(([rows, 64], flat.as_slice())).unwrap();
            let outputs = raw.session.run(ort::inputs![input]).unwrap();
            std::hint::black_box(outputs[0].try_extract_tensor::<i32>().unwrap().1.to_vec());
        });
        let shape = |columns: i64| [i64::try_from(rows).unwrap(), columns];
        let input = DynTensor::new(raw.session.allocator(), TensorElementType::Int8, shape(64)).unwrap();
        let mut output = DynTensor::new(raw.session.allocator(), TensorElementType::Int32, shape(10)).unwrap();
        let mut binding = raw.session.create_binding().unwrap();
        binding.bind_input("image", &input).unwrap();
        binding.bind_output("logits", &mut output).unwrap();
        let bound = best_us(calls, || drop(raw.session.run_binding(&binding).unwrap()));
        println!("{rows:4}   {ours:14.2}  {:9.0}   {copied:11.2}  {bound:17.2}", rows as f64 * 1e6 / ours);
    }
}
