//! Says in words why an agent faulted: which limit it reached, with what, or which rule it broke.

use serde::Serialize;
use wasm_engine_abi::{Capability, OutboxError};
use wasm_engine_components::{AgentFault, FaultKind, GroupLimits};
use wasm_engine_systems::BadRegionWrite;
use wasm_engine_systems::ports::{MailboxLimit, OverLimit};

use crate::problem::{counted, thousands};
use crate::scenario::Scenario;

/// A limit that an agent passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedLimit {
    /// Its key in the scenario. Some limits have none: the size of an area of a module, the depth of calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'static str>,
    /// Value of the limit.
    pub value: u64,
    /// Amount that the agent used, including what was refused.
    pub reached: u64,
}

/// Returns why an agent of a scenario faulted, in words.
pub fn fault_reason(fault: &AgentFault, scenario: &Scenario) -> String {
    let group = scenario.group(fault.agent.group());
    reason(fault, group.map_or(&GroupLimits::DEFAULT, |group| &group.limits)).1
}

/// Returns the limit that a fault is about, if it is about one, and the reason in words. `limits` are those of the agent's group.
pub(super) fn reason(fault: &AgentFault, limits: &GroupLimits) -> (Option<PassedLimit>, String) {
    let AgentFault { kind, detail, reached, allowed, .. } = *fault;
    let (count, most) = (thousands(reached), thousands(allowed));
    let passed = |key| Some(PassedLimit { key, value: allowed, reached });
    let of = |what: &str| counted(reached, what);
    let more = |what: &str, place: &str, key: &'static str| {
        (passed(Some(key)), format!("{} in {place}, more than limits.{key} = {most}", of(what)))
    };
    let none = |text: &str| (None, text.to_owned());
    match (kind, detail) {
        (FaultKind::OutOfFuel, _) => {
            let key = "fuel_per_step_max";
            (passed(Some(key)), format!("{count} of fuel in a step, all that limits.{key} = {most} allows"))
        }
        (FaultKind::OverLimit, RECORDS) => more("record", "a step", "records_per_step_max"),
        (FaultKind::OverLimit, PAYLOAD_BYTES) => more("byte", "a payload", "payload_bytes_max"),
        (FaultKind::OverLimit, LOG_LINES) => more("log line", "a step", "log_lines_per_step_max"),
        (FaultKind::OverLimit, STATE_BYTES) => {
            (passed(None), format!("{} of state, more than the {most} of its new module's inbox area", of("byte")))
        }
        (FaultKind::MailboxFull, MESSAGES) => more("message", "its mailbox", "mailbox_messages_max"),
        (FaultKind::MailboxFull, _) if allowed == u64::from(limits.mailbox_bytes_max) => {
            more("byte", "its mailbox", "mailbox_bytes_max")
        }
        (FaultKind::MailboxFull, _) => {
            let area = "limits.mailbox_bytes_max and its module's inbox area";
            (passed(None), format!("{} in its mailbox, more than the {most} that {area} have room for", of("byte")))
        }
        (FaultKind::CallDepth, _) => (passed(None), format!("calls nested {count} deep, more than {most}")),
        (FaultKind::BadRegionWrite, OUT_OF_BOUNDS) => {
            (passed(None), format!("a write up to byte {count} of a shared region, which has {most}"))
        }
        (FaultKind::BadRegionWrite, NOT_OWNER) => none("a write to a shared region of another writer"),
        (FaultKind::BadRegionWrite, _) => none("a write to a shared region that there isn't"),
        (FaultKind::BadOutbox, _) if allowed > 0 => {
            (passed(None), format!("{} of outbox, more than the {most} of its outbox area", of("byte")))
        }
        (FaultKind::BadOutbox, rule) => (None, format!("its outbox isn't well formed: {}", broken_rule(rule))),
        (FaultKind::Denied, capability) => {
            let name = Capability::from_number(capability).map_or("?", Capability::name);
            (None, format!("its group isn't granted the capability `{name}`"))
        }
        (FaultKind::Reported, status) => (None, format!("it returned the status {}", reported(status))),
        (kind, _) => none(kind.name()),
    }
}

/// Returns a status that an export returned. Those of the SDK are in words, with the number as the ABI writes it.
fn reported(status: u32) -> String {
    let meaning = match status.wrapping_sub(1 << 31) {
        1 => "its outbox had no room",
        2 => "a parameter is missing",
        3 => "a parameter has another type or range",
        4 => "it was called before `agent_init`",
        _ => return status.cast_signed().to_string(),
    };
    format!("{status:#x} of the SDK: {meaning}")
}

const RECORDS: u32 = OverLimit::Records as u32;
const PAYLOAD_BYTES: u32 = OverLimit::PayloadBytes as u32;
const LOG_LINES: u32 = OverLimit::LogLines as u32;
const STATE_BYTES: u32 = OverLimit::StateBytes as u32;
const MESSAGES: u32 = MailboxLimit::Messages as u32;
const NOT_OWNER: u32 = BadRegionWrite::NotOwner as u32;
const OUT_OF_BOUNDS: u32 = BadRegionWrite::OutOfBounds as u32;

/// Returns what is wrong with an outbox, by the number of the [`OutboxError`].
fn broken_rule(rule: u32) -> &'static str {
    const UNKNOWN_OP: u32 = OutboxError::UnknownOp as u32;
    const RESERVED: u32 = OutboxError::Reserved as u32;
    const MALFORMED: u32 = OutboxError::Malformed as u32;
    match rule {
        UNKNOWN_OP => "an operation that there isn't",
        RESERVED => "a reserved field or kind",
        MALFORMED => "fields that don't fit the operation",
        _ => "its records don't end where it does",
    }
}
