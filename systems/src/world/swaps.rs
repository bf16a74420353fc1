//! Hot swaps: those that were prepared, those that are in place, and those that wait for the next frame.

use std::collections::BTreeMap;

use bevy_ecs::resource::Resource;
use wasm_engine_components::{GroupId, LoadedFile, ModelId, ModuleSwap, Swap};

/// The swaps that were prepared. Fixed for a run.
#[derive(Resource, Clone, Debug, Default)]
pub struct SwapCatalog {
    /// The modules, by number.
    pub modules: Vec<LoadedFile>,
    /// The models, by id.
    pub models: BTreeMap<ModelId, LoadedFile>,
    /// For each swap that was looked at, why it is refused, if it is.
    pub swaps: BTreeMap<Swap, Result<(), String>>,
}

impl SwapCatalog {
    /// Returns the file that a swap puts in place.
    pub(crate) fn file(&self, swap: Swap) -> LoadedFile {
        let file = match swap {
            Swap::Module(swap) => self.modules.get(swap.module as usize),
            Swap::Model { with, .. } => self.models.get(&with),
        };
        file.cloned().unwrap_or_default()
    }

    /// Returns why a swap is refused, if it is.
    pub(crate) fn refusal(&self, swap: Swap) -> Option<String> {
        match self.swaps.get(&swap) {
            Some(Ok(())) => None,
            Some(Err(reason)) => Some(reason.clone()),
            None => Some("it wasn't prepared before the first frame".to_owned()),
        }
    }
}

/// The modules of the groups that were swapped, by number. State.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CurrentModules(pub BTreeMap<GroupId, u32>);

/// Swaps that native systems asked for: they are carried out in the next frame, after those of its inputs. State.
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedSwaps(pub Vec<Swap>);

/// Returns the bytes of a swap that is an input, for its digest.
pub(crate) fn swap_bytes(swap: Swap) -> Vec<u8> {
    let (tag, numbers) = match swap {
        Swap::Module(ModuleSwap { group, module }) => (2_u8, [u64::from(group.0), u64::from(module)]),
        Swap::Model { model, with } => (3, [model.0, with.0]),
    };
    let mut bytes = vec![tag];
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes
}
