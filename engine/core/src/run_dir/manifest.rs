//! `manifest.toml`: what was run, and on what. Enough to run it again, and to see in what two runs differ. Written by
//! [`super::RunDir`], read by [`super::OpenRun`]. Its last line is a checksum of the rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wasm_engine_components::text::harmless_toml;
use wasm_engine_components::{Digest, DigestScope};

use super::checksummed_text::{PUT_BACK, open_text, seal_text};
use super::disk::DiskMax;
use super::manifest_fields::{self, id, parse_digits, seed};
use super::start;
use super::table::replace_file;
use crate::problem::{Problem, RunError};
use crate::scenario::{Scenario, toml_key, toml_string};
use crate::simulation::{LoadedFile, LoadedModel, RefusedSwap, Simulation};
use wasm_engine_files::{hex, sha256, sha256_of_file};

/// The version of the run directory's layout. Version 1 had no journal, no snapshots and no checksums.
pub(super) const FORMAT: u32 = 3;

/// The name of the file.
pub(super) const NAME: &str = "manifest.toml";
/// Its name while it is written.
pub(super) const TEMPORARY: &str = ".manifest.toml.tmp";

/// What matters to the run directory and isn't in the scenario: what was said on the command line, and what was loaded.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Threads that step agents.
    pub threads: usize,
    /// What each frame's digest covers: the name of a [`DigestScope`].
    pub digest: DigestScope,
    /// The modules that were loaded, in the scenario's order.
    pub modules: Vec<LoadedFile>,
    /// The models that were loaded, in the scenario's order.
    pub models: Vec<LoadedModel>,
    /// Where the modules were read, in the scenario's order; where the scenario says, if it is empty.
    pub module_files: Vec<PathBuf>,
    /// The same of the models.
    pub model_files: Vec<PathBuf>,
    /// Swaps of models that were refused before the first frame, and why.
    pub refused_swaps: Vec<RefusedSwap>,
    /// The version of ONNX Runtime, where there are models.
    pub onnx_runtime: Option<String>,
    /// Whether a journal is kept, and snapshots.
    pub record: bool,
    /// A snapshot after each so many frames, instead of the engine's own measure.
    pub snapshot_every: Option<u64>,
    /// Whether its events, if there are any, can't be read again where they come from: [`EventSource::repeats`](crate::events::EventSource::repeats) says it.
    pub streams: bool,
    /// Where its events are read from, where that isn't where the scenario says: a copy that another run has.
    pub events_file: Option<PathBuf>,
    /// Where the run comes from, if it is a branch of another.
    pub branch: Option<Branch>,
    /// How much its folder may have.
    pub disk_max: DiskMax,
}

impl RunOptions {
    /// Those of a simulation. Files aren't read for them again: they may have changed since they were loaded.
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

    /// The file that events are read from, if there is one and they can be read from it again.
    pub(super) fn events_to_keep<'a>(&'a self, scenario: &'a Scenario) -> Option<&'a Path> {
        let input = scenario.input.as_deref().filter(|_| !self.streams && !scenario.reads_standard_input())?;
        Some(self.events_file.as_deref().unwrap_or(input))
    }
}

/// What a run is, read back. Paths are absolute.
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
    /// How many frames the run has, or was to have.
    pub frames: u64,
    /// What each frame's digest covers: the name of a [`DigestScope`].
    pub digest: String,
    /// Whether there is a journal.
    pub recorded: bool,
    /// A snapshot after each so many frames.
    pub snapshot_every: Option<u64>,
    /// The events file; `-` for standard input.
    pub input: Option<String>,
    /// Its hash, if it was a file.
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
    /// On what it was run.
    pub environment: BTreeMap<String, toml::Value>,
    /// Where it comes from.
    pub branch: Option<Branch>,
}

/// The scenario of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Its name.
    pub name: String,
    /// Where it was.
    pub path: PathBuf,
    /// The hash of its text.
    pub sha256: String,
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// Where it was.
    pub path: PathBuf,
    /// What it hashed to.
    pub sha256: String,
}

/// A model of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// Where it was.
    pub path: PathBuf,
    /// What it hashed to.
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

