//! One line of an events file: JSON to a message or a command. Strict: unknown keys, keys twice, two recipients and two payloads
//! are faults.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Number;
use wasm_engine_abi::kind::RESERVED;
use wasm_engine_components::limits::FRAMES_MAX;
use wasm_engine_components::{Action, ExternalEvent, Swap};

use super::command::command;
use super::directory::{Directory, PayloadLimit};
use super::payload::payload;
use crate::problem::{counted, nearest_name, thousands};

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

/// What is wrong with a line: the key if it is one key's fault, what, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub key: Option<&'static str>,
    pub column: Option<usize>,
    pub what: String,
    pub help: Option<String>,
}

impl Fault {
    /// The fault of a key.
    pub fn new(key: &'static str, what: impl Into<String>) -> Self {
        Self { key: Some(key), what: what.into(), ..Self::default() }
    }

    /// The fault of a line as a whole.
    pub fn of_line(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// Says what to do.
    pub fn help(self, help: impl Into<String>) -> Self {
        self.helped(Some(help.into()))
    }

    /// Says what to do, where there is something to say.
    pub fn helped(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// A line that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The frame it is for.
    pub frame: u64,
    /// What it says; `None` where that is for a group that doesn't take part in this run.
    pub input: Option<Input>,
}

impl Line {
    /// How many messages and commands it gives to its frame, and how many bytes of payloads.
    pub fn amount(&self) -> (u64, u64) {
        match &self.input {
            None => (0, 0),
            Some(Input::Event(event)) => (1, event.payload.len() as u64),
            Some(Input::Swap(_)) => (1, 0),
            Some(Input::Commands { action, count }) => {
                let bytes = if let Action::Spawn { payload, .. } = action { payload.len() } else { 0 };
                (u64::from(*count), u64::from(*count) * bytes as u64)
            }
        }
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A message.
    Event(ExternalEvent),
    /// Another module or model.
    Swap(Swap),
    /// A command, so many times.
    Commands {
        /// What is to happen.
        action: Action,
        /// How often, at least once.
        count: u32,
    },
}

/// The keys of a line, each as JSON has it.
#[derive(Debug, Default)]
pub(super) struct RawLine {
    frame: Option<Number>,
    to: Option<String>,
    topic: Option<String>,
    command: Option<String>,
    pub agent: Option<String>,
    pub group: Option<String>,
    pub count: Option<Number>,
    pub module: Option<String>,
    pub model: Option<String>,
    pub with: Option<String>,
    kind: Option<Number>,
    correlation: Option<Number>,
    pub text: Option<String>,
    pub base64: Option<String>,
    pub numbers: Option<Vec<Number>>,
    pub number_type: Option<String>,
}

impl RawLine {
    /// The keys that are there, in the order of [`KEYS`].
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

/// Reads a line.
pub(super) fn parse(text: &str, directory: &Directory) -> Result<Line, Fault> {
    let mut raw: RawLine = serde_json::from_str(text).map_err(|error| json_fault(&error))?;
    let frame = whole("frame", raw.frame.as_ref(), 0, FRAMES_MAX - 1)?
        .ok_or_else(|| Fault::new("frame", "missing").help("say in which frame the event arrives, from 0"))?;
    let input = match raw.command.take() {
        Some(word) => command(&word, raw, directory)?,
        None => event(raw, directory)?.map(Input::Event),
    };
    Ok(Line { frame, input })
}

/// Reads a line that is a message; `None` where its recipient doesn't take part in this run.
fn event(raw: RawLine, directory: &Directory) -> Result<Option<ExternalEvent>, Fault> {
    if let Some(key) = raw.given().find(|key| matches!(*key, "agent" | "group" | "count" | "module" | "model" | "with"))
    {
        let help = "add `command`, or use one of `to` (an agent) and `topic`";
        return Err(Fault::new(key, "belongs to commands only").help(help));
    }
    let address = match (&raw.to, &raw.topic) {
        (Some(to), None) => directory.recipient(to)?,
        (None, Some(topic)) => directory.topic(topic)?,
        (given, _) => {
            let what = if given.is_some() { "has both `to` and `topic`" } else { "has no recipient" };
            return Err(Fault::of_line(what).help("use one of `to` (an agent) and `topic`"));
        }
    };
    let kind = kind(&raw)?.unwrap_or(0);
    let correlation = whole("correlation", raw.correlation.as_ref(), 0, u64::MAX)?.unwrap_or(0);
    let (_, payload) = limited(payload(raw)?, address.payload)?;
    let event = ExternalEvent { to: address.target, kind, correlation, payload };
    Ok(address.enabled.then_some(event))
}

/// The key `kind`.
pub(super) fn kind(raw: &RawLine) -> Result<Option<u32>, Fault> {
    let kind = whole("kind", raw.kind.as_ref(), 0, u64::from(RESERVED) - 1)?;
    kind.map(|kind| u32::try_from(kind).map_err(|_| Fault::new("kind", "is out of range"))).transpose()
}

/// A payload and its key, if it is no larger than its recipient takes.
pub(super) fn limited(
    (key, payload): (&'static str, Vec<u8>),
    limit: PayloadLimit,
) -> Result<(&'static str, Vec<u8>), Fault> {
    if payload.len() <= limit.bytes_max as usize {
        return Ok((key, payload));
    }
    let what = format!("the payload has {}, more than the limit", counted(payload.len(), "byte"));
    let mut help = format!("its recipient takes at most {}", thousands(limit.bytes_max));
    if let Some(key) = limit.key {
        help.push_str(&format!(", because of its group's `{key}`"));
    }
    Err(Fault::new(key, what).help(help))
}

/// A whole number from `min` to `max`.
pub(super) fn whole(key: &'static str, number: Option<&Number>, min: u64, max: u64) -> Result<Option<u64>, Fault> {
    let Some(number) = number else { return Ok(None) };
    match number.as_u64().filter(|value| (min..=max).contains(value)) {
        Some(value) => Ok(Some(value)),
        None => {
            let what = if number.is_f64() { "isn't a whole number of 64 bits" } else { "is out of range" };
            Err(Fault::new(key, format!("{number} {what}")).help(format!("use {min} to {}", thousands(max))))
        }
    }
}

/// A line as it may be.
const EXAMPLE: &str = "{\"frame\":0,\"to\":\"readers/0\",\"text\":\"hello\"}";

/// What serde_json says, with its column apart from the text, and without its line, which is always 1.
fn json_fault(error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let (what, help) = text.split_once("; help: ").map_or((text, None), |(what, help)| (what, Some(help.to_owned())));
    let what = if error.is_data() { what.to_owned() } else { format!("isn't JSON: {what}") };
    let help = help.or_else(|| Some(format!("write one object on the line, such as {EXAMPLE}")));
    Fault { key: None, column: (error.column() > 0).then(|| error.column()), what, help }
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
                            // The value is read first, so that a line that isn't JSON is told that.
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

/// Reads the value of a key that may be there once.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    key: &str,
    slot: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    let value = map.next_value::<T>().map_err(|error| {
        let text = error.to_string();
        // An error of the JSON itself keeps its own words; one of the type names the key.
        if text.starts_with("invalid type") { A::Error::custom(format!("`{key}`: {text}")) } else { error }
    })?;
    if slot.replace(value).is_some() {
        return Err(A::Error::custom(format!("the key `{key}` is there twice")));
    }
    Ok(())
}
