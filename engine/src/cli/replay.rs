//! `wasm-engine replay`: a recorded run again, with every digest checked. Exit status 0 only if all are the same.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde::Serialize;
use wasm_engine_components::FrameRecord;

use super::progress::Progress;
use super::session::{NotStarted, ReportArgs, RunDirArgs, SummaryForm, ThreadArgs, report_not_started};
use super::travel::{DivergenceJson, divergence_text, open, traveller, warn};
use super::{EXIT_FAILED, print_result, say_problem};
use crate::inference::Inference;
use crate::problem::{Problem, thousands};
use crate::run_dir::{Access, OpenRun};
use crate::summary::Collector;
use crate::time_travel::{ReplayOptions, Replayed, replay};

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    run: RunDirArgs,
    /// Begin at the snapshot before this frame [default: at the first frame]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    from: Option<u64>,
    /// The last frame to check [default: the last one]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    to: Option<u64>,
    #[command(flatten)]
    threads: ThreadArgs,
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
    wall_s: f64,
    divergence: Option<DivergenceJson>,
}

/// Runs the command.
pub(super) fn main(args: &ReplayArgs) -> ExitCode {
    match run(args) {
        Ok(status) => status,
        Err(why) => report_not_started(&why),
    }
}

fn run(args: &ReplayArgs) -> Result<ExitCode, NotStarted> {
    let run = open(&args.run.run, Access::Read)?;
    let inference = match args.inference {
        InferenceArg::Recorded => Inference::Recorded,
        InferenceArg::Recompute => Inference::Recompute,
    };
    let traveller = traveller(&run, args.threads.threads(), inference);
    let bar = Progress::new(run.end_frame(), args.report.quiet);
    let (mut bar, mut collector, started) = (bar, Collector::default(), Instant::now());
    let mut progress = |record: &FrameRecord| {
        collector.add(record);
        bar.update(record.frame, collector.counts());
    };
    let replayed = replay(&traveller, ReplayOptions { from: args.from, to: args.to }, &mut progress)?;
    bar.finish();
    warn(&replayed.warnings);
    report(args, &run, &replayed, started.elapsed().as_secs_f64())
}

fn report(args: &ReplayArgs, run: &OpenRun, replayed: &Replayed, wall_s: f64) -> Result<ExitCode, NotStarted> {
    let Replayed { from, checked, digest, divergence, .. } = replayed;
    let text = match (args.report.summary, divergence) {
        (SummaryForm::Json, _) => {
            let json = ReplayJson {
                run: run.path.display().to_string(),
                identical: divergence.is_none(),
                from: *from,
                frames: *checked,
                digest: digest.to_string(),
                ended: run.has_ended(),
                wall_s,
                divergence: divergence.as_ref().map(|divergence| DivergenceJson::new(divergence, &run.scenario)),
            };
            serde_json::to_string(&json).map(|text| text + "\n").unwrap_or_default()
        }
        (SummaryForm::Text, None) if args.report.quiet => String::new(),
        (SummaryForm::Text, None) => identical(run, replayed, wall_s),
        (SummaryForm::Text, Some(divergence)) => divergence_text(divergence, &run.scenario),
    };
    print_result(&text).map_err(NotStarted::Failed)?;
    match divergence {
        None => Ok(ExitCode::SUCCESS),
        Some(divergence) => {
            let what = format!("frame {} doesn't come out as it was recorded", divergence.frame);
            say_problem(&Problem::new(what).file(&run.path));
            Ok(ExitCode::from(EXIT_FAILED))
        }
    }
}

/// What is said of a replay that came out as it was recorded.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn identical(run: &OpenRun, replayed: &Replayed, wall_s: f64) -> String {
    let Replayed { from, checked, digest, .. } = replayed;
    if *checked == 0 {
        return "identical: no frame was recorded\n".to_owned();
    }
    let rate = if wall_s > 0.0 { *checked as f64 / wall_s } else { 0.0 };
    let rest = match run.has_ended() {
        true => String::new(),
        false => "the run didn't end in order: `wasm-engine resume` goes on with it\n".to_owned(),
    };
    format!(
        "identical: frames {} to {} in {wall_s:.2} s, {} frames/s\ndigest     {digest}\n{rest}",
        thousands(from),
        thousands(from + checked - 1),
        thousands(format!("{rate:.0}"))
    )
}
