//! Notices that a person should look at first: each group's first fault, and error lines that agents logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasm_engine_components::limits::SUMMARY_TEXT_BYTES_MAX;
use wasm_engine_components::{AgentFault, AgentId, FaultPolicy, FrameRecord, GroupId, GroupSpec};

use super::faults::{PassedLimit, reason};
use crate::problem::thousands;
use crate::scenario::Scenario;

/// The level of a log line that tells of an error.
const ERROR: u32 = 1;

/// Faults and error lines that were seen so far.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Notices {
    first_faults: BTreeMap<GroupId, (u64, AgentFault)>,
    error_lines: u64,
    first_error: Option<(u64, AgentId, String)>,
}

/// A group's first fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstFault {
    /// The frame.
    pub frame: u64,
    /// The agent, as users write it.
    pub agent: String,
    /// The kind of fault.
    pub kind: String,
    /// The limit that was passed, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<PassedLimit>,
    /// The fault in one sentence.
    pub text: String,
}

/// Lines of the level `error` that agents logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorLines {
    /// Number of lines in `logs.jsonl`.
    pub count: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<ErrorLine>,
}

/// A line that tells of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorLine {
    /// The frame.
    pub frame: u64,
    /// The agent, as users write it.
    pub agent: String,
    /// The text, cut short if it is long.
    pub text: String,
}

impl Notices {
    /// Takes the record of a frame.
    pub fn add(&mut self, record: &FrameRecord) {
        for fault in &record.faults {
            self.first_faults.entry(fault.agent.group()).or_insert((record.frame, *fault));
        }
        for line in record.logs.iter().filter(|line| line.level == ERROR) {
            self.error_lines += 1;
            if self.first_error.is_none() {
                let end = line.text.floor_char_boundary(SUMMARY_TEXT_BYTES_MAX);
                self.first_error = Some((record.frame, line.agent, line.text[..end].to_owned()));
            }
        }
    }

    /// Returns the number of error lines.
    pub const fn error_lines_count(&self) -> u64 {
        self.error_lines
    }

    /// Returns the error lines, for a summary.
    pub fn error_lines(&self, scenario: &Scenario) -> ErrorLines {
        let first = self.first_error.as_ref().map(|(frame, agent, text)| ErrorLine {
            frame: *frame,
            agent: scenario.agent_name(*agent),
            text: text.clone(),
        });
        ErrorLines { count: self.error_lines, first }
    }

    /// Returns the first fault of a group, for a summary.
    pub fn first_fault(&self, group: &GroupSpec, scenario: &Scenario) -> Option<FirstFault> {
        let (frame, fault) = self.first_faults.get(&group.id)?;
        let agent = scenario.agent_name(fault.agent);
        let (limit, why) = reason(fault, &group.limits);
        let became = match group.on_fault {
            FaultPolicy::Terminate => "ended",
            FaultPolicy::Pause => "was paused",
            FaultPolicy::Restart { .. } | FaultPolicy::Escalate => "faulted",
        };
        let text = format!("{agent} {became} in frame {}: {why}", thousands(frame));
        Some(FirstFault { frame: *frame, agent, kind: fault.kind.name().to_owned(), limit, text })
    }
}
