//! The parameters of a scenario: its table `[params]`, and what `--set` puts in its place.

use toml::de::{DeTable, DeValue};

use super::canonical;
use super::node::{Converter, Entry, Kind, is_param_name};
use crate::problem::{Problem, nearest_name};

/// The parameters by name, sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(Vec<(String, Kind)>);

impl Params {
    /// Reads the table `[params]`. Its strings aren't references: a parameter doesn't refer to another.
    pub fn read(table: &DeTable<'_>, problems: &mut Vec<(usize, Problem)>) -> Self {
        let Some((_, value)) = table.get_key_value("params") else { return Self::default() };
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!("is {}, a table is needed", article(value.get_ref().type_str()));
            problems.push((value.span().start, Problem::new(what).key("params").help("write [params]")));
            return Self::default();
        };
        let mut converter = Converter { params: None, problems: Vec::new() };
        let Kind::Table(entries) = converter.table(table, "params", None) else { return Self::default() };
        problems.append(&mut converter.problems);
        for Entry { key, at, .. } in &entries {
            if !is_param_name(key) {
                let problem = Problem::new(format!("`{key}` isn't a name that `$` can refer to"))
                    .key("params")
                    .help("use letters, digits, `_` and `-`");
                problems.push((*at, problem));
            }
        }
        Self(entries.into_iter().map(|entry| (entry.key, entry.node.kind)).collect())
    }

    /// Puts the value of `NAME=VALUE` in place of the one in the file.
    pub fn set(&mut self, assignment: &str) -> Result<(), Problem> {
        let Some((name, text)) = assignment.split_once('=') else {
            return Err(Problem::new("there is no `=` in it")
                .key(format!("--set {assignment}"))
                .help("write --set NAME=VALUE"));
        };
        let name = name.trim();
        let Some(index) = self.0.iter().position(|(known, _)| known == name) else {
            let problem = Problem::new(format!("the scenario has no parameter `{name}`"));
            let help = nearest_name(name, self.names());
            return Err(problem
                .key(format!("--set {assignment}"))
                .help(help.unwrap_or_else(|| "its table [params] is empty".to_owned())));
        };
        let default = &self.0[index].1;
        self.0[index].1 = parsed_as(default, text).map_err(|what| {
            Problem::new(what)
                .key(format!("--set {assignment}"))
                .help(format!("give it a value like the one in [params], {}", canonical::value(default)))
        })?;
        Ok(())
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, kind)| kind)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Names and values as TOML text.
    pub fn texts(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, kind)| (name.clone(), canonical::value(kind))).collect()
    }
}

/// `text` as a value of the type of `default`.
fn parsed_as(default: &Kind, text: &str) -> Result<Kind, String> {
    let parsed = DeValue::parse(text.trim()).ok().map(|value| {
        let mut converter = Converter { params: None, problems: Vec::new() };
        let kind = converter.node(value.get_ref(), 0, "").kind;
        if converter.problems.is_empty() { kind } else { Kind::Broken }
    });
    match (default, parsed) {
        (_, Some(Kind::Broken)) => Err("the value is out of range".to_owned()),
        // What isn't quoted is a text as it stands, also where it looks like a number.
        (Kind::Text(_), Some(Kind::Text(quoted))) => Ok(Kind::Text(quoted)),
        (Kind::Text(_), _) => Ok(Kind::Text(text.to_owned())),
        #[expect(clippy::cast_precision_loss, reason = "an integer that stands for a float is the nearest float")]
        (Kind::Float(_), Some(Kind::Integer(integer))) => Ok(Kind::Float(integer as f64)),
        (_, Some(kind)) if core::mem::discriminant(default) == core::mem::discriminant(&kind) => Ok(kind),
        (_, parsed) => {
            let given = parsed.map_or("a string", |kind| kind.type_name());
            Err(format!("the value is {given}, {} is needed", default.type_name()))
        }
    }
}

/// A TOML type with its article.
fn article(type_name: &str) -> String {
    let an = type_name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {type_name}", if an { "an" } else { "a" })
}
