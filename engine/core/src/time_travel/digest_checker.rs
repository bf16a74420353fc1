//! Compares each record of a run with what the run's journal has of that frame.

use std::path::PathBuf;

use wasm_engine_components::{FrameRecord, LateRows};

use super::divergence::Divergence;
use super::error::FollowError;
use super::recorded_frames::RecordedFrames;
use super::unread_snapshots::UnreadSnapshots;
use crate::frame_loop::FrameSink;
use crate::problem::Problem;
use crate::run_dir::OpenRun;
use crate::simulation::Simulation;
use crate::snapshot;
use crate::summary::Collector;
use wasm_engine_files::Lack;

/// Compares each record with the journal's, and the agents' memories with those of snapshots. It reads the journal for itself, whoever
/// has read it before as a source.
pub struct DigestChecker {
    frames: RecordedFrames,
    snapshots: RecordedSnapshots,
    /// Sums over the frames, if they are wanted.
    pub collector: Option<Collector>,
    /// Number of frames that were as they were recorded.
    pub checked: u64,
    /// The rows that took too long to be compared, if any, and the frame of the first one.
    pub late: Option<(u64, LateRows)>,
    /// Snapshots that can't be used, so that memories aren't held against them.
    unread: UnreadSnapshots,
    /// Snapshots of which was told already.
    pub(super) told: Vec<u64>,
}

/// The snapshots that a run has: each says what all memories' digest was.
struct RecordedSnapshots {
    folder: PathBuf,
    /// Ascending.
    frames: Vec<u64>,
}

impl DigestChecker {
    /// Checks the frames of `run` from `from` on, up to `to` and without it.
    ///
    /// # Errors
    /// The folder of its snapshots can't be read.
    pub fn new(run: &OpenRun, (from, to): (u64, u64)) -> Result<Self, Problem> {
        Ok(Self {
            frames: RecordedFrames::new(run, from, to),
            snapshots: RecordedSnapshots { folder: run.snapshots(), frames: run.snapshot_frames()? },
            collector: None,
            checked: 0,
            late: None,
            unread: UnreadSnapshots::default(),
            told: Vec::new(),
        })
    }

    /// Compares the record of a frame with the journal's. Returns whether the journal has it.
    ///
    /// # Errors
    /// It is another, or the journal can't be read.
    pub fn check(&mut self, record: &FrameRecord, simulation: &mut Simulation) -> Result<bool, FollowError> {
        let Some(recorded) = self.frames.next(record.frame)? else { return Ok(false) };
        if let Some(late) = record.late_rows {
            match &mut self.late {
                Some((_, all)) => all.rows += late.rows,
                none => *none = Some((record.frame, late)),
            }
        }
        if let Some(divergence) = Divergence::between(&recorded, record) {
            return Err(FollowError::Diverged(Box::new(divergence)));
        }
        if !self.has_recorded_memories(record, simulation)? {
            return Err(FollowError::Diverged(Box::new(Divergence::in_memories(record))));
        }
        self.checked += 1;
        Ok(true)
    }

    /// Returns whether all memories are what they were, if there is a snapshot that says so.
    fn has_recorded_memories(&mut self, record: &FrameRecord, simulation: &mut Simulation) -> Result<bool, Problem> {
        let RecordedSnapshots { folder, frames } = &self.snapshots;
        let frame = record.frame + 1;
        if frames.binary_search(&frame).is_err() {
            return Ok(true);
        }
        let why = match snapshot::read_digests(folder, frame) {
            Ok((digest, memories)) if digest == record.digest => return Ok(simulation.memory_digest() == memories),
            Ok(_) => Problem::new("it isn't one of this run").file(&snapshot::path(folder, frame)),
            // The journal couldn't be read to its end either.
            Err(problem) if problem.lack().is_some_and(Lack::is_of_all_files) => return Err(problem),
            Err(problem) => problem,
        };
        if !self.told.contains(&frame) {
            self.unread.add(frame, why);
        }
        Ok(true)
    }

    /// Returns the warning about snapshots that can't be read, if there are any.
    pub fn warning(&self) -> Option<String> {
        let (&first, more) = self.unread.frames.split_first()?;
        let then = if more.is_empty() { "" } else { " and the frames of the others" };
        self.unread.warning(&format!("agents' memories aren't checked before frame {first}{then}"))
    }
}

impl FrameSink for DigestChecker {
    type Error = FollowError;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), FollowError> {
        self.check(&record, simulation)?;
        if let Some(collector) = &mut self.collector {
            collector.add(&record);
        }
        Ok(())
    }
}
