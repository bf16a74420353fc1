//! The models of a scenario: loaded, those of a recording, or none.

use std::path::PathBuf;

use wasm_engine_abi::InferenceStatus;
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime, RowResult};

use super::error::SimulationError;
use super::loaded::{LoadedModel, RecordedModels, RefusedSwap};
use super::options::SimulationOptions;
use crate::scenario::Scenario;
#[cfg(feature = "inference")]
use {
    super::swaps,
    crate::problem::Problem,
    wasm_engine_components::{BatchForm, ModelSpec},
    wasm_engine_inference::{ModelInfo, ModelLoadOptions, OnnxRuntime},
};

/// A scenario's models, loaded or recorded.
pub(super) struct LoadedModels {
    pub runtime: Box<dyn ModelRuntime>,
    /// In the scenario's order.
    pub models: Vec<LoadedModel>,
    /// Files from which they were read.
    pub files: Vec<PathBuf>,
    pub onnx_runtime: Option<String>,
    pub refused: Vec<RefusedSwap>,
}

/// Loads the models of a scenario, or takes them from a recording.
pub(super) fn load_models(scenario: &Scenario, options: &SimulationOptions) -> Result<LoadedModels, SimulationError> {
    if let Some(RecordedModels { models, refused_swaps }) = options.recorded_models.clone() {
        let (runtime, files) = (Box::new(NoModels), Vec::new());
        return Ok(LoadedModels { runtime, models, files, onnx_runtime: None, refused: refused_swaps });
    }
    if scenario.models.is_empty() {
        let (runtime, files, refused) = (Box::new(NoModels), Vec::new(), Vec::new());
        return Ok(LoadedModels { runtime, models: Vec::new(), files, onnx_runtime: None, refused });
    }
    open_models(scenario, options)
}

/// Loads the models of a scenario that has some.
#[cfg(feature = "inference")]
fn open_models(scenario: &Scenario, options: &SimulationOptions) -> Result<LoadedModels, SimulationError> {
    let entries = entries(options, scenario).map_err(SimulationError::Lost)?;
    let load = ModelLoadOptions {
        cache_dir: options.cache_dir.clone(),
        progress: options.progress.clone(),
        forms: options.recorded_forms.clone(),
        unhurried: options.unhurried_models,
        unchecked: options.unchecked_form,
    };
    let (runtime, infos) = OnnxRuntime::load(&entries, &load)?;
    for model in &infos {
        match model.form {
            BatchForm::Alone => options.warn(format_args!("a slow model: {model}")),
            BatchForm::Multiple(_) => options.note(format_args!("model {model}")),
            // All is as anybody expects.
            BatchForm::Any | BatchForm::Fixed(_) => {}
        }
    }
    let onnx_runtime = runtime.version().map(str::to_owned);
    let models = infos.iter().map(LoadedModel::from).collect();
    let refused = swaps::refused_of_models(scenario, &infos);
    let files = entries.into_iter().map(|entry| entry.path).collect();
    Ok(LoadedModels { runtime: Box::new(runtime), models, files, onnx_runtime, refused })
}

/// Returns the scenario's models, with their files where they are. Warns of damaged copies that weren't needed.
///
/// # Errors
/// One is nowhere any more.
#[cfg(feature = "inference")]
fn entries(options: &SimulationOptions, scenario: &Scenario) -> Result<Vec<ModelSpec>, Problem> {
    let mut models = scenario.models.clone();
    for model in &mut models {
        if let Some(file) = options.files.models.get(&model.name) {
            let (path, warning) = file.find("model", &model.name)?;
            if let Some(warning) = warning {
                options.warn(format_args!("{warning}"));
            }
            model.path = path;
        }
    }
    Ok(models)
}

/// Refuses a scenario that has models: this build runs none.
#[cfg(not(feature = "inference"))]
fn open_models(scenario: &Scenario, _: &SimulationOptions) -> Result<LoadedModels, SimulationError> {
    let name = scenario.models.first().map(|model| model.name.clone()).unwrap_or_default();
    Err(SimulationError::NoInference { name })
}

#[cfg(feature = "inference")]
impl From<&ModelInfo> for LoadedModel {
    fn from(info: &ModelInfo) -> Self {
        Self { name: info.name.clone(), sha256: info.sha256, row_bytes: info.row_bytes, form: Some(info.form.name()) }
    }
}

/// The port of a simulation in which no model is run.
#[derive(Clone, Copy, Debug, Default)]
struct NoModels;

impl ModelRuntime for NoModels {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        results.clear();
        let unknown = RowResult { status: InferenceStatus::UnknownModel, offset: 0, bytes: 0 };
        batches.iter().for_each(|batch| results.rows.extend(batch.rows.iter().map(|_| unknown)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_components::ModelId;

    #[test]
    fn where_no_model_is_run_each_row_has_an_answer() {
        let rows: [&[u8]; 2] = [b"a", b"b"];
        let mut results = ModelResults::default();
        for _ in 0..2 {
            NoModels
                .infer(&[ModelBatch::new(ModelId(1), &rows), ModelBatch::new(ModelId(2), &rows[..1])], &mut results);
            assert_eq!(results.rows.len(), 3, "those of the frame before are gone");
            assert!(results.rows.iter().all(|row| row.status == InferenceStatus::UnknownModel && row.bytes == 0));
        }
    }
}
