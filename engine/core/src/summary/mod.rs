//! What a run comes to: the numbers of its last frame, its groups, its named outputs, and whether what was expected holds.
//!
//! [`Collector`] takes each frame's record, and makes the [`Summary`] at the end. The command line prints it as text
//! (`text`) or as one line of JSON; the run directory keeps the JSON as `summary.json`.

mod collector;
mod expectations;
mod faults;
mod models;
mod named;
mod notices;
mod number;
mod outputs;
mod text;

use serde::{Deserialize, Serialize};

pub use collector::{Collector, RunFacts};
pub use expectations::ExpectationResult;
pub use faults::{PassedLimit, fault_reason};
pub use models::{ModelNoticeSummary, ModelSummary};
pub use named::Named;
pub use notices::{ErrorLine, ErrorLines, FirstFault};
pub use number::Number;
pub use outputs::{OutputSummary, OutputValueSummary};

/// The end of a run. Field names are those of the JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Frames that were run.
    pub frames: u64,
    /// Agents that haven't ended.
    pub agents: u64,
    /// Calls of `agent_step`.
    pub steps: u64,
    /// Messages and publications that agents sent.
    pub messages: u64,
    /// Messages that reached an inbox.
    pub delivered: u64,
    /// Messages that were dropped.
    pub dropped: u64,
    /// The same by reason, for those reasons that occurred.
    pub dropped_by_reason: Named<u64>,
    /// Faults of agents.
    pub faults: u64,
    /// Lines of the level `error` that agents logged.
    pub error_lines: ErrorLines,
    /// Commands that were carried out.
    pub commands: u64,
    /// Commands that weren't: what they name isn't there, doesn't fit, or isn't allowed.
    pub commands_refused: u64,
    /// Log lines that were beyond what a step, a group, a tenant or all groups together may write, and aren't in `logs.jsonl`.
    pub log_lines_dropped: u64,
    /// What those count for, in bytes.
    pub log_bytes_dropped: u64,
    /// Named outputs that were beyond what a step, a group, a tenant or all groups together may write: neither in `outputs.jsonl` nor in
    /// `outputs`.
    pub outputs_dropped: u64,
    /// What those count for, in bytes.
    pub output_bytes_dropped: u64,
    /// Steps that were due and were put off for want of budget, each frame counted.
    pub deferred: u64,
    /// What became of swaps.
    pub swaps: SwapSummary,
    /// Inference jobs for a model, whether it still answered or was given up.
    pub inference_jobs: u64,
    /// Jobs per batch on average; 0 without any.
    pub inference_rows_per_batch: f64,
    /// Models of which there is something to tell: rows that failed or took too long, audits that failed, models that were given up.
    pub models: Named<ModelSummary>,
    /// Digest of the last frame, 32 hexadecimal digits.
    pub digest: String,
    /// Groups that took part, in the order of the scenario.
    pub groups: Named<GroupSummary>,
    /// Named outputs by group and name.
    pub outputs: Named<Named<OutputSummary>>,
    /// Outputs that aren't in `outputs`, because there are more than the summary keeps. All are in `outputs.jsonl`.
    pub outputs_left_out: u64,
    /// What was expected, and whether it holds.
    pub expectations: Vec<ExpectationResult>,
    /// What became of external events.
    pub events: EventSummary,
    /// Whether the run was asked to end before its last frame.
    pub interrupted: bool,
    /// Why the run failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Threads that stepped agents.
    pub threads: usize,
    /// Frames that this process ran: all of them, or those from a snapshot on where a run was resumed or branched.
    pub frames_here: u64,
    /// Wall time of those, in seconds.
    pub wall_s: f64,
    /// Those per second of wall time.
    pub frames_per_s: f64,
    /// The run directory.
    pub run_dir: String,
}

/// One group at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupSummary {
    /// Agents that haven't ended.
    pub agents: u64,
    /// Calls of `agent_step`.
    pub steps: u64,
    /// Messages and publications that they sent.
    pub messages: u64,
    /// Inference jobs that they asked for.
    pub inference_jobs: u64,
    /// Fuel that they used.
    pub fuel: u64,
    /// Faults by kind; kinds that didn't occur are left out.
    pub faults: Named<u64>,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_fault: Option<FirstFault>,
    /// The group's own digest, 32 hexadecimal digits.
    pub digest: String,
}

/// What became of swaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapSummary {
    /// Carried out.
    pub done: u64,
    /// Refused: what was there before ran on.
    pub refused: u64,
}

/// What became of external events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventSummary {
    /// Commands that were given to a frame, and messages for an agent, a topic or a group that there was. Whether a mailbox had room for
    /// them, `dropped` says.
    pub delivered: u64,
    /// Messages for an agent that wasn't there yet or had ended, and those to many that were beyond `host_deliveries_per_frame_max`.
    pub lost: u64,
    /// For a group that doesn't take part.
    pub disabled: u64,
    /// For a frame after the last one of the run.
    pub late: u64,
}

impl Summary {
    /// One line of JSON, without the line's end.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// The expectations that count and don't hold.
    pub fn unmet(&self) -> impl Iterator<Item = &ExpectationResult> {
        self.expectations.iter().filter(|expectation| expectation.due && !expectation.met)
    }
}
