//! One line of an events file as JSON: its keys and values, before names are looked up. Unknown keys, and keys that occur
//! twice, are errors. Also the error of a line, and the input that a line becomes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Number;
use wasm_engine_abi::kind::RESERVED;
use wasm_engine_components::{Action, ExternalEvent, Swap};

use crate::problem::{nearest_name, thousands};

const KEYS: [&str; 16] = [
    "frame",
    "to",
    "topic",
    "command",
    "agent",
    "group",
    "count",
    "module",
    "model",
    "with",
    "kind",
    "correlation",
    "text",
    "base64",
    "numbers",
    "type",
];

/// Fault of a line: the key, if one key is at fault; a sentence; and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LineFault {
    pub key: Option<&'static str>,
    pub column: Option<usize>,
    pub what: String,
    pub help: Option<String>,
}

impl LineFault {
    /// Creates the fault of a key.
    pub fn new(key: &'static str, what: impl Into<String>) -> Self {
        Self { key: Some(key), what: what.into(), ..Self::default() }
    }

    /// Creates the fault of a line as a whole.
    pub fn of_line(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// Says what to do.
    pub fn help(self, help: impl Into<String>) -> Self {
        self.helped(Some(help.into()))
    }

    /// Says what to do, if there is something to say.
    pub fn helped(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// The input that a line becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A message.
    Event(ExternalEvent),
    /// A hot swap.
    Swap(Swap),
    /// A command, repeated `count` times.
    Commands {
        /// Change that the command makes.
        action: Action,
        /// Number of times, at least 1.
        count: u32,
    },
}

/// The keys of a line, each as JSON has it.
#[derive(Debug, Default)]
pub(super) struct RawLine {
    pub frame: Option<Number>,
    pub to: Option<String>,
    pub topic: Option<String>,
    pub command: Option<String>,
    pub agent: Option<String>,
    pub group: Option<String>,
    pub count: Option<Number>,
    pub module: Option<String>,
    pub model: Option<String>,
    pub with: Option<String>,
    kind: Option<Number>,
    pub correlation: Option<Number>,
    pub text: Option<String>,
    pub base64: Option<String>,
    pub numbers: Option<Vec<Number>>,
    pub number_type: Option<String>,
}

impl RawLine {
    /// Reads the text of a line.
    pub fn parse(text: &str) -> Result<Self, LineFault> {
        serde_json::from_str(text).map_err(|error| json_fault(&error))
    }

    /// Returns the keys that are there, in the order of [`KEYS`].
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        let there = [
            self.frame.is_some(),
            self.to.is_some(),
            self.topic.is_some(),
            self.command.is_some(),
            self.agent.is_some(),
            self.group.is_some(),
            self.count.is_some(),
            self.module.is_some(),
            self.model.is_some(),
            self.with.is_some(),
            self.kind.is_some(),
            self.correlation.is_some(),
            self.text.is_some(),
            self.base64.is_some(),
            self.numbers.is_some(),
            self.number_type.is_some(),
        ];
        KEYS.into_iter().zip(there).filter_map(|(key, there)| there.then_some(key))
    }
}

/// Returns the key `kind`.
pub(super) fn kind(raw: &RawLine) -> Result<Option<u32>, LineFault> {
    let kind = whole("kind", raw.kind.as_ref(), 0, u64::from(RESERVED) - 1)?;
    kind.map(|kind| u32::try_from(kind).map_err(|_| LineFault::new("kind", "is out of range"))).transpose()
}

/// Returns a whole number from `min` to `max`.
pub(super) fn whole(key: &'static str, number: Option<&Number>, min: u64, max: u64) -> Result<Option<u64>, LineFault> {
    let Some(number) = number else { return Ok(None) };
    match number.as_u64().filter(|value| (min..=max).contains(value)) {
        Some(value) => Ok(Some(value)),
        None => {
            let what = if number.is_f64() { "isn't a whole number of 64 bits" } else { "is out of range" };
            Err(LineFault::new(key, format!("{number} {what}")).help(format!("use {min} to {}", thousands(max))))
        }
    }
}

/// Example of a line, for errors.
const EXAMPLE: &str = "{\"frame\":0,\"to\":\"readers/0\",\"text\":\"hello\"}";

/// Converts an error of serde_json: the column becomes a field, and the line, which is always 1, is left out.
fn json_fault(error: &serde_json::Error) -> LineFault {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let (what, help) = text.split_once("; help: ").map_or((text, None), |(what, help)| (what, Some(help.to_owned())));
    let what = if error.is_data() { what.to_owned() } else { format!("isn't JSON: {what}") };
    let help = help.or_else(|| Some(format!("write one object on the line, such as {EXAMPLE}")));
    LineFault { key: None, column: (error.column() > 0).then(|| error.column()), what, help }
}

impl<'de> Deserialize<'de> for RawLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawLineVisitor;

        impl<'de> Visitor<'de> for RawLineVisitor {
            type Value = RawLine;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object such as {\"frame\":0,\"to\":\"group/0\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawLine, A::Error> {
                let mut raw = RawLine::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "frame" => once(&key, &mut raw.frame, &mut map)?,
                        "to" => once(&key, &mut raw.to, &mut map)?,
                        "topic" => once(&key, &mut raw.topic, &mut map)?,
                        "command" => once(&key, &mut raw.command, &mut map)?,
                        "agent" => once(&key, &mut raw.agent, &mut map)?,
                        "group" => once(&key, &mut raw.group, &mut map)?,
                        "count" => once(&key, &mut raw.count, &mut map)?,
                        "module" => once(&key, &mut raw.module, &mut map)?,
                        "model" => once(&key, &mut raw.model, &mut map)?,
                        "with" => once(&key, &mut raw.with, &mut map)?,
                        "kind" => once(&key, &mut raw.kind, &mut map)?,
                        "correlation" => once(&key, &mut raw.correlation, &mut map)?,
                        "text" => once(&key, &mut raw.text, &mut map)?,
                        "base64" => once(&key, &mut raw.base64, &mut map)?,
                        "numbers" => once(&key, &mut raw.numbers, &mut map)?,
                        "type" => once(&key, &mut raw.number_type, &mut map)?,
                        _ => {
                            let help = nearest_name(&key, KEYS).unwrap_or_default();
                            let error = A::Error::custom(format!("unknown key `{key}`; help: {help}"));
                            // The value is read first, so that a line that isn't JSON is reported as such.
                            map.next_value::<IgnoredAny>()?;
                            return Err(error);
                        }
                    }
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_map(RawLineVisitor)
    }
}

/// Reads the value of a key that must not occur twice.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    key: &str,
    slot: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    let value = map.next_value::<T>().map_err(|error| {
        let text = error.to_string();
        // A syntax error of JSON keeps its own text; an error of the type names the key.
        if text.starts_with("invalid type") { A::Error::custom(format!("`{key}`: {text}")) } else { error }
    })?;
    if slot.replace(value).is_some() {
        return Err(A::Error::custom(format!("the key `{key}` is there twice")));
    }
    Ok(())
}
