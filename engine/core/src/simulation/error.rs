//! Why a simulation couldn't be built, and where in the scenario the cause is.

use std::fmt::Display;
use std::path::Path;

use miette::Diagnostic;
use wasm_engine_components::causes::with_causes;
use wasm_engine_components::text::shown;
use wasm_engine_systems::state::IncompleteState;

use crate::problem::{ErrorKind, Problem, RunError};
use crate::scenario::{Scenario, Step};
use crate::threads::more_threads;
use wasm_engine_files::{FileError, FileProblem};
#[cfg(feature = "inference")]
use wasm_engine_inference::{InferenceError, ModelProblem};
use wasm_engine_wasm::{ModuleError, ModuleProblem};

/// Why a simulation couldn't be built. All of it is about the scenario's files, but for [`SimulationError::Threads`] and
/// [`SimulationError::State`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    Lost(Problem),
    /// The threads couldn't be started.
    #[error("can't start the threads that step agents")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A plugin of an author has state that no digest and no snapshot would show.
    #[error(transparent)]
    State(#[from] IncompleteState),
}

impl SimulationError {
    /// Returns whose fault it is: what is wrong with a module or a model is bad input. That there are no threads, no memory or no ONNX Runtime to be
    /// had is the machine's, as is a fault of the engine or of an author's plugin.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lost(problem) => problem.kind(),
            Self::File(FileError { problem, .. }) => ErrorKind::of_file(problem),
            #[cfg(feature = "inference")]
            Self::Inference(InferenceError::Model { problem: ModelProblem::File(problem), .. }) => {
                ErrorKind::of_file(problem)
            }
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

    /// Returns what to do, where the text doesn't say it itself.
    fn help_text(&self) -> Option<String> {
        match self {
            Self::Lost(problem) => problem.help_text(),
            Self::File(FileError { problem, .. }) => Some(problem.help().to_owned()),
            #[cfg(feature = "inference")]
            Self::Inference(InferenceError::Model { problem: ModelProblem::File(problem), .. }) => {
                Some(problem.help().to_owned())
            }
            Self::Threads(_) | Self::Module(ModuleError::Threads(_)) => Some(more_threads()),
            Self::Module(error) => error.help().map(str::to_owned),
            Self::NoInference { .. } => {
                let help = "use a build with the feature `inference`, which is a default one, or take the models out of the scenario";
                Some(help.to_owned())
            }
            _ => None,
        }
    }

