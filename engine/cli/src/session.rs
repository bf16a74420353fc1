//! The parts that the commands that run frames share: the loop with a progress bar, the summary, and the exit status.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use tracing::{Level, warn};
use wasm_engine_components::FrameRecord;
use wasm_engine_components::limits::{FRAMES_MAX, THREADS_MAX};
use wasm_engine_components::text::shown;

use super::excess::ExcessWarnings;
use super::goes_on::goes_on;
use super::interrupt::Interrupt;
use super::machine;
use super::progress::{self, Progress};
use super::refused::RefusedCommands;
use super::said::Said;
use super::status::Status;
use super::terminal::{print, print_json, say, say_problem};
use wasm_engine_core::frame_loop::{self, FrameSink, FrameSource};
use wasm_engine_core::problem::{ErrorKind, Problem, Problems, RunError, counted, thousands};
use wasm_engine_core::run_dir::Recording;
use wasm_engine_core::scenario::Scenario;
use wasm_engine_core::simulation::{Simulation, SimulationOptions};
use wasm_engine_core::summary::{RunFacts, Summary};
use wasm_engine_core::threads::on_pool;
use wasm_engine_core::time_travel::{BranchError, FollowError, ResumeSink};

/// Largest number of groups without agents that are named.
const DEAD_GROUPS_TOLD_MAX: usize = 10;

/// Options for what a command uses of the machine. None of them changes a result.
#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Threads that step agents; the result doesn't depend on it [default: all cores]
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=i64::from(THREADS_MAX)))]
    threads: Option<u32>,
    /// Neither read nor write the cache of compiled modules
    #[arg(long)]
    no_cache: bool,
}

impl MachineArgs {
    /// Converts these to the options of the simulation.
    pub fn options(&self) -> SimulationOptions {
        SimulationOptions {
            threads: self.threads.map(|threads| threads as usize),
            cache_dir: if self.no_cache { None } else { machine::cache_dir() },
            progress: progress::loading(false),
            ..SimulationOptions::default()
        }
    }
}

/// Options for what is printed.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// How to print the summary: a table, or one line of JSON
    #[arg(long, value_enum, default_value_t = SummaryForm::Text)]
    pub summary: SummaryForm,
    /// No progress bar, and no table unless the run fails
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SummaryForm {
    Text,
    Json,
}

/// Option for the number of frames.
#[derive(Debug, Args)]
pub(super) struct FrameArgs {
    /// Frames to run in all, instead of those that the scenario or the run says
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=FRAMES_MAX))]
    pub frames: Option<u64>,
}

/// Options for snapshots.
#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    /// Take a snapshot before each frame whose number is a multiple of N [default: about every 30 seconds]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=FRAMES_MAX))]
    pub snapshot_every: Option<u64>,
}

/// A run that got as far as its first frame.
pub(super) struct Outcome {
    pub summary: Summary,
    pub error: Option<FollowError>,
    /// The signal that ended it before its last frame.
    pub signal: Option<u8>,
    /// Whether there is a journal, by which it can go on.
    pub recorded: bool,
    /// Warnings about groups that have lost their agents.
    pub warnings: Vec<String>,
}

/// Why there was no first frame.
pub(super) struct NotStarted(Problems);

impl From<Problems> for NotStarted {
    fn from(problems: Problems) -> Self {
        Self(problems)
    }
}

impl From<Problem> for NotStarted {
    fn from(problem: Problem) -> Self {
        Self(problem.into())
    }
}

impl From<RunError> for NotStarted {
    fn from(error: RunError) -> Self {
        Self(error.into_problem().into())
    }
}

impl From<FollowError> for NotStarted {
    fn from(error: FollowError) -> Self {
        Self(problem_of(&error).into())
    }
}

impl From<BranchError> for NotStarted {
    fn from(error: BranchError) -> Self {
        match error {
            BranchError::Follow(error) => error.into(),
            BranchError::Scenario(problems) => problems.into(),
            other => Problem::new(other.to_string()).into(),
        }
    }
}

/// Converts an error to what is printed.
fn problem_of(error: &FollowError) -> Problem {
    match error {
        FollowError::Error(error) => error.problem().clone(),
        _ => Problem::new(error.to_string()).of_kind(error.kind()),
    }
}

/// Sink of a session's records: a recording, or one that goes on.
pub(super) trait SessionSink: FrameSink<Error: Into<FollowError>> + Send {
    fn recording(&mut self) -> &mut Recording;
}

impl SessionSink for Recording {
    fn recording(&mut self) -> &mut Recording {
        self
    }
}

impl SessionSink for ResumeSink {
    fn recording(&mut self) -> &mut Recording {
        &mut self.recording
    }
}

