//! Shows how to write a value of the type that is needed: the help of an error about a wrong type.

use std::ops::RangeInclusive;

use super::node::Kind;
use crate::problem::thousands;
use wasm_engine_files::parse_size;

/// Keys that are arrays of tables.
const TABLES: [&str; 3] = ["groups", "swaps", "expect"];

/// The type that a value must have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Needed {
    Integer(RangeInclusive<u64>),
    Number,
    Boolean,
    Text,
    Array,
    Table,
    TableOrText,
}

impl Needed {
    /// Returns the type, with its article.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Integer(_) => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Text => "a string",
            Self::Array => "an array",
            Self::Table => "a table",
            Self::TableOrText => "a table or a string",
        }
    }

    /// Returns how a value of this type is written in place of `found`, the value at the path of a key.
    pub fn help(&self, found: &Kind, path: &str) -> String {
        let example = |value: &str| assignment(path, value);
        match self {
            Self::Integer(range) => {
                let (from, to) = (*range.start(), *range.end());
                let value = whole(found).filter(|value| range.contains(value)).unwrap_or(from.max(1).min(to));
                let bounds = match to >= i64::MAX.cast_unsigned() {
                    true => format!("of at least {}", thousands(from)),
                    false => format!("of {} to {}", thousands(from), thousands(to)),
                };
                format!("write a whole number {bounds}, without quotes or a unit: {}", example(&value.to_string()))
            }
            Self::Number => {
                let number = match found {
                    Kind::Text(text) => {
                        text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|_| text.as_str())
                    }
                    _ => None,
                };
                format!("write a number without quotes: {}", example(number.unwrap_or("1.5")))
            }
            Self::Boolean => {
                let value = matches!(found, Kind::Text(text) if text.eq_ignore_ascii_case("false"))
                    || *found == Kind::Integer(0);
                format!("write `true` or `false`, without quotes: {}", example(if value { "false" } else { "true" }))
            }
            Self::Text => format!("write a text in quotes: {}", example(&quoted(found))),
            Self::Array if TABLES.contains(&path) => format!("write [[{path}]], with two brackets, above each of them"),
            Self::Array => match found {
                Kind::Text(_) | Kind::Integer(_) => {
                    format!("write a list in brackets: {}", example(&format!("[{}]", quoted(found))))
                }
                _ => "write a list in brackets".to_owned(),
            },
            Self::Table => match path.contains('[') {
                true => format!("write its keys in braces: {}", example("{ KEY = VALUE }")),
                false => format!("write [{path}], and its keys below it, or {}", example("{ KEY = VALUE }")),
            },
            Self::TableOrText => format!("write {} or {}", example("{ KEY = VALUE }"), example("\"TEXT\"")),
        }
    }
}

/// Returns the line with a value of a key; of an item of an array, the value alone.
fn assignment(path: &str, value: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    if key.ends_with(']') { format!("`{value}`") } else { format!("`{key} = {value}`") }
}

/// Returns the integer that was probably meant.
fn whole(found: &Kind) -> Option<u64> {
    match found {
        Kind::Text(text) => parse_size(&text.replace(['_', ','], "")),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number that fits")]
        Kind::Float(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => Some(*number as u64),
        _ => None,
    }
}

/// Returns the value that was found as a string, or a placeholder if it can't be one.
fn quoted(found: &Kind) -> String {
    match found {
        Kind::Integer(number) => format!("\"{number}\""),
        Kind::Boolean(value) => format!("\"{value}\""),
        Kind::Text(text) => super::canonical::string(text),
        Kind::Array(items) if items.len() == 1 => quoted(&items[0].kind),
        _ => "\"TEXT\"".to_owned(),
    }
}
