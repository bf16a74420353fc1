//! One thing that is wrong, and several. Made by everything that reads what a user wrote, printed by the command line. Whatever a problem was
//! made of, its text is one line and harmless to a terminal.
//!
//! `{}` says where and what: `file:line:column: key: what`. `{:#}` says all of it in one line, with what caused it and what to do:
//! `file:line:column: key: what: cause; help: what to do`.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasm_engine_components::causes::with_causes;
use wasm_engine_components::limits::LINE_CHARS_MAX;
use wasm_engine_components::text::{Shown, shown, shown_path};

use super::kind::ErrorKind;
use super::source_text::SourceText;
use wasm_engine_files::{Lack, counted};

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
    /// What to do where the cause is that there is no room.
    room_help: Option<String>,
    cause: Option<Cause>,
    text: Option<SourceText>,
    /// Kind of the error, if it was set.
    kind: Option<ErrorKind>,
}

/// The error behind a problem. Two with the same text are equal.
#[derive(Clone, Debug)]
struct Cause(Arc<dyn Error + Send + Sync>);

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        with_causes(&*self.0) == with_causes(&*other.0)
    }
}

impl Eq for Cause {}

impl Problem {
    /// Creates a problem from a sentence without a full stop.
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

    /// Says what to do. If the cause is something that the machine lacks, such as open files, what follows from that is told instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Says what to do if the cause turns out to be that a disk is full or a file too large. [`help`](Self::help) isn't told then.
    #[must_use]
    pub fn room_help(mut self, help: impl Into<String>) -> Self {
        self.0.room_help = Some(help.into());
        self
    }

    /// Says whose fault it is, whatever the cause is.
    #[must_use]
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = Some(kind);
        self
    }

    /// Returns whose fault it is: as it was said, or else as it follows from the cause. A problem of which neither is known is one of the input.
    pub fn kind(&self) -> ErrorKind {
        let of_cause = || self.0.cause.as_ref().and_then(|Cause(error)| kind_of(&**error));
        self.0.kind.or_else(of_cause).unwrap_or(ErrorKind::Input)
    }

    /// Returns what the machine lacks, as it follows from the cause.
    pub(crate) fn lack(&self) -> Option<Lack> {
        let Cause(error) = self.0.cause.as_ref()?;
        causes(&**error).find_map(|error| Lack::of(error.downcast_ref()?))
    }

    /// Names the error behind it, whose text becomes a part of [`head`](Self::head). If it is one of the system, or has one as its source, the
    /// [kind](Self::kind) follows from it.
    #[must_use]
    pub fn caused_by(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Cause(Arc::new(error)));
        self
    }

    /// Adds the text of the file, for printers that show it.
    #[must_use]
    pub fn text(mut self, text: SourceText) -> Self {
        self.0.text = Some(text);
        self
    }

    /// Adds the text of the file that was named.
    pub(crate) fn in_text(self, text: &str) -> Self {
        match &self.0.file {
            Some(file) => {
                let text = SourceText::new(file, text);
                self.text(text)
            }
            None => self,
        }
    }

    /// Returns where, what and why, without the help.
    pub fn head(&self) -> String {
        match &self.0.cause {
            None => self.placed(&self.0.what),
            Some(Cause(error)) => self.placed(&format!("{}: {}", self.0.what, with_causes(&**error))),
        }
    }

    /// Returns the sentence after its place.
    fn placed(&self, what: &str) -> String {
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
        text.push_str(&sentence(what).to_string());
        text
    }

    /// Returns what to do: what follows from the cause, where that is something that the machine lacks, or else what was said.
    pub fn help_text(&self) -> Option<String> {
        let help = match self.lack() {
            None => self.0.help.as_deref(),
            Some(lack) if lack.is_room() && self.0.room_help.is_some() => self.0.room_help.as_deref(),
            Some(lack) => Some(lack.remedy()),
        };
        help.map(|help| sentence(help).to_string())
    }

    /// Returns line and column, for sorting.
    pub(crate) fn position(&self) -> (Option<usize>, Option<usize>) {
        (self.0.line, self.0.column)
    }

    /// Returns the key, as it may be shown.
    pub(super) fn shown_key(&self) -> Option<String> {
        self.0.key.as_deref().map(|key| shown(key).to_string())
    }

    /// Returns the text of the file, where it was given.
    pub(super) fn source_text(&self) -> Option<&SourceText> {
        self.0.text.as_ref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return f.write_str(&self.placed(&self.0.what));
        }
        f.write_str(&self.head())?;
        match self.help_text() {
            Some(help) => write!(f, "; help: {help}"),
            None => Ok(()),
        }
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_ref().map(|Cause(error)| &**error as _)
    }
}

/// Returns what a cause says of whose fault it is: it, or one of its own causes, is an error of the system or a problem. `None` where nothing of
/// that kind is behind it.
fn kind_of(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    causes(error).find_map(|error| match error.downcast_ref::<Problem>() {
        Some(problem) => Some(problem.kind()),
        None => error.downcast_ref().map(ErrorKind::of_io),
    })
}

