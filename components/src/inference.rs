//! Inference: jobs as entities. A job lives from the frame that asked to the frame that delivers its result.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::InferenceStatus;

use crate::{AgentId, JobId, ModelId};

/// A question to a model. State.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InferenceJob {
    /// Its number.
    pub id: JobId,
    /// The agent that asked.
    pub agent: AgentId,
    /// The model.
    pub model: ModelId,
    /// Chosen by the agent, and given back with the result.
    pub correlation: u64,
    /// The frame in which the result is delivered.
    pub due_frame: u64,
}

/// Data of a job: one row of inputs until it is dispatched, the result from then on. State.
#[derive(Component, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobData {
    /// One row: the model's inputs in its order, concatenated.
    Input(Vec<u8>),
    /// The result.
    Output {
        /// Status of the job.
        #[serde(with = "status_number")]
        status: InferenceStatus,
        /// The outputs in the model's order, concatenated; empty unless the status is `Ok`.
        bytes: Vec<u8>,
    },
}

/// Something about a model that is told beside the results of a frame: why rows have none, that an audit failed, or that it is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelNotice {
    /// The model.
    pub model: ModelId,
    /// Kind of the notice: what happened to the model's rows.
    pub kind: ModelNoticeKind,
    /// Number of rows to which it happened.
    pub rows: u32,
    /// The reason that was given for the first of them: a line of at most
    /// [`MODEL_REASON_BYTES_MAX`](crate::limits::MODEL_REASON_BYTES_MAX) bytes.
    pub reason: String,
}

wasm_engine_abi::numbered_enum! {
    /// Kind of a [`ModelNotice`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub enum ModelNoticeKind: u8 {
        /// The model failed on rows.
        Failed = 0, "failed";
        /// Rows took too long.
        TimedOut = 1, "timed_out";
        /// A row that was run again in other company had another result. From the next frame on, each of the model's rows is run without
        /// company.
        AuditFailed = 2, "audit_failed";
        /// A run of the model didn't end although it was told to, so that it was left behind. From the next frame on, the model isn't run.
        GivenUp = 3, "given_up";
    }
}

/// Source of the answers of a frame's models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModelAnswers {
    /// Models compute them.
    #[default]
    Compute,
    /// They were recorded, and are given back. No model runs.
    Recorded(ModelResults),
    /// Models compute them again, to be compared with what was recorded. What depends on the machine is taken from the recording:
    /// its notices, and rows that took too long, be it then or now.
    Recompute(ModelResults),
}

/// Results of models for the rows of a frame.
#[derive(Clone, Debug, Default)]
pub struct ModelResults {
    /// One for each row of each batch, in order.
    pub rows: Vec<RowResult>,
    /// Bytes of all outputs, at the rows' offsets.
    pub bytes: Vec<u8>,
    /// Notices about the models, sorted by model and kind, one of each: see [`ModelResults::notice`].
    pub notices: Vec<ModelNotice>,
}

impl ModelResults {
    /// Empties the results and keeps their buffers.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.bytes.clear();
        self.notices.clear();
    }

    /// Adds a row.
    pub fn push(&mut self, status: InferenceStatus, output: &[u8]) {
        self.rows.push(RowResult { status, offset: self.bytes.len(), bytes: output.len() });
        self.bytes.extend_from_slice(output);
    }

    /// Adds `rows` rows of a model to the notice of a kind. The reason that was given first stays.
    pub fn notice(&mut self, model: ModelId, kind: ModelNoticeKind, rows: u32, reason: impl FnOnce() -> String) {
        match self.notices.binary_search_by_key(&(model, kind), |notice| (notice.model, notice.kind)) {
            Ok(at) => self.notices[at].rows = self.notices[at].rows.saturating_add(rows),
            Err(at) => self.notices.insert(at, ModelNotice { model, kind, rows, reason: reason() }),
        }
    }

    /// Returns the outputs of a row.
    pub fn output(&self, row: &RowResult) -> &[u8] {
        &self.bytes[row.offset..row.offset + row.bytes]
    }

    /// Returns each row's status and outputs, in order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = (InferenceStatus, &[u8])> {
        self.rows.iter().map(|row| (row.status, self.output(row)))
    }

    /// Returns the row with an index, if there is one.
    pub fn row(&self, index: usize) -> Option<RowAnswer> {
        let row = self.rows.get(index)?;
        Some(RowAnswer { status: row.status, output: self.output(row).to_vec() })
    }
}

/// Two results are equal if their rows and notices are, wherever the outputs lie.
impl PartialEq for ModelResults {
    fn eq(&self, other: &Self) -> bool {
        self.outputs().eq(other.outputs()) && self.notices == other.notices
    }
}

impl Eq for ModelResults {}

/// Result of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowResult {
    /// Status of the row.
    pub status: InferenceStatus,
    /// Offset of the outputs in [`ModelResults::bytes`]: the outputs in the model's order, concatenated.
    pub offset: usize,
    /// Their length in bytes; 0 unless the status is `Ok`.
    pub bytes: usize,
}

/// Result of one row, apart from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowAnswer {
    /// Status of the row.
    pub status: InferenceStatus,
    /// The outputs in the model's order, concatenated.
    pub output: Vec<u8>,
}

/// Rows that were to be computed again, and took too long. Their recorded results are taken, without a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateRows {
    /// Number of rows.
    pub rows: u64,
    /// Model of the first one.
    pub model: ModelId,
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
        InferenceStatus::from_number(number)
            .ok_or_else(|| serde::de::Error::custom("no status of an inference job has that number"))
    }
}
