//! Events that can't be read again: those of standard input, a pipe or a device. A branch of a run with such events keeps what
//! the run recorded of them in its first snapshot.

use crate::events::StreamFrame;
use crate::journal::JournalFrame;
use crate::problem::{Problem, RunError};
use crate::run_dir::{Branch, INPUTS, OpenRun};
use crate::scenario::Scenario;
use crate::snapshot;

/// Returns what a run was given from the frame `at` on, for a branch of it. `None` where its events can be read again.
///
/// # Errors
/// Fails if the run's journal, or its first snapshot, can't be read.
pub(super) fn stream_inputs_from(run: &OpenRun, at: u64) -> Result<Option<Vec<StreamFrame>>, RunError> {
    if run.manifest.events_repeat() {
        return Ok(None);
    }
    // A branch that was stopped early has inputs of frames that it hasn't run.
    if let Some(mut frames) = stream_inputs_of(run)? {
        frames.retain(|stored| stored.frame >= at);
        return Ok(Some(frames));
    }
    let mut frames = Vec::new();
    for recorded in run.journal.frames_from(at) {
        frames.extend(from_outside(recorded?, &run.scenario));
    }
    Ok(Some(frames))
}

/// Returns what a branch keeps.
///
/// # Errors
/// Fails if its first snapshot can't be read.
pub(super) fn stream_inputs_of(run: &OpenRun) -> Result<Option<Vec<StreamFrame>>, RunError> {
    if run.manifest.branch.is_none() || run.manifest.events_repeat() {
        return Ok(None);
    }
    let folder = run.snapshots();
    let help = "the branch's events are kept there, and nowhere else: branch again from the first run";
    let problem = |what: &str| {
        let file = snapshot::path(&folder, run.first_frame());
        RunError::from(Problem::new(what).file(&file).help(help))
    };
    let (snapshot, _) =
        snapshot::read(&folder, run.first_frame()).map_err(|problem| RunError::from(problem.help(help)))?;
    if Some(snapshot.state.digest) != run.manifest.branch.as_ref().map(Branch::digest_before) {
        return Err(problem("isn't the snapshot that this branch begins with: its digest is another"));
    }
    let stored = snapshot.extras.iter().find(|(name, _)| name == INPUTS);
    let frames = stored.and_then(|(_, bytes)| StreamFrame::decode(bytes));
    frames.map(Some).ok_or_else(|| problem("is malformed: the events that it keeps can't be read"))
}

/// Returns what a frame was given from outside; `None` for nothing.
fn from_outside(recorded: JournalFrame, scenario: &Scenario) -> Option<StreamFrame> {
    let JournalFrame { frame, mut inputs, .. } = recorded;
    // The scenario's swaps come first. A branch has them from its own scenario.
    let own = scenario.swaps.iter().filter(|entry| entry.frame == Some(frame)).count();
    inputs.swaps.drain(..own.min(inputs.swaps.len()));
    let is_something = !inputs.is_empty() || !inputs.counts.is_zero();
    is_something.then_some(StreamFrame { frame, inputs })
}