/// Runs all frames, and ends the run. `recorded` frames are in its journal already.
pub(super) fn drive<S, E>(
    scenario: &Scenario,
    (simulation, source, sink): (&mut Simulation, &mut S, &mut impl SessionSink<Error = E>),
    interrupt: &Interrupt,
    (quiet, recorded): (bool, u64),
    mut facts: RunFacts,
) -> Outcome
where
    S: FrameSource<Error = E> + Send,
    E: Into<FollowError> + Send,
{
    let pool = simulation.pool();
    facts.threads = pool.current_num_threads();
    facts.frames_before = simulation.next_frame();
    if let Some(asked) = sink.recording().snapshot_request() {
        interrupt.ask_for_snapshots(asked);
    }
    let closer = sink.recording().run_dir().closer();
    let has_journal = closer.is_recorded();
    interrupt.frames_begin(closer, simulation.next_frame() < recorded);
    let (excess, refused) = (ExcessWarnings::of(scenario), RefusedCommands::of(scenario));
    let progress = Progress::new(scenario.frames, quiet);
    let mut sink = Watched { sink, progress, excess, refused, interrupt, recorded };
    let started = Instant::now();
    // The loop runs on one of the threads that step the agents, so that no frame is handed from thread to thread.
    let result = on_pool(&pool, || frame_loop::run(simulation, source, &mut sink));
    facts.wall = started.elapsed();
    sink.progress.finish();
    let error = result.err().map(Into::into);
    facts.interrupted = interrupt.signal().is_some() && simulation.next_frame() < scenario.frames;
    facts.error = error.as_ref().map(|error| format!("{error:#}"));
    let recording = sink.sink.recording();
    facts.run_dir = recording.run_dir().path().to_string_lossy().into_owned();
    let summary = recording.collector().summary(scenario, &facts);
    let finished = match &error {
        // After a failed write there is no summary: it would suggest that the rest is complete.
        Some(error) if error.kind() != ErrorKind::Input => Ok(()),
        // Nor is there one if a resumed run stops before the end of its recorded frames.
        Some(_) if simulation.next_frame() < recorded => Ok(()),
        _ => recording.finish(simulation, &summary),
    };
    interrupt.frames_end();
    let warnings = dead_groups(scenario, &summary);
    let signal = interrupt.signal().filter(|_| summary.interrupted);
    Outcome {
        summary,
        error: error.or(finished.err().map(FollowError::Error)),
        signal,
        recorded: has_journal,
        warnings,
    }
}

/// Returns warnings about groups that began with agents and have none left because of faults. Without them and without an expectation,
/// such a run would end as if nothing were wrong.
fn dead_groups(scenario: &Scenario, summary: &Summary) -> Vec<String> {
    let had_agents = |name: &str| scenario.groups.iter().any(|group| group.name == name && group.agents > 0);
    let groups = summary.groups.0.iter().filter(|(name, group)| group.agents == 0 && had_agents(name));
    let dead: Vec<_> = groups.filter_map(|(name, group)| Some((name, &group.first_fault.as_ref()?.text))).collect();
    let (told, more) = dead.split_at(dead.len().min(DEAD_GROUPS_TOLD_MAX));
    let sentence = |(name, first): &(&String, &String)| {
        format!("no agent of group `{name}` is left; the first that faulted: {}", shown(first))
    };
    let mut warnings: Vec<String> = told.iter().map(sentence).collect();
    if !more.is_empty() {
        warnings.push(format!("nor is one of {}; the summary has all", counted(more.len(), "more group")));
    }
    warnings
}

/// A sink with a bar.
struct Watched<'a, S> {
    sink: &'a mut S,
    progress: Progress,
    excess: ExcessWarnings<'a>,
    refused: RefusedCommands<'a>,
    interrupt: &'a Interrupt,
    recorded: u64,
}

impl<S: SessionSink> FrameSink for Watched<'_, S> {
    type Error = S::Error;

    fn append(&mut self, record: FrameRecord, simulation: &mut Simulation) -> Result<(), S::Error> {
        let frame = record.frame;
        self.excess.take(&record).iter().for_each(|line| warn!("{line}"));
        // Frames that are run again were reported when they were run first.
        if frame >= self.recorded {
            self.refused.take(&record).iter().for_each(|line| warn!("{line}"));
        }
        self.sink.append(record, simulation)?;
        if frame + 1 == self.recorded {
            self.interrupt.new_frames_begin();
        }
        self.progress.update(frame, self.sink.recording().collector().counts());
        Ok(())
    }

    fn has_kept_last(&self) -> bool {
        self.sink.has_kept_last()
    }
}

/// Says why there was no first frame.
pub(super) fn report_not_started(why: &NotStarted) -> Status {
    why.0.0.iter().for_each(say_problem);
    why.0.kind().into()
}

/// Prints the summary, says what went wrong, and turns it into the exit status.
pub(super) fn report(args: &ReportArgs, scenario: &Path, outcome: &Outcome) -> Status {
    let summary = &outcome.summary;
    let unmet: Vec<Problem> = summary
        .unmet()
        .map(|unmet| {
            let what = format!("an expectation isn't met: {}", unmet.sentence());
            Problem::new(what).file(scenario).line(unmet.line)
        })
        .collect();
    let failed = outcome.error.is_some() || !unmet.is_empty();
    let printed = match args.summary {
        SummaryForm::Json => print_json(&summary.json()),
        SummaryForm::Text if args.quiet && !failed => Ok(()),
        SummaryForm::Text => print(&summary.text()),
    };
    outcome.warnings.iter().for_each(|warning| warn!("{warning}"));
    unmet.iter().for_each(say_problem);
    if outcome.signal.is_some() && outcome.recorded && outcome.error.is_none() {
        let ended = format!("ended before frame {}, in order", thousands(summary.frames));
        say(&Said::new(Level::INFO, ended).help(Some(goes_on(Path::new(&summary.run_dir)))));
    }
    if let Some(error) = &outcome.error {
        say_problem(&problem_of(error));
    }
    if let Err(error) = &printed {
        say_problem(error.problem());
    }
    match (&outcome.error, &printed) {
        (Some(error), _) => error.kind().into(),
        (None, Err(error)) => error.kind().into(),
        (None, Ok(())) if !unmet.is_empty() => ErrorKind::Unmet.into(),
        (None, Ok(())) => outcome.signal.map_or(Status::Done, Status::Signal),
    }
}

/// The run directory that a command is about.
#[derive(Debug, Args)]
pub(super) struct RunDirArgs {
    /// The run directory
    pub run: PathBuf,
}
