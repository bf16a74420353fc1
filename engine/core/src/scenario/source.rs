//! Reads the text of a scenario as a whole, and indexes it by line.

use std::path::Path;

use wasm_engine_components::limits::SCENARIO_BYTES_MAX;

use super::fields::regular_file;
use crate::problem::{Problem, thousands};
use wasm_engine_files::read_at_most;

/// Reads a scenario file.
///
/// # Errors
/// Fails if it is missing, not a regular file, too large, empty, or not UTF-8.
pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let problem = |what: String| Problem::new(what).file(path);
    regular_file(path).map_err(|what| Problem::new(what).help("name a scenario file, such as my-scenario.toml"))?;
    let bytes = read_at_most(path, SCENARIO_BYTES_MAX + 1).map_err(|error| {
        problem("can't be read".to_owned()).caused_by(error).help("see that you may read it, or name another file")
    })?;
    if bytes.len() as u64 > SCENARIO_BYTES_MAX {
        let help = format!("a scenario has at most {} bytes", thousands(SCENARIO_BYTES_MAX));
        return Err(problem("the file is too large".to_owned()).help(help));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        problem(format!("the file isn't UTF-8: byte {} is the first that is wrong", thousands(valid)))
            .line(line)
            .help("save it as UTF-8 text")
    })?;
    if text.trim().is_empty() {
        return Err(problem("the file is empty".to_owned()).help("docs/SCENARIO.md has a small example"));
    }
    Ok(text)
}

/// Returns line and column of an offset, both from 1; the column in characters.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (1 + before.bytes().filter(|byte| *byte == b'\n').count(), 1 + before[line_start..].chars().count())
}
