//! Converts TOML to the tree that a scenario is read from, and resolves references to parameters. The parameters are
//! read here, too: the table `[params]`, and values of `--set`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::canonical;
use super::node::{Entry, Kind, Node, beyond_toml, is_param_name, join, path_key};
use super::params::Params;
use crate::problem::{Problem, nearest_name};

/// Converts TOML to trees. With `params`, a string `$name` becomes the parameter's value.
pub(super) struct Converter<'a> {
    /// The parameters; `None` while they themselves are read.
    pub params: Option<&'a Params>,
    /// Problems so far, each with its offset.
    pub problems: Vec<(usize, Problem)>,
}

impl Converter<'_> {
    /// Converts a table, except for its key `skip`.
    pub fn table(&mut self, table: &DeTable<'_>, path: &str, skip: Option<&str>) -> Kind {
        let mut entries: Vec<Entry> = table
            .iter()
            .filter(|(key, _)| Some(key.get_ref().as_ref()) != skip)
            .map(|(key, value)| {
                let path = join(path, &path_key(key.get_ref()));
                Entry {
                    key: key.get_ref().to_string(),
                    at: key.span().start,
                    node: self.node(value.get_ref(), value.span().start, &path),
                }
            })
            .collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Kind::Table(entries)
    }

    /// Converts a value that stands at `at`.
    pub fn node(&mut self, value: &DeValue<'_>, at: usize, path: &str) -> Node {
        let kind = match value {
            DeValue::String(text) => return self.text(text, at, path),
            DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Kind::Integer(integer),
                Err(_) => {
                    let help = "the largest whole number is 18,446,744,073,709,551,615, and many keys take less";
                    self.broken(at, path, Problem::new(format!("{integer} is out of range")).help(help))
                }
            },
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() || float.as_str().contains(['n', 'N']) => Kind::Float(number),
                _ => {
                    let help = "a number is below 1.8e308, and above -1.8e308; where a whole number or a text is needed, write one";
                    self.broken(at, path, Problem::new(format!("{float} is out of range")).help(help))
                }
            },
            DeValue::Boolean(boolean) => Kind::Boolean(*boolean),
            DeValue::Datetime(date) => Kind::Datetime(date.to_string()),
            DeValue::Array(array) => Kind::Array(
                array
                    .iter()
                    .enumerate()
                    .map(|(i, item): (usize, &Spanned<DeValue<'_>>)| {
                        self.node(item.get_ref(), item.span().start, &format!("{path}[{i}]"))
                    })
                    .collect(),
            ),
            DeValue::Table(table) => self.table(table, path, None),
        };
        Node { kind, at, param: None }
    }

    /// Converts a string: a reference `$name`, a text that begins with `$$` for `$`, or any other text.
    fn text(&mut self, text: &str, at: usize, path: &str) -> Node {
        let plain = |text: &str| Node { kind: Kind::Text(text.to_owned()), at, param: None };
        let (Some(params), Some(rest)) = (self.params, text.strip_prefix('$')) else {
            return plain(text);
        };
        if rest.starts_with('$') || !is_param_name(rest) {
            return plain(if rest.starts_with('$') { rest } else { text });
        }
        if let Some(kind) = params.get(rest) {
            return Node { kind: relocated(kind, at), at, param: Some(rest.to_owned()) };
        }
        let mut problem = Problem::new(format!("there is no parameter `{rest}`"));
        let help = nearest_name(rest, params.names()).unwrap_or_else(|| "add a table [params] with it".to_owned());
        problem = problem.help(format!("{help}; a text that starts with `$` is written `$${rest}`"));
        Node { kind: self.broken(at, path, problem), at, param: None }
    }

    fn broken(&mut self, at: usize, path: &str, problem: Problem) -> Kind {
        self.problems.push((at, problem.key(path)));
        Kind::Broken
    }
}

