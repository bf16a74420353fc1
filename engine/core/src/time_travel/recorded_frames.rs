//! The frames of a run's journal, read one after the other by somebody who knows which one comes next.

use std::path::PathBuf;

use crate::journal::{Frames, JournalFrame};
use crate::problem::Problem;
use crate::run_dir::OpenRun;

/// Recorded frames, from one frame up to another and without that.
pub(super) struct RecordedFrames {
    frames: Frames,
    to: u64,
    journal: PathBuf,
}

impl RecordedFrames {
    /// The frames of `run` from `from` up to `to`, as far as it has them.
    pub fn new(run: &OpenRun, from: u64, to: u64) -> Self {
        let journal = run.journal.folder().to_path_buf();
        Self { frames: run.journal.frames_from(from), to: to.min(run.end_frame()), journal }
    }

    /// Returns what was recorded of a frame, or `None` if it is none of these. They are asked for in their order.
    ///
    /// # Errors
    /// The journal can't be read, or isn't what it was when it was opened.
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
