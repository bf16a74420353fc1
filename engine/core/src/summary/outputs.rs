//! Named outputs: the last number that each agent recorded under a name, summed over its group.
//!
//! The numbers of names and values are bounded, for each group apart, so that a group can't use up the room of another. Outputs
//! with expectations are always kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};
use wasm_engine_components::limits::{
    SUMMARY_GROUP_OUTPUTS_MIN, SUMMARY_GROUP_VALUES_MIN, SUMMARY_OUTPUTS_MAX, SUMMARY_TEXT_BYTES_MAX,
    SUMMARY_VALUES_MAX,
};
use wasm_engine_components::{AgentId, BeyondAscii, GroupId, NamedOutput, OutputValue, json_text_bytes};

use super::number::Number;
use crate::problem::counted;
use crate::scenario::{ExpectedValue, Scenario};

/// Most bytes of JSON for the last value, the sum and the count of one name, without the name and texts.
const ROW_BYTES: u64 = 128;

/// The last value of an output.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OutputValueSummary {
    /// A number.
    Number(Number),
    /// A text, cut short if it is long.
    Text(String),
}

/// One name of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputSummary {
    /// The value that was recorded last by any agent.
    pub last: OutputValueSummary,
    /// The last number of each agent, summed in the order of the agents; none where only texts were recorded.
    pub sum: Option<Number>,
    /// Agents that recorded it.
    pub agents: u64,
    /// Whether the summary had no room for some value of it: `sum` and `agents` are without those then.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub incomplete: bool,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Cell {
    #[serde(with = "saved_value")]
    last: OutputValueSummary,
    /// By id: the order of a sum of floats is a part of its value.
    #[serde(with = "saved_numbers")]
    agents: BTreeMap<AgentId, Option<Number>>,
    /// Whether some value had no room.
    incomplete: bool,
    /// Bytes of the longest text that was its last value, as JSON.
    text_bytes: u64,
}

/// A value in a snapshot: in full, unlike in JSON.
#[derive(Clone, Serialize, Deserialize)]
enum Saved {
    Whole(i128),
    Float(f64),
    Text(String),
}

impl From<Number> for Saved {
    fn from(number: Number) -> Self {
        match number {
            Number::Whole(value) => Self::Whole(value),
            Number::Float(value) => Self::Float(value),
        }
    }
}

impl Saved {
    fn value(self) -> OutputValueSummary {
        match self {
            Self::Whole(value) => OutputValueSummary::Number(Number::Whole(value)),
            Self::Float(value) => OutputValueSummary::Number(Number::Float(value)),
            Self::Text(text) => OutputValueSummary::Text(text),
        }
    }
}

mod saved_value {
    use super::{Deserialize, OutputValueSummary, Saved, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &OutputValueSummary, to: S) -> Result<S::Ok, S::Error> {
        let saved = match value {
            OutputValueSummary::Number(number) => Saved::from(*number),
            OutputValueSummary::Text(text) => Saved::Text(text.clone()),
        };
        saved.serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<OutputValueSummary, D::Error> {
        Saved::deserialize(from).map(Saved::value)
    }
}

mod saved_numbers {
    use super::{AgentId, BTreeMap, Deserialize, Number, OutputValueSummary, Saved, Serialize, Serializer};

    type Numbers = BTreeMap<AgentId, Option<Number>>;

    pub(super) fn serialize<S: Serializer>(numbers: &Numbers, to: S) -> Result<S::Ok, S::Error> {
        let saved: Vec<_> = numbers.iter().map(|(agent, number)| (*agent, number.map(Saved::from))).collect();
        saved.serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Numbers, D::Error> {
        let number = |saved: Saved| match saved.value() {
            OutputValueSummary::Number(number) => Some(number),
            OutputValueSummary::Text(_) => None,
        };
        let saved = Vec::<(AgentId, Option<Saved>)>::deserialize(from)?;
        Ok(saved.into_iter().map(|(agent, saved)| (agent, saved.and_then(number))).collect())
    }
}

/// All outputs of a run.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Outputs {
    groups: BTreeMap<u32, GroupOutputs>,
    room: Room,
    /// Most bytes that they have as JSON.
    json_bytes: u64,
    /// Number of outputs for which there was no room.
    pub left_out: u64,
}

/// The room of each group.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Room {
    names: usize,
    values: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { names: SUMMARY_OUTPUTS_MAX, values: SUMMARY_VALUES_MAX }
    }
}

