//! Inference: models, and jobs as entities. A job lives from the frame that asked to the frame that delivers its result.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::InferenceStatus;

use crate::{AgentId, JobId, ModelId};

/// A model of the scenario, as the frame knows it. Fixed for a run; the session lives behind the port `ModelRuntime`.
#[derive(Component, Clone, Debug)]
pub struct Model {
    /// The number of its name.
    pub id: ModelId,
    /// Its name in the scenario.
    pub name: String,
    /// Bytes of one row: its inputs in the model's order, concatenated.
    pub row_bytes: u32,
    /// Most rows of one batch.
    pub batch_rows_max: u32,
    /// A job's result is delivered this many frames after it was asked for, at least 1.
    pub latency_frames: u32,
}

/// A question to a model. State.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InferenceJob {
    /// Its number.
    pub id: JobId,
    /// Who asked.
    pub agent: AgentId,
    /// Which model.
    pub model: ModelId,
    /// Chosen by the agent, and given back with the result.
    pub correlation: u64,
    /// The frame in which the result is delivered.
    pub due_frame: u64,
}

/// What a job carries: one row of inputs until it is dispatched, the result from then on. State.
#[derive(Component, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobData {
    /// One row: the model's inputs in its order, concatenated.
    Input(Vec<u8>),
    /// The result.
    Output {
        /// How it went.
        #[serde(with = "status_number")]
        status: InferenceStatus,
        /// The outputs in the model's order, concatenated; empty unless the status is `Ok`.
        bytes: Vec<u8>,
    },
}

/// Something about a model that is told beside the results of a frame: why rows have none, that an audit failed, or that it is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelNotice {
    /// Which model.
    pub model: ModelId,
    /// What happened.
    pub kind: ModelNoticeKind,
    /// Number of rows to which it happened.
    pub rows: u32,
    /// The reason that was given for the first of them: a line of at most
    /// [`MODEL_REASON_BYTES_MAX`](crate::limits::MODEL_REASON_BYTES_MAX) bytes.
    pub reason: String,
}

/// What a [`ModelNotice`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ModelNoticeKind {
    /// The model failed on rows.
    Failed,
    /// Rows took too long.
    TimedOut,
    /// A row that was run again in other company had another result. From the next frame on, each of the model's rows is run without
    /// company.
    AuditFailed,
    /// A run of the model didn't end although it was told to, so that it was left behind. From the next frame on, the model isn't run.
    GivenUp,
}

impl ModelNoticeKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Failed, Self::TimedOut, Self::AuditFailed, Self::GivenUp];

    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::AuditFailed => "audit_failed",
            Self::GivenUp => "given_up",
        }
    }
}

/// A status as its number.
mod status_number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use wasm_engine_abi::InferenceStatus;

    pub(super) fn serialize<S: Serializer>(status: &InferenceStatus, serializer: S) -> Result<S::Ok, S::Error> {
        (*status as u32).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InferenceStatus, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let known = InferenceStatus::ALL.into_iter().find(|status| *status as u32 == number);
        known.ok_or_else(|| serde::de::Error::custom("no status of an inference job has that number"))
    }
}
