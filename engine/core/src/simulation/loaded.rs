//! Facts that are recorded about a simulation's models, and about swaps that were refused before the first frame.

use serde::Deserialize;

/// Models of a recorded run, as far as its recording knows them.
#[derive(Clone, Debug, Default)]
pub struct RecordedModels {
    /// The models, in the scenario's order.
    pub models: Vec<LoadedModel>,
    /// Swaps of models that were refused before the first frame.
    pub refused_swaps: Vec<RefusedSwap>,
}

/// A loaded model, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedModel {
    /// Its name in the scenario.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: [u8; 32],
    /// Bytes of one row of its inputs.
    pub row_bytes: u32,
    /// The form of its runs, as [`BatchForm::name`](wasm_engine_components::BatchForm::name) has it; a run of an earlier version doesn't say.
    pub form: Option<String>,
}

/// A swap of a model that was refused before the first frame, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedSwap {
    /// The model that was to be replaced.
    pub model: String,
    /// Its replacement.
    pub with: String,
    /// Reason of the refusal.
    pub reason: String,
}