    /// Returns it as a problem without a place: what is wrong, as `what` says it, whose fault it is, and what to do.
    fn problem(&self, what: String) -> Problem {
        let problem = Problem::new(what).of_kind(self.kind());
        match self.help_text() {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    /// Returns the error of a run of `scenario`, whose text is in `file`. A problem of a module or a model has its place in that text.
    pub fn of_run(self, scenario: &Scenario, file: &Path) -> RunError {
        let problem = match self {
            // What to do about it depends on more than on what the system said.
            Self::Module(ModuleError::AddressSpace { .. }) => self.problem(with_causes(&self)),
            _ => self.problem(self.to_string()),
        };
        let problem = match self {
            Self::Lost(lost) => lost,
            Self::Threads(error) | Self::Module(ModuleError::Threads(error)) => problem.caused_by(error),
            Self::NoInference { name } => scenario.place(problem.file(file), &[Step::Key("models"), Step::Key(&name)]),
            Self::Module(ModuleError::UnknownModule { .. }) => problem.file(file),
            Self::Module(ModuleError::Module { name, problem: why, .. }) => {
                of_module(scenario, problem.file(file), &name, &why)
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
        problem.into()
    }
}

/// The error of a module or a model that is in no scenario, in which it would have a place.
impl From<SimulationError> for RunError {
    fn from(error: SimulationError) -> Self {
        match error {
            SimulationError::Lost(lost) => lost.into(),
            error => error.problem(with_causes(&error)).into(),
        }
    }
}

impl Diagnostic for SimulationError {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(self.kind().code()))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(self.help_text()?))
    }
}

/// Names the key of a file's entry that says what isn't so, and what caused it.
fn of_file(scenario: &Scenario, problem: Problem, (table, name): (&str, &str), why: FileProblem) -> Problem {
    let key = if matches!(why, FileProblem::WrongHash { .. }) { "sha256" } else { "path" };
    let steps = [Step::Key(table), Step::Key(name), Step::Key(key)];
    let problem = scenario.place(problem, &steps);
    match why {
        FileProblem::Unreadable(error) => problem.caused_by(error),
        _ => problem,
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

#[cfg(test)]
mod tests {
    use std::io;

    use miette::Report;
    use wasm_engine_systems::state::StateError;

    use super::*;
    use crate::scenario::{LoadOptions, parse};
    use crate::simulation::RestoreError;

    fn unreadable(error: io::Error) -> SimulationError {
        let (name, path, problem) = ("a".to_owned(), "a.wasm".into(), FileProblem::Unreadable(error));
        FileError { what: "module", name, path, problem }.into()
    }

    /// Passes an error on as a `main` of `miette::Result` does.
    fn told(error: impl Diagnostic + Send + Sync + 'static) -> [String; 3] {
        let fails = || -> miette::Result<()> { Err(error)? };
        let report: Report = fails().unwrap_err();
        let text = |text: Option<Box<dyn Display + '_>>| text.map(|text| text.to_string()).unwrap_or_default();
        [text(report.code()), report.to_string(), text(report.help())]
    }

    #[test]
    fn errors_of_a_simulation_are_diagnostics_that_say_nothing_twice() {
        let problem = ModuleProblem::StartFuel { group: "g".to_owned(), fuel_max: 1 };
        let module = || ModuleError::Module { name: "a".to_owned(), path: "a.wasm".into(), problem: problem.clone() };
        let error = RunError::from(SimulationError::from(module()));
        assert_eq!(format!("{:#}", error.problem()), format!("{}; help: {}", module(), problem.help()));
        let [code, text, help] = told(SimulationError::from(module()));
        assert_eq!(code, "wasm_engine::input");
        assert!(text.starts_with("module `a` (a.wasm): its start used up the fuel") && !text.contains(&help), "{text}");
        assert!(help.starts_with("raise the limit"), "{help}");
        let [code, _, help] = told(unreadable(io::ErrorKind::StorageFull.into()));
        assert_eq!((&*code, &*help), ("wasm_engine::machine", "make room on that disk, or use another one"));
        let [code, text, help] = told(SimulationError::Lost(Problem::new("gone").help("put it back")));
        assert_eq!([&*code, &*text, &*help], ["wasm_engine::input", "gone", "put it back"]);
        let [code, text, _] = told(RestoreError::from(StateError::NotFresh));
        assert_eq!((&*code, &*text), ("wasm_engine::input", &*StateError::NotFresh.to_string()));
    }

    #[test]
    fn the_kind_of_a_run_that_could_not_begin_follows_from_what_the_system_said() {
        let text = "frames = 1\nmodules.a.path = \"a.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 1\n";
        let options = LoadOptions { recorded: true, ..LoadOptions::default() };
        let scenario = parse(text.to_owned(), Path::new("s.toml"), &options).unwrap();
        let room = "make room on that disk, or use another one";
        for (raw, kind, help) in [
            (io::ErrorKind::StorageFull, ErrorKind::Machine, room),
            (io::ErrorKind::NotFound, ErrorKind::Input, "see that it is there, is a file, and may be read"),
        ] {
            let error = unreadable(raw.into());
            assert_eq!(error.kind(), kind);
            let error = error.of_run(&scenario, Path::new("s.toml"));
            assert_eq!((error.kind(), error.code().unwrap().to_string()), (kind, kind.code().to_owned()));
            let text = format!("{error:#}");
            assert!(text.starts_with("s.toml:2:18: modules.a.path: the module `a` (a.wasm) can't be read: "), "{text}");
            assert!(text.ends_with(&format!("; help: {help}")), "{text}");
        }
        // That there is no memory to be had would say too little of it.
        let space = ModuleError::AddressSpace { bytes: 9, agents: 3, error: io::ErrorKind::OutOfMemory.into() };
        let text = format!("{:#}", SimulationError::from(space).of_run(&scenario, Path::new("s.toml")));
        assert!(
            text.contains(
                "9 bytes of address space for the memories of 3 agents: out of memory; help: lower `memory_bytes_max`"
            ),
            "{text}"
        );
    }
}
