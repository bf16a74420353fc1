//! `wasm-engine run`: a scenario from its file to its summary.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use wasm_engine_components::DigestScope;

use super::disk::DiskArgs;
use super::interrupt::Interrupt;
use super::machine;
use super::progress;
use super::session::{
    FrameArgs, MachineArgs, NotStarted, Outcome, ReportArgs, SnapshotArgs, drive, report, report_not_started,
};
use super::status::Status;
use wasm_engine_core::events;
use wasm_engine_core::run_dir::{OutputDir, Recording, RunDir, RunOptions};
use wasm_engine_core::scenario::{LoadOptions, load};
use wasm_engine_core::simulation::SimulationOptions;
use wasm_engine_core::summary::{Collector, RunFacts};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The scenario file
    scenario: PathBuf,
    #[command(flatten)]
    frames: FrameArgs,
    /// Seed of all random numbers, instead of the scenario's
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    seed: Option<u64>,
    #[command(flatten)]
    machine: MachineArgs,
    /// External events, instead of the scenario's: a JSON-lines file, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Set a parameter of the scenario; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Folder for the results: a new or an empty one [default: runs/<scenario>-<number>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep no journal and no snapshots: the run can't be replayed, resumed, branched or inspected
    #[arg(long, conflicts_with = "snapshot_every")]
    no_record: bool,
    #[command(flatten)]
    snapshots: SnapshotArgs,
    /// What each frame's digest covers: the state of the world, or the agents' memories, too
    #[arg(long, value_name = "DIGEST", default_value = DigestScope::Frame.name(), value_parser = digest_scope())]
    digest: DigestScope,
    #[command(flatten)]
    disk: DiskArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Returns the scopes by their names.
fn digest_scope() -> impl TypedValueParser<Value = DigestScope> {
    let names = PossibleValuesParser::new(DigestScope::ALL.map(DigestScope::name));
    // Other names are refused before.
    names.map(|name| DigestScope::from_name(&name).unwrap_or_default())
}

/// Runs the command.
pub(super) fn main(args: &RunArgs, interrupt: &Interrupt) -> Status {
    interrupt.before("ended before the first frame: nothing was run");
    match run(args, interrupt) {
        Ok(outcome) => report(&args.report, &args.scenario, &outcome),
        Err(why) => report_not_started(&why),
    }
}

/// Checks all input, then runs all frames.
fn run(args: &RunArgs, interrupt: &Interrupt) -> Result<Outcome, NotStarted> {
    let options = LoadOptions { set: args.set.clone(), input: args.input.clone(), recorded: false };
    let mut scenario = load(&args.scenario, &options)?;
    let frames_expected = scenario.frames;
    scenario.frames = args.frames.frames.unwrap_or(scenario.frames);
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    let output_dir = OutputDir::new(args.out.as_deref(), &scenario.name);
    output_dir.check()?;
    let mut source = events::open(&scenario, Arc::clone(&interrupt.flag))?;
    let options = SimulationOptions {
        digest: args.digest,
        progress: progress::loading(args.report.quiet),
        ..args.machine.options()
    };
    let mut simulation = machine::build(&scenario, &options)?;
    let run_options = RunOptions {
        record: !args.no_record,
        snapshot_every: args.snapshots.snapshot_every,
        streams: !source.repeats(),
        disk_max: args.disk.disk_max(),
        ..RunOptions::new(&simulation, args.digest)
    };
    let run_dir = RunDir::create(&output_dir, &scenario, &run_options)?;
    let snapshots = run_options.record.then_some(run_options.snapshot_every);
    let mut recording = Recording::new(run_dir, &simulation, snapshots, Collector::of(&scenario));
    let facts = RunFacts { frames_expected, late_events: source.late_lines(), ..RunFacts::default() };
    Ok(drive(&scenario, (&mut simulation, &mut source, &mut recording), interrupt, (args.report.quiet, 0), facts))
}
