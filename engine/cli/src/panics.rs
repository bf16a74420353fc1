//! Panics: faults of the engine itself. They are printed in the form of everything else on standard error, made harmless for a terminal.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};

use wasm_engine_components::text::{Lines, shown};

use super::terminal::say_lines;

/// Sets the hook that prints panics. The process still ends with status 101, once the main thread knows of it.
pub(super) fn tell() {
    set_hook(Box::new(|panic| say_lines(&lines(panic, &Backtrace::capture()))));
}

fn lines(panic: &PanicHookInfo<'_>, backtrace: &Backtrace) -> Lines {
    let said = panic.payload_as_str().unwrap_or("it doesn't say why");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let version = env!("CARGO_PKG_VERSION");
    let mut lines = Lines::default();
    lines.line(format_args!(
        "error: the engine has failed, which is its own fault, whatever it was given: {}",
        shown(said)
    ));
    lines.line(format_args!("  at {place}, in the thread {}, of version {version}", shown(thread)));
    lines.line(
        "  help: please report these lines and what you ran to the maintainers; with RUST_BACKTRACE=1, there are more of them. What \
         is recorded of a run stays: `wasm-engine resume` goes on from there",
    );
    if backtrace.status() == BacktraceStatus::Captured {
        backtrace.to_string().lines().for_each(|line| lines.line(line));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Marks the second process.
    const PANIC: &str = "PANICS_TEST";
    const EVIL: &str = "a\u{1b}[2J\r\nerror: forged\u{202e}";

    /// Not a test by itself: the second process of the test below.
    #[test]
    fn panic_in_a_second_process() {
        if std::env::var_os(PANIC).is_some() {
            super::tell();
            let thread = std::thread::Builder::new().name(EVIL.replace('\0', ""));
            let thread = thread.spawn(|| panic!("{EVIL}{}", "x".repeat(10_000))).unwrap();
            assert!(thread.join().is_err());
            std::process::exit(7);
        }
    }

    #[test]
    fn a_panic_is_told_as_text_and_says_whose_fault_it_is() {
        for backtrace in ["0", "1"] {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "panics::tests::panic_in_a_second_process", "--nocapture"])
                .env(PANIC, "1")
                .env("RUST_BACKTRACE", backtrace)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(7));
            let said = String::from_utf8(output.stderr).unwrap();
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