/// Where a branch comes from.
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
    /// The digest of the frame before its first one.
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

    /// Reads the manifest of a run directory.
    ///
    /// # Errors
    /// It isn't there, is damaged, or of another version.
    pub fn read(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(NAME);
        let text = match wasm_engine_files::read_at_most(&path, MANIFEST_BYTES_MAX).and_then(utf8) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (what, help) = match folder.is_dir() {
                    true if start::is_dead(folder) => (
                        "isn't there: the run was ended while its folder was made, before its first frame",
                        "give the command that was to make it once more: it takes the folder over",
                    ),
                    true => (
                        "isn't there: the folder isn't that of a run, or the run ended before its first frame",
                        "name the folder of a run, such as runs/ring-0001; if this was to be one, delete it and run again",
                    ),
                    false => ("isn't there, nor is its folder", "name the folder of a run, such as runs/ring-0001"),
                };
                return Err(Problem::new(what).file(&path).help(help));
            }
            Err(_) if folder.is_file() => {
                let help = "name the folder of a run, such as runs/ring-0001";
                return Err(Problem::new("is a file, and not the folder of a run").file(folder).help(help));
            }
            Err(error) => return Err(Problem::new(format!("can't be read: {error}")).file(&path).help(PUT_BACK)),
        };
        check_format(&path, &text)?;
        let body = open_text(&path, &text)?;
        let no_manifest = |error: toml::de::Error| format!("isn't a manifest: {}", error.message());
        let read: Result<Self, _> = toml::from_str(body);
        let manifest = read.map_err(|error| Problem::new(no_manifest(error)).file(&path).help(PUT_BACK))?;
        manifest_fields::check(folder, &manifest)?;
        Ok(manifest)
    }

    /// Says in the manifest of a run that goes on how many frames it is to have, and which of its models have another form from here on, with
    /// all forms that they had before.
    pub(super) fn rewrite(folder: &Path, frames: u64, models: &BTreeMap<String, ModelFacts>) -> Result<(), RunError> {
        let path = folder.join(NAME);
        let unreadable = |error| RunError::Input(Problem::new(format!("can't be read: {error}")).file(&path));
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        let body = open_text(&path, &text).map_err(RunError::Input)?;
        replace_file(&path, seal_text(&rewritten(body, frames, models)).as_bytes())
    }

    /// The parameters as `NAME=VALUE`.
    pub fn set(&self) -> Vec<String> {
        self.params.iter().map(|(name, value)| format!("{name}={}", inline(value))).collect()
    }

    /// Whether its events, if it had any, came from a file: from where they can be read again.
    pub fn events_repeat(&self) -> bool {
        self.input.is_none() || self.input_sha256.is_some()
    }

    /// The first frame that the run directory has: that of the branch, or 0.
    pub fn first_frame(&self) -> u64 {
        self.branch.as_ref().map_or(0, |branch| branch.frame)
    }
}

