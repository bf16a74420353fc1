//! Why a simulation couldn't be built, and where in the scenario the cause is.

use std::path::Path;

use wasm_engine_components::text::{shown, shown_path};
use wasm_engine_systems::state::IncompleteState;

use super::kept::LostFile;
use crate::problem::{ErrorKind, Problem, RunError};
use crate::scenario::{Scenario, Step};
use wasm_engine_files::{FileError, FileProblem};
#[cfg(feature = "inference")]
use wasm_engine_inference::{InferenceError, ModelProblem};
use wasm_engine_wasm::{ModuleError, ModuleProblem};

/// Why a simulation couldn't be built. All of it is about the scenario's files, but for [`SimulationError::Threads`] and
/// [`SimulationError::State`].
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A module's or a model's file can't be read, or isn't what the scenario says.
    #[error(transparent)]
    File(#[from] FileError),
    /// A module was refused.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A model was refused, or there is no ONNX Runtime.
    #[cfg(feature = "inference")]
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The scenario has models, and this build of the engine runs none.
    #[error("the model `{}` can't be run: this build of the engine is one without models", shown(name))]
    NoInference {
        /// The name of its first model.
        name: String,
    },
    /// A file of a recorded run is nowhere any more.
    #[error(transparent)]
    Lost(#[from] LostFile),
    /// The threads couldn't be started.
    #[error("can't start the threads that step agents: {0}; try fewer with --threads")]
    Threads(rayon::ThreadPoolBuildError),
    /// A plugin of an author has state that no digest and no snapshot would show.
    #[error(transparent)]
    State(#[from] IncompleteState),
}

impl SimulationError {
    /// Whose fault it is: what is wrong with a module or a model is bad input. That there are no threads, no memory or no ONNX Runtime to be
    /// had is the machine's, as is a fault of the engine or of an author's plugin.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Threads(_)
            | Self::State(_)
            | Self::Module(ModuleError::AddressSpace { .. } | ModuleError::Threads(_) | ModuleError::Engine { .. }) => {
                ErrorKind::Machine
            }
            #[cfg(feature = "inference")]
            Self::Inference(InferenceError::Library(error)) if !error.is_of_user() => ErrorKind::Machine,
            _ => ErrorKind::Input,
        }
    }

    /// Returns the error of a run of `scenario`, whose text is in `file`. A problem of a module or a model has its place in that text.
    pub fn of_run(self, scenario: &Scenario, file: &Path) -> RunError {
        let (kind, problem) = (self.kind(), Problem::new(self.to_string()));
        let problem = match self {
            Self::Lost(lost) => lost.problem,
            Self::Module(ModuleError::Threads(error)) => problem.caused_by(error),
            Self::NoInference { name } => {
                let help = "use a build with the feature `inference`, which is a default one, or take the models out of the scenario";
                scenario.place(problem.file(file).help(help), &[Step::Key("models"), Step::Key(&name)])
            }
            Self::Module(ModuleError::UnknownModule { .. }) => problem.file(file),
            Self::Module(ModuleError::Module { name, path, problem }) => {
                let (what, help) = problem.parts();
                let what = format!("module `{}` ({}): {what}", shown(&name), shown_path(&path));
                of_module(scenario, Problem::new(what).file(file).help(help), &name, &problem)
            }
            Self::File(FileError { what, name, problem: why, .. }) => {
                let table = if what == "module" { "modules" } else { "models" };
                of_file(scenario, problem.file(file), (table, &name), why)
            }
            #[cfg(feature = "inference")]
            Self::Inference(InferenceError::Model { name, problem: ModelProblem::File(why), .. }) => {
                of_file(scenario, problem.file(file), ("models", &name), why)
            }
            #[cfg(feature = "inference")]
            Self::Inference(InferenceError::Model { name, .. }) => {
                scenario.place(problem.file(file), &[Step::Key("models"), Step::Key(&name), Step::Key("path")])
            }
            #[cfg(feature = "inference")]
            Self::Inference(InferenceError::Library(error)) if error.is_of_user() => problem.file(file),
            // The machine's, which no scenario says anything of.
            _ => problem,
        };
        RunError::of(kind, problem)
    }
}

impl From<rayon::ThreadPoolBuildError> for SimulationError {
    fn from(error: rayon::ThreadPoolBuildError) -> Self {
        Self::Threads(error)
    }
}

/// Names the key of a file's entry that says what isn't so, and what caused it.
fn of_file(scenario: &Scenario, problem: Problem, (table, name): (&str, &str), why: FileProblem) -> Problem {
    let key = if matches!(why, FileProblem::WrongHash { .. }) { "sha256" } else { "path" };
    let steps = [Step::Key(table), Step::Key(name), Step::Key(key)];
    let problem = scenario.place(problem.help(why.help()), &steps);
    match why {
        FileProblem::Unreadable(error) => problem.caused_by(error),
        FileProblem::TooLarge { .. } | FileProblem::WrongHash { .. } => problem,
    }
}

/// Names the key of a group that refuses a module, or else that of the module's file.
fn of_module(scenario: &Scenario, problem: Problem, name: &str, why: &ModuleProblem) -> Problem {
    let at = |group: &str| scenario.groups.iter().position(|known| known.name == group);
    let found = why.of_group().and_then(|(group, keys)| Some((at(group)?, keys)));
    let Some((at, keys)) = found else {
        return scenario.place(problem, &[Step::Key("modules"), Step::Key(name), Step::Key("path")]);
    };
    let steps = |keys: &[&'static str]| {
        let group = [Step::Key("groups"), Step::Item(at)];
        group.into_iter().chain(keys.iter().map(|key| Step::Key(key))).collect::<Vec<_>>()
    };
    let mut all = keys.iter().map(|keys| steps(keys));
    let there = all.find(|steps| scenario.has(steps));
    scenario.place(problem, &there.unwrap_or_else(|| steps(keys[0])))
}
