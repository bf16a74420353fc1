//! A model as a scenario states it.

use std::path::PathBuf;

use crate::ModelId;

/// An ONNX model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Its name in the scenario.
    pub name: String,
    /// The number of that name.
    pub id: ModelId,
    /// The file.
    pub path: PathBuf,
    /// What the file must hash to, if the scenario says so.
    pub sha256: Option<[u8; 32]>,
    /// Most rows of one batch. Default 64.
    pub batch_rows_max: u32,
    /// Frames from a job to its result, at least 1. Default 1.
    pub latency_frames: u32,
    /// Whether a row with an infinity or a NaN is refused. Default true.
    pub refuse_non_finite: bool,
    /// Sizes of named dynamic dimensions other than the batch, sorted by name.
    pub dims: Vec<(String, u32)>,
    /// Longest time that one run of the model may take, in milliseconds. Default: a minute.
    pub run_ms_max: u32,
    /// Most memory that the intermediate results of the model may take, in bytes. Default: 1 GiB.
    pub run_memory_bytes_max: u64,
    /// Longest time that opening and probing the model may take, in milliseconds. Default: ten minutes.
    pub load_ms_max: u32,
    /// The dimensions that hold the rows, by the names of inputs and outputs, sorted.
    pub batch_axes: Vec<(String, u32)>,
}
