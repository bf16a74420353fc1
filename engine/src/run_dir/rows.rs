//! The lines of a run directory's tables.

use base64::Engine as _;
use serde::{Serialize, Serializer};
use wasm_engine_components::{
    AgentFault, AgentId, Digest, FrameCounts, FrameRecord, Lane, Lanes, LogLine, NamedOutput, OutputValue,
};

use crate::scenario::{Scenario, agent_in_group};

/// Agents as users write them.
pub(super) struct AgentNames {
    groups: Vec<String>,
}

impl AgentNames {
    /// The names of a scenario's agents.
    pub fn new(scenario: &Scenario) -> Self {
        Self { groups: scenario.groups.iter().map(|group| group.name.clone()).collect() }
    }

    fn of(&self, agent: AgentId) -> String {
        let group = (agent.group().0 as usize).checked_sub(1).and_then(|index| self.groups.get(index));
        agent_in_group(group.map_or("host", String::as_str), agent)
    }
}

/// A line of `frames.jsonl`.
#[derive(Serialize)]
pub(super) struct FrameRow<'a> {
    frame: u64,
    #[serde(serialize_with = "hex")]
    digest: Digest,
    counts: &'a FrameCounts,
    #[serde(serialize_with = "hex_lanes")]
    lanes: &'a Lanes,
}

impl<'a> FrameRow<'a> {
    pub const fn new(record: &'a FrameRecord) -> Self {
        Self { frame: record.frame, digest: record.digest, counts: &record.counts, lanes: &record.lanes }
    }
}

fn hex<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

fn hex_lanes<S: Serializer>(lanes: &&Lanes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Lane::ALL.into_iter().map(|lane| (lane.name(), lanes[lane].to_string())))
}

/// A line of `faults.jsonl`.
#[derive(Serialize)]
pub(super) struct FaultRow {
    frame: u64,
    agent: String,
    kind: &'static str,
    detail: u32,
}

impl FaultRow {
    pub fn new(frame: u64, fault: &AgentFault, names: &AgentNames) -> Self {
        Self { frame, agent: names.of(fault.agent), kind: fault.kind.name(), detail: fault.detail }
    }
}

/// A line of `logs.jsonl`.
#[derive(Serialize)]
pub(super) struct LogRow<'a> {
    frame: u64,
    agent: String,
    level: &'static str,
    text: &'a str,
}

impl<'a> LogRow<'a> {
    pub fn new(frame: u64, line: &'a LogLine, names: &AgentNames) -> Self {
        let level = match line.level {
            1 => "error",
            2 => "warn",
            3 => "info",
            _ => "debug",
        };
        Self { frame, agent: names.of(line.agent), level, text: &line.text }
    }
}

/// A line of `outputs.jsonl`.
#[derive(Serialize)]
pub(super) struct OutputRow<'a> {
    frame: u64,
    agent: String,
    name: &'a str,
    value: OutputCell<'a>,
}

impl<'a> OutputRow<'a> {
    pub fn new(frame: u64, output: &'a NamedOutput, names: &AgentNames) -> Self {
        Self { frame, agent: names.of(output.agent), name: &output.name, value: OutputCell(&output.value) }
    }
}

/// A value: a number, a string, or an object `{"base64": ".."}`. JSON has no name for what isn't finite: a string says it.
struct OutputCell<'a>(&'a OutputValue);

impl Serialize for OutputCell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            OutputValue::I64(value) => serializer.serialize_i64(*value),
            OutputValue::F64(value) if value.is_finite() => serializer.serialize_f64(*value),
            OutputValue::F64(value) => serializer.collect_str(value),
            OutputValue::Text(text) => serializer.serialize_str(text),
            OutputValue::Bytes(bytes) => {
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                serializer.collect_map([("base64", text)])
            }
        }
    }
}
