//! `wasm-engine branch`: starts another run from a frame of a recorded one.

use std::path::PathBuf;

use clap::Args;

use super::disk::DiskArgs;
use super::interrupt::Interrupt;
use super::session::{
    FrameArgs, MachineArgs, NotStarted, Outcome, ReportArgs, RunDirArgs, SnapshotArgs, drive, report,
    report_not_started,
};
use super::status::Status;
use super::travel::{open, replayer, warn};
use wasm_engine_core::run_dir::{Access, Inference, OutputDir};
use wasm_engine_core::summary::RunFacts;
use wasm_engine_core::time_travel::{BranchOptions, Branched, branch};

#[derive(Debug, Args)]
pub(super) struct BranchArgs {
    #[command(flatten)]
    run: RunDirArgs,
    /// The first frame that is the branch's own: it has the run's frames before this one
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    at: u64,
    /// Folder for the branch: a new or an empty one
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Set a parameter of the scenario from that frame on; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    frames: FrameArgs,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    snapshots: SnapshotArgs,
    #[command(flatten)]
    disk: DiskArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Runs the command.
pub(super) fn main(args: &BranchArgs, interrupt: &Interrupt) -> Status {
    interrupt.before("ended before the first frame: nothing was run");
    match run(args, interrupt) {
        Ok((scenario, outcome)) => report(&args.report, &scenario, &outcome),
        Err(why) => report_not_started(&why),
    }
}

fn run(args: &BranchArgs, interrupt: &Interrupt) -> Result<(PathBuf, Outcome), NotStarted> {
    let run = open(&args.run.run, Access::Read)?;
    let output_dir = OutputDir::new(Some(&args.out), &run.scenario.name);
    output_dir.check()?;
    let replayer = replayer(&run, &args.machine, Inference::Recorded);
    let options = BranchOptions {
        at: args.at,
        set: args.set.clone(),
        frames: args.frames.frames,
        snapshot_every: args.snapshots.snapshot_every,
        disk_max: args.disk.disk_max(),
    };
    let branched = branch(&replayer, &options, &output_dir, &interrupt.flag);
    let Branched { mut simulation, mut source, mut recording, scenario, frames_expected, warnings } = branched?;
    warn(&warnings);
    let facts = RunFacts { frames_expected, late_events: source.late_lines(), ..RunFacts::default() };
    let ends = (&mut simulation, &mut source, &mut recording);
    let outcome = drive(&scenario, ends, interrupt, (args.report.quiet, 0), facts);
    Ok((scenario.path, outcome))
}