/// The outputs of one group.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
struct GroupOutputs {
    names: BTreeMap<String, Cell>,
    /// Names that the scenario expects something of.
    expected: BTreeSet<String>,
    /// Names that aren't among those.
    others: usize,
    /// Values of those.
    values: usize,
    /// Whether some name had no room.
    incomplete: bool,
}

/// More was recorded than there was room for, so that a sum isn't known.
pub(super) struct Incomplete;

impl Outputs {
    /// Makes room for each group of a scenario, and for its expectations. If a name is expected only from now on, and may have been recorded
    /// when there was no room for it, its sum isn't known.
    pub fn watch(&mut self, scenario: &Scenario) {
        let groups = scenario.groups.iter().filter(|group| group.enabled).count().max(1);
        self.room = Room {
            names: (SUMMARY_OUTPUTS_MAX / groups).max(SUMMARY_GROUP_OUTPUTS_MIN),
            values: (SUMMARY_VALUES_MAX / groups).max(SUMMARY_GROUP_VALUES_MIN),
        };
        for expectation in &scenario.expect {
            let (None, Some(group)) = (expectation.count, expectation.group) else { continue };
            let group = self.groups.entry(group.0).or_default();
            group.expect(&expectation.output);
            if let ExpectedValue::EqualsOutput(other) = &expectation.value {
                group.expect(other);
            }
        }
    }

    /// Takes one output.
    pub fn add(&mut self, output: &NamedOutput) {
        let group = self.groups.entry(output.agent.group().0).or_default();
        if !group.add(output, self.room, &mut self.json_bytes) {
            self.left_out += 1;
        }
    }

    /// Returns the outputs of a group, by name.
    pub fn of_group(&self, group: GroupId) -> impl Iterator<Item = (&str, OutputSummary)> {
        let names = self.groups.get(&group.0).map(|group| &group.names);
        names.into_iter().flatten().map(|(name, cell)| (name.as_str(), cell.summary()))
    }

    /// Returns the sum of one output; `None` if no number was recorded.
    ///
    /// # Errors
    /// Fails if the sum isn't known.
    pub fn sum(&self, group: GroupId, name: &str) -> Result<Option<Number>, Incomplete> {
        let Some(group) = self.groups.get(&group.0) else { return Ok(None) };
        match group.names.get(&*key(name)) {
            Some(cell) if cell.incomplete => Err(Incomplete),
            Some(cell) => Ok(cell.sum()),
            None if group.incomplete => Err(Incomplete),
            None => Ok(None),
        }
    }

    /// Most bytes that they have as JSON, with some more.
    pub fn json_bytes_max_with(&self, more: &[NamedOutput]) -> u64 {
        let added = |output: &NamedOutput| {
            let name = key(&output.name);
            let cell = self.groups.get(&output.agent.group().0).and_then(|group| group.names.get(&*name));
            let text_bytes = text_bytes(&shown(&output.value));
            match cell {
                Some(cell) => text_bytes.saturating_sub(cell.text_bytes),
                None => ROW_BYTES + escaped_bytes(&name) + text_bytes,
            }
        };
        self.json_bytes + more.iter().map(added).sum::<u64>()
    }
}

impl GroupOutputs {
    /// Always keeps a name, unless values of it may be lost already: the sum of the others would be taken for the whole.
    fn expect(&mut self, name: &str) {
        let name = key(name);
        if !self.incomplete || self.names.contains_key(&*name) {
            self.expected.insert(name.into_owned());
        }
    }

