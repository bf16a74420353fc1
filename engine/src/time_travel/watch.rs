//! Watch: a recorded run is run again, and somebody looks at the world after each frame.

use wasm_engine_components::FrameRecord;

use super::follow::{Follower, Stop, follow};
use super::traveller::{Arrival, Traveller};
use crate::frame_loop::{self, FrameSink};
use crate::problem::{Problem, RunError};
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
        let what = format!("frame {} wasn't recorded", if to > run.end_frame() { to - 1 } else { from });
        let help = match run.end_frame().checked_sub(1).filter(|&last| last >= run.first_frame()) {
            Some(last) => format!("the run has the frames {} to {last}", run.first_frame()),
            None => "no frame of the run was recorded".to_owned(),
        };
        return Err(RunError::Input(Problem::new(what).file(&run.path).help(help)).into());
    }
    let mut arrival = traveller.start(from)?;
    let simulation = &mut arrival.simulation;
    let (log, started) = (simulation.inference().clone(), simulation.next_frame());
    let (mut source, follower) = follow(run, &log, traveller.inference, started, to, None);
    let mut sink = Watcher { follower, from, visit };
    let pool = simulation.pool();
    pool.install(|| frame_loop::run(simulation, &mut source, &mut sink))?;
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
