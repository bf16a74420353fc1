//! Hot swaps: those that the machine has prepared, those that are in place, and those that wait for the next frame.

use std::collections::BTreeMap;

use bevy_ecs::resource::Resource;
use wasm_engine_components::{GroupId, Lane, ModelId, Swap};

use crate::world::digest::part_digest;

/// A file that a swap puts in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwapFile {
    /// Its name in the scenario.
    pub name: String,
    /// Its hash.
    pub sha256: [u8; 32],
}

/// What the machine has prepared. Fixed for a run.
#[derive(Resource, Clone, Debug, Default)]
pub struct SwapCatalog {
    /// The modules, by number.
    pub modules: Vec<SwapFile>,
    /// The models.
    pub models: BTreeMap<ModelId, SwapFile>,
    /// The swaps that were looked at, and why one can't be.
    pub swaps: BTreeMap<Swap, Result<(), String>>,
}

impl SwapCatalog {
    pub(crate) fn file(&self, swap: Swap) -> SwapFile {
        let file = match swap {
            Swap::Module { module, .. } => self.modules.get(module as usize),
            Swap::Model { with, .. } => self.models.get(&with),
        };
        file.cloned().unwrap_or_default()
    }

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

impl RequestedSwaps {
    /// The digest of what is carried out in the next frame.
    pub(crate) fn digest(&self) -> u128 {
        let swaps = self.0.iter().zip(1_u64 << 48..);
        swaps.fold(0, |sum, (swap, at)| sum.wrapping_add(part_digest(Lane::Commands, at, &swap_bytes(*swap))))
    }
}

/// A swap as it is digested.
pub(crate) fn swap_bytes(swap: Swap) -> Vec<u8> {
    let (tag, numbers) = match swap {
        Swap::Module { group, module } => (2_u8, [u64::from(group.0), u64::from(module)]),
        Swap::Model { model, with } => (3, [model.0, with.0]),
    };
    let mut bytes = vec![tag];
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes
}
