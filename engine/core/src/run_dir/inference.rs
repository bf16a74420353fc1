//! What models do where frames of a recorded run are run again.

use wasm_engine_components::{ModelAnswers, ModelResults};

/// What models do in frames that were recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inference {
    /// Recorded results are given back. Nothing is computed, so no ONNX Runtime is needed.
    #[default]
    Recorded,
    /// Models compute, and their results are compared with the recorded ones. No clock decides: what took too long when it was recorded
    /// isn't computed, and what takes too long now isn't compared.
    Recompute,
    /// Recorded results are given back as long as there are any, and models compute from there on.
    RecordedThenComputed,
}

impl Inference {
    /// Returns the answers of a frame's models, of which so much was recorded.
    pub const fn answers(self, recorded: ModelResults) -> ModelAnswers {
        match self {
            Self::Recorded | Self::RecordedThenComputed => ModelAnswers::Recorded(recorded),
            Self::Recompute => ModelAnswers::Recompute(recorded),
        }
    }
}
