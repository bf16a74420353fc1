//! `wasm-engine completions SHELL`: the script that tells a shell how to complete the command's names and options.

use clap::Args;
use clap_complete::{Shell, generate};

use super::status::Status;
use super::terminal;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell that is to read the script
    shell: Shell,
}

/// Prints the script for a command, which is the whole command line.
pub(super) fn main(args: &CompletionsArgs, mut command: clap::Command) -> Status {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, &mut command, &name, &mut script);
    // For bash, clap_complete 4.6 writes a command's name that has a hyphen in it in two ways, so that no subcommand would be completed.
    let (wrong, right) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
    let script = String::from_utf8_lossy(&script).replace(&wrong, &right);
    match terminal::print_script(&script) {
        Ok(()) => Status::Done,
        Err(error) => terminal::fail(&error),
    }
}
