//! The main loop's two ends for a run that was recorded: frames come from its journal, and each record is held against it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use wasm_engine_components::text::shown_path;
use wasm_engine_components::{FrameInputs, FrameRecord};

use super::divergence::Divergence;
use crate::events::{EventCounts, EventSource};
use crate::frame_loop::{FrameSink, FrameSource};
use crate::journal::{Frames, JournalFrame};
use crate::problem::{Problem, RunError};
use crate::run_dir::OpenRun;
use crate::simulation::Simulation;
use crate::snapshot;
use crate::summary::Collector;
use crate::tap::{Inference, InferenceLog, LateRows};

/// Why a run didn't follow its recording to the end.
#[derive(Debug)]
pub enum Stop {
    /// Something can't be read, or isn't what it was.
    Error(RunError),
    /// A frame came out otherwise.
    Diverged(Box<Divergence>),
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        Self::Error(error)
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Error(RunError::Input(problem))
    }
}

/// What the two ends share: the journal's record of the frame in hand.
type Expected = Arc<Mutex<Option<JournalFrame>>>;

/// Where a run's inputs come from after the recorded ones.
pub struct Live {
    /// The events.
    pub source: EventSource,
    /// Whether the source gives those of recorded frames, too. Then they must be what was recorded.
    pub repeats: bool,
}

/// Inputs from a journal, and then, perhaps, from elsewhere.
pub struct JournalSource {
    frames: Frames,
    expected: Expected,
    log: InferenceLog,
    inference: Inference,
    /// The first frame that isn't taken from the journal.
    to: u64,
    live: Option<Live>,
    counts: EventCounts,
    journal: PathBuf,
}

/// Holds each record against the journal's.
pub struct Follower {
    expected: Expected,
    log: InferenceLog,
    snapshots: Snapshots,
    /// Sums over the frames, if they are wanted.
    pub collector: Option<Collector>,
    /// How many frames were as they were recorded.
    pub checked: u64,
    /// The rows that took too long to be compared, if any, and the frame of the first one.
    pub late: Option<(u64, LateRows)>,
    /// Snapshots that are damaged.
    pub warnings: Vec<String>,
}

/// The snapshots that a run has: each says what all memories' digest was.
struct Snapshots {
    folder: PathBuf,
    /// Ascending.
    frames: Vec<u64>,
}

/// The two ends for the frames of `run` from `from` on, up to `to` and without it; then those of `live`, which are only passed on.
pub fn follow(
    run: &OpenRun,
    log: &InferenceLog,
    inference: Inference,
    from: u64,
    to: u64,
    live: Option<Live>,
) -> (JournalSource, Follower) {
    let to = to.min(run.end_frame());
    let frames = run.journal.frames_from(from);
    let expected = Expected::default();
    let source = JournalSource {
        frames,
        expected: Arc::clone(&expected),
        log: log.clone(),
        inference,
        to,
        live,
        counts: EventCounts::default(),
        journal: run.journal.folder().to_path_buf(),
    };
    let snapshots = Snapshots { folder: run.snapshots(), frames: run.snapshot_frames() };
    let follower = Follower {
        expected,
        log: log.clone(),
        snapshots,
        collector: None,
        checked: 0,
        late: None,
        warnings: Vec::new(),
    };
    (source, follower)
}

impl JournalSource {
    /// Goes on with what was counted of events before.
    #[must_use]
    pub(super) fn with_counts(mut self, counts: EventCounts) -> Self {
        self.counts = counts;
        self
    }

    fn recorded(&mut self, frame: u64) -> Result<FrameInputs, Stop> {
        let (journal, help) = (&self.journal, "it was changed while it was read: try again");
        let problem = |what: String| Problem::new(what).file(journal).help(help);
        let missing = || Err(problem(format!("the journal ends before frame {frame}")));
        let recorded = self.frames.next().unwrap_or_else(missing)?;
        if recorded.frame != frame {
            let what = format!("the journal has frame {} where frame {frame} should be", recorded.frame);
            return Err(problem(what).into());
        }
        let inputs = recorded.inputs.clone();
        if let Some(Live { source, repeats: true }) = &mut self.live {
            // Also where the run was asked to end by now: that is after its recorded frames.
            let again = source.inputs(frame)?.unwrap_or_default();
            if again != inputs {
                let what = format!("the events of frame {frame} aren't those that were recorded");
                let help = match source.repeats() {
                    true => "put the events file back as it was when the run was recorded",
                    false => {
                        "the branch's first snapshot keeps them, and isn't the one that it began with: branch again"
                    }
                };
                return Err(Problem::new(what).file(source.path()).help(help).into());
            }
        }
        self.counts = self.counts.plus(&recorded.counts);
        self.log.give(recorded.inference.clone(), recorded.notices.clone(), self.inference);
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(recorded);
        Ok(inputs)
    }
}

impl FrameSource for JournalSource {
    type Error = Stop;

    fn next_frame(&mut self, frame: u64) -> Result<Option<FrameInputs>, Stop> {
        if frame < self.to {
            return self.recorded(frame).map(Some);
        }
        match &mut self.live {
            Some(live) => Ok(live.source.next_frame(frame)?),
            None => Ok(None),
        }
    }

    fn counts(&self) -> EventCounts {
        match &self.live {
            Some(Live { source, repeats: true }) => source.counts(),
            Some(live) => self.counts.plus(&live.source.counts()),
            None => self.counts,
        }
    }
}

impl Follower {
    /// Holds the record of a frame against the journal's. Gives whether the journal has it.
    ///
    /// # Errors
    /// It is another.
    pub fn check(&mut self, record: &FrameRecord, simulation: &mut Simulation) -> Result<bool, Stop> {
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(expected) = expected else { return Ok(false) };
        let row = self.log.end_frame();
        if let Some(late) = self.log.take_late() {
            match &mut self.late {
                Some((_, all)) => all.rows += late.rows,
                none => *none = Some((record.frame, late)),
            }
        }
        let is_same = expected.digest == record.digest && row.is_none();
        if is_same && self.has_recorded_memories(record, simulation) {
            self.checked += 1;
            return Ok(true);
        }
        Err(Stop::Diverged(Box::new(Divergence::new(&expected, record, row, is_same))))
    }

    /// Whether all memories are what they were, if there is a snapshot that says so.
    fn has_recorded_memories(&mut self, record: &FrameRecord, simulation: &mut Simulation) -> bool {
        let Snapshots { folder, frames } = &self.snapshots;
        let frame = record.frame + 1;
        if frames.binary_search(&frame).is_err() {
            return true;
        }
        match snapshot::read_digests(folder, frame) {
            Ok((digest, memories)) if digest == record.digest => return simulation.memory_digest() == memories,
            Ok(_) => {
                let file = snapshot::path(folder, frame);
                let file = shown_path(&file);
                self.warnings.push(format!(
                    "{file}: it isn't one of this run; agents' memories aren't checked before frame {frame}"
                ));
            }
            Err(problem) => {
                let problem = problem.head();
                self.warnings.push(format!("{problem}; agents' memories aren't checked before frame {frame}"));
            }
        }
        true
    }
}

impl FrameSink for Follower {
    type Error = Stop;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), Stop> {
        self.check(&record, simulation)?;
        if let Some(collector) = &mut self.collector {
            collector.add(&record);
        }
        Ok(())
    }
}
