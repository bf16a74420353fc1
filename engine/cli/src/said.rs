//! One thing that is said on standard error, in the two forms that it may have: lines for a person, or one line of JSON for a program. What
//! writes them is [`super::terminal`].

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Level;
use wasm_engine_components::text::{DOWNLOAD, Lines, NOTE, harmless_json, shown};

/// Target of what the command line says itself, unless it is a note.
pub(super) const TARGET: &str = "wasm_engine_cli";

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// One thing that is said.
#[derive(Clone, Debug)]
pub(super) struct Said<'a> {
    pub level: Level,
    /// Its target: a module of a crate, or [`NOTE`] or [`DOWNLOAD`].
    pub target: &'a str,
    pub message: String,
    /// Help: what to do about it.
    pub help: Option<String>,
    /// Other fields of an event, by their names.
    pub fields: Map<String, Value>,
    /// The spans that an event is in, from the outermost one: `span` is its name, and the rest are its fields.
    pub spans: Vec<Map<String, Value>>,
}

/// A line of JSON. Its keys are documented in `docs/CLI.md`.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    spans: &'a [Map<String, Value>],
}

impl<'a> Said<'a> {
    /// Something that the command line itself says.
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        let target = if level == Level::INFO { NOTE } else { TARGET };
        Self { level, target, message: message.into(), help: None, fields: Map::new(), spans: Vec::new() }
    }

    /// Says what to do about it, too.
    pub fn help(self, help: Option<impl Into<String>>) -> Self {
        Self { help: help.map(Into::into), ..self }
    }

    /// Adds a value for programs; lines for people don't have it.
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// As lines. A warning and a note have no more than their message, which says all that there is to say; what was asked for with `-v` has its
    /// fields.
    pub fn lines(&self) -> Lines {
        let is_note = self.level == Level::INFO && [NOTE, DOWNLOAD].contains(&self.target);
        let message = &self.message;
        let mut lines = Lines::default();
        match self.level {
            Level::ERROR => lines.line(format_args!("error: {message}")),
            Level::WARN => lines.line(format_args!("warning: {message}")),
            _ if is_note => lines.line(message),
            level => {
                let level = level.as_str().to_ascii_lowercase();
                lines.line(format_args!("{level}: {message}{}", listed(&self.fields)));
            }
        }
        if let Some(help) = &self.help {
            lines.line(format_args!("  help: {help}"));
        }
        lines
    }

    /// As a line of JSON.
    pub fn json(&self) -> String {
        let mut time = String::new();
        // A text takes everything that is written to it.
        let _ = write_time(&mut time);
        let Self { target, message, help, fields, spans, .. } = self;
        let line = JsonLine { time, level: self.level.as_str(), target, message, help: help.as_deref(), fields, spans };
        // Keys are strings, so that everything in it can be JSON.
        let json = serde_json::to_string(&line).unwrap_or_default();
        harmless_json(&json).into_owned() + "\n"
    }
}

/// Fields as they follow a message.
fn listed(fields: &Map<String, Value>) -> String {
    let one = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!(" {name}={}", shown(text)),
        other => format!(" {name}={other}"),
    };
    fields.iter().map(one).collect()
}

/// Writes the time that it is, in UTC, as RFC 3339 does. Nothing is allocated.
pub(super) fn write_time(out: &mut impl Write) -> fmt::Result {
    timestamp(out, SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}

/// Writes the time so long after the beginning of 1970.
fn timestamp(out: &mut impl Write, since: Duration) -> fmt::Result {
    let (days, s) = (since.as_secs() / DAY_S, since.as_secs() % DAY_S);
    let (year, month, day) = date(days);
    let (h, min, s, us) = (s / 3_600, s / 60 % 60, s % 60, since.subsec_micros());
    write!(out, "{year:04}-{month:02}-{day:02}T{h:02}:{min:02}:{s:02}.{us:06}Z")
}

/// Returns year, month and day, a number of days after 1970-01-01. Years begin with March here, so that a leap day is the last day of a year.
const fn date(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01. An era is 400 years, which have the same number of days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are() {
        let cases = [
            (0, "1970-01-01T00:00:00.000007Z"),
            (951_782_399, "2000-02-28T23:59:59.000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000007Z"),
        ];
        for (s, expected) in cases {
            let mut text = String::new();
            timestamp(&mut text, Duration::new(s, 7_000)).unwrap();
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn both_forms_say_the_same_and_no_text_forges_a_line() {
        let evil = "a\u{1b}[2J\r\nerror: forged";
        let mut said = Said::new(Level::ERROR, evil).help(Some("do\nthis"));
        assert_eq!(said.lines().as_str(), "error: a\\u{1b}[2J\\r\\nerror: forged\n  help: do\\nthis\n");
        let json: Value = serde_json::from_str(&said.json()).unwrap();
        assert_eq!(
            (&json["level"], &json["message"], &json["help"]),
            (&"ERROR".into(), &evil.into(), &"do\nthis".into())
        );
        said.level = Level::WARN;
        assert!(said.lines().as_str().starts_with("warning: a"));
        assert_eq!(Said::new(Level::INFO, "a note").lines().as_str(), "a note\n");
        let mut event = Said { target: "crate::module", ..Said::new(Level::DEBUG, "ran") };
        event.fields.insert("name".to_owned(), evil.into());
        event.fields.insert("ms".to_owned(), 7.into());
        assert_eq!(event.lines().as_str(), "debug: ran ms=7 name=a\\u{1b}[2J\\r\\nerror: forged\n");
        assert_eq!(event.json().find('\n'), Some(event.json().len() - 1));
    }
}
