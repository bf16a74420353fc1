//! Typed reading of a table of the scenario. Every reader reports problems and returns a default, so that one pass
//! finds many problems; the defaults are never used, because a scenario with a problem isn't run.

use std::fs::Metadata;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use wasm_engine_components::text::shown_path;

use super::form::Needed;
use super::node::{Entry, Kind, Node, join, path_key};
use crate::problem::{Problem, nearest_name, thousands};
use wasm_engine_files::parse_sha256;

/// State that the readers share: the folder of files, and the problems so far.
pub(super) struct Context {
    /// The scenario's folder.
    pub folder: PathBuf,
    /// Whether the files that it names must be there.
    pub looks_for_files: bool,
    /// Problems so far, each with its offset in the scenario.
    pub problems: Vec<(usize, Problem)>,
}

impl Context {
    /// Reports a problem of `key` at the offset `at`.
    pub fn report(&mut self, at: usize, key: &str, problem: Problem) {
        self.problems.push((at, problem.key(key)));
    }

    /// Reports that `node` is of another type than `needed`, unless it was reported already.
    pub fn wrong_type(&mut self, node: &Node, path: &str, needed: &Needed) {
        if node.kind != Kind::Broken {
            let what = format!("is {}{}, {} is needed", node.kind.type_name(), origin(node), needed.name());
            let help = match &node.param {
                Some(name) => format!("give the parameter such a value, in [params] or by --set {name}=VALUE"),
                None => needed.help(&node.kind, path),
            };
            self.report(node.at, path, Problem::new(what).help(help));
        }
    }

    /// Returns the path `name` in the scenario's folder; an absolute path stays.
    pub fn resolve(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Returns a note that names the parameter from which a value came.
pub(super) fn origin(node: &Node) -> String {
    node.param.as_ref().map_or_else(String::new, |name| format!(" (parameter `{name}`)"))
}

/// A table that is being read.
pub(super) struct Fields<'a> {
    /// Its path, such as `groups[0]`.
    pub path: String,
    /// Its offset.
    pub at: usize,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// Opens `node` as a table with the keys `known`; any other key is a problem.
    pub fn open(cx: &mut Context, node: &'a Node, path: &str, known: &[&str]) -> Option<Self> {
        let Kind::Table(entries) = &node.kind else {
            cx.wrong_type(node, path, &Needed::Table);
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let mut problem = Problem::new("unknown key");
            if let Some(help) = nearest_name(&entry.key, known.iter().copied()) {
                problem = problem.help(help);
            }
            cx.report(entry.at, &join(path, &path_key(&entry.key)), problem);
        }
        Some(Self { path: path.to_owned(), at: node.at, entries })
    }

    /// Returns the path of a key.
    pub fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Returns the value of a key that must be there.
    pub fn need(&self, cx: &mut Context, key: &str, help: &str) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            cx.report(self.at, &self.path(key), Problem::new("missing").help(help));
        }
        node
    }

    /// Returns a whole number in a range.
    pub fn integer(&self, cx: &mut Context, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.get(key).and_then(|node| integer(cx, node, &self.path(key), range)).unwrap_or(default)
    }

    /// Returns a whole number in a range of 32 bits.
    pub fn integer_u32(&self, cx: &mut Context, key: &str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        u32::try_from(self.integer(cx, key, range, default.into())).unwrap_or(default)
    }

    /// Returns a boolean.
    pub fn boolean(&self, cx: &mut Context, key: &str, default: bool) -> bool {
        match self.get(key) {
            Some(Node { kind: Kind::Boolean(value), .. }) => *value,
            Some(node) => {
                cx.wrong_type(node, &self.path(key), &Needed::Boolean);
                default
            }
            None => default,
        }
    }

    /// Returns a string that isn't empty.
    pub fn text(&self, cx: &mut Context, key: &str) -> Option<(&'a str, &'a Node)> {
        let node = self.get(key)?;
        text(cx, node, &self.path(key)).map(|text| (text, node))
    }

    /// Returns the items of an array; none where the key is missing.
    pub fn array(&self, cx: &mut Context, key: &str) -> Option<&'a [Node]> {
        let node = self.get(key)?;
        match &node.kind {
            Kind::Array(items) => Some(items),
            _ => {
                cx.wrong_type(node, &self.path(key), &Needed::Array);
                None
            }
        }
    }

    /// Returns the entries of a table with free keys; none where the key is missing.
    pub fn entries(&self, cx: &mut Context, key: &str) -> &'a [Entry] {
        match self.get(key) {
            Some(Node { kind: Kind::Table(entries), .. }) => entries,
            Some(node) => {
                cx.wrong_type(node, &self.path(key), &Needed::Table);
                &[]
            }
            None => &[],
        }
    }

    /// Returns one of several words.
    pub fn choice<T: Copy>(&self, cx: &mut Context, key: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(node) = self.get(key) else { return default };
        let Kind::Text(word) = &node.kind else {
            cx.wrong_type(node, &self.path(key), &Needed::Text);
            return default;
        };
        if let Some((_, value)) = choices.iter().find(|(name, _)| name == word) {
            return *value;
        }
        let problem = Problem::new(format!("`{word}`{} isn't one of the choices", origin(node)));
        let help = nearest_name(word, choices.iter().map(|(name, _)| *name)).unwrap_or_default();
        cx.report(node.at, &self.path(key), problem.help(help));
        default
    }

    /// Returns a file that must be there: resolved against the scenario's folder.
    pub fn file(&self, cx: &mut Context, key: &str) -> Option<PathBuf> {
        let (name, node) = self.text(cx, key)?;
        let path = cx.resolve(name);
        if cx.looks_for_files
            && let Err(what) = regular_file(&path)
        {
            let help = "paths are relative to the scenario's folder";
            cx.report(node.at, &self.path(key), Problem::new(what).help(help));
        }
        Some(path)
    }

    /// Returns a SHA-256 in hexadecimal.
    pub fn sha256(&self, cx: &mut Context, key: &str) -> Option<[u8; 32]> {
        let (digits, node) = self.text(cx, key)?;
        let hash = parse_sha256(digits);
        if hash.is_none() {
            let what = format!("`{digits}` isn't a SHA-256");
            cx.report(
                node.at,
                &self.path(key),
                Problem::new(what).help("write 64 hexadecimal digits, as `sha256sum` prints them"),
            );
        }
        hash
    }
}

