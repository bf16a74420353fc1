//! Use of models when frames of a recorded run are run again.

use wasm_engine_components::{ModelAnswers, ModelResults};

/// Use of models in frames that were recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inference {
    /// Recorded results are used. Nothing is computed, so no ONNX Runtime is needed.
    #[default]
    Recorded,
    /// Models compute, and their results are compared with the recorded ones. The clock doesn't matter: rows that took too long when they
    /// were recorded aren't computed, and rows that take too long now aren't compared.
    Recompute,
    /// Recorded results are used as long as there are any; after that, models compute.
    RecordedThenComputed,
}

impl Inference {
    /// Returns where the answers of a frame's models come from. `recorded` are those that were recorded of it.
    pub const fn answers(self, recorded: ModelResults) -> ModelAnswers {
        match self {
            Self::Recorded | Self::RecordedThenComputed => ModelAnswers::Recorded(recorded),
            Self::Recompute => ModelAnswers::Recompute(recorded),
        }
    }
}
