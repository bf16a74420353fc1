//! Models: ONNX files that answer agents' questions, under one set of rules.

use std::path::PathBuf;

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::name_id;

use crate::ModelId;
use crate::limits::{BATCH_ROWS_DEFAULT, MODEL_LOAD_MS_DEFAULT, MODEL_MEMORY_BYTES_DEFAULT, MODEL_RUN_MS_DEFAULT};

/// An ONNX model: all that a scenario says of it. Fixed for a run.
///
/// ```
/// # use wasm_engine_components::ModelSpec;
/// let speech = ModelSpec::new("speech", "models/speech.onnx").with(|model| model.latency_frames = 2);
/// assert_eq!((speech.batch_rows_max, speech.latency_frames), (64, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelSpec {
    /// Its name.
    pub name: String,
    /// The number of its name.
    pub id: ModelId,
    /// The file.
    pub path: PathBuf,
    /// The SHA-256 that the file must have, if the scenario says one. Default: any.
    pub sha256: Option<[u8; 32]>,
    /// Most rows of one batch, at least 1. Default 64.
    pub batch_rows_max: u32,
    /// Frames from a job to its result, at least 1. Default 1.
    pub latency_frames: u32,
    /// Whether a row with an infinity or a NaN is refused. Default: it is.
    pub refuse_non_finite: bool,
    /// Sizes of named dynamic dimensions other than the batch, sorted by name. Default: none.
    pub dims: Vec<(String, u32)>,
    /// Longest time that one run of the model may take, in milliseconds. Default: a minute.
    pub run_ms_max: u32,
    /// Most memory that the intermediate results of the model may take, in bytes. Default: 1 GiB.
    pub run_memory_bytes_max: u64,
    /// Longest time that opening and probing the model may take, in milliseconds. Default: ten minutes.
    pub load_ms_max: u32,
    /// The dimensions that hold the rows, by the names of inputs and outputs, sorted. Default: those that are found.
    pub batch_axes: Vec<(String, u32)>,
}

impl ModelSpec {
    /// Returns a model with the defaults of a scenario.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let name = name.into();
        Self {
            id: ModelId(name_id(&name)),
            name,
            path: path.into(),
            sha256: None,
            batch_rows_max: BATCH_ROWS_DEFAULT,
            latency_frames: 1,
            refuse_non_finite: true,
            dims: Vec::new(),
            run_ms_max: MODEL_RUN_MS_DEFAULT,
            run_memory_bytes_max: MODEL_MEMORY_BYTES_DEFAULT,
            load_ms_max: MODEL_LOAD_MS_DEFAULT,
            batch_axes: Vec::new(),
        }
    }

    /// Returns the model after a change.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// A model of the run, as the frame knows it; its session lives behind the port `ModelRuntime`. Fixed for a run.
#[derive(Component, Clone, Debug)]
pub struct Model {
    /// Settings of the model in the scenario.
    pub spec: ModelSpec,
    /// Bytes of one row: its inputs in the model's order, concatenated. The model's file says how many.
    pub row_bytes: u32,
}