/// Returns a parameter's value as if it stood at `at`, where it is used.
fn relocated(kind: &Kind, at: usize) -> Kind {
    match kind {
        Kind::Array(items) => Kind::Array(
            items.iter().map(|item| Node { kind: relocated(&item.kind, at), at, param: item.param.clone() }).collect(),
        ),
        Kind::Table(entries) => Kind::Table(
            entries
                .iter()
                .map(|entry| Entry {
                    key: entry.key.clone(),
                    at,
                    node: Node { kind: relocated(&entry.node.kind, at), at, param: None },
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

/// Reads the table `[params]`. Its strings aren't references: a parameter doesn't refer to another.
pub(super) fn read_params(table: &DeTable<'_>, problems: &mut Vec<(usize, Problem)>) -> Params {
    let Some((_, value)) = table.get_key_value("params") else { return Params::default() };
    let DeValue::Table(table) = value.get_ref() else {
        let what = format!("is {}, a table is needed", article(value.get_ref().type_str()));
        problems.push((value.span().start, Problem::new(what).key("params").help("write [params]")));
        return Params::default();
    };
    let mut converter = Converter { params: None, problems: Vec::new() };
    let Kind::Table(mut entries) = converter.table(table, "params", None) else { return Params::default() };
    problems.append(&mut converter.problems);
    for Entry { key, node, .. } in &mut entries {
        if let Some(problem) = beyond_toml(node, &join("params", &path_key(key))) {
            problems.push(problem);
            node.kind = Kind::Broken;
        }
    }
    for Entry { key, at, .. } in &entries {
        if !is_param_name(key) {
            let problem = Problem::new(format!("`{key}` isn't a name that `$` can refer to"))
                .key("params")
                .help("use letters, digits, `_` and `-`");
            problems.push((*at, problem));
        }
    }
    Params(entries.into_iter().map(|entry| (entry.key, entry.node.kind)).collect())
}

/// Puts the value of `NAME=VALUE` in place of the one in the file.
pub(super) fn set_param(params: &mut Params, assignment: &str) -> Result<(), Problem> {
    let Some((name, text)) = assignment.split_once('=') else {
        return Err(Problem::new("there is no `=` in it")
            .key(format!("--set {assignment}"))
            .help("write --set NAME=VALUE"));
    };
    let name = name.trim();
    let Some(index) = params.0.iter().position(|(known, _)| known == name) else {
        let problem = Problem::new(format!("the scenario has no parameter `{name}`"));
        let help = nearest_name(name, params.names());
        return Err(problem
            .key(format!("--set {assignment}"))
            .help(help.unwrap_or_else(|| "its table [params] is empty".to_owned())));
    };
    let default = &params.0[index].1;
    let key = format!("--set {assignment}");
    let value = parsed_as(default, text).map_err(|what| {
        let help = format!("give it a value like the one in [params], {}", canonical::value(default));
        Problem::new(what).key(&key).help(help)
    })?;
    let node = Node { kind: value, at: 0, param: None };
    if let Some((_, problem)) = beyond_toml(&node, "") {
        return Err(problem.key(key));
    }
    params.0[index].1 = node.kind;
    Ok(())
}

/// Parses `text` as a value of the type of `default`.
fn parsed_as(default: &Kind, text: &str) -> Result<Kind, String> {
    let parsed = DeValue::parse(text.trim()).ok().map(|value| {
        let mut converter = Converter { params: None, problems: Vec::new() };
        let kind = converter.node(value.get_ref(), 0, "").kind;
        if converter.problems.is_empty() { kind } else { Kind::Broken }
    });
    match (default, parsed) {
        (_, Some(Kind::Broken)) => Err("the value is out of range".to_owned()),
        // Text without quotes is taken as it is, even if it looks like a number.
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

/// Returns a TOML type with its article.
fn article(type_name: &str) -> String {
    let an = type_name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {type_name}", if an { "an" } else { "a" })
}
