//! Checks the fields of a manifest. A manifest may come from elsewhere, with a right checksum: a value that no run writes is refused with its
//! key, and never replaced by a similar one.

use std::collections::BTreeMap;
use std::path::Path;

use wasm_engine_components::limits::{FRAMES_MAX, PAYLOAD_BYTES_MAX};
use wasm_engine_components::text::shown;

use super::checksummed_text::PUT_BACK;
use super::layout::MANIFEST;
use super::manifest::{Branch, FileFacts, Manifest, ModelFacts};
use super::manifest_values::parse_digits;
use crate::problem::{Problem, thousands};
use crate::scenario::{Scenario, is_plain_name, toml_key};
use wasm_engine_components::{BatchForm, DigestScope};
use wasm_engine_files::parse_sha256;

/// A key, and what is wrong with its value.
type Wrong = (String, String);

/// Checks all fields of the manifest of a run directory.
///
/// # Errors
/// Fails if a run can't have written the value of a field. The problem names its key.
pub(super) fn check(folder: &Path, manifest: &Manifest) -> Result<(), Problem> {
    let checks = [head, input, scenario, modules, models, refused_swaps, environment, branch];
    told(folder, checks.into_iter().try_for_each(|check| check(manifest)))
}

/// Checks that a manifest has the modules and models of its scenario and no others: without its hash, a file that was changed would be run.
///
/// # Errors
/// Fails if one is missing, or there is one too many.
pub(super) fn check_files(folder: &Path, manifest: &Manifest, scenario: &Scenario) -> Result<(), Problem> {
    let modules = scenario.modules.iter().map(|module| &module.name);
    let models = scenario.models.iter().map(|model| &model.name);
    let same = same_names("modules", &manifest.modules, modules);
    told(folder, same.and_then(|()| same_names("models", &manifest.models, models)))
}

fn told(folder: &Path, checked: Result<(), Wrong>) -> Result<(), Problem> {
    let problem = |(key, what): Wrong| Problem::new(what).file(&folder.join(MANIFEST)).key(key).help(PUT_BACK);
    checked.map_err(problem)
}

fn wrong(key: impl Into<String>, what: impl Into<String>) -> Result<(), Wrong> {
    Err((key.into(), what.into()))
}

fn head(manifest: &Manifest) -> Result<(), Wrong> {
    let is_version = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
        text.starts_with(|first: char| first.is_ascii_digit()) && text.bytes().all(plain)
    };
    if !is_version(&manifest.engine) {
        return wrong("engine", format!("`{}` isn't a version of wasm-engine", shown(&manifest.engine)));
    }
    if DigestScope::from_name(&manifest.digest).is_none() {
        return wrong("digest", format!("`{}` isn't `frame` or `full`, what a digest covers", shown(&manifest.digest)));
    }
    frames("frames", manifest.frames, 1)?;
    manifest.snapshot_every.map_or(Ok(()), |every| frames("snapshot_every", every, 1))
}

/// Checks a number of frames, or the number of a frame.
fn frames(key: impl Into<String>, number: u64, from: u64) -> Result<(), Wrong> {
    match (from..=FRAMES_MAX).contains(&number) {
        true => Ok(()),
        false => wrong(key, format!("{} isn't from {from} to {}", thousands(number), thousands(FRAMES_MAX))),
    }
}

fn sha256(key: impl Into<String>, digits: &str) -> Result<(), Wrong> {
    match parse_sha256(digits) {
        // Only in the form that is written, because the name of a copy contains it.
        Some(_) if !digits.bytes().any(|byte| byte.is_ascii_uppercase()) => Ok(()),
        _ => wrong(key, format!("`{}` isn't a SHA-256, 64 hexadecimal digits", shown(digits))),
    }
}

fn input(manifest: &Manifest) -> Result<(), Wrong> {
    match (manifest.input.as_deref(), manifest.input_sha256.as_deref()) {
        (_, None) => Ok(()),
        (None | Some("-"), Some(_)) => wrong("input_sha256", "is the hash of no file"),
        (Some(_), Some(digits)) => sha256("input_sha256", digits),
    }
}

fn scenario(manifest: &Manifest) -> Result<(), Wrong> {
    let name = &manifest.scenario.name;
    if !is_plain_name(name) {
        return wrong("scenario.name", format!("`{}` isn't the name of a scenario", shown(name)));
    }
    sha256("scenario.sha256", &manifest.scenario.sha256)
}

