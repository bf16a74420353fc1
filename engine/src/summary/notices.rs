//! What a person should look at first: each group's first fault, and error lines that agents logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasm_engine_components::limits::{CALL_DEPTH_MAX, SUMMARY_TEXT_BYTES_MAX};
use wasm_engine_components::{AgentFault, AgentId, FaultKind, FaultPolicy, FrameRecord, GroupId};
use wasm_engine_systems::outbox::OverLimit;

use crate::problem::thousands;
use crate::scenario::{GroupEntry, Scenario};

/// The level of a log line that tells of an error.
const ERROR: u32 = 1;

/// What was seen so far.
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
    /// All of it in one sentence.
    pub text: String,
}

/// A limit of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedLimit {
    /// Its key in the scenario.
    pub key: &'static str,
    /// Its value.
    pub value: u64,
}

/// Lines of the level `error` that agents logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorLines {
    /// How many are in `logs.jsonl`.
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
                let mut end = line.text.len().min(SUMMARY_TEXT_BYTES_MAX);
                while !line.text.is_char_boundary(end) {
                    end -= 1;
                }
                self.first_error = Some((record.frame, line.agent, line.text[..end].to_owned()));
            }
        }
    }

    /// How many error lines were logged.
    pub const fn error_lines_count(&self) -> u64 {
        self.error_lines
    }

    /// The error lines, for a summary.
    pub fn error_lines(&self, scenario: &Scenario) -> ErrorLines {
        let first = self.first_error.as_ref().map(|(frame, agent, text)| ErrorLine {
            frame: *frame,
            agent: scenario.agent_name(*agent),
            text: text.clone(),
        });
        ErrorLines { count: self.error_lines, first }
    }

    /// The first fault of a group, for a summary.
    pub fn first_fault(&self, group: &GroupEntry, scenario: &Scenario) -> Option<FirstFault> {
        let (frame, fault) = self.first_faults.get(&group.id)?;
        let agent = scenario.agent_name(fault.agent);
        let (limit, why) = reason(fault, group);
        let became = match group.on_fault {
            FaultPolicy::Terminate => "ended",
            FaultPolicy::Pause => "was paused",
            FaultPolicy::Restart { .. } | FaultPolicy::Escalate => "faulted",
        };
        let text = format!("{agent} {became} in frame {}: {why}", thousands(frame));
        Some(FirstFault { frame: *frame, agent, kind: fault.kind.name().to_owned(), limit, text })
    }
}

/// Why an agent faulted: in words, and the limit that it passed.
fn reason(fault: &AgentFault, group: &GroupEntry) -> (Option<PassedLimit>, String) {
    let limits = &group.limits;
    let passed = |what: &str, key: &'static str, value: u64| {
        let text = format!("more {what} than limits.{key} = {}", thousands(value));
        (Some(PassedLimit { key, value }), text)
    };
    let records = OverLimit::Records as u32;
    let (payload, log_lines) = (OverLimit::PayloadBytes as u32, OverLimit::LogLines as u32);
    match (fault.kind, fault.detail) {
        (FaultKind::OutOfFuel, _) => passed("fuel in a call", "fuel_per_step_max", limits.fuel_per_step_max),
        (FaultKind::OverLimit, detail) if detail == records => {
            passed("records in a step", "records_per_step_max", limits.records_per_step_max.into())
        }
        (FaultKind::OverLimit, detail) if detail == payload => {
            passed("bytes in a payload", "payload_bytes_max", limits.payload_bytes_max.into())
        }
        (FaultKind::OverLimit, detail) if detail == log_lines => {
            passed("log lines in a step", "log_lines_per_step_max", limits.log_lines_per_step_max.into())
        }
        (FaultKind::MailboxFull, _) => {
            let (messages, bytes) = (limits.mailbox_messages_max, limits.mailbox_bytes_max);
            let keys = "limits.mailbox_messages_max = {} or limits.mailbox_bytes_max = {}";
            let keys = keys.replacen("{}", &thousands(messages), 1).replacen("{}", &thousands(bytes), 1);
            (None, format!("its mailbox held more than {keys}"))
        }
        (FaultKind::CallDepth, _) => (None, format!("calls nested deeper than {}", thousands(CALL_DEPTH_MAX))),
        (FaultKind::Reported, status) => (None, format!("it returned the status {}", status.cast_signed())),
        (kind, 0) => (None, kind.name().to_owned()),
        (kind, detail) => (None, format!("{}, detail {detail}", kind.name())),
    }
}
