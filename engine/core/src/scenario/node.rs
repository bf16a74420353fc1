//! The tree that a scenario is read from: TOML with the place of each value, references to parameters resolved.
//! Made by [`super::convert`], read by way of [`super::fields`].

use crate::problem::Problem;

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
    /// Returns the value of a key; `None` where this isn't a table, or the key isn't there.
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
    /// Returns what it is, with its article.
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

/// Returns the problem of the first whole number of a value that is beyond TOML's 64 bits, so that others couldn't read it, with the number's
/// offset. `path` is the value's own.
pub(super) fn beyond_toml(node: &Node, path: &str) -> Option<(usize, Problem)> {
    /// What to do about such a number.
    const RANGE: &str = "a whole number in parameters is from -9,223,372,036,854,775,808 to 9,223,372,036,854,775,807; write a text where more is needed";

    match &node.kind {
        Kind::Integer(value) => i64::try_from(*value)
            .is_err()
            .then(|| (node.at, Problem::new(format!("{value} is out of range")).key(path).help(RANGE))),
        Kind::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| beyond_toml(item, &format!("{path}[{index}]")))
        }
        Kind::Table(entries) => {
            entries.iter().find_map(|entry| beyond_toml(&entry.node, &join(path, &path_key(&entry.key))))
        }
        _ => None,
    }
}

/// Returns whether `name` may follow the `$` of a reference.
pub(super) fn is_param_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Returns a key as it stands in a path: quoted if TOML would want it quoted.
pub(super) fn path_key(key: &str) -> String {
    if is_param_name(key) { key.to_owned() } else { format!("{key:?}") }
}

/// `path.key`, or `key` at the top.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
