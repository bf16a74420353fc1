//! The main loop. Run, replay, resume and branch are this loop with different sources and sinks.

use tracing::field::Empty;
use tracing::info_span;
use wasm_engine_components::{FrameInputs, FrameRecord};

use crate::simulation::Simulation;

/// Source of the inputs of frames. It does I/O, and may fail.
pub trait FrameSource {
    /// Why there are no inputs.
    type Error;

    /// Returns the inputs of frame `frame`; `None` ends the run.
    ///
    /// # Errors
    /// Fails if the inputs can't be read.
    fn next_frame(&mut self, frame: u64) -> Result<Option<FrameInputs>, Self::Error>;
}

/// Sink of the records of frames. It does I/O, and may fail.
pub trait FrameSink {
    /// Why a record couldn't be kept.
    type Error;

    /// Takes the record of a frame. It may look at the simulation between two frames: to save or to check its state.
    ///
    /// # Errors
    /// Fails if the record can't be written, or isn't the one that was expected.
    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), Self::Error>;

    /// Returns whether the record with which [`append`](Self::append) failed was kept all the same, because its inputs can't be had again.
    fn has_kept_last(&self) -> bool {
        false
    }
}

/// Runs frames until the source ends. Whoever listens sees it as the span `run`, which says at its end what the next frame would have been, and whether
/// the source or the sink failed. A frame that the sink didn't keep is the next one.
///
/// # Errors
/// Fails with the first error of the source or the sink. A frame itself can't fail.
pub fn run<E>(
    simulation: &mut Simulation,
    source: &mut impl FrameSource<Error = E>,
    sink: &mut impl FrameSink<Error = E>,
) -> Result<(), E> {
    let first_frame = simulation.next_frame();
    let span = info_span!("run", first_frame, next_frame = Empty, is_failed = Empty).entered();
    let mut next_frame = first_frame;
    let ended = run_all(simulation, source, sink, &mut next_frame);
    let is_kept = ended.is_err() && sink.has_kept_last();
    span.record("next_frame", next_frame + u64::from(is_kept)).record("is_failed", ended.is_err());
    ended
}

fn run_all<E>(
    simulation: &mut Simulation,
    source: &mut impl FrameSource<Error = E>,
    sink: &mut impl FrameSink<Error = E>,
    next_frame: &mut u64,
) -> Result<(), E> {
    while let Some(inputs) = source.next_frame(simulation.next_frame())? {
        let record = simulation.frame(inputs);
        sink.append(record, simulation)?;
        *next_frame = simulation.next_frame();
    }
    Ok(())
}
