//! What the inference tests share: the test models by name, and rows in and out as numbers. Used by `inference_*.rs`.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::path::PathBuf;

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::ModelSpec;
use wasm_engine_inference::{InferenceError, ModelInfo, ModelLoadOptions, OnnxRuntime};
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime};

/// The entry of a model of `engine/tests/models/`, as a scenario without further keys has it.
pub fn entry(name: &str) -> ModelSpec {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/models").join(format!("{name}.onnx"));
    entry_at(name, path)
}

/// The classifier of the postroom.
pub fn digits() -> ModelSpec {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../agents/models/digits/digits-s8.onnx");
    entry_at("digits", path)
}

pub fn entry_at(name: &str, path: PathBuf) -> ModelSpec {
    ModelSpec::new(name, path)
}

pub fn with_dims(name: &str, dims: &[(&str, u32)]) -> ModelSpec {
    entry(name).with(|model| model.dims = dims.iter().map(|&(name, size)| (name.into(), size)).collect())
}

pub fn try_load(entries: &[ModelSpec]) -> Result<(OnnxRuntime, Vec<ModelInfo>), InferenceError> {
    OnnxRuntime::load(entries, &ModelLoadOptions::default())
}

/// Loads one model.
pub fn load(entry: &ModelSpec) -> (OnnxRuntime, ModelInfo) {
    let (runtime, mut infos) = try_load(std::slice::from_ref(entry)).unwrap_or_else(|error| panic!("{error}"));
    (runtime, infos.remove(0))
}

/// What a row gave: its outputs, or why there are none.
pub type Outcome = Result<Vec<u8>, InferenceStatus>;

/// Runs one batch.
pub fn run(runtime: &mut OnnxRuntime, info: &ModelInfo, rows: &[Vec<u8>]) -> Vec<Outcome> {
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let mut results = ModelResults::default();
    runtime.infer(&[ModelBatch::new(info.id, &rows)], &mut results);
    outcomes(&results)
}

pub fn outcomes(results: &ModelResults) -> Vec<Outcome> {
    let outcome = |row: &wasm_engine_systems::ports::RowResult| match row.status {
        InferenceStatus::Ok => Ok(results.output(row).to_vec()),
        status => {
            assert_eq!(row.bytes, 0);
            Err(status)
        }
    };
    results.rows.iter().map(outcome).collect()
}

pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub fn i32s(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A row of floats that differs from row to row and in magnitude.
pub fn float_row(number: usize, elements: usize) -> Vec<u8> {
    let value = |at: usize| (((number * 31 + at * 7) * 7919 % 2003) as f32 / 997.0 - 1.0) * (1.0 + number as f32);
    f32s(&(0..elements).map(value).collect::<Vec<_>>())
}
