//! Watch: a recorded run is run again, and somebody looks at the world after each frame.

use wasm_engine_components::FrameRecord;

use super::follow::{Follower, Stop};
use super::traveller::{Arrival, Traveller};
use crate::frame_loop::FrameSink;
use crate::problem::{Problem, RunError, thousands};
use crate::simulation::Simulation;

/// Runs the frames `from` up to `to` and without it, and calls `visit` after each of them. Gives the simulation after the last.
///
/// # Errors
/// The run can't be built again, doesn't do again what it did, or has no such frames.
pub fn watch(
    traveller: &Traveller<'_>,
    from: u64,
    to: u64,
    visit: &mut (dyn FnMut(&FrameRecord, &mut Simulation) + Send),
) -> Result<Arrival, Stop> {
    let run = traveller.run;
    if from < run.first_frame() || from >= run.end_frame() || to > run.end_frame() {
        let what = format!("frame {} wasn't recorded", thousands(if to > run.end_frame() { to - 1 } else { from }));
        return Err(RunError::Input(Problem::new(what).file(&run.path).help(run.frames_help())).into());
    }
    let mut arrival = traveller.start(from)?;
    traveller.follow_to(&mut arrival.simulation, to, |follower| Watcher { follower, from, visit }).0?;
    Ok(arrival)
}

/// Checks each frame, and shows it.
struct Watcher<'a> {
    follower: Follower,
    from: u64,
    visit: &'a mut (dyn FnMut(&FrameRecord, &mut Simulation) + Send),
}

impl FrameSink for Watcher<'_> {
    type Error = Stop;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), Stop> {
        self.follower.check(&record, simulation)?;
        if record.frame >= self.from {
            (self.visit)(&record, simulation);
        }
        Ok(())
    }
}
