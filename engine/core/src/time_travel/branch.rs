//! Branch: another run that has the frames of the first one up to a frame, and goes its own way from there, with other values
//! of parameters. What a parameter can change is what happens from then on: limits, schedules, budgets, events, what new agents are
//! given. The agents and their memories are what they were.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use miette::{Diagnostic, LabeledSpan, SourceCode};
use wasm_engine_components::causes::with_causes;
use wasm_engine_systems::state::{StateEntity, StateError};

use super::error::FollowError;
use super::run_replayer::RunReplayer;
use super::stream_inputs::stream_inputs_from;
use crate::events::{self, EventSource, StreamFrame};
use crate::problem::{Problem, Problems, RunError, counted};
use crate::run_dir::{
    Branch, COLLECTED, DiskMax, INPUTS, Manifest, OpenRun, OutputDir, Recording, RunDir, RunOptions, SCENARIO,
    find_files, recorded_scenario,
};
use crate::scenario::Scenario;
use crate::simulation::{KeptFiles, RestoreError, Simulation, SimulationOptions};
use crate::state::State;
use wasm_engine_wasm::GuestCapture;

/// Options of a branch.
#[derive(Clone, Debug, Default)]
pub struct BranchOptions {
    /// The first frame that is the branch's own.
    pub at: u64,
    /// `NAME=VALUE`: parameters that are other ones from there on.
    pub set: Vec<String>,
    /// Number of frames that the branch is to have, including those before it.
    pub frames: Option<u64>,
    /// Number of frames from one snapshot to the next.
    pub snapshot_every: Option<u64>,
    /// Largest size of its folder.
    pub disk_max: DiskMax,
}

/// A branch that is about to run.
pub struct Branched {
    /// Its simulation, in the state before its first own frame.
    pub simulation: Simulation,
    /// Source of its inputs.
    pub source: EventSource,
    /// Its recording.
    pub recording: Recording,
    /// Its scenario.
    pub scenario: Scenario,
    /// Number of frames in the scenario file.
    pub frames_expected: u64,
    /// Warnings for a person.
    pub warnings: Vec<String>,
}

/// Prepares a branch: the first run's state is made, and the new run directory, which begins with it.
///
/// # Errors
/// Fails if the first run can't be opened there; the parameters don't fit it; the folder can't be written; or a frame comes out
/// otherwise than it was recorded.
pub fn branch(
    replayer: &RunReplayer<'_>,
    options: &BranchOptions,
    output_dir: &OutputDir,
    interrupted: &Arc<AtomicBool>,
) -> Result<Branched, BranchError> {
    let run = replayer.run;
    check_frame(run, options.at)?;
    let (mut scenario, frames_expected) = scenario_of(run, options)?;
    let mut warnings = run.warnings.clone();
    let is_of_run = |name: &str, path: &Path| {
        let modules = run.scenario.modules.iter().map(|module| (&module.name, &module.path));
        let models = run.scenario.models.iter().map(|model| (&model.name, &model.path));
        // A branch may have set another file.
        modules.chain(models).any(|(known, before)| known == name && before == path)
    };
    let files = find_files(&run.path, &run.manifest, &mut scenario, is_of_run, &mut warnings);
    let files = files?;
    let mut restored = replayer.at(options.at)?;
    warnings.append(&mut restored.warnings);
    let state = restored.simulation.save();
    check_modules(run, &scenario)?;
    let simulation = take_up(replayer, &scenario, files, &state)?;
    warnings.extend(OpenRun::warn_of_other_forms(&run.other_forms(simulation.models())));
    // It computes anew what the run had from there on.
    warnings.extend(run.warn_of_earlier_forms(options.at));

    let is_same_input = scenario.input == run.scenario.input;
    let stored = if is_same_input { stream_inputs_from(run, options.at)? } else { None };
    let mut extras: Vec<_> = stored.iter().map(|frames| (INPUTS.to_owned(), StreamFrame::encode(frames))).collect();
    let mut events_file = None;
    let source = match stored {
        Some(stored) => EventSource::stored(&scenario, stored, Arc::clone(interrupted)),
        None => {
            let mut scenario = scenario.clone();
            if is_same_input {
                scenario.input = run.with_events()?.input;
            }
            events_file.clone_from(&scenario.input);
            events::open(&scenario, Arc::clone(interrupted))?
        }
    };
    if extras.is_empty() && !source.repeats() {
        let what = "the branch would read its events from a place from which they can't be read again, and the run's events don't come from such a place";
        return Err(RunError::from(Problem::new(what).file(source.path()).help("write them to a file")).into());
    }
    let source = source.starting_at(options.at);
    let mut run_options = RunOptions::new(&simulation, run.manifest.digest_scope());
    run_options.record = true;
    run_options.disk_max = options.disk_max;
    run_options.snapshot_every = options.snapshot_every.or(run.manifest.snapshot_every);
    run_options.streams = !source.repeats();
    run_options.events_file = events_file;
    run_options.branch = Some(provenance(run, options, &state));
    let collected = restored.collector.watching(&scenario);
    extras.push((COLLECTED.to_owned(), collected.save()));
    let run_dir = RunDir::create_from(output_dir, &scenario, &run_options, state, extras)?;
    let recording = Recording::new(run_dir, &simulation, Some(run_options.snapshot_every), collected);
    Ok(Branched { simulation, source, recording, scenario, frames_expected, warnings })
}

