//! A run on its way into a run directory: the sink of the main loop. It also keeps the sums of the summary, and says when a snapshot
//! is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wasm_engine_components::FrameRecord;

use super::{COLLECTED, RecordedFrame, RunDir};
use crate::frame_loop::FrameSink;
use crate::problem::RunError;
use crate::simulation::Simulation;
use crate::summary::{Collector, Summary};
use crate::threads;

/// Least time between two snapshots, where nobody says how often.
const PERIOD_MIN: Duration = Duration::from_secs(30);
/// Snapshots may stop the run for at most one part in this many of its time.
const COST_SHARE: u32 = 50;
/// A run that ends gets a last snapshot if the one before is at least this old.
const LAST_PERIOD_MIN: Duration = Duration::from_secs(2);
/// Every 16th snapshot is full, which bounds a chain.
const CHAIN_MAX: u32 = 16;

/// A run that is being recorded.
pub struct Recording {
    run_dir: RunDir,
    collector: Collector,
    snapshots: Option<SnapshotTimer>,
}

/// When snapshots are taken. None of this is state: a run is the same whenever snapshots of it are taken.
struct SnapshotTimer {
    /// Number of frames from one snapshot to the next; `None` if the engine decides.
    every: Option<u64>,
    last: Instant,
    /// The frame before which the last one was taken.
    last_frame: Option<u64>,
    cost: Duration,
    taken: u32,
    /// Whether memory is being allocated for the first one.
    prepared: bool,
    asked: Arc<AtomicBool>,
}

impl Recording {
    /// Records a run into `run_dir`. There are no snapshots if `snapshots` is `None`. It has the number of frames from one to
    /// the next, or `Some(None)` if the engine decides when it is time.
    ///
    /// `collector` has the sums of the frames before: none, or those of a run that was stopped.
    pub fn new(run_dir: RunDir, simulation: &Simulation, snapshots: Option<Option<u64>>, collector: Collector) -> Self {
        let snapshots = snapshots.map(|every| SnapshotTimer {
            every,
            last: Instant::now(),
            // What begins here begins with a state that is there already.
            last_frame: Some(simulation.next_frame()),
            cost: Duration::ZERO,
            taken: 0,
            prepared: false,
            asked: Arc::default(),
        });
        Self { run_dir, collector, snapshots }
    }

    /// Returns the flag that is set to ask for a snapshot after the current frame.
    pub fn snapshot_request(&self) -> Option<Arc<AtomicBool>> {
        self.snapshots.as_ref().map(|snapshots| Arc::clone(&snapshots.asked))
    }

    /// Returns the sums so far.
    pub const fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Returns the run directory.
    pub const fn run_dir(&self) -> &RunDir {
        &self.run_dir
    }

    /// Takes the record of a frame that the journal has already.
    ///
    /// # Errors
    /// Fails if a file can't be written.
    pub fn append_again(&mut self, record: FrameRecord) -> Result<(), RunError> {
        self.put(RecordedFrame { to_journal: false, ..RecordedFrame::new(record) })
    }

    /// Adds a frame to the run and to its summary, or to neither of them if it has no room.
    fn put(&mut self, frame: RecordedFrame) -> Result<(), RunError> {
        let Self { run_dir, collector, .. } = self;
        run_dir.keep_for_end(collector.json_bytes_max_with(&frame.record));
        run_dir.append_with(frame, |record| collector.add(record))
    }

    /// Takes a snapshot now, unless there is one of this frame.
    ///
    /// # Errors
    /// Fails if a file can't be written.
    pub fn snapshot(&mut self, simulation: &mut Simulation) -> Result<(), RunError> {
        let frame = Some(simulation.next_frame());
        // Another one would go on from the file that it replaces.
        if self.snapshots.as_ref().is_some_and(|snapshots| snapshots.last_frame == frame) {
            return Ok(());
        }
        self.take_snapshot(simulation)
    }

    fn take_snapshot(&mut self, simulation: &mut Simulation) -> Result<(), RunError> {
        let full = self.snapshots.as_ref().is_none_or(|snapshots| snapshots.taken.is_multiple_of(CHAIN_MAX));
        let permit = self.run_dir.snapshot_permit()?;
        let started = Instant::now();
        let state = simulation.copy(full);
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.asked.store(false, Ordering::Relaxed);
            snapshots.taken = snapshots.taken.wrapping_add(1);
            snapshots.last = Instant::now();
            snapshots.last_frame = Some(state.frame);
            snapshots.cost = started.elapsed();
        }
        self.run_dir.snapshot(state, self.extras(), permit)
    }

    /// Returns what a run that goes on from a snapshot needs besides the state.
    fn extras(&self) -> Vec<(String, Vec<u8>)> {
        vec![(COLLECTED.to_owned(), self.collector.save())]
    }

    /// Ends the run with the summary, and with a last snapshot if much would have to be run again without it.
    ///
    /// # Errors
    /// Fails if a file can't be written.
    pub fn finish(&mut self, simulation: &mut Simulation, summary: &Summary) -> Result<(), RunError> {
        let is_due = |snapshots: &SnapshotTimer| {
            let is_old = || snapshots.every.is_none() && snapshots.last.elapsed() >= LAST_PERIOD_MIN;
            snapshots.asked.load(Ordering::Relaxed) || is_old()
        };
        if self.snapshots.as_ref().is_some_and(is_due) {
            self.snapshot(simulation)?;
        }
        self.run_dir.finish(summary)
    }
}

impl SnapshotTimer {
    /// Returns whether it is time to allocate memory for the first one, which is half way to it.
    fn is_half_way(&self, next: u64) -> bool {
        let is_near = || match self.every {
            Some(every) => every > 1 && next % every >= every / 2,
            None => self.last.elapsed() >= PERIOD_MIN / 2,
        };
        !self.prepared && self.taken == 0 && is_near()
    }

    /// Returns whether one is to be taken before the frame `next`.
    fn is_due(&self, next: u64, is_busy: bool) -> bool {
        let period = || PERIOD_MIN.max(self.cost * COST_SHARE);
        let is_wanted =
            || self.asked.load(Ordering::Relaxed) || self.every.is_none() && self.last.elapsed() >= period();
        // One after a certain frame is waited for. Any other one has time until the one before is written.
        self.every.is_some_and(|every| next.is_multiple_of(every.max(1))) || !is_busy && is_wanted()
    }
}

impl FrameSink for Recording {
    type Error = RunError;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), RunError> {
        let is_busy = self.run_dir.is_busy();
        let next = record.frame + 1;
        let is_due = self.snapshots.as_ref().is_some_and(|snapshots| snapshots.is_due(next, is_busy));
        self.put(RecordedFrame::new(record))?;
        if is_due {
            return self.take_snapshot(simulation);
        }
        if let Some(snapshots) = self.snapshots.as_mut().filter(|snapshots| snapshots.is_half_way(next)) {
            snapshots.prepared = true;
            let preparation = simulation.prepare_copy();
            // It is only faster with it.
            let _ = threads::spawn("snapshot-memory", || preparation.run());
        }
        Ok(())
    }

    fn has_kept_last(&self) -> bool {
        self.run_dir.has_kept_last
    }
}