    /// Takes one output; `false` where there is no room for all of it.
    fn add(&mut self, output: &NamedOutput, room: Room, json_bytes: &mut u64) -> bool {
        let name = key(&output.name);
        let is_expected = self.expected.contains(&*name);
        let last = shown(&output.value);
        let cell = match self.names.get_mut(&*name) {
            Some(cell) => cell,
            None if !is_expected && self.others == room.names => {
                self.incomplete = true;
                return false;
            }
            None => {
                self.others += usize::from(!is_expected);
                *json_bytes += ROW_BYTES + escaped_bytes(&name);
                // There is room again where fewer groups share it: the name may have been recorded before.
                let incomplete = self.incomplete && !is_expected;
                let cell = Cell { last: last.clone(), agents: BTreeMap::new(), incomplete, text_bytes: 0 };
                self.names.entry(name.into_owned()).or_insert(cell)
            }
        };
        let number = match (&output.value, &last) {
            (OutputValue::I64(_) | OutputValue::F64(_), OutputValueSummary::Number(number)) => Some(*number),
            _ => None,
        };
        let text_bytes = text_bytes(&last).max(cell.text_bytes);
        *json_bytes += text_bytes - cell.text_bytes;
        cell.text_bytes = text_bytes;
        cell.last = last;
        let has_room = match is_expected {
            true => cell.agents.len() < SUMMARY_VALUES_MAX,
            false => self.values < room.values,
        };
        match cell.agents.get_mut(&output.agent) {
            Some(before) => *before = number.or(*before),
            None if !has_room => {
                cell.incomplete = true;
                return false;
            }
            None => {
                self.values += usize::from(!is_expected);
                cell.agents.insert(output.agent, number);
            }
        }
        true
    }
}

impl Cell {
    fn sum(&self) -> Option<Number> {
        self.agents.values().flatten().copied().reduce(Number::plus)
    }

    fn summary(&self) -> OutputSummary {
        let Self { last, agents, incomplete, .. } = self;
        OutputSummary { last: last.clone(), sum: self.sum(), agents: agents.len() as u64, incomplete: *incomplete }
    }
}

/// Returns the name under which an output is kept: its own, unless that is long. Then it is cut, and the hash of all of it tells it from
/// others.
fn key(name: &str) -> Cow<'_, str> {
    if name.len() <= SUMMARY_TEXT_BYTES_MAX {
        return Cow::Borrowed(name);
    }
    let cut = name.floor_char_boundary(SUMMARY_TEXT_BYTES_MAX);
    Cow::Owned(format!("{}…{:032x}", &name[..cut], xxhash_rust::xxh3::xxh3_128(name.as_bytes())))
}

fn text_bytes(value: &OutputValueSummary) -> u64 {
    match value {
        OutputValueSummary::Number(_) => 0,
        OutputValueSummary::Text(text) => escaped_bytes(text),
    }
}

/// Most bytes of a text as JSON.
fn escaped_bytes(text: &str) -> u64 {
    json_text_bytes(text.as_bytes(), BeyondAscii::ByNumber)
}

fn shown(value: &OutputValue) -> OutputValueSummary {
    match value {
        OutputValue::I64(value) => OutputValueSummary::Number(Number::Whole((*value).into())),
        OutputValue::F64(value) => OutputValueSummary::Number(Number::Float(*value)),
        OutputValue::Text(text) => {
            let cut = text.floor_char_boundary(SUMMARY_TEXT_BYTES_MAX);
            let dots = if cut < text.len() { "…" } else { "" };
            OutputValueSummary::Text(format!("{}{dots}", &text[..cut]))
        }
        OutputValue::Bytes(bytes) => OutputValueSummary::Text(format!("({})", counted(bytes.len(), "byte"))),
    }
}
