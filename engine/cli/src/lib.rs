//! The command line: one file for each command. Called by `main` alone.
//!
//! Results go to standard output, everything else to standard error. `status.rs` says what exit statuses mean.

#![deny(clippy::print_stderr, clippy::print_stdout)]

mod branch;
mod comparison;
mod completions;
mod diff;
mod disk;
mod doctor;
mod excess;
mod goes_on;
mod inspect;
mod interrupt;
mod log;
mod machine;
mod memory;
#[cfg(feature = "inference")]
mod model;
mod names;
mod panics;
mod progress;
mod refused;
mod replay;
mod resume;
mod run;
mod said;
mod session;
mod signals;
mod status;
mod terminal;
mod travel;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use tracing::Level;
use wasm_engine_components::text::{Lines, shown};

pub use self::memory::Allocator;

use self::interrupt::Interrupt;
use self::log::{LogArgs, Logged};
use self::said::Said;
use self::status::Status;

/// Runs systems of WebAssembly agents, deterministically.
#[derive(Debug, Parser)]
#[command(name = "wasm-engine", version, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario and keep what it does in a folder of its own
    Run(Logged<run::RunArgs>),
    /// Run a recorded run again, and check every digest
    Replay(Logged<replay::ReplayArgs>),
    /// Go on with a run that was stopped, or killed
    Resume(Logged<resume::ResumeArgs>),
    /// Start another run from a frame of a recorded one
    Branch(Logged<branch::BranchArgs>),
    /// Find the first frame in which two runs part, and what differs
    Diff(Logged<diff::DiffArgs>),
    /// Look at a recorded run: its state after any frame, an agent, messages
    Inspect(Logged<inspect::InspectArgs>),
    /// Say what this machine has: WebAssembly, ONNX Runtime, cores, caches, tools
    Doctor(Logged<doctor::DoctorArgs>),
    /// Look at a model: its rows, and how they share runs
    #[cfg(feature = "inference")]
    Model(Logged<model::ModelArgs>),
    /// Print the script with which a shell completes this command's names and options
    Completions(Logged<completions::CompletionsArgs>),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    panics::tell();
    ignore_signals();
    #[cfg(feature = "inference")]
    keep_onnx_runtime_local();
    let command = match parse(std::env::args_os()) {
        Ok((log, command)) => {
            log.listen();
            command
        }
        Err(error) => {
            terminal::begin(log::form_of(std::env::args_os()), false);
            return not_parsed(&error).into();
        }
    };
    match Interrupt::listen() {
        Ok(interrupt) => {
            let status = run(&command, &interrupt);
            #[cfg(feature = "inference")]
            if wasm_engine_inference::is_left_behind() {
                // A thread may still run in ONNX Runtime, whose destructors an ordinary exit would call.
                signals::exit_now(status);
            }
            status.into()
        }
        Err(error) => terminal::fail(&error).into(),
    }
}

/// Parses the command line. The options of every command may stand before the name of the command, after it, or in both places.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(LogArgs, Command), clap::Error> {
    let Cli { log, command } = Cli::try_parse_from(arguments)?;
    let log = command.logs().into_iter().try_fold(log, LogArgs::and);
    let conflict = |text| Cli::command().error(ErrorKind::ArgumentConflict, text);
    Ok((log.map_err(conflict)?, command))
}

impl Command {
    /// Returns the options of every command that were given after this one's name.
    fn logs(&self) -> Vec<&LogArgs> {
        match self {
            Self::Run(Logged { log, .. }) => vec![log],
            Self::Replay(Logged { log, .. }) => vec![log],
            Self::Resume(Logged { log, .. }) => vec![log],
            Self::Branch(Logged { log, .. }) => vec![log],
            Self::Diff(Logged { log, .. }) => vec![log],
            Self::Inspect(Logged { log, .. }) => vec![log],
            Self::Doctor(Logged { log, .. }) => vec![log],
            #[cfg(feature = "inference")]
            Self::Model(Logged { args, log }) => vec![log, args.log()],
            Self::Completions(Logged { log, .. }) => vec![log],
        }
    }
}

fn run(command: &Command, interrupt: &Interrupt) -> Status {
    match command {
        Command::Run(Logged { args, .. }) => run::main(args, interrupt),
        Command::Replay(Logged { args, .. }) => replay::main(args),
        Command::Resume(Logged { args, .. }) => resume::main(args, interrupt),
        Command::Branch(Logged { args, .. }) => branch::main(args, interrupt),
        Command::Diff(Logged { args, .. }) => diff::main(args),
        Command::Inspect(Logged { args, .. }) => inspect::main(args),
        Command::Doctor(Logged { args, .. }) => doctor::main(args),
        #[cfg(feature = "inference")]
        Command::Model(Logged { args, .. }) => model::main(args),
        Command::Completions(Logged { args, .. }) => completions::main(args, Cli::command()),
    }
}

/// Says what is wrong with the command line, or prints the help that it asks for.
fn not_parsed(error: &clap::Error) -> Status {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match terminal::print_help(error) {
            Ok(()) => Status::Done,
            Err(error) => terminal::fail(&error),
        };
    }
    // Messages about arguments contain them, and they may be names of files: `wasm-engine run *`.
    let harmless = |argument: OsString| shown(&argument.to_string_lossy()).to_string();
    let again = parse(std::env::args_os().map(|argument| harmless(argument).into()));
    let text = again.err().map_or_else(|| error.to_string(), |error| error.to_string());
    let mut lines = Lines::default();
    text.lines().for_each(|line| lines.line(line));
    // What is wrong comes first; after an empty line, what is right.
    let (what, help) = lines.as_str().split_once("\n\n").unwrap_or((lines.as_str(), ""));
    let help = Some(help.trim()).filter(|help| !help.is_empty());
    terminal::say_lines(&lines, &Said::new(Level::ERROR, what.trim().trim_start_matches("error: ")).help(help));
    wasm_engine_core::problem::ErrorKind::Input.into()
}

/// Ignores SIGXFSZ, so that a write beyond the limit of a file's size (`ulimit -f`) fails as on a full disk instead of killing the
/// process; and SIGUSR1, so that a request for a snapshot doesn't kill it before, or without, a recorded run.
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

/// Switches off telemetry: official builds of ONNX Runtime report sessions to their maker unless this is set before they are loaded.
#[cfg(feature = "inference")]
fn keep_onnx_runtime_local() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}
