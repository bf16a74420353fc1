//! Problems as diagnostics of [`miette`]: each with the code of its kind, what to do, and the place in the text where that was given. What is
//! found wrong besides, in the same pass, is related to the first.

use std::fmt::Display;

use miette::{Diagnostic, LabeledSpan, SourceCode};

use super::one::{Problem, Problems};
use super::run_error::RunError;

type Text<'a> = Option<Box<dyn Display + 'a>>;
type Labels<'a> = Option<Box<dyn Iterator<Item = LabeledSpan> + 'a>>;
type Related<'a> = Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>>;

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Text<'a> {
        Some(Box::new(self.kind().code()))
    }

    fn help<'a>(&'a self) -> Text<'a> {
        Some(Box::new(self.help_text()?))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source_text().map(|text| text as _)
    }

    fn labels(&self) -> Labels<'_> {
        let (line, column) = self.position();
        let label = self.source_text()?.label(line?, column, self.shown_key());
        Some(Box::new(std::iter::once(label)))
    }
}

impl Diagnostic for Problems {
    fn code<'a>(&'a self) -> Text<'a> {
        self.0.first()?.code()
    }

    fn help<'a>(&'a self) -> Text<'a> {
        self.0.first()?.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.first()?.source_code()
    }

    fn labels(&self) -> Labels<'_> {
        self.0.first()?.labels()
    }

    fn related<'a>(&'a self) -> Related<'a> {
        let (_, others) = self.0.split_first().filter(|(_, others)| !others.is_empty())?;
        Some(Box::new(others.iter().map(|problem| problem as _)))
    }
}

impl Diagnostic for RunError {
    fn code<'a>(&'a self) -> Text<'a> {
        Some(Box::new(self.kind().code()))
    }

    fn help<'a>(&'a self) -> Text<'a> {
        self.problem().help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.problem().source_code()
    }

    fn labels(&self) -> Labels<'_> {
        self.problem().labels()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::path::Path;

    use super::*;
    use crate::scenario::{LoadOptions, parse};

    /// Returns what a printer of diagnostics is told: code, message, help, and what the label covers with its text.
    fn told(diagnostic: &dyn Diagnostic) -> [String; 4] {
        let labels: Vec<LabeledSpan> = diagnostic.labels().unwrap().collect();
        let [label] = &labels[..] else { panic!("{labels:?}") };
        let found = diagnostic.source_code().unwrap().read_span(label.inner(), 0, 0).unwrap();
        let covered = String::from_utf8_lossy(&found.data()[..label.len()]).into_owned();
        let place = format!("{}:{}: {covered}: {}", found.name().unwrap(), found.line() + 1, label.label().unwrap());
        let [code, help] = [diagnostic.code(), diagnostic.help()].map(|text| text.unwrap().to_string());
        [code, diagnostic.to_string(), help, place]
    }

    #[test]
    fn a_scenarios_problems_are_shown_with_code_place_and_help_and_each_is_related_to_the_first() {
        let text = "frames = 0\nmodules.a.path = \"a.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"b\"\nagents = 1\n";
        let options = LoadOptions { recorded: true, ..LoadOptions::default() };
        let problems = parse(text.to_owned(), Path::new("s.toml"), &options).unwrap_err();
        let [code, message, help, place] = told(&problems);
        assert_eq!(code, "wasm_engine::input");
        assert!(message.starts_with("s.toml:1:10: frames: 0 is out of range (and 1 more problem)"), "{message}");
        assert!(help.starts_with("use 1 to "), "{help}");
        assert_eq!(place, "s.toml:1: 0: frames");
        assert!(problems.source().is_none() && !message.contains(&help), "nothing is said twice");

        let related: Vec<&dyn Diagnostic> = problems.related().unwrap().collect();
        let [other] = related[..] else { panic!("{}", related.len()) };
        let [_, message, help, place] = told(other);
        assert!(
            message.starts_with("s.toml:5:10: groups[0].module: ") && help.contains("known: `a`"),
            "{message} {help}"
        );
        assert_eq!(place, "s.toml:5: \"b\": groups[0].module");
        assert!(other.related().is_none());
    }

    #[test]
    fn what_isnt_toml_is_shown_at_its_place_too() {
        let problems = parse("frames = = 1\n".to_owned(), Path::new("s.toml"), &LoadOptions::default()).unwrap_err();
        assert!(problems.related().is_none());
        let label = problems.labels().unwrap().next().unwrap();
        assert!((9..11).contains(&label.offset()), "{label:?}");
    }

    #[test]
    fn an_error_of_a_run_has_the_code_of_its_kind_and_its_problem_the_rest() {
        let problem = Problem::new("can't be written").help("make room").caused_by(std::io::Error::other("full"));
        let error = RunError::of_machine(problem);
        assert_eq!(error.code().unwrap().to_string(), "wasm_engine::machine");
        assert_eq!(error.help().unwrap().to_string(), "make room");
        assert_eq!(
            (error.to_string(), error.source().unwrap().to_string()),
            ("can't be written".into(), "full".into())
        );
        assert!(error.labels().is_none() && error.source_code().is_none());
        // As `?` in a `main` of `miette::Result` makes it.
        let report = miette::Report::from(error);
        assert_eq!(report.to_string(), "can't be written");
    }
}
