//! What is wrong, where, and what to do about it: one type for scenarios, events, the command line and run directories.
//!
//! Its one-line form is `file:line:column: key: what; help: what to do`. Made by everything that reads what a user wrote,
//! printed by the command line. Whatever it was made of, its text is one line and harmless to a terminal.

use std::fmt;
use std::path::{Path, PathBuf};

use wasm_engine_components::limits::LINE_CHARS_MAX;
use wasm_engine_components::text::{Shown, shown, shown_path};

pub use wasm_engine_files::{counted, thousands};

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem(
    /// In a box, so that a `Result` with a problem is as small as one without.
    Box<Details>,
);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    file: Option<PathBuf>,
    line: Option<usize>,
    column: Option<usize>,
    key: Option<String>,
    what: String,
    help: Option<String>,
}

impl Problem {
    /// A problem that is said in one sentence, without a final stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self(Box::new(Details { what: what.into(), ..Details::default() }))
    }

    /// Names the file.
    #[must_use]
    pub fn file(mut self, file: &Path) -> Self {
        self.0.file = Some(file.to_path_buf());
        self
    }

    /// Names the line of the file, from 1.
    #[must_use]
    pub fn line(mut self, line: usize) -> Self {
        self.0.line = Some(line);
        self
    }

    /// Names the column of the line, from 1, in characters.
    #[must_use]
    pub fn column(mut self, column: usize) -> Self {
        self.0.column = Some(column);
        self
    }

    /// Names the key, such as `groups[0].agents`.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Where and what, without the help.
    pub fn head(&self) -> String {
        let mut text = String::new();
        if let Some(file) = &self.0.file {
            text.push_str(&shown_path(file).to_string());
            for number in [self.0.line, self.0.column].into_iter().flatten() {
                text.push_str(&format!(":{number}"));
            }
            text.push_str(": ");
        }
        if let Some(key) = &self.0.key {
            text.push_str(&format!("{}: ", shown(key)));
        }
        text.push_str(&sentence(&self.0.what).to_string());
        text
    }

    /// What to do, if it was said.
    pub fn help_text(&self) -> Option<String> {
        self.0.help.as_deref().map(|help| sentence(help).to_string())
    }

    /// Line and column, for sorting.
    pub(crate) fn position(&self) -> (Option<usize>, Option<usize>) {
        (self.0.line, self.0.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        match self.help_text() {
            Some(help) => write!(f, "; help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// What was put together of words and of what others wrote: the whole is made harmless, too, whatever became of its parts.
fn sentence(text: &str) -> Shown<'_> {
    shown(text).at_most(LINE_CHARS_MAX)
}

/// One or more things that are wrong with one input, in the order of their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// Why a run ended early. The two kinds have exit statuses of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The input is bad: exit status 2.
    Input(Problem),
    /// The machine failed: a disk, memory, threads. Exit status 3.
    Failed(Problem),
}

impl RunError {
    /// The error of a file that couldn't be made or opened: the machine's where the same would have gone well on another one, else bad
    /// input, such as a path that nobody may write to.
    pub fn of_io(problem: Problem, error: &std::io::Error) -> Self {
        if is_machine_failure(error) { Self::Failed(problem) } else { Self::Input(problem) }
    }

    /// What is wrong.
    pub const fn problem(&self) -> &Problem {
        match self {
            Self::Input(problem) | Self::Failed(problem) => problem,
        }
    }
}

/// Whether an error of the system says that the machine has too little of something, or is broken.
fn is_machine_failure(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    /// Input/output error; too many open files, in the system and in the process. They have no kinds.
    const RAW: [i32; 3] = [5, 23, 24];
    let is_raw = cfg!(unix) && error.raw_os_error().is_some_and(|raw| RAW.contains(&raw));
    is_raw
        || matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory
        )
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

impl std::error::Error for RunError {}

/// How many known names a help text lists.
const NAMES_LISTED_MAX: usize = 40;

/// The help for a name that isn't known: the nearest one, if any is near, and the known ones.
pub fn nearest_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let distance = |candidate: &str| {
        let (short, long) = if name.len() < candidate.len() { (name, candidate) } else { (candidate, name) };
        // A name that was cut short, or has something added, is near however long the rest is.
        if short.len() >= 3 && long.contains(short) { 1 } else { strsim::damerau_levenshtein(name, candidate) }
    };
    let near = known
        .iter()
        .map(|candidate| (distance(candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (name.chars().count().max(candidate.chars().count()) / 2).max(1))
        .min();
    let mut list =
        known.iter().take(NAMES_LISTED_MAX).map(|name| format!("`{}`", shown(name))).collect::<Vec<_>>().join(", ");
    if known.len() > NAMES_LISTED_MAX {
        list.push_str(&format!(" and {} more", known.len() - NAMES_LISTED_MAX));
    }
    match (near, known.is_empty()) {
        (_, true) => None,
        (Some((_, near)), false) => Some(format!("did you mean `{}`? known: {list}", shown(near))),
        (None, false) => Some(format!("known: {list}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_place_key_and_help() {
        let problem = Problem::new("is 0").file(Path::new("a/x.toml")).line(12).column(3).key("groups[0].agents");
        assert_eq!(problem.to_string(), "a/x.toml:12:3: groups[0].agents: is 0");
        assert_eq!(problem.help("use 1").to_string(), "a/x.toml:12:3: groups[0].agents: is 0; help: use 1");
        assert_eq!(Problem::new("no").to_string(), "no");
    }

    #[test]
    fn nothing_that_a_problem_is_made_of_reaches_a_terminal_as_it_is() {
        let bad = "\u{1b}[2J\nerror: forged\u{202e}";
        let problem = Problem::new(bad).file(Path::new(bad)).key(bad).help(bad);
        let text = problem.to_string();
        let escaped = "\\u{1b}[2J\\nerror: forged\\u{202e}";
        assert_eq!(text, format!("{escaped}: {escaped}: {escaped}; help: {escaped}"));
        assert_eq!(Problem::new(problem.to_string()).head(), text, "a problem within a problem is escaped once");
        let long = Problem::new("x".repeat(200_000)).key("k".repeat(200_000)).to_string();
        assert!(long.chars().count() <= LINE_CHARS_MAX + 200, "{}", long.len());
        assert!(nearest_name(bad, [bad]).unwrap().chars().all(|c| !c.is_control()));
    }

    #[test]
    fn near_names_are_offered_and_far_ones_listed() {
        let known = ["agents", "module"];
        assert_eq!(nearest_name("agent", known).as_deref(), Some("did you mean `agents`? known: `agents`, `module`"));
        assert_eq!(nearest_name("zzzzzzzz", known).as_deref(), Some("known: `agents`, `module`"));
        assert_eq!(nearest_name("a", []), None);
    }

    #[test]
    fn what_the_machine_lacks_is_told_from_bad_input() {
        let of = |raw: i32| RunError::of_io(Problem::new("x"), &std::io::Error::from_raw_os_error(raw));
        // No space, too large, no memory, too many files; not there, not allowed, no folder.
        #[cfg(target_os = "linux")]
        for (raw, is_machine) in [(28, true), (27, true), (12, true), (24, true), (2, false), (13, false), (20, false)]
        {
            assert_eq!(matches!(of(raw), RunError::Failed(_)), is_machine, "{raw}");
        }
        assert!(matches!(of(2), RunError::Input(_)));
    }
}
