//! `wasm-engine resume`: goes on with a run that was stopped or killed; it ends as if it had never stopped.

use std::sync::Arc;

use clap::Args;
use tracing::{Level, info};
use wasm_engine_components::text::{Lines, NOTE};

use super::comparison::DivergenceView;
use super::disk::DiskArgs;
use super::interrupt::Interrupt;
use super::said::Said;
use super::session::{
    FrameArgs, MachineArgs, NotStarted, Outcome, ReportArgs, RunDirArgs, SummaryForm, drive, report, report_not_started,
};
use super::status::Status;
use super::terminal::{print, print_json, say_lines};
use super::travel::{open, replayer, warn};
use wasm_engine_core::problem::{Problem, RunError, counted, thousands};
use wasm_engine_core::run_dir::{Access, Inference, OpenRun, SUMMARY};
use wasm_engine_core::summary::RunFacts;
use wasm_engine_core::time_travel::{FollowError, Resumed, explain, resume};

/// The longest summary that is read back, in bytes.
const SUMMARY_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    run: RunDirArgs,
    #[command(flatten)]
    frames: FrameArgs,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    disk: DiskArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Runs the command.
pub(super) fn main(args: &ResumeArgs, interrupt: &Interrupt) -> Status {
    interrupt.before("ended before a frame was run: the run is as it was, and can be resumed");
    match run(args, interrupt) {
        Ok(status) => status,
        Err(why) => report_not_started(&why),
    }
}

fn run(args: &ResumeArgs, interrupt: &Interrupt) -> Result<Status, NotStarted> {
    let mut run = open(&args.run.run, Access::Write)?;
    let frames_expected = run.frames_expected;
    run.disk_max = args.disk.disk_max();
    run.scenario.frames = args.frames.frames.unwrap_or(run.scenario.frames);
    if run.scenario.frames < run.end_frame() {
        let what = format!("the run has {} already", counted(run.end_frame(), "frame"));
        let help = "ask for more; `wasm-engine branch` goes another way from an earlier frame";
        return Err(RunError::from(Problem::new(what).key("--frames").help(help)).into());
    }
    if run.has_ended() && run.scenario.frames == run.end_frame() {
        return leave(args, &run);
    }
    let outcome = go_on(args, &run, frames_expected, interrupt)?;
    let status = report(&args.report, &run.scenario.path, &outcome);
    if let Some(FollowError::Diverged(divergence)) = &outcome.error {
        let view = DivergenceView::new(divergence, &run.scenario);
        let said = Said::new(Level::ERROR, format!("what differs in frame {}", divergence.frame));
        say_lines(&view.text(), &said.field("divergence", serde_json::to_value(&view).unwrap_or_default()));
    }
    Ok(status)
}

/// Handles a run that is complete: nothing is run or written. Prints that it is complete or, as JSON, its summary.
fn leave(args: &ResumeArgs, run: &OpenRun) -> Result<Status, NotStarted> {
    warn(&run.warnings);
    let end = run.journal.ended()?;
    let digest = end.digest;
    let printed = match args.report.summary {
        SummaryForm::Json => print_json(summary_line(run, end.summary)?.trim_end()),
        SummaryForm::Text if args.report.quiet => Ok(()),
        SummaryForm::Text => {
            let mut text = Lines::default();
            text.line(format_args!(
                "complete: {}, digest {digest}; nothing to do (--frames N gives it more)",
                counted(run.end_frame(), "frame")
            ));
            print(&text)
        }
    };
    printed?;
    Ok(Status::Done)
}

/// Reads the summary of the run, and compares it with the checksum in the journal.
fn summary_line(run: &OpenRun, checksum: u128) -> Result<String, Problem> {
    let file = run.path.join(SUMMARY);
    let help = "remove it, and `wasm-engine resume` writes it again";
    let bytes = wasm_engine_files::read_at_most(&file, SUMMARY_BYTES_MAX)
        .map_err(|error| Problem::new("can't be read").caused_by(error).file(&file).help(help))?;
    let damaged = || Problem::new("isn't the summary of this run: it was changed or damaged").file(&file).help(help);
    if xxhash_rust::xxh3::xxh3_128(&bytes) != checksum {
        return Err(damaged());
    }
    String::from_utf8(bytes).map_err(|_| damaged())
}

fn go_on(args: &ResumeArgs, run: &OpenRun, frames_expected: u64, interrupt: &Interrupt) -> Result<Outcome, NotStarted> {
    let replayer = replayer(run, &args.machine, Inference::RecordedThenComputed);
    let Resumed { mut simulation, mut source, mut sink, frames, warnings } =
        resume(&replayer, Arc::clone(&interrupt.flag))?;
    warn(&warnings);
    if !args.report.quiet {
        info!(target: NOTE, "{}", plan(run, simulation.next_frame()));
        if let Some(events) = events(run) {
            info!(target: NOTE, "{events}");
        }
    }
    let facts = RunFacts { frames_expected, late_events: source.late_lines(), ..RunFacts::default() };
    let ends = (&mut simulation, &mut source, &mut sink);
    let mut outcome = drive(&run.scenario, ends, interrupt, (args.report.quiet, frames), facts);
    if let Some(FollowError::Diverged(divergence)) = &mut outcome.error {
        explain(divergence, &replayer, &mut simulation);
    }
    Ok(outcome)
}

/// Describes the source of events that can't be read again, for the user who must provide them.
fn events(run: &OpenRun) -> Option<String> {
    let input = run.manifest.input.as_ref().filter(|_| !run.manifest.events_repeat())?;
    if run.scenario.frames <= run.end_frame() {
        return None;
    }
    let from = match input.as_str() {
        "-" => "standard input",
        path => path,
    };
    Some(match run.manifest.branch {
        Some(_) => format!("a branch has the events that its run had of {from}: none are read"),
        None => format!("reads events from {from}: those of frame {} and later ones", thousands(run.end_frame())),
    })
}

/// Describes which frames are run, from `from` on, and which of them were recorded before.
fn plan(run: &OpenRun, from: u64) -> String {
    let (first, end, wanted) = (run.first_frame(), run.end_frame(), run.scenario.frames);
    let last = thousands(wanted.saturating_sub(1));
    if end == first {
        return format!("no frame is recorded; runs frames {} to {last}", thousands(first));
    }
    let recorded = match end - first {
        1 => "1 frame is recorded".to_owned(),
        many => format!("{} frames are recorded", thousands(many)),
    };
    let again = match (from == end, from == first) {
        (true, _) => None,
        (_, true) => Some("runs them again, because there is no later snapshot".to_owned()),
        (..) => Some(format!("runs those from {} on again (a snapshot is there)", thousands(from))),
    };
    let new = (wanted > end).then(|| format!("new ones up to frame {last}"));
    match (again, new) {
        (Some(again), Some(new)) => format!("{recorded}; {again}, and then {new}"),
        (Some(again), None) => format!("{recorded}; {again}"),
        (None, Some(new)) => format!("{recorded}; runs {new}"),
        (None, None) => format!("{recorded}, and there is nothing to run: the end is written"),
    }
}
