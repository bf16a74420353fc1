//! Replay: runs a recorded run again, and compares every digest with the recorded one.

use wasm_engine_components::text::shown;
use wasm_engine_components::{Digest, FrameRecord, LateRows};

use super::digest_checker::DigestChecker;
use super::divergence::Divergence;
use super::error::FollowError;
use super::explain::explain;
use super::run_replayer::RunReplayer;
use crate::frame_loop::FrameSink;
use crate::problem::{Problem, RunError, counted, thousands};
use crate::run_dir::OpenRun;
use crate::simulation::Simulation;

/// Range of frames to replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayOptions {
    /// The first frame that must be checked. Default: the first that was recorded.
    pub from: Option<u64>,
    /// The last frame that is checked. Default: the last that was recorded.
    pub to: Option<u64>,
}

/// Result of a replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The first frame that was run: at or before the one asked for.
    pub from: u64,
    /// Number of frames that are as they were recorded.
    pub checked: u64,
    /// The digest of the last of those.
    pub digest: Digest,
    /// Number of rows that were to be computed again but took too long, so that they weren't compared.
    pub rows_not_compared: u64,
    /// Divergence from the recording, if there is one.
    pub divergence: Option<Box<Divergence>>,
    /// Warnings: damaged snapshots, and damaged copies that weren't needed.
    pub warnings: Vec<String>,
}

/// Replays a run. `progress` is called after each frame.
///
/// # Errors
/// Fails if a simulation can't be built, the journal can't be read, or the frames don't exist.
pub fn replay(
    replayer: &RunReplayer<'_>,
    options: ReplayOptions,
    progress: &mut (dyn FnMut(&FrameRecord) + Send),
) -> Result<Replayed, RunError> {
    let run = replayer.run;
    let (first, end) = (run.first_frame(), run.end_frame());
    let (from, to) = (options.from.unwrap_or(first), options.to.map_or(end, |to| to.saturating_add(1)));
    check_range(run, from, to)?;
    // A replay from the beginning uses no snapshot, because the state at the beginning is known.
    let mut restored = replayer.start(if options.from.is_some() { from } else { first })?;
    let mut warnings = run.warnings.clone();
    warnings.append(&mut restored.warnings);
    let simulation = &mut restored.simulation;
    let (started, digest) = (simulation.next_frame(), simulation.digest());
    let mut checker = replayer.checker(simulation, to)?;
    checker.told = std::mem::take(&mut restored.passed);
    let mut sink = Watched { checker, progress, digest };
    let done = replayer.run_to(simulation, to, &mut sink);
    let Watched { checker, digest, .. } = sink;
    warnings.extend(checker.warning());
    let DigestChecker { checked, late, .. } = checker;
    let rows_not_compared = late.map_or(0, |(_, late)| late.rows);
    warnings.extend(late.map(|(frame, late)| warn_of_late(run, frame, late)));
    let divergence = match done {
        Ok(()) => None,
        Err(FollowError::Error(error)) => return Err(error),
        Err(FollowError::Diverged(mut divergence)) => {
            explain(&mut divergence, replayer, simulation);
            Some(divergence)
        }
    };
    Ok(Replayed { from: started, checked, digest, rows_not_compared, divergence, warnings })
}

fn check_range(run: &OpenRun, from: u64, to: u64) -> Result<(), RunError> {
    let (first, end) = (run.first_frame(), run.end_frame());
    let problem = |key: &str, what: String| Err(RunError::from(Problem::new(what).key(key).help(run.frames_help())));
    if from < first || from > end || (from == end && end > first) {
        return problem("--from", format!("frame {} wasn't recorded", thousands(from)));
    }
    if to > end {
        return problem("--to", format!("frame {} wasn't recorded", thousands(to - 1)));
    }
    if to <= from && end > first {
        return problem("--to", "it is before --from".to_owned());
    }
    Ok(())
}

/// Returns the warning about rows that took too long to be compared.
fn warn_of_late(run: &OpenRun, frame: u64, late: LateRows) -> String {
    let model = run.scenario.models.iter().find(|entry| entry.id == late.model);
    let model = model.map_or_else(|| "a model".to_owned(), |entry| format!("the model `{}`", shown(&entry.name)));
    let (rows, were) = (counted(late.rows, "row"), if late.rows == 1 { "wasn't" } else { "weren't" });
    format!(
        "{rows} of models, the first in frame {} of {model}, {were} compared: to compute them again took longer than `load_ms_max` \
         here, so what was recorded of them was taken; a quicker machine may compare them",
        thousands(frame)
    )
}

/// Calls a function after each frame.
struct Watched<'a> {
    checker: DigestChecker,
    progress: &'a mut (dyn FnMut(&FrameRecord) + Send),
    digest: Digest,
}

impl FrameSink for Watched<'_> {
    type Error = FollowError;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), FollowError> {
        self.checker.check(&record, simulation)?;
        self.digest = record.digest;
        (self.progress)(&record);
        Ok(())
    }
}
