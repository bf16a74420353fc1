//! `manifest.toml`: what was run, and on what. Enough to run it again, and to see in what two runs differ.

use std::fmt::Write as _;
use std::path::Path;

use crate::files::{hex, sha256, sha256_of_file};
use crate::problem::Problem;
use crate::scenario::{Scenario, toml_key, toml_string};
use crate::simulation::{LoadedFile, Simulation};

/// The version of the run directory's layout.
const FORMAT: u32 = 1;

/// What matters to the run directory and isn't in the scenario: what was said on the command line, and what was loaded.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Threads that step agents.
    pub threads: usize,
    /// `frame` or `full`.
    pub digest: String,
    /// The modules that were loaded, in the scenario's order.
    pub modules: Vec<LoadedFile>,
    /// The models that were loaded, in the scenario's order.
    pub models: Vec<LoadedFile>,
    /// The version of ONNX Runtime, where there are models.
    pub onnx_runtime: Option<String>,
}

impl RunOptions {
    /// Those of a simulation. Files aren't read for them again: they may have changed since they were loaded.
    pub fn new(simulation: &Simulation, digest: &str) -> Self {
        let model = |info: &crate::inference::ModelInfo| LoadedFile { name: info.name.clone(), sha256: info.sha256 };
        Self {
            threads: simulation.pool().current_num_threads(),
            digest: digest.to_owned(),
            modules: simulation.modules().to_vec(),
            models: simulation.models().iter().map(model).collect(),
            onnx_runtime: simulation.onnx_runtime().map(str::to_owned),
        }
    }
}

/// The text of a run's manifest.
pub(super) fn manifest(scenario: &Scenario, options: &RunOptions) -> Result<String, Problem> {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {value}");
    };
    line("format", &FORMAT.to_string());
    line("engine", &toml_string(env!("CARGO_PKG_VERSION")));
    line("seed", &scenario.seed.to_string());
    line("frames", &scenario.frames.to_string());
    line("digest", &toml_string(&options.digest));
    if let Some(input) = &scenario.input {
        line("input", &path_text(input));
        if input != Path::new("-") && input.is_file() {
            let unreadable = |error| Problem::new(format!("can't be read: {error}")).file(input);
            line("input_sha256", &toml_string(&sha256_of_file(input).map_err(unreadable)?));
        }
    }
    text.push_str("\n[scenario]\n");
    let hash = toml_string(&hex(&sha256(scenario.source.as_bytes())));
    let _ =
        writeln!(text, "name = {}\npath = {}\nsha256 = {hash}", toml_string(&scenario.name), path_text(&scenario.path));
    text.push_str("\n[params]\n");
    for (name, value) in &scenario.params {
        let _ = writeln!(text, "{} = {value}", toml_key(name));
    }
    let modules = scenario.modules.iter().map(|module| &module.path).zip(&options.modules);
    let models = scenario.models.iter().map(|model| &model.path).zip(&options.models);
    for (sort, path, file) in
        modules.map(|(path, file)| ("modules", path, file)).chain(models.map(|(path, file)| ("models", path, file)))
    {
        let (key, hash) = (toml_key(&file.name), toml_string(&hex(&file.sha256)));
        let _ = writeln!(text, "\n[{sort}.{key}]\npath = {}\nsha256 = {hash}", path_text(path));
    }
    let (os, arch) = (toml_string(std::env::consts::OS), toml_string(std::env::consts::ARCH));
    let _ = writeln!(text, "\n[environment]\nos = {os}\narch = {arch}\nthreads = {}", options.threads);
    // On these two, models' float results depend.
    if let Some(version) = &options.onnx_runtime {
        let _ = writeln!(text, "cpu = {}\nonnx_runtime = {}", toml_string(crate::cpu::class()), toml_string(version));
    }
    Ok(text)
}

fn path_text(path: &Path) -> String {
    toml_string(&path.to_string_lossy())
}
