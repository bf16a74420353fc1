//! The command line: one file for each command. Called by `main` alone.
//!
//! Results go to standard output, everything else to standard error. What a command's exit status means is said in [`status`].

mod branch;
mod diff;
mod doctor;
mod inspect;
mod interrupt;
mod machine;
mod progress;
mod replay;
mod resume;
mod run;
mod session;
mod status;
mod travel;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::status::Status;
use crate::problem::Problem;

/// Runs systems of WebAssembly agents, deterministically.
#[derive(Debug, Parser)]
#[command(name = "wasm-engine", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario and keep what it does in a folder of its own
    Run(run::RunArgs),
    /// Run a recorded run again, and check every digest
    Replay(replay::ReplayArgs),
    /// Go on with a run that was stopped, or killed
    Resume(resume::ResumeArgs),
    /// Start another run from a frame of a recorded one
    Branch(branch::BranchArgs),
    /// Find the first frame in which two runs part, and what differs
    Diff(diff::DiffArgs),
    /// Look at a recorded run: its state after any frame, an agent, messages
    Inspect(inspect::InspectArgs),
    /// Say what this machine has: WebAssembly, ONNX Runtime, cores, caches, tools
    Doctor(doctor::DoctorArgs),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    ignore_signals();
    keep_onnx_runtime_local();
    run(&Cli::parse().command).into()
}

fn run(command: &Command) -> Status {
    match command {
        Command::Run(args) => run::main(args),
        Command::Replay(args) => replay::main(args),
        Command::Resume(args) => resume::main(args),
        Command::Branch(args) => branch::main(args),
        Command::Diff(args) => diff::main(args),
        Command::Inspect(args) => inspect::main(args),
        Command::Doctor(args) => doctor::main(args),
    }
}

/// A write beyond the limit of a file's size (`ulimit -f`) is to fail as a full disk does, rather than kill the process. Who asks for a
/// snapshot before there can be one, or where there is none, isn't to kill it either.
#[cfg(unix)]
fn ignore_signals() {
    // SAFETY: no other thread runs yet, and ignoring a signal installs no handler.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::signal(libc::SIGUSR1, libc::SIG_IGN);
    }
}

#[cfg(not(unix))]
const fn ignore_signals() {}

/// ONNX Runtime's official builds report sessions to their maker unless this is set before they are loaded.
fn keep_onnx_runtime_local() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

/// Says something on standard error: a whole line, or several. Where that is full, closed or gone there is nobody to tell, which is no
/// reason to end a run: so nothing else here may write to it, and clippy bans the macros that panic then.
fn say(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// Says on standard error what is wrong and what to do.
fn say_problem(problem: &Problem) {
    let help = problem.help_text().map_or_else(String::new, |help| format!("\n  help: {help}"));
    say(format!("error: {}{help}", problem.head()));
}

/// Prints a result. A reader that has gone away, as `head` does, has had enough and isn't an error; a full disk is one.
fn print_result(text: &str) -> Result<(), Problem> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Problem::new(format!("standard output can't be written: {error}")))
        }
        _ => Ok(()),
    }
}
