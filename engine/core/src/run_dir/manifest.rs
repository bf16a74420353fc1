//! The manifest: what was run, and on what. It is enough to run it again, and to see in what two runs differ. Its file, `manifest.toml`, is written
//! for a [`super::RunDir`] and read for a [`super::OpenRun`] by `manifest_file`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wasm_engine_components::{Digest, DigestScope};

use super::disk::DiskMax;
use super::manifest_values::{id, parse_digits, seed};
use crate::scenario::{Scenario, toml_key};
use crate::simulation::{LoadedFile, LoadedModel, RefusedSwap, Simulation};

/// Facts about a run that matter to its directory and aren't in the scenario: what was said on the command line, and what was loaded.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Threads that step agents.
    pub threads: usize,
    /// Scope of each frame's digest.
    pub digest: DigestScope,
    /// The modules that were loaded, in the scenario's order.
    pub modules: Vec<LoadedFile>,
    /// The models that were loaded, in the scenario's order.
    pub models: Vec<LoadedModel>,
    /// Files of the modules, in the scenario's order; if it is empty, those that the scenario names.
    pub module_files: Vec<PathBuf>,
    /// Files of the models, in the scenario's order; if it is empty, those that the scenario names.
    pub model_files: Vec<PathBuf>,
    /// Swaps of models that were refused before the first frame, and why.
    pub refused_swaps: Vec<RefusedSwap>,
    /// The version of ONNX Runtime, where there are models.
    pub onnx_runtime: Option<String>,
    /// Whether a journal is kept, and snapshots.
    pub record: bool,
    /// Number of frames from one snapshot to the next, instead of the engine's own measure.
    pub snapshot_every: Option<u64>,
    /// Whether its events, if there are any, can't be read again where they come from: [`EventSource::repeats`](crate::events::EventSource::repeats)
    /// says it.
    pub streams: bool,
    /// File of its events, if that isn't the one that the scenario names: a copy that another run has.
    pub events_file: Option<PathBuf>,
    /// Origin of the run, if it is a branch of another.
    pub branch: Option<Branch>,
    /// Largest size of its folder.
    pub disk_max: DiskMax,
}

impl RunOptions {
    /// Returns the options of a simulation. Files aren't read again for this, because they may have changed since they were loaded.
    pub fn new(simulation: &Simulation, digest: DigestScope) -> Self {
        Self {
            threads: simulation.pool().current_num_threads(),
            digest,
            modules: simulation.modules().to_vec(),
            models: simulation.models().to_vec(),
            module_files: simulation.module_files().to_vec(),
            model_files: simulation.model_files().to_vec(),
            refused_swaps: simulation.refused_model_swaps().to_vec(),
            onnx_runtime: simulation.onnx_runtime().map(str::to_owned),
            ..Self::default()
        }
    }

    /// Returns the file that events are read from, if there is one and they can be read from it again.
    pub(super) fn events_to_keep<'a>(&'a self, scenario: &'a Scenario) -> Option<&'a Path> {
        let input = scenario.input.as_deref().filter(|_| !self.streams && !scenario.reads_standard_input())?;
        Some(self.events_file.as_deref().unwrap_or(input))
    }
}

