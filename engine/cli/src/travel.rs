//! The parts that the commands that open a recorded run share: opening it, and printing its warnings.

use std::path::Path;

use bevy_app::App;

use super::session::{MachineArgs, NotStarted};
use wasm_engine_core::run_dir::{Access, Inference, OpenRun};
use wasm_engine_core::time_travel::RunReplayer;

/// Opens a run directory.
pub(super) fn open(path: &Path, access: Access) -> Result<OpenRun, NotStarted> {
    let run = OpenRun::open(path, access)?;
    let (recorded, here) = (&run.manifest.engine, env!("CARGO_PKG_VERSION"));
    if recorded != here {
        tracing::warn!("recorded by wasm-engine {recorded}, and this is {here}: digests may differ");
    }
    Ok(run)
}

/// Creates the replayer of a run on this machine.
pub(super) fn replayer<'a>(run: &'a OpenRun, machine: &MachineArgs, inference: Inference) -> RunReplayer<'a> {
    RunReplayer { run, options: machine.options(), inference, author: &no_plugins }
}

fn no_plugins(_: &mut App) {}

/// Prints warnings.
pub(super) fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
}
