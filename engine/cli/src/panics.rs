//! Panics: faults of the engine itself. They are printed in the form of everything else on standard error, made harmless for a terminal.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};

use tracing::Level;
use wasm_engine_components::text::{Lines, shown};

use super::said::Said;
use super::terminal::say_lines;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Sets the hook that prints panics. The process still ends with status 101, once the main thread knows of it.
pub(super) fn tell() {
    set_hook(Box::new(|panic| {
        let fault = Fault::of(panic, &Backtrace::capture());
        say_lines(&fault.lines(), &fault.said());
    }));
}

/// Facts about a panic.
struct Fault {
    what: String,
    place: String,
    thread: String,
    backtrace: Option<String>,
}

impl Fault {
    const HELP: &str = "please report these lines and what you ran to the maintainers; with RUST_BACKTRACE=1, there are more of them. What \
        is recorded of a run stays: `wasm-engine resume` goes on from there";

    fn of(panic: &PanicHookInfo<'_>, backtrace: &Backtrace) -> Self {
        let why = shown(panic.payload_as_str().unwrap_or("it doesn't say why")).to_string();
        Self {
            what: format!("the engine has failed, which is its own fault, whatever it was given: {why}"),
            place: panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string),
            thread: std::thread::current().name().unwrap_or("without a name").to_owned(),
            backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
        }
    }

    fn lines(&self) -> Lines {
        let Self { what, place, thread, backtrace } = self;
        let mut lines = Lines::default();
        lines.line(format_args!("error: {what}"));
        lines.line(format_args!("  at {place}, in the thread {}, of version {VERSION}", shown(thread)));
        lines.line(format_args!("  help: {}", Self::HELP));
        backtrace.iter().flat_map(|text| text.lines()).for_each(|line| lines.line(line));
        lines
    }

    fn said(&self) -> Said<'static> {
        let said = Said::new(Level::ERROR, &*self.what).help(Some(Self::HELP));
        let said = said.field("at", &*self.place).field("thread", &*self.thread).field("version", VERSION);
        match &self.backtrace {
            Some(backtrace) => said.field("backtrace", &**backtrace),
            None => said,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    use crate::terminal::{self, Form};

    /// Marks the second process.
    const PANIC: &str = "PANICS_TEST";
    const EVIL: &str = "a\u{1b}[2J\r\nerror: forged\u{202e}";

    /// Not a test by itself: the second process of the test below.
    #[test]
    fn panic_in_a_second_process() {
        if let Some(form) = std::env::var_os(PANIC) {
            terminal::begin(if form == "json" { Form::Json } else { Form::Text }, false);
            super::tell();
            let thread = std::thread::Builder::new().name(EVIL.replace('\0', ""));
            let thread = thread.spawn(|| panic!("{EVIL}{}", "x".repeat(10_000))).unwrap();
            assert!(thread.join().is_err());
            std::process::exit(7);
        }
    }

    /// Returns what a second process says of a panic.
    fn told(form: &str, backtrace: &str) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "panics::tests::panic_in_a_second_process", "--nocapture"])
            .env(PANIC, form)
            .env("RUST_BACKTRACE", backtrace)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(7));
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn for_a_program_a_panic_is_one_object_with_fields() {
        for backtrace in ["0", "1"] {
            let said = told("json", backtrace);
            assert_eq!(said.lines().count(), 1, "{said}");
            let json: Value = serde_json::from_str(&said).unwrap();
            let message = json["message"].as_str().unwrap();
            assert!(message.starts_with("the engine has failed") && !message.contains("help"), "{message}");
            assert!(json["help"].as_str().unwrap().starts_with("please report"), "{json}");
            let fields = &json["fields"];
            assert!(fields["at"].as_str().unwrap().starts_with("engine/cli/src/panics.rs:"), "{json}");
            assert_eq!((&fields["thread"], &fields["version"]), (&EVIL.into(), &super::VERSION.into()));
            assert_eq!(fields["backtrace"].is_string(), backtrace == "1", "{json}");
        }
    }

    #[test]
    fn a_panic_is_told_as_text_and_says_whose_fault_it_is() {
        for backtrace in ["0", "1"] {
            let said = told("text", backtrace);
            assert!(!said.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{said:?}");
            assert!(!said.lines().any(|line| line.starts_with("error: forged") || line.len() > 5_000), "{said}");
            let lines: Vec<&str> = said.lines().collect();
            assert!(lines[0].starts_with("error: the engine has failed, which is its own fault"), "{said}");
            assert!(
                lines[0].contains(r"a\u{1b}[2J\r\nerror: forged\u{202e}xx") && lines[0].contains(" more)…"),
                "{said}"
            );
            assert!(lines[1].starts_with("  at engine/cli/src/panics.rs:"), "{said}");
            assert!(lines[2].starts_with("  help: please report"), "{said}");
            assert_eq!(lines.len() > 3, backtrace == "1", "{said}");
        }
    }
}