/// Returns an error and those behind it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Makes a text harmless that was put together from own words and from text of others.
fn sentence(text: &str) -> Shown<'_> {
    shown(text).at_most(LINE_CHARS_MAX)
}

/// One or more things that are wrong with one input, in the order of their lines. `{}` says the first, and how many more there are; `{:#}` all
/// of them, each as a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Returns whose fault it is: that of the first.
    pub fn kind(&self) -> ErrorKind {
        self.0.first().map_or(ErrorKind::Input, Problem::kind)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.0.split_first() else { return f.write_str("nothing is wrong") };
        first.fmt(f)?;
        if f.alternate() {
            return others.iter().try_for_each(|problem| write!(f, "\n{problem:#}"));
        }
        if others.is_empty() { Ok(()) } else { write!(f, " (and {})", counted(others.len() as u64, "more problem")) }
    }
}

/// The cause of the first.
impl Error for Problems {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.first().and_then(Error::source)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_place_key_and_help() {
        let problem = Problem::new("is 0").file(Path::new("a/x.toml")).line(12).column(3).key("groups[0].agents");
        assert_eq!(problem.to_string(), "a/x.toml:12:3: groups[0].agents: is 0");
        let problem = problem.help("use 1").caused_by(std::io::Error::other("a disk"));
        assert_eq!(
            problem.to_string(),
            "a/x.toml:12:3: groups[0].agents: is 0",
            "who prints causes and help says them once"
        );
        assert_eq!(problem.source().unwrap().to_string(), "a disk");
        assert_eq!(problem.head(), "a/x.toml:12:3: groups[0].agents: is 0: a disk");
        assert_eq!(format!("{problem:#}"), "a/x.toml:12:3: groups[0].agents: is 0: a disk; help: use 1");
        assert_eq!(format!("{:#}", Problem::new("no")), "no");
        let two = Problems(vec![problem, Problem::new("no")]);
        assert_eq!(two.to_string(), "a/x.toml:12:3: groups[0].agents: is 0 (and 1 more problem)");
        assert_eq!(format!("{two:#}"), "a/x.toml:12:3: groups[0].agents: is 0: a disk; help: use 1\nno");
    }

    #[test]
    fn whose_fault_it_is_follows_from_what_the_system_said_unless_it_is_known() {
        use std::io;

        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);

        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let none = || io::Error::from(io::ErrorKind::NotFound);
        let new = || Problem::new("x");
        assert_eq!(new().kind(), ErrorKind::Input);
        assert_eq!(new().caused_by(none()).kind(), ErrorKind::Input);
        assert_eq!(new().caused_by(full()).kind(), ErrorKind::Machine);
        assert_eq!(new().caused_by(Outer(full())).kind(), ErrorKind::Machine);
        assert_eq!(new().caused_by(new().caused_by(full())).kind(), ErrorKind::Machine);
        for problem in [
            new().of_kind(ErrorKind::Machine).caused_by(none()),
            new().caused_by(none()).of_kind(ErrorKind::Machine),
            new().caused_by(new().of_kind(ErrorKind::Machine)),
        ] {
            assert_eq!(problem.kind(), ErrorKind::Machine);
        }
        assert_eq!(Problems(vec![new().caused_by(full()), new()]).kind(), ErrorKind::Machine);
    }

    #[cfg(unix)]
    #[test]
    fn what_to_do_follows_from_what_the_machine_lacks() {
        let of = |raw| {
            let error = std::io::Error::from_raw_os_error(raw);
            Problem::new("x").caused_by(error).help("take another copy")
        };
        let told = |problem: &Problem| problem.help_text().unwrap();
        assert_eq!(told(&of(libc::ENOENT)), "take another copy");
        assert_eq!(told(&of(libc::EMFILE)), "raise the limit of open files (`ulimit -n`)");
        assert_eq!(told(&Problem::new("y").help("z").caused_by(of(libc::EMFILE))), told(&of(libc::EMFILE)));
        assert_eq!(told(&of(libc::ENOSPC)), Lack::Room.remedy());
        assert_eq!(told(&of(libc::ENOSPC).room_help("make room")), "make room");
        for raw in [libc::EMFILE, libc::EIO] {
            assert_eq!(
                told(&of(raw).room_help("make room")),
                Lack::of(&std::io::Error::from_raw_os_error(raw)).unwrap().remedy()
            );
        }
    }

    #[test]
    fn nothing_that_a_problem_is_made_of_reaches_a_terminal_as_it_is() {
        let bad = "\u{1b}[2J\nerror: forged\u{202e}";
        let problem = Problem::new(bad).file(Path::new(bad)).key(bad).help(bad);
        let text = format!("{problem:#}");
        let escaped = "\\u{1b}[2J\\nerror: forged\\u{202e}";
        assert_eq!(text, format!("{escaped}: {escaped}: {escaped}; help: {escaped}"));
        assert_eq!(Problem::new(format!("{problem:#}")).head(), text, "a problem within a problem is escaped once");
        let long = Problem::new("x".repeat(200_000)).key("k".repeat(200_000)).to_string();
        assert!(long.chars().count() <= LINE_CHARS_MAX + 200, "{}", long.len());
    }
}
