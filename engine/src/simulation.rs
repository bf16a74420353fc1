//! A world with its machine: built from a scenario, advanced frame by frame.

use wasm_engine_components::{FrameInputs, FrameRecord};

/// A simulation that is ready to run its next frame.
pub struct Simulation {
    frame: u64,
}

impl Simulation {
    /// Number of the next frame.
    pub const fn next_frame(&self) -> u64 {
        self.frame
    }

    /// Runs one frame. It does no file or network I/O, and can't fail.
    pub fn frame(&mut self, inputs: FrameInputs) -> FrameRecord {
        drop(inputs);
        self.frame += 1;
        FrameRecord::default()
    }
}
