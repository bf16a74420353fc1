//! What the commands that open a run have in common: opening it, and telling where a replay parts from it.

use std::path::Path;

use bevy_app::App;

use super::session::{MachineArgs, NotStarted};
use super::terminal::say;
use wasm_engine_core::run_dir::{Access, OpenRun};
use wasm_engine_core::tap::Inference;
use wasm_engine_core::time_travel::{Divergence, Stop, Traveller};

/// Opens a run directory.
pub(super) fn open(path: &Path, access: Access) -> Result<OpenRun, NotStarted> {
    let run = OpenRun::open(path, access).map_err(NotStarted::Input)?;
    let (recorded, here) = (&run.manifest.engine, env!("CARGO_PKG_VERSION"));
    if recorded != here {
        say(format_args!("warning: recorded by wasm-engine {recorded}, and this is {here}: digests may differ"));
    }
    Ok(run)
}

/// Travels in a run on this machine.
pub(super) fn traveller<'a>(run: &'a OpenRun, machine: &MachineArgs, inference: Inference) -> Traveller<'a> {
    Traveller { run, options: machine.options(), inference, author: &no_plugins }
}

fn no_plugins(_: &mut App) {}

/// Says what a person should know.
pub(super) fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
}

/// Why a run stopped, in one sentence.
pub(super) fn stop_text(stop: &Stop) -> String {
    match stop {
        Stop::Error(error) => error.to_string(),
        Stop::Diverged(divergence) => divergence_head(divergence),
    }
}

fn divergence_head(divergence: &Divergence) -> String {
    let lanes: Vec<_> = divergence.lanes.iter().map(|lane| lane.name()).collect();
    format!("frame {} doesn't come out as it was recorded: it differs in {}", divergence.frame, lanes.join(", "))
}
