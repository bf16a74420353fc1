//! Explains a divergence: looks for the values that differ.
//!
//! The journal says in which frame, in which lanes of the digest and in which components of authors two executions part, but
//! it has no values. They come from a state that is as it was recorded, or that parts from this one:
//!
//! 1. a snapshot that was taken right after the frame has the recorded values;
//! 2. else the frame is run a second time: what isn't deterministic on one machine parts there, too;
//! 3. else the next snapshot has the values of a later frame.

use wasm_engine_components::FrameRecord;

use super::compare::compare;
use super::divergence::{Compared, Divergence};
use super::error::FollowError;
use super::run_replayer::RunReplayer;
use crate::frame_loop::FrameSink;
use crate::problem::RunError;
use crate::simulation::Simulation;

/// Looks for the values of a divergence. `simulation` is the one that diverged, right after that frame. Where no other can be built to
/// compare it with, [`Divergence::trouble`] says why.
pub fn explain(divergence: &mut Divergence, replayer: &RunReplayer<'_>, simulation: &mut Simulation) {
    divergence.trouble = compare_values(divergence, replayer, simulation).err().map(|error| format!("{error:#}"));
}

fn compare_values(
    divergence: &mut Divergence,
    replayer: &RunReplayer<'_>,
    simulation: &mut Simulation,
) -> Result<(), RunError> {
    let after = divergence.frame + 1;
    let snapshots = replayer.run.snapshot_frames()?;
    if snapshots.contains(&after)
        && let Ok(mut restored) = replayer.restore(after)?
    {
        divergence.compared = Compared::Recorded;
        divergence.comparison = compare(&mut restored.simulation, simulation);
        return Ok(());
    }
    if let Some(mut second) = run_again(divergence.frame, replayer)? {
        divergence.comparison = compare(&mut second, simulation);
        if !divergence.comparison.is_empty() {
            divergence.compared = Compared::SecondExecution;
            return Ok(());
        }
    }
    let Some(&later) = snapshots.iter().find(|&&at| at > after) else { return Ok(()) };
    if let Ok(mut restored) = replayer.restore(later)?
        && run_on(replayer, simulation, later).is_ok()
    {
        divergence.compared = Compared::Later(later);
        divergence.comparison = compare(&mut restored.simulation, simulation);
    }
    Ok(())
}

/// Executes a second time up to the end of `frame`. Returns `None` if that isn't reached.
fn run_again(frame: u64, replayer: &RunReplayer<'_>) -> Result<Option<Simulation>, RunError> {
    let mut second = match replayer.at(frame) {
        Ok(restored) => restored.simulation,
        Err(FollowError::Error(error)) => return Err(error),
        // It parts even earlier: then not even the frames before are the same every time.
        Err(FollowError::Diverged(_)) => return Ok(None),
    };
    Ok(run_on(replayer, &mut second, frame + 1).is_ok().then_some(second))
}

/// Gives a simulation what was recorded up to the frame `to`, whatever comes of it.
fn run_on(replayer: &RunReplayer<'_>, simulation: &mut Simulation, to: u64) -> Result<(), FollowError> {
    replayer.run_to(simulation, to, &mut Unchecked)
}

/// Takes records as they come.
struct Unchecked;

impl FrameSink for Unchecked {
    type Error = FollowError;

    fn append(&mut self, _: FrameRecord, _: &mut Simulation) -> Result<(), FollowError> {
        Ok(())
    }
}