/// Returns a whole number in a range.
pub(super) fn integer(cx: &mut Context, node: &Node, path: &str, range: RangeInclusive<u64>) -> Option<u64> {
    let Kind::Integer(value) = node.kind else {
        cx.wrong_type(node, path, &Needed::Integer(range));
        return None;
    };
    if let Some(value) = u64::try_from(value).ok().filter(|value| range.contains(value)) {
        return Some(value);
    }
    let help = format!("use {} to {}", thousands(range.start()), thousands(range.end()));
    cx.report(node.at, path, Problem::new(format!("{value}{} is out of range", origin(node))).help(help));
    None
}

/// Returns a string that isn't empty.
pub(super) fn text<'a>(cx: &mut Context, node: &'a Node, path: &str) -> Option<&'a str> {
    match &node.kind {
        Kind::Text(text) if text.is_empty() => {
            let help = "write something between the quotes; a key that isn't needed may be left out";
            cx.report(node.at, path, Problem::new(format!("is empty{}", origin(node))).help(help));
            None
        }
        Kind::Text(text) => Some(text),
        _ => {
            cx.wrong_type(node, path, &Needed::Text);
            None
        }
    }
}

/// Returns a number, whole or not, but finite.
pub(super) fn number(cx: &mut Context, node: &Node, path: &str) -> Option<f64> {
    match node.kind {
        #[expect(clippy::cast_precision_loss, reason = "numbers of outputs are compared as f64")]
        Kind::Integer(value) => Some(value as f64),
        Kind::Float(value) if value.is_finite() => Some(value),
        Kind::Float(_) => {
            let help = "nothing that is recorded is equal to it or beyond it: leave it out, or write a number";
            cx.report(node.at, path, Problem::new("isn't a finite number").help(help));
            None
        }
        _ => {
            cx.wrong_type(node, path, &Needed::Number);
            None
        }
    }
}

/// Returns why a path can't be read, if it can't: as a file, or as a pipe.
pub(super) fn readable(path: &Path) -> Result<Metadata, String> {
    let shown = shown_path(path);
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(format!("`{shown}` is a folder, a file is needed")),
        Ok(metadata) => Ok(metadata),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(format!("the file `{shown}` doesn't exist")),
        Err(error) => Err(format!("the file `{shown}` can't be read: {error}")),
    }
}

/// Returns why a path can't be read as a regular file, if it can't. A file that is read as a whole must have an end.
pub(super) fn regular_file(path: &Path) -> Result<(), String> {
    match readable(path)?.is_file() {
        true => Ok(()),
        false => Err(format!("`{}` is a device or a pipe, a file is needed", shown_path(path))),
    }
}
