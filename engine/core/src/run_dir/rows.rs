//! The lines of a run directory's tables.

use base64::Engine as _;
use serde::{Serialize, Serializer};
use wasm_engine_components::{
    AgentFault, AgentId, Digest, FrameCounts, FrameRecord, GroupId, Lane, Lanes, LogLine, ModelId, ModelNotice,
    NamedOutput, OutputValue, Swap, SwapOutcome, SwapRecord,
};

use crate::scenario::{Scenario, agent_in_group};

/// Agents and models, named as users write them.
pub(super) struct AgentNames {
    groups: Vec<String>,
    models: Vec<(ModelId, String)>,
}

impl AgentNames {
    /// Creates the names of a scenario's agents.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            groups: scenario.groups.iter().map(|group| group.name.clone()).collect(),
            models: scenario.models.iter().map(|model| (model.id, model.name.clone())).collect(),
        }
    }

    fn of(&self, agent: AgentId) -> String {
        agent_in_group(self.of_group(agent.group()), agent)
    }

    fn of_group(&self, group: GroupId) -> &str {
        let group = (group.0 as usize).checked_sub(1).and_then(|index| self.groups.get(index));
        group.map_or("host", String::as_str)
    }

    fn of_model(&self, model: ModelId) -> &str {
        self.models.iter().find(|(id, _)| *id == model).map_or("", |(_, name)| name)
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
    reached: u64,
    allowed: u64,
}

impl FaultRow {
    pub fn new(frame: u64, fault: &AgentFault, names: &AgentNames) -> Self {
        let AgentFault { agent, kind, detail, reached, allowed } = *fault;
        Self { frame, agent: names.of(agent), kind: kind.name(), detail, reached, allowed }
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

/// A line of `models.jsonl`.
#[derive(Serialize)]
pub(super) struct ModelRow<'a> {
    frame: u64,
    model: &'a str,
    kind: &'static str,
    rows: u32,
    reason: &'a str,
}

impl<'a> ModelRow<'a> {
    pub fn new(frame: u64, notice: &'a ModelNotice, names: &'a AgentNames) -> Self {
        let (model, kind) = (names.of_model(notice.model), notice.kind.name());
        Self { frame, model, kind, rows: notice.rows, reason: &notice.reason }
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

/// A value: a number, a string, or an object `{"base64": ".."}`. JSON has no numbers that aren't finite: they are strings.
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

/// A line of `swaps.jsonl`: a group and its new module, or a model and its replacement.
#[derive(Serialize)]
pub(super) struct SwapRow<'a> {
    frame: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<&'a str>,
    sha256: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    carried: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> SwapRow<'a> {
    pub fn new(frame: u64, record: &'a SwapRecord, names: &'a AgentNames) -> Self {
        let name = record.name.as_str();
        let (group, model) = match record.swap {
            Swap::Module(swap) => (Some(names.of_group(swap.group)), None),
            Swap::Model { model, .. } => (None, Some(names.of_model(model))),
        };
        // Only swaps of modules have agents that keep state.
        let (outcome, counts, reason) = match &record.outcome {
            SwapOutcome::Done { carried, fresh } => ("done", group.map(|_| (*carried, *fresh)), None),
            SwapOutcome::Refused(reason) => ("refused", None, Some(reason.as_str())),
        };
        Self {
            frame,
            group,
            module: group.map(|_| name),
            model,
            with: model.map(|_| name),
            sha256: wasm_engine_files::hex(&record.sha256),
            outcome,
            carried: counts.map(|counts| counts.0),
            fresh: counts.map(|counts| counts.1),
            reason,
        }
    }
}
