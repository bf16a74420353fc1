//! Canonical TOML: each value has exactly one text. `agent_init` is given a table in this form, and a run directory keeps
//! parameters in it. Keys are sorted, nested tables are inline, and strings are on one line.

use super::node::{Entry, Kind, is_param_name};

/// Returns the lines `key = value` of a table.
pub(super) fn lines(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&key(&entry.key));
        text.push_str(" = ");
        write_value(&mut text, &entry.node.kind);
        text.push('\n');
    }
    text
}

/// Returns a value as text.
pub(super) fn value(kind: &Kind) -> String {
    let mut text = String::new();
    write_value(&mut text, kind);
    text
}

/// Returns a key: bare where TOML allows it.
pub(crate) fn key(key: &str) -> String {
    if is_param_name(key) { key.to_owned() } else { string(key) }
}

/// Returns a string in double quotes.
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", control as u32)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn write_value(text: &mut String, kind: &Kind) {
    match kind {
        Kind::Text(value) => text.push_str(&string(value)),
        Kind::Integer(value) => text.push_str(&value.to_string()),
        Kind::Float(value) => text.push_str(&float(*value)),
        Kind::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
        Kind::Datetime(value) => text.push_str(value),
        Kind::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                write_value(text, &item.kind);
            }
            text.push(']');
        }
        Kind::Table(entries) if entries.is_empty() => text.push_str("{}"),
        Kind::Table(entries) => {
            text.push_str("{ ");
            for (i, entry) in entries.iter().enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                text.push_str(&key(&entry.key));
                text.push_str(" = ");
                write_value(text, &entry.node.kind);
            }
            text.push_str(" }");
        }
        // The text isn't used: a scenario with a problem isn't run.
        Kind::Broken => text.push_str("\"\""),
    }
}

/// Returns the shortest text that reads back as the same float, always with a point or an exponent.
fn float(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_they_are() {
        for (number, text) in [(1.0, "1.0"), (-0.5, "-0.5"), (1e300, "1e300"), (f64::INFINITY, "inf")] {
            assert_eq!(float(number), text);
            let table: toml::Table = format!("x = {text}").parse().unwrap();
            assert_eq!(table["x"].as_float(), Some(number));
        }
        for original in ["", "a \"b\" \\ c", "line\nnext\ttab\r", "\u{1}\u{7f}\u{85}é漢"] {
            let table: toml::Table = format!("{} = {}", key(original), string(original)).parse().unwrap();
            assert_eq!(table[original].as_str(), Some(original));
        }
    }
}
