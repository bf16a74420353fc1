//! `manifest.toml`: what was run, and on what. Enough to run it again, and to see in what two runs differ.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::problem::Problem;
use crate::scenario::{Scenario, toml_key, toml_string};

/// The version of the run directory's layout.
const FORMAT: u32 = 1;

/// What was said on the command line and matters to the run directory.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Threads that step agents.
    pub threads: usize,
    /// `frame` or `full`.
    pub digest: String,
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
            line("input_sha256", &file_sha256(input)?);
        }
    }
    text.push_str("\n[scenario]\n");
    let hash = toml_string(&hex(&Sha256::digest(scenario.source.as_bytes())));
    let _ =
        writeln!(text, "name = {}\npath = {}\nsha256 = {hash}", toml_string(&scenario.name), path_text(&scenario.path));
    text.push_str("\n[params]\n");
    for (name, value) in &scenario.params {
        let _ = writeln!(text, "{} = {value}", toml_key(name));
    }
    for (sort, name, path) in scenario
        .modules
        .iter()
        .map(|module| ("modules", &module.name, &module.path))
        .chain(scenario.models.iter().map(|model| ("models", &model.name, &model.path)))
    {
        let (key, hash) = (toml_key(name), file_sha256(path)?);
        let _ = writeln!(text, "\n[{sort}.{key}]\npath = {}\nsha256 = {hash}", path_text(path));
    }
    let (os, arch) = (toml_string(std::env::consts::OS), toml_string(std::env::consts::ARCH));
    let _ = writeln!(text, "\n[environment]\nos = {os}\narch = {arch}\nthreads = {}", options.threads);
    Ok(text)
}

fn path_text(path: &Path) -> String {
    toml_string(&path.to_string_lossy())
}

/// The SHA-256 of a file, in quotes.
fn file_sha256(path: &Path) -> Result<String, Problem> {
    let hash = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut block = vec![0; 1 << 16];
        loop {
            match file.read(&mut block) {
                Ok(0) => return Ok(toml_string(&hex(&hasher.finalize()))),
                Ok(length) => hasher.update(&block[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    hash().map_err(|error| Problem::new(format!("can't be read: {error}")).file(path))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
