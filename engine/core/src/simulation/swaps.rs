//! Prepares hot swaps before the first frame: what they need is loaded with everything else, and each is prepared or
//! refused here, so that it can't fail in its frame.

use wasm_engine_components::{LoadedFile, ModelId, ModuleSwap, Swap};
use wasm_engine_systems::SwapCatalog;

use super::loaded::{LoadedModel, RefusedSwap};
use super::options::SimulationOptions;
use crate::problem::{counted, thousands};
use crate::scenario::{Scenario, SwapEntry};
#[cfg(feature = "inference")]
use wasm_engine_inference::ModelInfo;
use wasm_engine_wasm::WasmRuntime;

/// Returns the modules to which groups may be swapped.
pub(crate) fn of_modules(scenario: &Scenario) -> Vec<ModuleSwap> {
    let swaps = scenario.swaps.iter().filter_map(|entry| match entry.swap {
        Swap::Module(swap) => Some(swap),
        Swap::Model { .. } => None,
    });
    swaps.collect()
}

/// Returns what the swaps put in place, or why they are refused. Warns of refused ones, unless they are before the first
/// frame that is run.
pub(crate) fn catalog(
    scenario: &Scenario,
    agents: &WasmRuntime,
    modules: &[LoadedFile],
    models: &[LoadedModel],
    refused: &[RefusedSwap],
    options: &SimulationOptions,
) -> SwapCatalog {
    let entries = scenario.models.iter().zip(models);
    let mut catalog = SwapCatalog {
        modules: modules.to_vec(),
        models: entries
            .map(|(entry, model)| (entry.id, LoadedFile { name: model.name.clone(), sha256: model.sha256 }))
            .collect(),
        ..SwapCatalog::default()
    };
    for &SwapEntry { frame, swap } in &scenario.swaps {
        let prepared = match swap {
            Swap::Module(swap) => {
                // The reason is recorded as one sentence.
                agents.refusal(swap).map_or(Ok(()), |problem| Err(format!("{problem}; {}", problem.help())))
            }
            Swap::Model { model, with } => {
                let [model, with] = [model, with].map(|id| model_name(scenario, id));
                let refused = refused.iter().find(|swap| swap.model == model && swap.with == with);
                refused.map_or(Ok(()), |swap| Err(swap.reason.clone()))
            }
        };
        let is_past = frame.is_some_and(|frame| frame < options.first_frame);
        match &prepared {
            Err(reason) if !is_past => options.warn(format_args!("{}: {reason}", consequence(scenario, frame, swap))),
            Ok(()) if frame.is_some_and(|frame| frame >= scenario.frames) => {
                options.warn(format_args!("{}", late(scenario, frame, swap)));
            }
            _ => {}
        }
        catalog.swaps.insert(swap, prepared);
    }
    catalog
}

/// Returns those of a scenario's swaps of models that must be refused.
#[cfg(feature = "inference")]
pub(crate) fn refused_of_models(scenario: &Scenario, models: &[ModelInfo]) -> Vec<RefusedSwap> {
    let refused = scenario.swaps.iter().filter_map(|entry| match entry.swap {
        Swap::Module(_) => None,
        Swap::Model { model, with } => {
            let reason = compatible(models, model, with).err()?;
            let [model, with] = [model, with].map(|id| model_name(scenario, id).to_owned());
            Some(RefusedSwap { model, with, reason })
        }
    });
    let mut refused: Vec<_> = refused.collect();
    // Several frames may ask for the same.
    refused.sort_by(|a, b| (&a.model, &a.with).cmp(&(&b.model, &b.with)));
    refused.dedup();
    refused
}

fn model_name(scenario: &Scenario, id: ModelId) -> &str {
    scenario.models.iter().find(|model| model.id == id).map_or("?", |model| &model.name)
}

/// Describes a refusal in words.
fn consequence(scenario: &Scenario, frame: Option<u64>, swap: Swap) -> String {
    let when = frame.map(|frame| format!(" in frame {frame}")).unwrap_or_default();
    match swap {
        Swap::Module(ModuleSwap { group, module }) => {
            let group = scenario.group(group).map_or("?", |group| &group.name);
            // Only the name is used: in a run that is opened again, the file is a copy whose path tells nothing.
            let name = scenario.modules.get(module as usize).map_or("?", |module| &module.name);
            format!("group `{group}` keeps its module{when}, because module `{name}` is refused")
        }
        Swap::Model { model: of, with } => {
            let (of, with) = (model_name(scenario, of), model_name(scenario, with));
            format!("model `{of}` stays as it is{when}, because model `{with}` can't answer for it")
        }
    }
}

/// Returns a warning of a swap for which the run is too short.
fn late(scenario: &Scenario, frame: Option<u64>, swap: Swap) -> String {
    let what = match swap {
        Swap::Module(swap) => format!("group `{}`", scenario.group(swap.group).map_or("?", |group| &group.name)),
        Swap::Model { model, .. } => format!("model `{}`", model_name(scenario, model)),
    };
    let (frame, frames) = (thousands(frame.unwrap_or(0)), counted(scenario.frames, "frame"));
    format!("the swap of {what} is for frame {frame}, and isn't done: the run has {frames}, from 0 on")
}

/// Returns whether one model can replace another: the types and the sizes of a row are the same.
#[cfg(feature = "inference")]
fn compatible(models: &[ModelInfo], of: ModelId, with: ModelId) -> Result<(), String> {
    let find = |id| models.iter().find(|model: &&ModelInfo| model.id == id);
    let (Some(old), Some(new)) = (find(of), find(with)) else { return Err("it isn't loaded".to_owned()) };
    let types = |model: &ModelInfo| {
        let inputs: Vec<_> = model.inputs.iter().map(|tensor| tensor.dtype).collect();
        let outputs: Vec<_> = model.outputs.iter().map(|tensor| tensor.dtype).collect();
        (inputs, outputs)
    };
    let sizes = |model: &ModelInfo| (model.row_bytes, model.output_bytes);
    if types(old) == types(new) && sizes(old) == sizes(new) {
        return Ok(());
    }
    let shown = |model: &ModelInfo| {
        let list = |tensors: &[wasm_engine_inference::TensorInfo]| {
            tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        format!("{} -> {}", list(&model.inputs), list(&model.outputs))
    };
    Err(format!("its rows differ: {}, and they must be as {}", shown(new), shown(old)))
}
