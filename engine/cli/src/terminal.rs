//! All output of the command line. Nothing else in this crate writes to standard output or standard error, and everything is made
//! harmless for a terminal here: [`Lines`] and single lines by [`text`](wasm_engine_components::text), JSON by its own escapes.

use std::io::{IsTerminal as _, Write};
use std::sync::OnceLock;

use tracing::Level;
use wasm_engine_components::text::{Lines, harmless_json};

use super::said::Said;
use super::status::Status;
use wasm_engine_core::problem::{Problem, RunError};

/// The form of what is said on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// Lines for a person.
    #[default]
    Text,
    /// A JSON object a line, and nothing else.
    Json,
}

/// Settings by which the process writes to standard error.
#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    form: Form,
    is_bare: bool,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Says everything in this form from now on. Where `is_bare`, nothing is drawn. To be called once in a process; before, the form is text.
pub(super) fn begin(form: Form, is_bare: bool) {
    let _ = SETTINGS.set(Settings { form, is_bare });
}

/// Returns the form of what is said.
pub(super) fn form() -> Form {
    SETTINGS.get().map_or(Form::Text, |settings| settings.form)
}

/// Says something on standard error.
pub(super) fn say(said: &Said<'_>) {
    match form() {
        Form::Text => tell(said.lines().as_str()),
        Form::Json => tell(&said.json()),
    }
}

/// Says an error that has lines of its own for people. Programs get the same as `said`.
pub(super) fn say_lines(lines: &Lines, said: &Said<'_>) {
    match form() {
        Form::Text => tell(lines.as_str()),
        Form::Json => say(said),
    }
}

/// Says on standard error what is wrong and what to do.
pub(super) fn say_problem(problem: &Problem) {
    say(&Said::new(Level::ERROR, problem.head()).help(problem.help_text()));
}

/// Says why a command failed. Returns the status that follows from it.
pub(super) fn fail(error: &RunError) -> Status {
    say_problem(error.problem());
    error.kind().into()
}

/// Writes to standard error. An error is ignored: if standard error is full or closed, nobody reads it, and that is no reason to end a
/// run. So nothing else here may write to it, and clippy bans the macros, which panic then.
pub(super) fn tell(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Returns whether standard error is a terminal on which more than lines may be drawn.
pub(super) fn is_watched() -> bool {
    let Settings { form, is_bare } = SETTINGS.get().copied().unwrap_or_default();
    form == Form::Text && !is_bare && std::io::stderr().is_terminal()
}

/// Prints a result for people.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn print(lines: &Lines) -> Result<(), RunError> {
    write(lines.as_str())
}

/// Prints a result for programs: JSON, as one line.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn print_json(json: &str) -> Result<(), RunError> {
    write(&(harmless_json(json) + "\n"))
}

/// Prints the help that was asked for. It has the engine's own words alone, which clap colours on a terminal.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn print_help(help: &clap::Error) -> Result<(), RunError> {
    let printed = help.print().and_then(|()| std::io::stdout().flush());
    written(printed)
}

/// Prints a script for a shell. It has the engine's own words alone, and tabs that a shell reads as they are.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn print_script(script: &str) -> Result<(), RunError> {
    write(script)
}

/// Writes a result. It isn't an error if the reader has gone away, as `head` does, or if the terminal was closed; a full disk is one.
fn write(text: &str) -> Result<(), RunError> {
    let mut stdout = std::io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Returns whether a result is where it was to go, or nobody is there any more to read it.
fn written(result: std::io::Result<()>) -> Result<(), RunError> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe && !is_closed_terminal(&error) => {
            let help = "see that there is room where it goes; what a run has in its folder is whole";
            let problem = Problem::new("standard output can't be written").caused_by(error);
            Err(RunError::of_machine(problem.help(help).room_help(help)))
        }
        _ => Ok(()),
    }
}

/// Returns whether writing to standard output failed because its terminal was closed. The system then no longer says that it is a
/// terminal.
#[cfg(unix)]
fn is_closed_terminal(error: &std::io::Error) -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileTypeExt as _;

    let stdout = std::io::stdout().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let is_device = || stdout.and_then(|file| file.metadata()).is_ok_and(|data| data.file_type().is_char_device());
    error.raw_os_error() == Some(libc::EIO) && is_device()
}

#[cfg(not(unix))]
const fn is_closed_terminal(_: &std::io::Error) -> bool {
    false
}
