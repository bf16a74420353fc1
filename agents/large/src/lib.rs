//! Reads messages as JSON, looks for a pattern in each text of them, and records how often it was found.
//!
//! It is here for its size: an agent of a real program brings its language's library and some crates, which is several hundred kilobytes.

use regex::Regex;
use serde_json::Value;
use wasm_engine_sdk::{Agent, Context, Failure, Message, Params, agent};

/// Words with a number at their end, such as `order-17`.
const PATTERN: &str = r"(?i)\b[a-z][a-z_]*-(\d+)\b";

#[derive(Default)]
struct Scanner {
    pattern: Option<Regex>,
    found: i64,
}

/// Code of the failure of an agent that reads a text which is no JSON.
const NO_JSON: u32 = 1;

impl Scanner {
    /// Looks for the pattern in each text of a value.
    fn scan(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                let found = self.pattern.as_ref().map_or(0, |pattern| pattern.find_iter(text).count());
                self.found += found as i64;
            }
            Value::Array(items) => items.iter().for_each(|item| self.scan(item)),
            Value::Object(fields) => fields.values().for_each(|value| self.scan(value)),
            _ => {}
        }
    }
}

impl Agent for Scanner {
    fn init(&mut self, _: &mut Context<'_>, _: Params<'_>) -> Result<(), Failure> {
        self.pattern = Regex::new(PATTERN).ok();
        Ok(())
    }

    fn receive(&mut self, _: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        let value = serde_json::from_slice(message.payload()).map_err(|_| Failure::new(NO_JSON))?;
        self.scan(&value);
        Ok(())
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        Ok(ctx.record_i64("found", self.found)?)
    }
}

agent!(Scanner, inbox_bytes = 65536, outbox_bytes = 1024);
