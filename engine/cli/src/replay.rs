//! `wasm-engine replay`: runs a recorded run again, and checks every digest. Exit status 0 only if all are the same.

use std::time::Instant;

use clap::{Args, ValueEnum};
use serde::Serialize;
use wasm_engine_components::FrameRecord;
use wasm_engine_components::text::Lines;

use super::comparison::DivergenceView;
use super::progress::Progress;
use super::session::{MachineArgs, NotStarted, ReportArgs, RunDirArgs, SummaryForm, report_not_started};
use super::status::Status;
use super::terminal::{print, print_json, say_problem};
use super::travel::{open, replayer, warn};
use wasm_engine_core::problem::{ErrorKind, Problem, counted, thousands};
use wasm_engine_core::run_dir::{Access, Inference, OpenRun};
use wasm_engine_core::summary::Collector;
use wasm_engine_core::time_travel::{ReplayOptions, Replayed, replay};

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    run: RunDirArgs,
    /// The first frame that must be checked; begins at the last snapshot before it [default: the first frame]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    from: Option<u64>,
    /// The last frame to check [default: the last one]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    to: Option<u64>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Take models' results from the recording, which needs no ONNX Runtime, or compute and compare them
    #[arg(long, value_enum, default_value_t = InferenceArg::Recorded)]
    inference: InferenceArg,
    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InferenceArg {
    Recorded,
    Recompute,
}

/// The result as JSON.
#[derive(Serialize)]
struct ReplayJson {
    run: String,
    identical: bool,
    from: u64,
    frames: u64,
    digest: String,
    ended: bool,
    /// Whether all frames that the run was to have are recorded.
    complete: bool,
    wall_s: f64,
    /// Number of rows of models that took too long to be computed again.
    rows_not_compared: u64,
    divergence: Option<DivergenceView>,
}

/// Runs the command.
pub(super) fn main(args: &ReplayArgs) -> Status {
    match run(args) {
        Ok(status) => status,
        Err(why) => report_not_started(&why),
    }
}

fn run(args: &ReplayArgs) -> Result<Status, NotStarted> {
    let run = open(&args.run.run, Access::Read)?;
    let inference = match args.inference {
        InferenceArg::Recorded => Inference::Recorded,
        InferenceArg::Recompute => Inference::Recompute,
    };
    let replayer = replayer(&run, &args.machine, inference);
    let bar = Progress::new(run.end_frame(), args.report.quiet);
    let (mut bar, mut collector, started) = (bar, Collector::default(), Instant::now());
    let mut progress = |record: &FrameRecord| {
        collector.add(record);
        bar.update(record.frame, collector.counts());
    };
    let replayed = replay(&replayer, ReplayOptions { from: args.from, to: args.to }, &mut progress)?;
    bar.finish();
    warn(&replayed.warnings);
    report(args, &run, &replayed, started.elapsed().as_secs_f64())
}

fn report(args: &ReplayArgs, run: &OpenRun, replayed: &Replayed, wall_s: f64) -> Result<Status, NotStarted> {
    let Replayed { from, checked, digest, divergence, .. } = replayed;
    let printed = match (args.report.summary, divergence) {
        (SummaryForm::Json, _) => {
            let json = ReplayJson {
                run: run.path.to_string_lossy().into_owned(),
                identical: divergence.is_none(),
                from: *from,
                frames: *checked,
                digest: digest.to_string(),
                ended: run.has_ended(),
                complete: is_complete(run),
                wall_s,
                rows_not_compared: replayed.rows_not_compared,
                divergence: divergence.as_ref().map(|divergence| DivergenceView::new(divergence, &run.scenario)),
            };
            print_json(&serde_json::to_string(&json).unwrap_or_default())
        }
        (SummaryForm::Text, None) if args.report.quiet => Ok(()),
        (SummaryForm::Text, None) => print(&identical(run, replayed, args.from, wall_s)),
        (SummaryForm::Text, Some(divergence)) => print(&DivergenceView::new(divergence, &run.scenario).text()),
    };
    printed?;
    match divergence {
        None => Ok(Status::Done),
        Some(divergence) => {
            let what = format!("frame {} doesn't come out as it was recorded", divergence.frame);
            say_problem(&Problem::new(what).file(&run.path));
            Ok(ErrorKind::Unmet.into())
        }
    }
}

/// Returns whether all frames that the run was to have are recorded.
fn is_complete(run: &OpenRun) -> bool {
    run.end_frame() >= run.scenario.frames
}

/// Returns the text for a replay without differences. `asked` is the first frame that was asked for.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn identical(run: &OpenRun, replayed: &Replayed, asked: Option<u64>, wall_s: f64) -> Lines {
    let Replayed { from, checked, digest, .. } = replayed;
    let mut text = Lines::default();
    if *checked == 0 {
        text.line("identical: no frame was recorded");
        unended(run, &mut text);
        return text;
    }
    let rate = if wall_s > 0.0 { *checked as f64 / wall_s } else { 0.0 };
    let start = match asked.filter(|asked| asked != from) {
        None => String::new(),
        Some(asked) if *from == run.first_frame() => {
            format!(" (from the beginning, because no snapshot is nearer; {} was asked for)", thousands(asked))
        }
        Some(asked) => {
            format!(" (from the snapshot before frame {}; {} was asked for)", thousands(from), thousands(asked))
        }
    };
    text.line(format_args!(
        "identical: frames {} to {}{start} in {wall_s:.2} s, {} frames/s",
        thousands(from),
        thousands(from + checked - 1),
        thousands(format!("{rate:.0}"))
    ));
    text.line(format_args!("digest     {digest}"));
    unended(run, &mut text);
    text
}

/// Returns the note about a run without a summary; empty for a run that has one.
fn unended(run: &OpenRun, text: &mut Lines) {
    let (end, wanted) = (thousands(run.end_frame()), counted(run.scenario.frames, "frame"));
    match (run.has_ended(), is_complete(run)) {
        (true, _) => {}
        (false, true) => text.line(format_args!(
            "the run is whole, with {wanted}, but the summary isn't there: `wasm-engine resume` writes it"
        )),
        (false, false) => {
            text.line(format_args!(
                "the run was cut off after {end} of {wanted}: `wasm-engine resume` goes on with it"
            ));
        }
    }
}
