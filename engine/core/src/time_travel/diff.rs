//! Diff: finds the first frame in which two runs part, by bisecting their digests, each of which covers all frames before; and
//! the differences of the states after it.

use wasm_engine_components::Lane;
use wasm_engine_components::text::shown_path;

use super::compare::{Comparison, compare, differing_lanes};
use super::error::FollowError;
use super::run_replayer::RunReplayer;
use crate::journal::JournalFrame;
use crate::problem::{Problem, RunError};
use crate::run_dir::{Manifest, OpenRun};

/// Result of a comparison of two runs.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Differences of their manifests: the key, and both values.
    pub manifests: Vec<(String, String, String)>,
    /// Frames that both have: the first one, and the one after the last.
    pub frames: (u64, u64),
    /// The first of those in which they part.
    pub frame: Option<u64>,
    /// Whether their digests differ before that, because they begin with other seeds, though nothing that they cover does.
    pub other_seeds: bool,
    /// The lanes that differ in that frame, in the order in which a frame comes to them.
    pub lanes: Vec<Lane>,
    /// Differences of the states after it.
    pub comparison: Comparison,
}

/// Compares two runs.
///
/// # Errors
/// Fails if a journal can't be read, a run can't be built again, or doesn't do again what it did.
pub fn diff(left: &RunReplayer<'_>, right: &RunReplayer<'_>) -> Result<Difference, FollowError> {
    let (a, b) = (left.run, right.run);
    let first = a.first_frame().max(b.first_frame());
    let end = a.end_frame().min(b.end_frame());
    let manifests = manifests(&a.manifest, &b.manifest);
    let mut difference = Difference {
        manifests,
        frames: (first, end),
        frame: None,
        other_seeds: false,
        lanes: Vec::new(),
        comparison: Comparison::default(),
    };
    if first >= end {
        let what = format!("it has no frame in common with {}", shown_path(&a.path));
        let help = format!("there, {}; here, {}", a.frames_help(), b.frames_help());
        return Err(FollowError::Error(RunError::from(Problem::new(what).file(&b.path).help(help))));
    }
    let Some((frame, other_seeds)) = first_difference(a, b, first, end)? else { return Ok(difference) };
    difference.other_seeds = other_seeds;
    let Some(frame) = frame else { return Ok(difference) };
    difference.frame = Some(frame);
    difference.lanes = lanes(&a.frame(frame)?, &b.frame(frame)?);
    let (mut left, mut right) = (left.at(frame + 1)?, right.at(frame + 1)?);
    difference.comparison = compare(&mut left.simulation, &mut right.simulation);
    Ok(difference)
}

/// Returns the first frame in which two runs part: `None` where their digests never differ; without a frame where only their chains do.
fn first_difference(a: &OpenRun, b: &OpenRun, first: u64, end: u64) -> Result<Option<(Option<u64>, bool)>, Problem> {
    let differ = |frame: u64| -> Result<bool, Problem> { Ok(a.frame(frame)?.digest != b.frame(frame)?.digest) };
    if !differ(end - 1)? {
        return Ok(None);
    }
    let (mut low, mut high) = (first, end - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if differ(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if !lanes(&a.frame(low)?, &b.frame(low)?).is_empty() {
        return Ok(Some((Some(low), false)));
    }
    // The chains have different starts. The lanes aren't chained, so they show where the states part.
    let frames = a.journal.frames_from(low).zip(b.journal.frames_from(low));
    for (a, b) in frames {
        let (a, b) = (a?, b?);
        if !lanes(&a, &b).is_empty() {
            return Ok(Some((Some(a.frame), true)));
        }
    }
    Ok(Some((None, true)))
}

fn lanes(a: &JournalFrame, b: &JournalFrame) -> Vec<Lane> {
    differing_lanes(&a.lanes, &b.lanes)
}

/// Returns the differences in what was run.
fn manifests(a: &Manifest, b: &Manifest) -> Vec<(String, String, String)> {
    let facts = |manifest: &Manifest| {
        let mut facts = vec![
            ("engine".to_owned(), manifest.engine.clone()),
            ("scenario".to_owned(), manifest.scenario.sha256.clone()),
            ("seed".to_owned(), manifest.seed.to_string()),
            ("frames".to_owned(), manifest.frames.to_string()),
            ("digest".to_owned(), manifest.digest.clone()),
            ("input".to_owned(), manifest.input_sha256.clone().or(manifest.input.clone()).unwrap_or_default()),
        ];
        facts.extend(manifest.params.iter().map(|(name, value)| (format!("params.{name}"), value.to_string())));
        let modules = manifest.modules.iter().map(|(name, file)| (format!("modules.{name}"), file.sha256.clone()));
        facts.extend(modules);
        facts.extend(manifest.models.iter().map(|(name, file)| (format!("models.{name}"), file.sha256.clone())));
        let environment = manifest.environment.iter();
        facts.extend(environment.map(|(name, value)| (format!("environment.{name}"), value.to_string())));
        facts
    };
    let (a, b) = (facts(a), facts(b));
    let value = |facts: &[(String, String)], key: &str| {
        facts.iter().find(|(known, _)| known == key).map_or("-".to_owned(), |(_, value)| value.clone())
    };
    let mut keys: Vec<_> = a.iter().chain(&b).map(|(key, _)| key.clone()).collect();
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    let pairs = keys.into_iter().map(|key| (value(&a, &key), value(&b, &key), key));
    pairs.filter(|(a, b, _)| a != b).map(|(a, b, key)| (key, a, b)).collect()
}
