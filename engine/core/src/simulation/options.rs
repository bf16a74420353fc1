//! Options by which a simulation is built on this machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use tracing::{debug, info, warn};
use wasm_engine_components::text::NOTE;
use wasm_engine_components::{BatchForm, DigestScope};
use wasm_engine_files::LoadProgress;

use super::kept::KeptFiles;
use super::loaded::RecordedModels;

/// Options by which a scenario is run on this machine. None of them changes a digest, but for the seed, `digest` and `recorded_forms`.
#[derive(Clone, Debug, Default)]
pub struct SimulationOptions {
    /// Instead of the scenario's seed.
    pub seed: Option<u64>,
    /// Threads that step agents. Default: one for each core.
    pub threads: Option<usize>,
    /// Scope of each frame's digest. Default: everything but the agents' memories.
    pub digest: DigestScope,
    /// Cache folder, in which compiled modules, and what was found about models, are kept from run to run. Default: none.
    pub cache_dir: Option<PathBuf>,
    /// Receiver that is told of modules and models that take long to load. Default: none.
    pub progress: LoadProgress,
    /// Models of a recorded run: they aren't loaded then, and only their recorded results can be given back. Default: they are loaded.
    pub recorded_models: Option<RecordedModels>,
    /// The forms that the models of a recorded run had, by name and sha256. Default: each has the one that is found for it.
    pub recorded_forms: BTreeMap<(String, [u8; 32]), BatchForm>,
    /// Whether models compute again what a run has recorded: see `ModelLoadOptions::unhurried`. Default: they don't.
    pub unhurried_models: bool,
    /// A form that models are given whatever their graphs say, without a probe: a table of classes with an error.
    #[doc(hidden)]
    pub unchecked_form: Option<BatchForm>,
    /// Files of a recorded run, which are read instead of those that the scenario names.
    pub files: KeptFiles,
    /// The first frame that is run, where a state is taken up: nobody is warned of what the scenario says of earlier ones.
    /// Default: 0.
    pub first_frame: u64,
}

impl SimulationOptions {
    /// Warns of something, once for each run. What was told when a run was recorded is no news where its simulation is built again.
    pub(super) fn warn(&self, text: fmt::Arguments<'_>) {
        if self.files.of_past_run { debug!("{text}") } else { warn!("{text}") }
    }

    /// Tells something that is worth knowing, once for each run.
    #[cfg_attr(not(feature = "inference"), expect(dead_code, reason = "what is told so is told of models"))]
    pub(super) fn note(&self, text: fmt::Arguments<'_>) {
        if self.files.of_past_run { debug!("{text}") } else { info!(target: NOTE, "{text}") }
    }
}
