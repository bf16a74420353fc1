//! Resume: a run that was stopped, or killed, goes on. Frames that the journal has are run again from the last snapshot on, and
//! checked; from its end on, it is a run like any other. Tables are cut back to the snapshot and written anew from there.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use wasm_engine_components::FrameRecord;

use super::follow::{Follower, JournalSource, Live, Stop, follow};
use super::kept::kept_by;
use super::traveller::{Arrival, Traveller};
use crate::events::{self, EventCounts, EventSource};
use crate::frame_loop::FrameSink;
use crate::problem::RunError;
use crate::run_dir::{Recording, RunDir, Tee};
use crate::simulation::Simulation;

/// A run that is about to go on.
pub struct Resumed {
    /// Its simulation, in the state of the last snapshot.
    pub simulation: Simulation,
    /// Where its frames come from.
    pub source: Tee<JournalSource>,
    /// Where its records go.
    pub sink: ResumeSink,
    /// How many frames it has already.
    pub frames: u64,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Checks the frames that the journal has, and records the others.
pub struct ResumeSink {
    follower: Follower,
    /// The recording.
    pub recording: Recording,
}

impl FrameSink for ResumeSink {
    type Error = Stop;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), Stop> {
        if self.follower.check(&record, simulation)? {
            self.recording.append_again(record, simulation)?;
        } else {
            self.recording.append(record, simulation)?;
        }
        Ok(())
    }
}

/// Prepares a run to go on. Its scenario says how many frames it is to have.
///
/// # Errors
/// Its simulation can't be built or its files can't be written; a file of it was changed, or is damaged.
pub fn resume(traveller: &Traveller<'_>, interrupted: Arc<AtomicBool>) -> Result<Resumed, RunError> {
    let run = traveller.run;
    let scenario = run.with_events().map_err(RunError::Input)?;
    let kept = kept_by(run)?;
    let frames = run.end_frame();
    let mut warnings = run.warnings.clone();
    let (arrival, run_dir) = reopen(traveller, frames, &mut warnings)?;
    let simulation = arrival.simulation;
    warnings.extend(arrival.warnings);
    let from = simulation.next_frame();
    let log = simulation.inference().clone();

    let repeats = run.manifest.events_repeat() || kept.is_some();
    let source = match kept {
        Some(kept) => EventSource::kept(&run.scenario, kept, interrupted),
        None => events::open(&scenario, interrupted)?,
    };
    let source = match repeats {
        true => source.starting_at(from, arrival.events),
        // What came before is in the journal, which counts it, too.
        false => source.starting_at(frames, EventCounts::default()),
    };
    let (source, follower) = follow(run, &log, traveller.inference, from, frames, Some(Live { source, repeats }));
    let source = source.with_counts(arrival.events);
    let snapshots = run.manifest.snapshot_every;
    let recording = Recording::new(run_dir, &simulation, Some(snapshots), arrival.collector);
    let source = recording.tee(source);
    Ok(Resumed { simulation, source, sink: ResumeSink { follower, recording }, frames, warnings })
}

/// The run's last state, and its folder, whose tables go on from there. Where a table isn't what was written up to there, all frames are run
/// again: that is what it takes to write it anew.
fn reopen(traveller: &Traveller<'_>, frames: u64, warnings: &mut Vec<String>) -> Result<(Arrival, RunDir), RunError> {
    let run = traveller.run;
    let arrival = traveller.start(frames)?;
    match RunDir::reopen(run, arrival.tables.as_deref(), &arrival.other_forms, &arrival.simulation) {
        Ok(run_dir) => Ok((arrival, run_dir)),
        Err(RunError::Input(problem)) if arrival.tables.is_some() => {
            warnings.push(format!("{}; all frames are run again, and the tables written anew", problem.head()));
            let arrival = traveller.start(run.first_frame())?;
            let run_dir = RunDir::reopen(run, arrival.tables.as_deref(), &arrival.other_forms, &arrival.simulation)?;
            Ok((arrival, run_dir))
        }
        Err(error) => Err(error),
    }
}
