//! A frame is a function from the world and its inputs to a record. These are the two ends.

use serde::{Deserialize, Serialize};
use wasm_engine_abi::BounceReason;

use crate::{
    Action, AgentFault, AgentId, Digest, Excess, FaultCounts, GroupId, GroupTotals, Lanes, LateRows, ModelAnswers,
    ModelNotice, ModelResults, Recipient, RefusedCommand, Swap, SwapRecord,
};

/// All that enters the world in one frame. There is no other door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameInputs {
    /// External events, in the order in which they are delivered.
    pub events: Vec<ExternalEvent>,
    /// Commands from outside, in the order in which they take effect, in this frame.
    pub commands: Vec<Action>,
    /// Modules and models that are replaced at the start of this frame, in this order, before its commands.
    pub swaps: Vec<Swap>,
    /// Source of the models' answers: in a replay, they were recorded.
    pub models: ModelAnswers,
    /// From how many lines of external events all this was read. The frame passes it on to its record and doesn't look at it.
    pub counts: EventCounts,
}

impl FrameInputs {
    /// Returns whether nothing enters from outside: no event, no command and no swap.
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.commands.is_empty() && self.swaps.is_empty()
    }
}

/// Number of lines of external events, messages and commands, that were read for one frame, by what became of them. A run's summary has two more
/// counts, which nobody knows yet when the lines are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Number of lines that were given to a frame.
    pub delivered: u64,
    /// Number of lines for a group that doesn't take part in the run.
    pub disabled: u64,
}

impl EventCounts {
    /// Returns whether no line was read.
    pub const fn is_zero(&self) -> bool {
        self.delivered == 0 && self.disabled == 0
    }

    /// Adds the counts of further lines.
    pub const fn add(&mut self, other: &Self) {
        self.delivered = self.delivered.saturating_add(other.delivered);
        self.disabled = self.disabled.saturating_add(other.disabled);
    }
}

/// A message from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalEvent {
    /// The recipient.
    pub to: Recipient,
    /// The message's kind, below `0x8000_0000`.
    pub kind: u32,
    /// The message's correlation.
    pub correlation: u64,
    /// The payload.
    pub payload: Vec<u8>,
}

/// All that leaves the world at the end of a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameRecord {
    /// Number of the frame, from 0.
    pub frame: u64,
    /// Digest of all lanes, chained to the frame before.
    pub digest: Digest,
    /// The lanes.
    pub lanes: Lanes,
    /// Inputs of the frame, but for the answers of models: those that were given stand in `inference`.
    pub inputs: FrameInputs,
    /// Answers of models to the rows that were dispatched in this frame, in the order of the dispatch, and notices about them. A replay gives it back
    /// as [`FrameInputs::models`].
    pub inference: ModelResults,
    /// Rows that were to be computed again and weren't compared, because they took too long. Never set where models just compute.
    pub late_rows: Option<LateRows>,
    /// The digest of each registered component of authors, in the order of the names: what the lane `native` is made of.
    pub native: Vec<(&'static str, Digest)>,
    /// Counts of what happened.
    pub counts: FrameCounts,
    /// The groups, in the order of their numbers.
    pub groups: Vec<GroupRecord>,
    /// Faults, in the order of the agents' ids.
    pub faults: Vec<AgentFault>,
    /// Log lines, in the order of the agents' ids.
    pub logs: Vec<LogLine>,
    /// Named outputs, in the order of the agents' ids.
    pub outputs: Vec<NamedOutput>,
    /// Log lines and outputs that weren't kept, in the order of the groups: those that wrote more than their budgets have room for.
    pub excess: Vec<Excess>,
    /// Modules and models that were replaced, or weren't, in the order of the inputs.
    pub swaps: Vec<SwapRecord>,
    /// Notices about jobs for models that were given up in an earlier frame, one for each model, sorted by model.
    pub given_up_notices: Vec<ModelNotice>,
    /// Commands from outside that weren't carried out, in their order: the first
    /// [`REFUSED_COMMANDS_TOLD_MAX`](crate::limits::REFUSED_COMMANDS_TOLD_MAX).
    pub refused_commands: Vec<RefusedCommand>,
}

impl FrameRecord {
    /// Returns all that is to be told of models: first of those that were given up in an earlier frame, then of those that ran.
    /// A model is among one of the two, and has at most one notice of each kind.
    pub fn model_notices(&self) -> impl Iterator<Item = &ModelNotice> {
        self.given_up_notices.iter().chain(&self.inference.notices)
    }
}

/// Counts of what happened in one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameCounts {
    /// Number of agents that haven't ended.
    pub agents: u64,
    /// Number of calls of `agent_step`.
    pub steps: u64,
    /// Number of messages and publications that agents sent.
    pub messages: u64,
    /// Number of messages that reached an inbox. A publication counts for each of its recipients.
    pub delivered: u64,
    /// Number of messages that were dropped because there was no room or no recipient for them, bounced or not.
    pub dropped: u64,
    /// Number of dropped messages by reason, in the order of [`BounceReason::ALL`].
    pub dropped_by_reason: [u64; BounceReason::COUNT],
    /// Number of faults.
    pub faults: u64,
    /// Number of commands that were carried out.
    pub commands: u64,
    /// Number of commands that were refused: what they name isn't there, doesn't fit, or isn't allowed.
    pub commands_refused: u64,
    /// Number of external events that had no recipient, or for which too few deliveries were left in their frame. They count as dropped messages,
    /// too.
    pub events_lost: u64,
    /// Number of log lines that were beyond what a step, a group, a tenant or all groups together may write, and aren't kept.
    pub log_lines_dropped: u64,
    /// Number of bytes that those count for.
    pub log_bytes_dropped: u64,
    /// Number of named outputs that were beyond what a step, a group, a tenant or all groups together may write, and aren't kept.
    pub outputs_dropped: u64,
    /// Number of bytes that those count for.
    pub output_bytes_dropped: u64,
    /// Number of agents that were due and weren't called because no budget was left for them.
    pub deferred: u64,
    /// Number of inference jobs for models, given up or not. Jobs that were refused at once don't count.
    pub inference_jobs: u64,
    /// Number of batches in which they were dispatched.
    pub inference_batches: u64,
}

impl FrameCounts {
    /// Counts messages that were dropped for one reason.
    pub const fn drop_messages(&mut self, reason: BounceReason, messages: u64) {
        self.dropped += messages;
        self.dropped_by_reason[reason as usize - 1] += messages;
    }
}

/// One group at the end of a frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Its number.
    pub group: u32,
    /// Number of its agents that haven't ended.
    pub agents: u64,
    /// Sums over the run so far.
    pub totals: GroupTotals,
    /// Digest of what its agents are and did, chained over the frames. It doesn't depend on what other groups did, except by way of messages that its
    /// agents took and of shared regions that they read.
    pub digest: Digest,
}

impl GroupRecord {
    /// Returns the id of the group.
    pub const fn id(&self) -> GroupId {
        GroupId(self.group)
    }

    /// Returns the number of faults of each kind.
    pub const fn faults(&self) -> &FaultCounts {
        &self.totals.faults
    }
}

/// A line that an agent wrote to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The agent.
    pub agent: AgentId,
    /// 1 error, 2 warn, 3 info, 4 debug.
    pub level: u32,
    /// The text.
    pub text: String,
}

/// A value that an agent recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedOutput {
    /// The agent.
    pub agent: AgentId,
    /// The name under which it recorded the value.
    pub name: String,
    /// The value.
    pub value: OutputValue,
}

/// The value of a named output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OutputValue {
    /// A whole number.
    I64(i64),
    /// A floating-point number.
    F64(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}
