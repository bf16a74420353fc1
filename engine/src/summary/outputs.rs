//! Named outputs: the last number that each agent recorded under a name, summed over its group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use wasm_engine_components::limits::{SUMMARY_OUTPUTS_MAX, SUMMARY_TEXT_BYTES_MAX, SUMMARY_VALUES_MAX};
use wasm_engine_components::{AgentId, GroupId, NamedOutput, OutputValue};

/// A number that stays whole as long as it can.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Whole. Wider than what agents record, so that a sum of them never overflows.
    Whole(i128),
    /// Any.
    Float(f64),
}

impl Number {
    /// The nearest float.
    #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is meant")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Self::Whole(a.saturating_add(b)),
            (a, b) => Self::Float(a.as_f64() + b.as_f64()),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            // Beyond 64 bits JSON readers would take a float anyway.
            Self::Whole(value) => match i64::try_from(value) {
                Ok(value) => serializer.serialize_i64(value),
                Err(_) => serializer.serialize_f64(self.as_f64()),
            },
            Self::Float(value) => serializer.serialize_f64(value),
        }
    }
}

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
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Cell {
    #[serde(with = "saved_value")]
    last: OutputValueSummary,
    /// By id: the order of a sum of floats is a part of its value.
    #[serde(with = "saved_numbers")]
    agents: BTreeMap<AgentId, Option<Number>>,
}

/// A value as a snapshot has it: in full, and not as JSON shows it.
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
    groups: BTreeMap<u32, BTreeMap<String, Cell>>,
    names: usize,
    values: usize,
    /// Outputs for which there was no room.
    pub left_out: u64,
}

impl Outputs {
    /// Takes one output.
    pub fn add(&mut self, output: &NamedOutput) {
        let names = self.groups.entry(output.agent.group().0).or_default();
        let known = names.contains_key(&output.name);
        if !known && self.names == SUMMARY_OUTPUTS_MAX {
            self.left_out += 1;
            return;
        }
        let last = shown(&output.value);
        let number = match (&output.value, &last) {
            (OutputValue::I64(_) | OutputValue::F64(_), OutputValueSummary::Number(number)) => Some(*number),
            _ => None,
        };
        if !known {
            self.names += 1;
            names.insert(output.name.clone(), Cell { last: last.clone(), agents: BTreeMap::new() });
        }
        let Some(cell) = names.get_mut(&output.name) else { return };
        cell.last = last;
        match cell.agents.get_mut(&output.agent) {
            Some(before) => *before = number.or(*before),
            None if self.values == SUMMARY_VALUES_MAX => self.left_out += 1,
            None => {
                self.values += 1;
                cell.agents.insert(output.agent, number);
            }
        }
    }

    /// The outputs of a group, by name.
    pub fn of_group(&self, group: GroupId) -> impl Iterator<Item = (&str, OutputSummary)> {
        self.groups.get(&group.0).into_iter().flatten().map(|(name, cell)| (name.as_str(), cell.summary()))
    }

    /// The sum of one output.
    pub fn sum(&self, group: GroupId, name: &str) -> Option<Number> {
        self.groups.get(&group.0)?.get(name)?.sum()
    }
}

impl Cell {
    fn sum(&self) -> Option<Number> {
        self.agents.values().flatten().copied().reduce(Number::plus)
    }

    fn summary(&self) -> OutputSummary {
        OutputSummary { last: self.last.clone(), sum: self.sum(), agents: self.agents.len() as u64 }
    }
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
        OutputValue::Bytes(bytes) => OutputValueSummary::Text(format!("({} bytes)", bytes.len())),
    }
}