fn modules(manifest: &Manifest) -> Result<(), Wrong> {
    let of_module =
        |(name, facts): (&String, &FileFacts)| sha256(format!("modules.{}.sha256", toml_key(name)), &facts.sha256);
    manifest.modules.iter().try_for_each(of_module)
}

fn models(manifest: &Manifest) -> Result<(), Wrong> {
    for (name, facts) in &manifest.models {
        let key = |key: &str| format!("models.{}.{key}", toml_key(name));
        sha256(key("sha256"), &facts.sha256)?;
        if facts.row_bytes > PAYLOAD_BYTES_MAX {
            let (bytes, most) = (thousands(facts.row_bytes), thousands(PAYLOAD_BYTES_MAX));
            return wrong(key("row_bytes"), format!("{bytes} is more than a row can have, {most}"));
        }
        forms(facts, manifest.frames, &key)?;
    }
    Ok(())
}

/// Refuses forms that no model has, because a form says how many rows a run has, and forms of frames that aren't in their order.
fn forms(facts: &ModelFacts, frames_max: u64, key: &dyn Fn(&str) -> String) -> Result<(), Wrong> {
    let form = |at: &str, form: &str| match BatchForm::of_name(form) {
        Some(_) => Ok(()),
        None => wrong(key(at), format!("`{}` isn't a form that the runs of a model can have", shown(form))),
    };
    facts.form.as_deref().map_or(Ok(()), |name| form("form", name))?;
    let mut before = 0;
    for earlier in &facts.earlier_forms {
        form("earlier_forms", &earlier.form)?;
        if earlier.before_frame < before || earlier.before_frame > frames_max {
            let frame = thousands(earlier.before_frame);
            return wrong(
                key("earlier_forms"),
                format!("frame {frame} comes before one ahead of it, or is beyond the run"),
            );
        }
        before = earlier.before_frame;
    }
    if facts.form.is_none() && !facts.earlier_forms.is_empty() {
        return wrong(key("earlier_forms"), "has forms of a model that has none now");
    }
    Ok(())
}

fn refused_swaps(manifest: &Manifest) -> Result<(), Wrong> {
    for (at, swap) in manifest.refused_swaps.iter().enumerate() {
        for (key, name) in [("model", &swap.model), ("with", &swap.with)] {
            if !manifest.models.contains_key(name) {
                return wrong(format!("refused_swaps[{at}].{key}"), format!("there is no model `{}`", shown(name)));
            }
        }
    }
    Ok(())
}

fn environment(manifest: &Manifest) -> Result<(), Wrong> {
    for (name, value) in &manifest.environment {
        if !value.is_str() && !value.is_integer() {
            let what = format!("is {} {}, and neither a text nor a whole number", article(value), value.type_str());
            return wrong(format!("environment.{}", toml_key(name)), what);
        }
    }
    Ok(())
}

fn article(value: &toml::Value) -> &'static str {
    if value.is_array() { "an" } else { "a" }
}

fn branch(manifest: &Manifest) -> Result<(), Wrong> {
    let Some(Branch { frame, digest, set, .. }) = &manifest.branch else { return Ok(()) };
    frames("branch.frame", *frame, 0)?;
    if *frame > manifest.frames {
        let (frame, all) = (thousands(frame), thousands(manifest.frames));
        return wrong("branch.frame", format!("{frame} is beyond the run, which has {all} frames"));
    }
    if parse_digits(digest).is_none() {
        return wrong("branch.digest", format!("`{}` isn't a digest, 32 hexadecimal digits", shown(digest)));
    }
    match set.iter().find(|set| !set.contains('=')) {
        Some(set) => wrong("branch.set", format!("`{}` isn't NAME=VALUE", shown(set))),
        None => Ok(()),
    }
}

/// Checks that there is an entry for each name of a table of the scenario, and no other.
fn same_names<'a, T>(
    table: &str,
    facts: &BTreeMap<String, T>,
    names: impl Iterator<Item = &'a String> + Clone,
) -> Result<(), Wrong> {
    let key = |name: &str| format!("{table}.{}", toml_key(name));
    if let Some(name) = names.clone().find(|name| !facts.contains_key(*name)) {
        return wrong(key(name), "is missing, and is in the scenario");
    }
    match facts.keys().find(|known| !names.clone().any(|name| name == *known)) {
        Some(name) => wrong(key(name), "isn't in the scenario"),
        None => Ok(()),
    }
}
