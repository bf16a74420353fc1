//! Watch: runs a recorded run again, and shows the world to a function after each frame.

use wasm_engine_components::FrameRecord;

use super::digest_checker::DigestChecker;
use super::error::FollowError;
use super::run_replayer::{RestoredRun, RunReplayer};
use crate::frame_loop::FrameSink;
use crate::problem::{Problem, RunError, thousands};
use crate::simulation::Simulation;

/// Runs the frames `from..to`, and calls `visit` after each. Returns the simulation after the last one.
///
/// # Errors
/// Fails if the run can't be built again, doesn't repeat its recording, or has no such frames.
pub fn watch(
    replayer: &RunReplayer<'_>,
    from: u64,
    to: u64,
    visit: &mut (dyn FnMut(&FrameRecord, &mut Simulation) + Send),
) -> Result<RestoredRun, FollowError> {
    let run = replayer.run;
    if from < run.first_frame() || from >= run.end_frame() || to > run.end_frame() {
        let what = format!("frame {} wasn't recorded", thousands(if to > run.end_frame() { to - 1 } else { from }));
        return Err(RunError::from(Problem::new(what).file(&run.path).help(run.frames_help())).into());
    }
    let mut restored = replayer.start(from)?;
    let mut watcher = Watcher { checker: replayer.checker(&restored.simulation, to)?, from, visit };
    replayer.run_to(&mut restored.simulation, to, &mut watcher)?;
    Ok(restored)
}

/// Checks each frame, and shows it.
struct Watcher<'a> {
    checker: DigestChecker,
    from: u64,
    visit: &'a mut (dyn FnMut(&FrameRecord, &mut Simulation) + Send),
}

impl FrameSink for Watcher<'_> {
    type Error = FollowError;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), FollowError> {
        self.checker.check(&record, simulation)?;
        if record.frame >= self.from {
            (self.visit)(&record, simulation);
        }
        Ok(())
    }
}
