//! Room on the disk for the frames of a run, before they are written.

use std::time::Duration;

use super::{RecordedFrame, RunDir};
use crate::problem::RunError;

/// Interval at which a writer that is behind is checked.
const POLL: Duration = Duration::from_millis(1);

impl RunDir {
    /// Reserves room for a frame. If there is none, returns why the run has to end; the frames before are written then.
    ///
    /// # Errors
    /// Fails if a file can't be written.
    pub(super) fn take_room(&mut self, frame: &mut RecordedFrame) -> Result<Option<RunError>, RunError> {
        frame.taken = frame.bytes_max();
        if self.disk.take_for_frame(frame.taken) {
            return Ok(None);
        }
        // Frames that wait were counted at their largest size.
        self.wait_for_writer()?;
        if self.disk.take_for_frame(frame.taken) {
            return Ok(None);
        }
        let next = frame.record.frame + u64::from(self.streams);
        let error = self.disk.error(next, self.recorded);
        if self.streams {
            // The frame's inputs can't be read again, so it is kept, and is the last one.
            self.disk.take_for_last_frame(frame.taken);
        }
        Ok(Some(error))
    }

    /// Keeps room for the end of the run, as [`Disk::keep_for_end`](super::disk::Disk::keep_for_end).
    pub(super) fn keep_for_end(&self, bytes: u64) {
        self.disk.keep_for_end(bytes);
    }

    /// Waits until all frames so far are written.
    fn wait_for_writer(&mut self) -> Result<(), RunError> {
        self.hand_over()?;
        while self.disk.waits() {
            if self.thread.is_finished() {
                return self.thread.join();
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}
