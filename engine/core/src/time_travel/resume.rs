//! Resume: a run that was stopped, or killed, goes on. Frames that the journal has are run again from the last snapshot on, and
//! checked; from its end on, it is a run like any other. Tables are cut back to the snapshot and written anew from there.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use wasm_engine_components::FrameRecord;

use super::digest_checker::DigestChecker;
use super::error::FollowError;
use super::journal_source::{JournalSource, LiveTail};
use super::run_replayer::{RestoredRun, RunReplayer};
use super::stream_inputs::stream_inputs_of;
use crate::events::{self, EventSource};
use crate::frame_loop::FrameSink;
use crate::problem::{ErrorKind, RunError};
use crate::run_dir::{Recording, RunDir};
use crate::simulation::Simulation;

/// A run that is ready to go on.
pub struct Resumed {
    /// Its simulation, in the state of the last snapshot.
    pub simulation: Simulation,
    /// The source of its frames.
    pub source: JournalSource,
    /// The sink of its records.
    pub sink: ResumeSink,
    /// Number of frames that it has already.
    pub frames: u64,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Checks the frames that the journal has, and records the others.
pub struct ResumeSink {
    checker: DigestChecker,
    /// The recording.
    pub recording: Recording,
}

impl FrameSink for ResumeSink {
    type Error = FollowError;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), FollowError> {
        if self.checker.check(&record, simulation)? {
            self.recording.append_again(record)?;
        } else {
            self.recording.append(record, simulation)?;
        }
        Ok(())
    }

    fn has_kept_last(&self) -> bool {
        self.recording.has_kept_last()
    }
}

/// Prepares a run to go on, up to the number of frames in its scenario.
///
/// # Errors
/// Fails if its simulation can't be built or its files can't be written; a file of it was changed, or is damaged.
pub fn resume(replayer: &RunReplayer<'_>, interrupted: Arc<AtomicBool>) -> Result<Resumed, RunError> {
    let run = replayer.run;
    run.check_disk()?;
    let scenario = run.with_events()?;
    let stored = stream_inputs_of(run)?;
    let frames = run.end_frame();
    let mut warnings = run.warnings.clone();
    let (restored, run_dir) = reopen(replayer, frames, &mut warnings)?;
    let simulation = restored.simulation;
    warnings.extend(restored.warnings);
    let from = simulation.next_frame();

    let repeats = run.manifest.events_repeat() || stored.is_some();
    let source = match stored {
        Some(stored) => EventSource::stored(&run.scenario, stored, interrupted),
        None => events::open(&scenario, interrupted)?,
    };
    // Events that can't be read again are only in the journal.
    let source = source.starting_at(if repeats { from } else { frames });
    let live = LiveTail { source, repeats };
    let source = JournalSource::new(run, replayer.inference, (from, frames), Some(live));
    let checker = DigestChecker::new(run, (from, frames))?;
    let snapshots = run.manifest.snapshot_every;
    let recording = Recording::new(run_dir, &simulation, Some(snapshots), restored.collector);
    Ok(Resumed { simulation, source, sink: ResumeSink { checker, recording }, frames, warnings })
}

/// Returns the run's last state, and its folder, whose tables are continued from there. If a table isn't what was written up to there,
/// all frames are run again to write it anew.
fn reopen(
    replayer: &RunReplayer<'_>,
    frames: u64,
    warnings: &mut Vec<String>,
) -> Result<(RestoredRun, RunDir), RunError> {
    let run = replayer.run;
    let restored = replayer.start(frames)?;
    match RunDir::reopen(run, restored.tables.as_deref(), &restored.other_forms, &restored.simulation) {
        Ok(run_dir) => Ok((restored, run_dir)),
        Err(error) if error.kind() == ErrorKind::Input && restored.tables.is_some() => {
            let what = error.problem().head();
            warnings.push(format!("{what}; all frames are run again, and the tables written anew"));
            let restored = replayer.start(run.first_frame())?;
            let run_dir = RunDir::reopen(run, restored.tables.as_deref(), &restored.other_forms, &restored.simulation)?;
            Ok((restored, run_dir))
        }
        Err(error) => Err(error),
    }
}
