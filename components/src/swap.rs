//! Hot swaps: another module for a group, or another model behind a name, from a frame on.

use serde::{Deserialize, Serialize};

use crate::{GroupId, ModelId};

/// Replacement of a module or a model. It is an input of the frame at whose start it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Swap {
    /// The agents of a group run another module.
    Module(ModuleSwap),
    /// Jobs for a model go to another one.
    Model {
        /// The name that agents ask for.
        model: ModelId,
        /// The loaded model that answers.
        with: ModelId,
    },
}

/// Another module for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModuleSwap {
    /// The group.
    pub group: GroupId,
    /// Number of the module among those of the run, from 0 in the order of their names.
    pub module: u32,
}

/// A file that was loaded: a module or a model that is in use, or that a swap puts in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedFile {
    /// Its name in the scenario.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
}

/// One swap, as it stands on the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapRecord {
    /// The replacement.
    pub swap: Swap,
    /// Name of the new module or model in the scenario.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: [u8; 32],
    /// Outcome of the swap.
    pub outcome: SwapOutcome,
}

/// Outcome of a swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwapOutcome {
    /// It was carried out.
    Done {
        /// Agents that took their state along; 0 for a model.
        carried: u32,
        /// Agents that begin anew; 0 for a model.
        fresh: u32,
    },
    /// It was refused for this reason, and the old module or model stays in use.
    Refused(String),
}
