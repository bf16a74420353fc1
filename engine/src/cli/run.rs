//! `wasm-engine run`: a scenario from its file to its summary.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use wasm_engine_components::FrameRecord;
use wasm_engine_components::limits::{FRAMES_MAX, THREADS_MAX};

use super::interrupt::{EXIT_INTERRUPTED, Interrupt};
use super::machine;
use super::progress::Progress;
use super::{EXIT_FAILED, EXIT_INPUT, print_result, say_problem};
use crate::events::{self, EventSource};
use crate::frame_loop::{self, FrameSink};
use crate::problem::{Problem, Problems, RunError};
use crate::run_dir::{Place, RunDir, RunOptions};
use crate::scenario::{LoadOptions, Scenario, load};
use crate::simulation::{Simulation, SimulationOptions};
use crate::summary::{Collector, RunFacts, Summary};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The scenario file
    scenario: PathBuf,
    /// Frames to run, instead of the scenario's
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=FRAMES_MAX))]
    frames: Option<u64>,
    /// Seed of all random numbers, instead of the scenario's
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Threads that step agents; the result doesn't depend on it [default: all cores]
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=i64::from(THREADS_MAX)))]
    threads: Option<u32>,
    /// External events, instead of the scenario's: a JSON-lines file, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Set a parameter of the scenario; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Folder for the results: a new or an empty one [default: runs/<scenario>-<number>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What each frame's digest covers: the state of the world, or the agents' memories, too
    #[arg(long, value_enum, default_value_t = DigestScope::Frame)]
    digest: DigestScope,
    /// How to print the summary: a table, or one line of JSON
    #[arg(long, value_enum, default_value_t = SummaryForm::Text)]
    summary: SummaryForm,
    /// No progress bar, and no table unless the run fails
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DigestScope {
    Frame,
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SummaryForm {
    Text,
    Json,
}

/// A run that got as far as its first frame.
struct Outcome {
    summary: Summary,
    error: Option<RunError>,
}

/// Why there was no first frame.
enum NotStarted {
    Input(Problems),
    Failed(Problem),
    Interrupted,
}

impl From<RunError> for NotStarted {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Input(problem) => Self::Input(problem.into()),
            RunError::Failed(problem) => Self::Failed(problem),
        }
    }
}

/// Runs the command.
pub(super) fn main(args: &RunArgs) -> ExitCode {
    match run(args) {
        Ok(outcome) => report(args, &outcome),
        Err(NotStarted::Input(problems)) => {
            problems.0.iter().for_each(say_problem);
            ExitCode::from(EXIT_INPUT)
        }
        Err(NotStarted::Failed(problem)) => {
            say_problem(&problem);
            ExitCode::from(EXIT_FAILED)
        }
        Err(NotStarted::Interrupted) => {
            eprintln!("ended before the first frame: nothing was run, and no folder was made");
            ExitCode::from(EXIT_INTERRUPTED)
        }
    }
}

/// Checks all input, then runs all frames.
fn run(args: &RunArgs) -> Result<Outcome, NotStarted> {
    let options = LoadOptions { set: args.set.clone(), input: args.input.clone() };
    let mut scenario = load(&args.scenario, &options).map_err(NotStarted::Input)?;
    let frames_expected = scenario.frames;
    scenario.frames = args.frames.unwrap_or(scenario.frames);
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    let place = Place::new(args.out.as_deref(), &scenario.name);
    place.check().map_err(RunError::Input)?;
    let interrupt = Interrupt::listen();
    let source = events::open(&scenario, Arc::clone(&interrupt.flag)).map_err(RunError::Input)?;
    let options = SimulationOptions {
        threads: args.threads.map(|threads| threads as usize),
        digest_memories: args.digest == DigestScope::Full,
        cache_dir: machine::cache_dir(),
        ..SimulationOptions::default()
    };
    // What is fetched is said aloud, also where `--quiet` was asked for.
    let mut say = |text: &str| eprintln!("{text}");
    let simulation = machine::build(&scenario, &options, &mut say)?;
    if interrupt.happened() {
        return Err(NotStarted::Interrupted);
    }
    let pool = simulation.pool();
    let facts = RunFacts { frames_expected, threads: pool.current_num_threads(), ..RunFacts::default() };
    // The loop runs on one of the threads that step the agents: no frame is handed from thread to thread.
    pool.install(|| run_frames(args, &scenario, &place, (simulation, source), &interrupt, facts))
}

fn run_frames(
    args: &RunArgs,
    scenario: &Scenario,
    place: &Place,
    (mut simulation, mut source): (Simulation, EventSource),
    interrupt: &Interrupt,
    mut facts: RunFacts,
) -> Result<Outcome, NotStarted> {
    let digest = if args.digest == DigestScope::Full { "full" } else { "frame" };
    let run_options = RunOptions::new(&simulation, digest);
    let mut sink = Sink {
        run_dir: RunDir::create(place, scenario, &run_options)?,
        collector: Collector::default(),
        progress: Progress::new(scenario.frames, args.quiet),
    };
    interrupt.frames_begin();
    let started = Instant::now();
    let result = frame_loop::run(&mut simulation, &mut source, &mut sink);
    facts.wall = started.elapsed();
    sink.progress.finish();
    facts.events = source.counts();
    facts.interrupted = interrupt.happened() && simulation.next_frame() < scenario.frames;
    facts.error = result.as_ref().err().map(ToString::to_string);
    facts.run_dir = sink.run_dir.path().display().to_string();
    let summary = sink.collector.summary(scenario, &facts);
    let finished = match &result {
        // Where a write failed, a summary that can be written would only pretend that the rest is whole.
        Err(RunError::Failed(_)) => Ok(()),
        _ => sink.run_dir.finish(&summary),
    };
    Ok(Outcome { summary, error: result.err().or(finished.err()) })
}

/// Where records go: to the run directory, the summary and the bar.
struct Sink {
    run_dir: RunDir,
    collector: Collector,
    progress: Progress,
}

impl FrameSink for Sink {
    type Error = RunError;

    fn append(&mut self, record: &FrameRecord) -> Result<(), RunError> {
        self.collector.add(record);
        self.progress.update(record.frame, self.collector.counts());
        self.run_dir.append(record)
    }
}

/// Prints the summary, says what went wrong, and turns it into the exit status.
fn report(args: &RunArgs, outcome: &Outcome) -> ExitCode {
    let summary = &outcome.summary;
    let unmet: Vec<Problem> = summary
        .unmet()
        .map(|unmet| {
            let what = format!("expected, but not so: {}", unmet.sentence());
            Problem::new(what).file(&args.scenario).line(unmet.line)
        })
        .collect();
    let failed = outcome.error.is_some() || !unmet.is_empty();
    let printed = match args.summary {
        SummaryForm::Json => print_result(&format!("{}\n", summary.json())),
        SummaryForm::Text if args.quiet && !failed => Ok(()),
        SummaryForm::Text => print_result(&summary.text()),
    };
    unmet.iter().for_each(say_problem);
    if let Some(error) = &outcome.error {
        say_problem(error.problem());
    }
    if let Err(problem) = &printed {
        say_problem(problem);
    }
    match &outcome.error {
        Some(RunError::Input(_)) => ExitCode::from(EXIT_INPUT),
        _ if failed || printed.is_err() => ExitCode::from(EXIT_FAILED),
        _ => ExitCode::SUCCESS,
    }
}
