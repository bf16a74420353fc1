//! The main loop's source for a run that was recorded: its journal, and after that, perhaps, what goes on with it.

use wasm_engine_components::FrameInputs;

use super::error::FollowError;
use super::recorded_frames::RecordedFrames;
use crate::events::EventSource;
use crate::frame_loop::FrameSource;
use crate::problem::Problem;
use crate::run_dir::{Inference, OpenRun};

/// Source of a run's inputs after the recorded ones.
pub struct LiveTail {
    /// The events.
    pub source: EventSource,
    /// Whether the source gives those of recorded frames, too. Then they must be what was recorded.
    pub repeats: bool,
}

/// Inputs from a journal, and then, perhaps, from elsewhere.
pub struct JournalSource {
    frames: RecordedFrames,
    inference: Inference,
    live: Option<LiveTail>,
}

impl JournalSource {
    /// Returns the inputs of the frames of `run` from `from` on, up to `to` and without it; then those of `live`.
    pub fn new(run: &OpenRun, inference: Inference, (from, to): (u64, u64), live: Option<LiveTail>) -> Self {
        Self { frames: RecordedFrames::new(run, from, to), inference, live }
    }

    /// Returns the number of lines of events for a frame after the last one, where such events are read.
    pub fn late_lines(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.source.late_lines())
    }
}

impl FrameSource for JournalSource {
    type Error = FollowError;

    fn next_frame(&mut self, frame: u64) -> Result<Option<FrameInputs>, FollowError> {
        let Some(recorded) = self.frames.next(frame)? else {
            return match &mut self.live {
                Some(live) => Ok(live.source.next_frame(frame)?),
                None => Ok(None),
            };
        };
        if let Some(LiveTail { source, repeats: true }) = &mut self.live {
            // Also where the run was asked to end by now: that is after its recorded frames.
            let again = source.inputs(frame)?.unwrap_or_default();
            check_events(frame, &recorded.inputs, &again, source)?;
        }
        Ok(Some(FrameInputs { models: self.inference.answers(recorded.inference), ..recorded.inputs }))
    }
}

/// Events that are read again must be those that were recorded.
fn check_events(
    frame: u64,
    recorded: &FrameInputs,
    again: &FrameInputs,
    source: &EventSource,
) -> Result<(), FollowError> {
    let FrameInputs { events, commands, swaps, .. } = again;
    if (&recorded.events, &recorded.commands, &recorded.swaps) == (events, commands, swaps) {
        return Ok(());
    }
    let what = format!("the events of frame {frame} aren't those that were recorded");
    let help = match source.repeats() {
        true => "put the events file back as it was when the run was recorded",
        false => "the branch's first snapshot keeps them, and isn't the one that it began with: branch again",
    };
    Err(Problem::new(what).file(source.path()).help(help).into())
}
