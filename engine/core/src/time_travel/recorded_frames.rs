//! Reads the frames of a run's journal one after the other, for callers that know which frame comes next.

use std::path::PathBuf;

use crate::journal::{Frames, JournalFrame};
use crate::problem::Problem;
use crate::run_dir::OpenRun;

/// Recorded frames of a range.
pub(super) struct RecordedFrames {
    frames: Frames,
    to: u64,
    journal: PathBuf,
}

impl RecordedFrames {
    /// Returns the frames `from..to` of `run`, as far as it has them.
    pub fn new(run: &OpenRun, from: u64, to: u64) -> Self {
        let journal = run.journal.folder().to_path_buf();
        Self { frames: run.journal.frames_from(from), to: to.min(run.end_frame()), journal }
    }

    /// Returns what was recorded of a frame, or `None` if it isn't in the range. Frames must be asked for in order.
    ///
    /// # Errors
    /// Fails if the journal can't be read, or isn't what it was when it was opened.
    pub fn next(&mut self, frame: u64) -> Result<Option<JournalFrame>, Problem> {
        if frame >= self.to {
            return Ok(None);
        }
        let problem = |what: String| {
            Err(Problem::new(what).file(&self.journal).help("it was changed while it was read: try again"))
        };
        match self.frames.next().transpose()? {
            Some(recorded) if recorded.frame == frame => Ok(Some(recorded)),
            Some(recorded) => {
                problem(format!("the journal has frame {} where frame {frame} should be", recorded.frame))
            }
            None => problem(format!("the journal ends before frame {frame}")),
        }
    }
}