/// A manifest's text with another number of frames and other forms of models. Each value is on its own line.
fn rewritten(body: &str, frames: u64, models: &BTreeMap<String, ModelFacts>) -> String {
    let headings: BTreeMap<String, &ModelFacts> =
        models.iter().map(|(name, facts)| (format!("[models.{}]", toml_key(name)), facts)).collect();
    let (mut text, mut table) = (String::with_capacity(body.len()), "");
    for line in body.lines() {
        if line.starts_with('[') {
            table = line;
        }
        match headings.get(table) {
            None if table.is_empty() && line.starts_with("frames = ") => {
                let _ = writeln!(text, "frames = {frames}");
            }
            Some(facts) if line.starts_with("form = ") => forms(&mut text, facts.form.as_deref(), &facts.earlier_forms),
            Some(_) if line.starts_with("earlier_forms = ") => {}
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

/// The keys of a model's forms.
fn forms(text: &mut String, form: Option<&str>, earlier: &[EarlierForm]) {
    let Some(form) = form else { return };
    let _ = writeln!(text, "form = {}", toml_string(form));
    let earlier: Vec<String> = earlier
        .iter()
        .map(|EarlierForm { form, before_frame }| {
            format!("{{ form = {}, before_frame = {before_frame} }}", toml_string(form))
        })
        .collect();
    if !earlier.is_empty() {
        let _ = writeln!(text, "earlier_forms = [{}]", earlier.join(", "));
    }
}

/// The longest manifest that is read, in bytes.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

fn utf8(bytes: Vec<u8>) -> std::io::Result<String> {
    let invalid = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
    String::from_utf8(bytes).map_err(invalid)
}

/// Another version may have other checksums, or none: it is told before anything else is looked at.
fn check_format(path: &Path, text: &str) -> Result<(), Problem> {
    let line = text.lines().find_map(|line| line.strip_prefix("format = "));
    let Some(format) = line.and_then(|number| number.trim().parse::<u32>().ok()) else {
        let what = "doesn't say the version of its format: it was changed or damaged, or isn't that of a run";
        return Err(Problem::new(what).file(path).help(PUT_BACK));
    };
    match format {
        FORMAT => Ok(()),
        0..FORMAT => {
            let lacks = if format < 2 { "kept no journal" } else { "had other digests" };
            let what = format!("has the format {format}, of an earlier version of wasm-engine, which {lacks}");
            Err(Problem::new(what).file(path).help("open it with the version that wrote it, or run its scenario again"))
        }
        _ => {
            let what = format!("has the format {format}, but this version of wasm-engine knows none after {FORMAT}");
            Err(Problem::new(what)
                .file(path)
                .help("use the version that wrote it, or a newer one; or the file is damaged"))
        }
    }
}

/// A value on one line, as `--set` takes it.
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

/// The text of a run's manifest.
pub(super) fn manifest(scenario: &Scenario, options: &RunOptions, id: u128, events: Option<&str>) -> String {
    let mut text = String::new();
    head(&mut text, scenario, options, id, events);
    let hash = toml_string(&hex(&sha256(scenario.source.as_bytes())));
    let _ = writeln!(
        text,
        "\n[scenario]\nname = {}\npath = {}\nsha256 = {hash}",
        toml_string(&scenario.name),
        path_text(&scenario.path)
    );
    text.push_str("\n[params]\n");
    for (name, value) in &scenario.params {
        let _ = writeln!(text, "{} = {value}", toml_key(name));
    }
    for (path, file) in scenario.modules.iter().map(|module| &module.path).zip(&options.modules) {
        let (key, hash) = (toml_key(&file.name), toml_string(&hex(&file.sha256)));
        let _ = writeln!(text, "\n[modules.{key}]\npath = {}\nsha256 = {hash}", path_text(path));
    }
    for (path, model) in scenario.models.iter().map(|model| &model.path).zip(&options.models) {
        let (key, hash) = (toml_key(&model.name), toml_string(&hex(&model.sha256)));
        let (path, rows) = (path_text(path), model.row_bytes);
        let _ = writeln!(text, "\n[models.{key}]\npath = {path}\nsha256 = {hash}\nrow_bytes = {rows}");
        forms(&mut text, model.form.as_deref(), &[]);
    }
    for RefusedSwap { model, with, reason } in &options.refused_swaps {
        let [model, with, reason] = [model, with, reason].map(|text| toml_string(text));
        let _ = writeln!(text, "\n[[refused_swaps]]\nmodel = {model}\nwith = {with}\nreason = {reason}");
    }
    let (os, arch) = (toml_string(std::env::consts::OS), toml_string(std::env::consts::ARCH));
    let _ = writeln!(text, "\n[environment]\nos = {os}\narch = {arch}\nthreads = {}", options.threads);
    // On its version depends the price of instructions in fuel.
    let _ = writeln!(text, "wasmtime = {}", toml_string(wasm_engine_wasm::WASMTIME_VERSION));
    // On these two, models' float results depend.
    if let Some(version) = &options.onnx_runtime {
        let _ = writeln!(
            text,
            "cpu = {}\nonnx_runtime = {}",
            toml_string(wasm_engine_files::cpu::class()),
            toml_string(version)
        );
    }
    if let Some(Branch { run, id, frame, digest, set }) = &options.branch {
        let (run, digest) = (path_text(run), toml_string(digest));
        let set: Vec<_> = set.iter().map(|set| toml_string(set)).collect();
        let _ = writeln!(text, "\n[branch]\nrun = {run}\nid = \"{id:032x}\"\nframe = {frame}\ndigest = {digest}");
        let _ = writeln!(text, "set = [{}]", set.join(", "));
    }
    seal_text(&harmless_toml(&text))
}

/// The keys before the first table.
fn head(text: &mut String, scenario: &Scenario, options: &RunOptions, id: u128, events: Option<&str>) {
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {value}");
    };
    line("format", &FORMAT.to_string());
    line("engine", &toml_string(env!("CARGO_PKG_VERSION")));
    line("id", &format!("\"{id:032x}\""));
    let seed = scenario.seed.to_string();
    line("seed", &if i64::try_from(scenario.seed).is_ok() { seed } else { toml_string(&seed) });
    line("frames", &scenario.frames.to_string());
    line("digest", &toml_string(options.digest.name()));
    line("recorded", if options.record { "true" } else { "false" });
    if let Some(every) = options.snapshot_every {
        line("snapshot_every", &every.to_string());
    }
    let Some(input) = &scenario.input else { return };
    if scenario.reads_standard_input() {
        line("input", &toml_string("-"));
        return;
    }
    line("input", &path_text(input));
    if let Some(events) = events {
        line("input_sha256", &toml_string(events));
    }
}

/// The hash of the events file; `None` where there is none, and where its events can't be read again.
pub(super) fn events_hash(scenario: &Scenario, options: &RunOptions) -> Result<Option<String>, Problem> {
    let unreadable = |file: &Path, error: std::io::Error| {
        let help = "see that the events file is there and may be read";
        Problem::new(format!("can't be read: {error}")).file(file).help(help)
    };
    let hash = |file: &Path| sha256_of_file(file).map_err(|error| unreadable(file, error));
    options.events_to_keep(scenario).map(hash).transpose()
}

/// Absolute, so that the run can be opened from any folder.
fn path_text(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    toml_string(&path.to_string_lossy())
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

    #[test]
    fn what_changes_of_a_run_that_goes_on_is_rewritten_and_nothing_else() {
        let body = "format = 3\nframes = 5\n\n[params]\nform = 7\nframes = 8\n\n[models.a]\nform = \"any\"\n\n[models.\"b c\"]\nrow_bytes = 1\n\
                    form = \"any\"\nearlier_forms = [{ form = \"x\", before_frame = 1 }]\n\n[environment]\nform = \"any\"\n";
        let earlier = |form: &str, before_frame| EarlierForm { form: form.to_owned(), before_frame };
        let facts = ModelFacts {
            path: PathBuf::new(),
            sha256: String::new(),
            row_bytes: 1,
            form: Some("alone".to_owned()),
            earlier_forms: vec![earlier("any", 3), earlier("multiple of 16", 9)],
        };
        let text = rewritten(body, 12, &BTreeMap::from([("b c".to_owned(), facts)]));
        let expected = body
            .replacen("frames = 5", "frames = 12", 1)
            .replace("row_bytes = 1\nform = \"any\"", "row_bytes = 1\nform = \"alone\"")
            .replace(
                "[{ form = \"x\", before_frame = 1 }]",
                "[{ form = \"any\", before_frame = 3 }, { form = \"multiple of 16\", before_frame = 9 }]",
            );
        assert_eq!(text, expected);
    }

    #[test]
    fn other_versions_are_told_apart() {
        let told = |text: &str| check_format(Path::new("m.toml"), text).map_err(|problem| problem.to_string());
        assert_eq!(told("format = 3\n"), Ok(()));
        assert!(told("format = 2\n").unwrap_err().contains("had other digests"));
        assert!(told("format = 1\nengine = \"0.1\"\n").unwrap_err().contains("kept no journal"));
        assert!(told("format = 4\n").unwrap_err().contains("knows none after 3"));
        assert!(told("engine = 1\n").unwrap_err().contains("changed or damaged"));
    }
}
