//! Finds the place of a value in the text of a scenario, for problems that are found only after it was read, when modules and models are loaded.

use toml::de::{DeTable, DeValue};

use super::node::{join, path_key};
use super::source::position;
use super::types::Scenario;
use crate::problem::Problem;

/// A step from a value to one in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// The value of this key of a table.
    Key(&'a str),
    /// The item of an array, from 0.
    Item(usize),
}

impl Scenario {
    /// Names line, column and key of the value to which the steps lead, or of the last existing one on the way to it. A missing
    /// key is named, too, because it has to be added.
    pub(crate) fn place(&self, problem: Problem, steps: &[Step<'_>]) -> Problem {
        let key = steps.iter().fold(String::new(), |path, step| match step {
            Step::Key(key) => join(&path, &path_key(key)),
            Step::Item(at) => format!("{path}[{at}]"),
        });
        let problem = problem.key(key);
        match offset(&self.source, steps) {
            Some(at) => {
                let (line, column) = position(&self.source, at);
                problem.line(line).column(column).in_text(&self.source)
            }
            None => problem,
        }
    }

    /// Returns whether a value is there.
    pub(crate) fn has(&self, steps: &[Step<'_>]) -> bool {
        DeTable::parse(&self.source).is_ok_and(|document| walk(document.get_ref(), steps).1 == steps.len())
    }
}

fn offset(source: &str, steps: &[Step<'_>]) -> Option<usize> {
    let document = DeTable::parse(source).ok()?;
    walk(document.get_ref(), steps).0
}

/// Returns the place of the last existing value on the way, and the number of steps to it.
fn walk(table: &DeTable<'_>, steps: &[Step<'_>]) -> (Option<usize>, usize) {
    let Some((Step::Key(first), rest)) = steps.split_first() else { return (None, 0) };
    let Some(mut value) = table.get(*first) else { return (None, 0) };
    for (taken, step) in rest.iter().enumerate() {
        let next = match (value.get_ref(), step) {
            (DeValue::Table(table), Step::Key(key)) => table.get(*key),
            (DeValue::Array(items), Step::Item(at)) => items.get(*at),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return (Some(value.span().start), taken + 1),
        }
    }
    (Some(value.span().start), steps.len())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::{LoadOptions, parse};

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_near() {
        let text = "frames = 1\n[modules.\"a b\"]\npath = \"a.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"a b\"\nagents = 1\n\
                    [[groups]]\nname = \"h\"\nmodule = \"a b\"\nagents = 1\nlimits = { fuel_per_step_max = 5_000 }\n";
        let options = LoadOptions { recorded: true, ..LoadOptions::default() };
        let scenario = parse(text.to_owned(), Path::new("s.toml"), &options).unwrap();
        let told = |steps: &[Step<'_>]| scenario.place(Problem::new("is bad").file(&scenario.path), steps).to_string();
        let (key, item) = (Step::Key, Step::Item);
        assert_eq!(told(&[key("modules"), key("a b"), key("path")]), "s.toml:3:8: modules.\"a b\".path: is bad");
        let fuel = [key("groups"), item(1), key("limits"), key("fuel_per_step_max")];
        assert_eq!(told(&fuel), "s.toml:12:32: groups[1].limits.fuel_per_step_max: is bad");
        assert!(scenario.has(&fuel));
        let memory = [key("groups"), item(0), key("limits"), key("memory_bytes_max")];
        assert_eq!(told(&memory), "s.toml:4:1: groups[0].limits.memory_bytes_max: is bad");
        assert!(!scenario.has(&memory) && !scenario.has(&[key("models"), key("m")]));
    }
}