/// The manifest of a run, as it was read. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the layout.
    pub format: u32,
    /// The version of the engine that wrote it.
    pub engine: String,
    /// The run's number, which its journal and its branches name.
    #[serde(deserialize_with = "id")]
    pub id: u128,
    /// The seed.
    #[serde(deserialize_with = "seed")]
    pub seed: u64,
    /// Number of frames that the run has, or was to have.
    pub frames: u64,
    /// Scope of each frame's digest: the name of a [`DigestScope`].
    pub digest: String,
    /// Whether there is a journal.
    pub recorded: bool,
    /// Number of frames from one snapshot to the next, if it was set.
    pub snapshot_every: Option<u64>,
    /// The events file; `-` for standard input.
    pub input: Option<String>,
    /// SHA-256 of the events file, if it was a file.
    pub input_sha256: Option<String>,
    /// The scenario file.
    pub scenario: ScenarioFile,
    /// The parameters' values.
    pub params: BTreeMap<String, toml::Value>,
    /// The modules.
    #[serde(default)]
    pub modules: BTreeMap<String, FileFacts>,
    /// The models.
    #[serde(default)]
    pub models: BTreeMap<String, ModelFacts>,
    /// Swaps of models that were refused before the first frame.
    #[serde(default)]
    pub refused_swaps: Vec<RefusedSwap>,
    /// The machine and the versions that it was run with.
    pub environment: BTreeMap<String, toml::Value>,
    /// The run and the frame that it was branched from, if it is a branch.
    pub branch: Option<Branch>,
}

/// The scenario of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Its name.
    pub name: String,
    /// The path that it had.
    pub path: PathBuf,
    /// The hash of its text.
    pub sha256: String,
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// The path that it had.
    pub path: PathBuf,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// A model of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// The path that it had.
    pub path: PathBuf,
    /// SHA-256 of its content.
    pub sha256: String,
    /// Bytes of one row of its inputs.
    pub row_bytes: u32,
    /// The form of its runs.
    #[serde(default)]
    pub form: Option<String>,
    /// The forms that its runs had in earlier frames, in their order: the run went on where a stricter one was needed.
    #[serde(default)]
    pub earlier_forms: Vec<EarlierForm>,
}

/// A form that a model's runs had in the earlier frames of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierForm {
    /// The form.
    pub form: String,
    /// The first frame whose runs have another one.
    pub before_frame: u64,
}

/// Origin of a branch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// The run directory of the run that it was branched from.
    pub run: PathBuf,
    /// That run's number.
    #[serde(deserialize_with = "id")]
    pub id: u128,
    /// The first frame of the branch: it has the other run's frames before this one.
    pub frame: u64,
    /// The digest of the frame before; all zeros where there is none.
    pub digest: String,
    /// The parameters that were set for the branch.
    #[serde(default)]
    pub set: Vec<String>,
}

impl Branch {
    /// Returns the digest of the frame before its first one.
    pub(crate) fn digest_before(&self) -> Digest {
        Digest(parse_digits(&self.digest).unwrap_or(0))
    }
}

impl Manifest {
    /// Returns what each frame's digest covers.
    pub fn digest_scope(&self) -> DigestScope {
        // Another name isn't read.
        DigestScope::from_name(&self.digest).unwrap_or_default()
    }

    /// Returns the parameters as `NAME=VALUE`.
    pub fn set(&self) -> Vec<String> {
        self.params.iter().map(|(name, value)| format!("{name}={}", inline(value))).collect()
    }

    /// Returns whether its events, if it had any, came from a file: from where they can be read again.
    pub fn events_repeat(&self) -> bool {
        self.input.is_none() || self.input_sha256.is_some()
    }

    /// Returns the first frame that the run directory has: that of the branch, or 0.
    pub fn first_frame(&self) -> u64 {
        self.branch.as_ref().map_or(0, |branch| branch.frame)
    }
}

/// Returns a value on one line, as `--set` takes it.
fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        toml::Value::Table(table) => {
            let entry = |(key, value): (&String, &toml::Value)| format!("{} = {}", toml_key(key), inline(value));
            format!("{{ {} }}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_set_takes() {
        let table: toml::Table = "a = [1, 2.0, \"x\\\"\"]\nb = { c = true, \"d e\" = [] }\n".parse().unwrap();
        let texts: Vec<_> = table.values().map(inline).collect();
        assert_eq!(texts, ["[1, 2.0, 'x\"']", "{ c = true, \"d e\" = [] }"]);
        for (text, value) in texts.iter().zip(table.values()) {
            let again: toml::Table = format!("x = {text}").parse().unwrap();
            assert_eq!(&again["x"], value);
        }
    }
}
