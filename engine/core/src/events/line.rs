//! One line of an events file: JSON to a message or a command. It is strict: two recipients, two payloads, and keys
//! that aren't known are faults.

use wasm_engine_components::limits::FRAMES_MAX;
use wasm_engine_components::{Action, ExternalEvent};

use super::address_book::AddressBook;
use super::command::command;
use super::payload::{limited, payload};
use super::raw_line::{Input, LineFault, RawLine, kind, whole};

/// A line that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventLine {
    /// The frame it is for.
    pub frame: u64,
    /// Input that it gives to the frame; `None` where that is for a group that doesn't take part in this run.
    pub input: Option<Input>,
}

impl EventLine {
    /// Returns how many messages and commands it gives to its frame, and how many bytes of payloads.
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

/// Reads a line.
pub(super) fn parse(text: &str, addresses: &AddressBook) -> Result<EventLine, LineFault> {
    let mut raw = RawLine::parse(text)?;
    let frame = whole("frame", raw.frame.as_ref(), 0, FRAMES_MAX - 1)?
        .ok_or_else(|| LineFault::new("frame", "missing").help("say in which frame the event arrives, from 0"))?;
    let input = match raw.command.take() {
        Some(word) => command(&word, raw, addresses)?,
        None => event(raw, addresses)?.map(Input::Event),
    };
    Ok(EventLine { frame, input })
}

/// Reads a line that is a message; `None` where its recipient doesn't take part in this run.
fn event(raw: RawLine, addresses: &AddressBook) -> Result<Option<ExternalEvent>, LineFault> {
    if let Some(key) = raw.given().find(|key| matches!(*key, "agent" | "group" | "count" | "module" | "model" | "with"))
    {
        let help = "add `command`, or use one of `to` (an agent) and `topic`";
        return Err(LineFault::new(key, "belongs to commands only").help(help));
    }
    let address = match (&raw.to, &raw.topic) {
        (Some(to), None) => addresses.recipient(to)?,
        (None, Some(topic)) => addresses.topic(topic)?,
        (given, _) => {
            let what = if given.is_some() { "has both `to` and `topic`" } else { "has no recipient" };
            return Err(LineFault::of_line(what).help("use one of `to` (an agent) and `topic`"));
        }
    };
    let kind = kind(&raw)?.unwrap_or(0);
    let correlation = whole("correlation", raw.correlation.as_ref(), 0, u64::MAX)?.unwrap_or(0);
    let (_, payload) = limited(payload(raw)?, address.payload)?;
    let event = ExternalEvent { to: address.target, kind, correlation, payload };
    Ok(address.enabled.then_some(event))
}