/// Why there is no branch.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum BranchError {
    /// The first run didn't do again what it did, or can't be run.
    Follow(FollowError),
    /// The scenario doesn't take the parameters.
    Scenario(Problems),
}

impl BranchError {
    fn diagnostic(&self) -> &dyn Diagnostic {
        match self {
            Self::Follow(error) => error,
            Self::Scenario(problems) => problems,
        }
    }
}

impl Diagnostic for BranchError {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.diagnostic().code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.diagnostic().help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.diagnostic().source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.diagnostic().labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        self.diagnostic().related()
    }
}

impl<E: Into<FollowError>> From<E> for BranchError {
    fn from(error: E) -> Self {
        Self::Follow(error.into())
    }
}

fn check_frame(run: &OpenRun, at: u64) -> Result<(), RunError> {
    let (first, end) = (run.first_frame(), run.end_frame());
    if (first..=end).contains(&at) {
        return Ok(());
    }
    let what = format!("the run has no state before frame {at}");
    Err(RunError::from(Problem::new(what).key("--at").help(format!("use {first} to {end}"))))
}

/// Returns the scenario with the branch's parameters, and how many frames its file says. What the first run's command line said in the
/// place of the file still holds, unless a parameter says otherwise.
fn scenario_of(run: &OpenRun, options: &BranchOptions) -> Result<(Scenario, u64), BranchError> {
    let manifest: &Manifest = &run.manifest;
    let before = recorded_scenario(&run.path, manifest, &[]).map_err(BranchError::Scenario)?;
    let mut scenario = recorded_scenario(&run.path, manifest, &options.set).map_err(BranchError::Scenario)?;
    let frames_expected = scenario.frames;
    if scenario.seed == before.seed {
        scenario.seed = manifest.seed;
    }
    if scenario.frames == before.frames {
        scenario.frames = manifest.frames;
    }
    scenario.frames = options.frames.unwrap_or(scenario.frames);
    if scenario.frames <= options.at {
        let what = format!(
            "a branch from frame {} on would have no frame of its own, as it is to have {} in all",
            options.at,
            counted(scenario.frames, "frame")
        );
        let help = format!(
            "ask for more than {} with --frames, or branch from an earlier one with --at",
            counted(options.at, "frame")
        );
        return Err(RunError::from(Problem::new(what).key("--at").help(help)).into());
    }
    Ok((scenario, frames_expected))
}

/// Checks that each group has the module that it had: the memories of its agents are of no use to another one.
fn check_modules(run: &OpenRun, scenario: &Scenario) -> Result<(), RunError> {
    for (before, after) in run.scenario.groups.iter().zip(&scenario.groups) {
        let [before, after_module] =
            [&run.scenario.modules[before.module as usize], &scenario.modules[after.module as usize]];
        if before.sha256 != after_module.sha256 {
            let what = format!("the branch gives group `{}` another module", after.name);
            let help = "a branch can't do that; a scenario can, with [[swaps]]";
            return Err(RunError::from(Problem::new(what).file(&scenario.path).help(help)));
        }
    }
    Ok(())
}

/// Returns a simulation of the branch's scenario, in the first run's state.
fn take_up(
    replayer: &RunReplayer<'_>,
    scenario: &Scenario,
    files: KeptFiles,
    state: &State<GuestCapture>,
) -> Result<Simulation, RunError> {
    let options = SimulationOptions {
        digest: replayer.run.manifest.digest_scope(),
        files,
        first_frame: state.frame,
        recorded_forms: replayer.run.recorded_forms(),
        ..replayer.options.clone()
    };
    let built = Simulation::with_plugins(scenario, &options, |app| (replayer.author)(app));
    let mut simulation = built.map_err(|error| error.of_run(scenario, &replayer.run.path.join(SCENARIO)))?;
    let restored = simulation.restore(&state.world, std::slice::from_ref(&state.guests));
    restored.map_err(|error| {
        let what = match &error {
            RestoreError::World(StateError::Unfit { entity: StateEntity::Group(id), problem, .. }) => {
                let name = scenario.group(*id).map_or("?", |group| group.name.as_str());
                format!("the run's state doesn't fit the branch: group {name}: {problem}")
            }
            other => format!("the run's state doesn't fit the branch: {}", with_causes(other)),
        };
        RunError::from(
            Problem::new(what)
                .key("--set")
                .help("a branch can change neither which agents there are nor their modules"),
        )
    })?;
    Ok(simulation)
}

fn provenance(run: &OpenRun, options: &BranchOptions, state: &State<GuestCapture>) -> Branch {
    Branch {
        run: run.path.clone(),
        id: run.manifest.id,
        frame: options.at,
        digest: state.digest.to_string(),
        set: options.set.clone(),
    }
}
