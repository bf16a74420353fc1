//! Inputs that can't be read again where they came from, such as those of standard input, as a run's journal has them: what a branch of such a run
//! is given in their place.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use wasm_engine_components::FrameInputs;

use super::EventCounts;

/// What came from outside for one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFrame {
    /// The frame.
    pub frame: u64,
    /// Messages, commands, and the swaps that aren't the scenario's own.
    pub inputs: FrameInputs,
    /// Of how many lines they were.
    pub counts: EventCounts,
}

/// Kept inputs, from the first frame that hasn't been asked for.
#[derive(Debug, Default)]
pub(super) struct KeptInputs(VecDeque<KeptFrame>);

impl KeptInputs {
    pub fn new(frames: Vec<KeptFrame>) -> Self {
        Self(frames.into())
    }

    /// The inputs of a frame. Frames are asked for in their order.
    pub fn of(&mut self, frame: u64) -> Option<KeptFrame> {
        while self.0.pop_front_if(|kept| kept.frame < frame).is_some() {}
        self.0.pop_front_if(|kept| kept.frame == frame)
    }
}
