//! The file of a manifest: written where a run begins, read where one is opened, and rewritten where one goes on. Its last line is a checksum of the rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use wasm_engine_components::text::harmless_toml;

use super::checksummed_text::{PUT_BACK, open_text, seal_text};
use super::layout::MANIFEST;
use super::manifest::{Branch, EarlierForm, Manifest, ModelFacts, RunOptions};
use super::table::replace_file;
use super::{manifest_fields, start};
use crate::problem::{Problem, RunError};
use crate::scenario::{Scenario, toml_key, toml_string};
use crate::simulation::RefusedSwap;
use wasm_engine_files::{hex, sha256, sha256_of_file};

/// The version of the run directory's layout. Version 1 had no journal, no snapshots and no checksums.
pub(super) const FORMAT: u32 = 3;

impl Manifest {
    /// Reads the manifest of a run directory.
    ///
    /// # Errors
    /// Fails if it isn't there, is damaged, or of another version.
    pub fn read(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(MANIFEST);
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
            Err(error) => {
                let help = "see that it is a file that you may read, or take it from a copy of the run directory";
                return Err(Problem::new("can't be read").caused_by(error).file(&path).help(help));
            }
        };
        check_format(&path, &text)?;
        let body = open_text(&path, &text)?;
        let no_manifest = |error: toml::de::Error| format!("isn't a manifest: {}", error.message());
        let read: Result<Self, _> = toml::from_str(body);
        let manifest = read.map_err(|error| Problem::new(no_manifest(error)).file(&path).help(PUT_BACK))?;
        manifest_fields::check(folder, &manifest)?;
        Ok(manifest)
    }

    /// Updates the manifest of a run that goes on: its number of frames, and the models that have another form from here on, with
    /// all forms that they had before.
    pub(super) fn rewrite(folder: &Path, frames: u64, models: &BTreeMap<String, ModelFacts>) -> Result<(), RunError> {
        let path = folder.join(MANIFEST);
        let unreadable = |error| RunError::from(Problem::new("can't be read").caused_by(error).file(&path));
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        let body = open_text(&path, &text)?;
        replace_file(&path, seal_text(&rewritten(body, frames, models)).as_bytes())
    }
}

/// Returns a manifest's text with another number of frames and other forms of models. Each value is on its own line.
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

/// Another version may have other checksums, or none, so the version is checked before anything else.
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

/// Returns the text of a run's manifest.
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
    // Its version decides how much fuel instructions cost.
    let _ = writeln!(text, "wasmtime = {}", toml_string(wasm_engine_wasm::WASMTIME_VERSION));
    // Float results of models depend on these two.
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

/// Returns the hash of the events file; `None` where there is none, and where its events can't be read again.
pub(super) fn events_hash(scenario: &Scenario, options: &RunOptions) -> Result<Option<String>, Problem> {
    let unreadable = |file: &Path, error: std::io::Error| {
        let help = "see that the events file is there and may be read";
        Problem::new("can't be read").caused_by(error).file(file).help(help)
    };
    let hash = |file: &Path| sha256_of_file(file).map_err(|error| unreadable(file, error));
    options.events_to_keep(scenario).map(hash).transpose()
}

/// Makes a path absolute, so that the run can be opened from any folder.
fn path_text(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    toml_string(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

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
        let told = |text: &str| check_format(Path::new("m.toml"), text).map_err(|problem| format!("{problem:#}"));
        assert_eq!(told("format = 3\n"), Ok(()));
        assert!(told("format = 2\n").unwrap_err().contains("had other digests"));
        assert!(told("format = 1\nengine = \"0.1\"\n").unwrap_err().contains("kept no journal"));
        assert!(told("format = 4\n").unwrap_err().contains("knows none after 3"));
        assert!(told("engine = 1\n").unwrap_err().contains("changed or damaged"));
    }
}
