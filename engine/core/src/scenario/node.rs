//! The tree that a scenario is read from: TOML with the place of each value, references to parameters resolved.
//! Made by [`super::load()`], read by way of [`super::fields`].

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::params::Params;
use crate::problem::{Problem, nearest_name};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// The value.
    pub kind: Kind,
    /// Its offset in the file, in bytes.
    pub at: usize,
    /// The parameter it came from.
    pub param: Option<String>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Text(String),
    /// Wider than TOML's 64 bits, so that what is too large is said as it was written.
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    /// Sorted by key.
    Table(Vec<Entry>),
    /// A problem was reported already; whoever reads it says nothing more.
    Broken,
}

impl Node {
    /// The value of a key; `None` where this isn't a table, or the key isn't there.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Kind::Table(entries) = &self.kind else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub at: usize,
    pub node: Node,
}

impl Kind {
    /// What it is, with its article.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Broken => "unreadable",
        }
    }
}

/// Whether `name` may follow the `$` of a reference.
pub(super) fn is_param_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A key as it stands in a path: quoted if TOML would want it quoted.
pub(super) fn path_key(key: &str) -> String {
    if is_param_name(key) { key.to_owned() } else { format!("{key:?}") }
}

/// Makes trees. With `params`, strings that are `$name` become the parameter's value.
pub(super) struct Converter<'a> {
    /// The parameters; `None` while they themselves are read.
    pub params: Option<&'a Params>,
    /// What was wrong: offset and problem, with the key named.
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

    /// A string: itself, a reference, or a text whose first `$` is written twice.
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

/// A parameter's value as if it stood at `at`, where it is used.
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

/// `path.key`, or `key` at the top.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
