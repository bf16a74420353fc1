//! `wasm-engine resume`: a run that was stopped or killed goes on, and ends as if it had never been.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::interrupt::Interrupt;
use super::session::{
    FrameArgs, NotStarted, Outcome, ReportArgs, RunDirArgs, ThreadArgs, drive, report, report_not_started,
};
use super::travel::{divergence_text, open, traveller, warn};
use crate::inference::Inference;
use crate::problem::{Problem, RunError};
use crate::run_dir::{Access, OpenRun};
use crate::summary::RunFacts;
use crate::time_travel::{Resumed, Stop, resume};

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    run: RunDirArgs,
    #[command(flatten)]
    frames: FrameArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Runs the command.
pub(super) fn main(args: &ResumeArgs) -> ExitCode {
    match run(args) {
        Ok((run, outcome)) => {
            let status = report(&args.report, &run.scenario.path, &outcome);
            if let Some(Stop::Diverged(divergence)) = &outcome.error {
                eprint!("{}", divergence_text(divergence, &run.scenario));
            }
            status
        }
        Err(why) => report_not_started(&why),
    }
}

fn run(args: &ResumeArgs) -> Result<(OpenRun, Outcome), NotStarted> {
    let mut run = open(&args.run.run, Access::Write)?;
    let frames_expected = run.frames_expected;
    run.scenario.frames = args.frames.frames.unwrap_or(run.scenario.frames);
    if run.scenario.frames < run.end_frame() {
        let what = format!("the run has {} frames already", run.end_frame());
        let help = "ask for more; `wasm-engine branch` goes another way from an earlier frame";
        return Err(RunError::Input(Problem::new(what).key("--frames").help(help)).into());
    }
    let interrupt = Interrupt::listen();
    let outcome = {
        let traveller = traveller(&run, args.threads.threads(), Inference::RecordedThenComputed);
        let Resumed { mut simulation, mut source, mut sink, frames, warnings } =
            resume(&traveller, Arc::clone(&interrupt.flag))?;
        warn(&warnings);
        if !args.report.quiet {
            eprintln!("goes on after {frames} recorded frames, from frame {} on", simulation.next_frame());
        }
        let facts = RunFacts { frames_expected, ..RunFacts::default() };
        let ends = (&mut simulation, &mut source, &mut sink);
        let mut outcome = drive(&run.scenario, ends, &interrupt, (args.report.quiet, frames), facts);
        if let Some(Stop::Diverged(divergence)) = &mut outcome.error {
            divergence.explain(&traveller, &mut simulation);
        }
        outcome
    };
    Ok((run, outcome))
}
