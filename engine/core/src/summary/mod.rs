//! The summary of a run: the numbers of its last frame, its groups, its named outputs, and whether expectations hold.
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

/// The summary of a run. Field names are those of the JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Number of frames that were run.
    pub frames: u64,
    /// Number of agents that haven't ended.
    pub agents: u64,
    /// Number of calls of `agent_step`.
    pub steps: u64,
    /// Number of messages and publications that agents sent.
    pub messages: u64,
    /// Number of messages that reached an inbox.
    pub delivered: u64,
    /// Number of messages that were dropped.
    pub dropped: u64,
    /// Number of dropped messages by reason, for the reasons that occurred.
    pub dropped_by_reason: Named<u64>,
    /// Number of faults of agents.
    pub faults: u64,
    /// Number of lines of level `error` that agents logged.
    pub error_lines: ErrorLines,
    /// Number of commands that were carried out.
    pub commands: u64,
    /// Number of commands that were refused: what they name isn't there, doesn't fit, or isn't allowed.
    pub commands_refused: u64,
    /// Number of log lines beyond what a step, a group, a tenant or all groups together may write. They aren't in `logs.jsonl`.
    pub log_lines_dropped: u64,
    /// Their size as it is counted, in bytes.
    pub log_bytes_dropped: u64,
    /// Number of named outputs beyond what a step, a group, a tenant or all groups together may write. They are neither in
    /// `outputs.jsonl` nor in `outputs`.
    pub outputs_dropped: u64,
    /// Their size as it is counted, in bytes.
    pub output_bytes_dropped: u64,
    /// Number of due steps that were put off because the budget was used up; a step counts in each frame that it is put off.
    pub deferred: u64,
    /// Results of swaps.
    pub swaps: SwapSummary,
    /// Number of inference jobs, including those for models that were given up.
    pub inference_jobs: u64,
    /// Average number of jobs in a batch; 0 without any.
    pub inference_rows_per_batch: f64,
    /// Models with notices: rows that failed or took too long, audits that failed, models that were given up.
    pub models: Named<ModelSummary>,
    /// Digest of the last frame, 32 hexadecimal digits.
    pub digest: String,
    /// Groups that took part, in the order of the scenario.
    pub groups: Named<GroupSummary>,
    /// Named outputs by group and name.
    pub outputs: Named<Named<OutputSummary>>,
    /// Number of outputs that aren't in `outputs`, because there are more than the summary keeps. All are in `outputs.jsonl`.
    pub outputs_left_out: u64,
    /// Expectations, and whether they hold.
    pub expectations: Vec<ExpectationResult>,
    /// Counts of external events.
    pub events: EventSummary,
    /// Whether the run was asked to end before its last frame.
    pub interrupted: bool,
    /// Why the run failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Number of threads that stepped agents.
    pub threads: usize,
    /// Number of frames that this process ran: all, or those after the snapshot from which a run was resumed or branched.
    pub frames_here: u64,
    /// Wall time of those, in seconds.
    pub wall_s: f64,
    /// Frames per second of wall time.
    pub frames_per_s: f64,
    /// The run directory.
    pub run_dir: String,
}

/// One group at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupSummary {
    /// Number of agents that haven't ended.
    pub agents: u64,
    /// Number of calls of `agent_step`.
    pub steps: u64,
    /// Number of messages and publications that they sent.
    pub messages: u64,
    /// Number of inference jobs that they asked for.
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

/// Results of swaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapSummary {
    /// Number of swaps that were carried out.
    pub done: u64,
    /// Number of swaps that were refused. The old module or model stayed in use.
    pub refused: u64,
}

/// Counts of external events in a run. [`EventCounts`](wasm_engine_components::EventCounts) counts lines when they are read for a frame. Here,
/// `delivered` is without those that found nobody, and there are two more counts, which only the run's end knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventSummary {
    /// Number of commands that were given to a frame, and of messages for an agent, topic or group that was there. Messages for which a
    /// mailbox had no room are counted in `dropped`, too.
    pub delivered: u64,
    /// Number of messages for an agent that wasn't there yet or had ended, and of messages to many agents beyond `host_deliveries_per_frame_max`.
    pub lost: u64,
    /// Number of lines for a group that doesn't take part.
    pub disabled: u64,
    /// Number of lines for a frame after the last one of the run.
    pub late: u64,
}

impl Summary {
    /// Returns one line of JSON, without the line's end.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// Returns the expectations that count and don't hold.
    pub fn unmet(&self) -> impl Iterator<Item = &ExpectationResult> {
        self.expectations.iter().filter(|expectation| expectation.due && !expectation.met)
    }
}
