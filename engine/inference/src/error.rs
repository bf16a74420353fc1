//! Why models couldn't be loaded. Each message is one sentence: which model and file, what is wrong, what to do.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wasm_engine_components::text::{shown, shown_path};

use super::library::{LibraryError, ONNX_RUNTIME_VERSION};
use super::limits::ModelLimits;
use super::watchdog::Halt;
use wasm_engine_files::FileProblem;

/// Longest reason of ONNX Runtime that is shown, in characters. It begins with files and lines of its source.
const REASON_CHARS_MAX: usize = 1_000;

/// Why the models of a scenario couldn't be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum InferenceError {
    /// There is no ONNX Runtime.
    Library(LibraryError),
    /// A model can't be used.
    Model {
        /// Name of the model in the scenario.
        name: String,
        /// File of the model.
        path: PathBuf,
        /// Problem of the model.
        problem: ModelProblem,
    },
}

impl fmt::Display for InferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::Model { name, path, problem } => {
                write!(f, "the model `{}` ({}) {problem}", shown(name), shown_path(path))
            }
        }
    }
}

/// The text of this error has that of the model's or the library's problem in it, so that its source is that problem's source.
impl Error for InferenceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Library(error) => error.source(),
            Self::Model { problem, .. } => problem.source(),
        }
    }
}

impl From<LibraryError> for InferenceError {
    fn from(error: LibraryError) -> Self {
        Self::Library(error)
    }
}

impl InferenceError {
    /// Returns the problem of a model, if the error is about one.
    pub const fn problem(&self) -> Option<&ModelProblem> {
        match self {
            Self::Model { problem, .. } => Some(problem),
            Self::Library(_) => None,
        }
    }

    pub(crate) fn of_model(name: &str, path: &Path) -> impl Fn(ModelProblem) -> Self {
        move |problem| Self::Model { name: name.into(), path: path.into(), problem }
    }
}

/// Problem of a model, for which it can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelProblem {
    /// The file was refused.
    #[error(transparent)]
    File(FileProblem),
    /// ONNX Runtime refuses it.
    #[error(
        "isn't a model that ONNX Runtime {} can load; if it was copied, is the file whole? It says: {}",
        shown(version),
        shown(reason).at_most(REASON_CHARS_MAX)
    )]
    NotLoadable {
        /// Version of ONNX Runtime.
        version: String,
        /// Message of ONNX Runtime.
        reason: String,
    },
    /// Its graph can't be read, so it isn't known what its rows may do.
    #[error(
        "has a graph that the engine can't read: {}; if the file was copied, is it whole? Else save it anew (in Python: \
         onnx.save(onnx.load(path), path)), or make it simpler",
        shown(reason).at_most(REASON_CHARS_MAX)
    )]
    Unreadable {
        /// Reason why the graph can't be read.
        reason: String,
    },
    /// One of its functions may have the name of one of ONNX Runtime's own operators, which would be run instead.
    #[error(
        "has a function `{}` of its own in the domain `{}`, in which ONNX Runtime has operators of its own and runs those: give the \
         function a domain of yours",
        shown(name),
        shown(domain)
    )]
    TakenFunction {
        /// Domain of the function.
        domain: String,
        /// Name of the function.
        name: String,
    },
    /// A run's manifest states a form that the model can't have had.
    #[error(
        "can't have had the form `{}` that the run's manifest says: its form is `{}`. The manifest was changed: put it back",
        shown(recorded),
        shown(form)
    )]
    ForeignForm {
        /// The form in the manifest.
        recorded: String,
        /// The form of the model.
        form: String,
    },
    /// The weights are in other files, which no hash covers.
    #[error(
        "keeps weights in other files, which its sha256 doesn't cover: save it as one file (in Python: onnx.save(model, path) \
         after onnx.load(path))"
    )]
    ExternalData,
    /// A tensor has a type that agents can't exchange.
    #[error(
        "has the {role} `{}` of type {}, but only f32, f64, i64, i32, u8, i8 and bool are supported: cast it in the model",
        shown(tensor),
        shown(found)
    )]
    UnsupportedType {
        /// Role of the tensor: `input` or `output`.
        role: &'static str,
        /// Name of the tensor.
        tensor: String,
        /// Type of the tensor.
        found: String,
    },
    /// Opening and probing it takes too long.
    #[error(
        "takes more than {ms_max} ms to be opened and probed: give it more time with `load_ms_max`, or use a smaller model"
    )]
    SlowLoad {
        /// Limit of the time, in ms.
        ms_max: u64,
    },
    /// One run takes too long.
    #[error(
        "takes more than {ms_max} ms for one run of its probe, whose integers are small: give it more time with \
         `run_ms_max`, or use a smaller model"
    )]
    SlowRun {
        /// Limit of the time, in ms.
        ms_max: u64,
    },
    /// ONNX Runtime failed at something that doesn't depend on the model.
    #[error("can't be run at all: {}", shown(.0).at_most(REASON_CHARS_MAX))]
    Broken(String),
    /// The size of an output depends on what the inputs hold.
    #[error(
        "has the output `{}`, whose shape depends on what the inputs hold ({} for zeros, {} for other numbers){}: give it one shape, \
         say with padding and a count", shown(tensor), listed(&shapes[0]), listed(&shapes[1]), by(node.as_deref())
    )]
    ShapeOfData {
        /// Name of the output.
        tensor: String,
        /// Two shapes that it had.
        shapes: Box<[Vec<u32>; 2]>,
        /// The node whose data decides the shape, as operator and name, if it is known.
        node: Option<String>,
    },
    /// It has no input or no output.
    #[error("has no {role}, so there is nothing to exchange with it")]
    Nothing {
        /// Role of the tensors that it lacks: `input` or `output`.
        role: &'static str,
    },
    /// A dynamic dimension has no size.
    #[error(
        "has the dynamic dimension `{0}` at position {position} of the input `{1}`, and the scenario doesn't say \
         its size: add {0} = SIZE to the model's `dims`",
        shown(dimension),
        shown(tensor)
    )]
    MissingDimension {
        /// Name of the dimension.
        dimension: String,
        /// Index of the dimension, from 0.
        position: usize,
        /// Name of the input.
        tensor: String,
    },
    /// A dynamic dimension without a name in the model has no size.
    #[error(
        "has a dynamic dimension without a name at position {position} of the input `{}`: add \"{}\" = SIZE to the model's \
         `dims`, or {} = {position} to its `batch_axes` if it holds the rows",
        shown(tensor),
        shown(&super::layout::nameless(tensor, *position)),
        shown(tensor)
    )]
    NamelessDimension {
        /// Index of the dimension, from 0.
        position: usize,
        /// Name of the input.
        tensor: String,
    },
    /// `dims` names a dimension that the model doesn't have.
    #[error(
        "has no dynamic dimension `{}`, which the scenario's `dims` names; it has {}",
        shown(dimension),
        list(known)
    )]
    UnknownDimension {
        /// Name that `dims` has.
        dimension: String,
        /// Names of the dynamic dimensions of the model's inputs and outputs.
        known: Vec<String>,
    },
    /// It isn't clear which dimension holds the rows.
    #[error(
        "has no common batch dimension: {}; say in the model's `batch_axes` which dimension of each holds \
         the rows, or, to run it row by row, give each dynamic dimension a size in `dims`",
        shown(detail)
    )]
    NoBatch {
        /// The inputs that differ, and how.
        detail: String,
    },
    /// `batch_axes` names a dimension that can't hold the rows.
    #[error(
        "can't have its rows in dimension {axis} of the tensor `{}`, as the scenario's `batch_axes` says: the dimension doesn't \
         exist, or its size is fixed",
        shown(tensor)
    )]
    BadBatchAxis {
        /// Name of the tensor.
        tensor: String,
        /// Index of the dimension, from 0.
        axis: usize,
    },
    /// `batch_axes` names a tensor that the model doesn't have.
    #[error(
        "has no input or output `{}`, which the scenario's `batch_axes` names; it has {}",
        shown(tensor),
        list(known)
    )]
    UnknownTensor {
        /// Name that `batch_axes` has.
        tensor: String,
        /// Names of the model's inputs and outputs.
        known: Vec<String>,
    },
    /// A row is longer than a message can carry.
    #[error("has rows of {bytes} bytes of {role}, but a message carries {bytes_max} at most")]
    RowTooLarge {
        /// Role of the row: `input` or `output`.
        role: &'static str,
        /// Size of a row in bytes.
        bytes: u64,
        /// Largest size of a row in bytes.
        bytes_max: u64,
    },
    /// It fails even on zeros, and doesn't declare the sizes of its outputs.
    #[error(
        "doesn't say the size of its output `{}`, and fails on inputs of zeros, where the size would show ({}): add the sizes \
         of {} to the model's `dims`",
        shown(tensor),
        shown(reason).at_most(REASON_CHARS_MAX),
        list(open)
    )]
    UnknownOutput {
        /// Names in `dims` of the dimensions that have no size.
        open: Vec<String>,
        /// Name of the output.
        tensor: String,
        /// Message of ONNX Runtime.
        reason: String,
    },
    /// Its weights, or the intermediate results of its smallest run, don't fit.
    #[error(
        "needs more than {bytes_max} bytes of memory for what it computes: raise `run_memory_bytes_max` of its entry, or use a smaller \
         model"
    )]
    TooMuchMemory {
        /// Limit of the memory, in bytes.
        bytes_max: u64,
    },
    /// One of its nodes draws random numbers.
    #[error(
        "draws random numbers in the node `{}` ({}), so that no run could be repeated: take the node out, and let \
         agents send random numbers as an input",
        shown(node),
        shown(operator)
    )]
    Random {
        /// Operator of the node.
        operator: String,
        /// The node's name, or, if it has none, that of its first output.
        node: String,
    },
    /// One of its nodes may divide the least whole number by -1.
    #[error(
        "divides whole numbers in the node `{}` ({}) by numbers that may be -1: the least number divided by -1 would end the \
         process: divide by a constant, or cast to floats before",
        shown(node),
        shown(operator)
    )]
    Divides {
        /// Operator of the node.
        operator: String,
        /// The node's name, or, if it has none, that of its first output.
        node: String,
    },
    /// One of its nodes may divide whole numbers by 0, and this ONNX Runtime isn't known to check for that.
    #[error(
        "divides whole numbers in the node `{}` ({}) by numbers that may be 0, which ends the process in versions of ONNX Runtime \
        that don't look for it, as the one that was found may be: use {ONNX_RUNTIME_VERSION}, or divide by a constant",
        shown(node),
        shown(operator)
    )]
    DividesByZero {
        /// Operator of the node.
        operator: String,
        /// The node's name, or, if it has none, that of its first output.
        node: String,
    },
    /// The same row gives different results.
    #[error(
        "gives other results when it is run again on the same row, so that no run could be repeated: take its random \
         operators out, and let agents send random numbers as an input"
    )]
    Unrepeatable,
}

impl ModelProblem {
    /// Returns whether the problem is about the speed or the memory of the machine, so that another machine may not have it.
    pub(crate) fn is_of_machine(&self) -> bool {
        match self {
            Self::SlowLoad { .. } | Self::SlowRun { .. } | Self::TooMuchMemory { .. } => true,
            Self::NotLoadable { reason, .. } | Self::UnknownOutput { reason, .. } | Self::Broken(reason) => {
                Halt::Failed(reason.clone()).is_of_memory()
            }
            _ => false,
        }
    }

    /// Returns the problem of a model whose load or probe was ended, or failed.
    pub(crate) fn of_halt(halt: Halt, time: ModelLimits, failed: impl FnOnce(String) -> Self) -> Self {
        let ms = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        match halt {
            Halt::TimedOut(limit) if limit == time.load.limit() => Self::SlowLoad { ms_max: ms(limit) },
            Halt::TimedOut(limit) => Self::SlowRun { ms_max: ms(limit) },
            halt if halt.is_of_memory() => Self::TooMuchMemory { bytes_max: time.memory_bytes },
            Halt::Failed(reason) => failed(reason),
        }
    }
}

fn listed(shape: &[u32]) -> String {
    format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn by(node: Option<&str>) -> String {
    node.map(|node| format!(", because of {}", shown(node))).unwrap_or_default()
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names => names.iter().map(|name| format!("`{}`", shown(name))).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Attempt;

    fn check(text: &str) {
        assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
        assert!(text.contains(r"a\u{1b}[2J\r\nerror: forged\u{202e}"), "{text}");
    }

    #[test]
    fn no_name_of_others_reaches_a_terminal_as_it_is() {
        let evil = || "a\u{1b}[2J\r\nerror: forged\u{202e}".to_owned();
        let (tensor, node, operator) = (evil, evil, evil);
        let problems = [
            ModelProblem::NotLoadable { version: evil(), reason: evil() },
            ModelProblem::Unreadable { reason: evil() },
            ModelProblem::TakenFunction { domain: evil(), name: evil() },
            ModelProblem::ForeignForm { recorded: evil(), form: evil() },
            ModelProblem::UnsupportedType { role: "input", tensor: tensor(), found: evil() },
            ModelProblem::Broken(evil()),
            ModelProblem::ShapeOfData { tensor: tensor(), shapes: Box::default(), node: Some(node()) },
            ModelProblem::MissingDimension { dimension: evil(), position: 0, tensor: tensor() },
            ModelProblem::NamelessDimension { position: 0, tensor: tensor() },
            ModelProblem::UnknownDimension { dimension: evil(), known: vec![evil()] },
            ModelProblem::NoBatch { detail: evil() },
            ModelProblem::BadBatchAxis { tensor: tensor(), axis: 0 },
            ModelProblem::UnknownTensor { tensor: tensor(), known: vec![evil()] },
            ModelProblem::UnknownOutput { open: vec![evil()], tensor: tensor(), reason: evil() },
            ModelProblem::Random { operator: operator(), node: node() },
            ModelProblem::Divides { operator: operator(), node: node() },
            ModelProblem::DividesByZero { operator: operator(), node: node() },
        ];
        for problem in problems {
            check(&problem.to_string());
            check(&InferenceError::Model { name: evil(), path: evil().into(), problem }.to_string());
        }
        let (path, folder) = (|| PathBuf::from(evil()), || PathBuf::from(evil()));
        let attempts = || vec![Attempt { program: evil(), problem: evil() }];
        for error in [
            LibraryError::Override { path: path(), problem: evil() },
            LibraryError::UnknownPlatform { platform: evil() },
            LibraryError::Cache { path: path(), error: std::io::Error::other("full") },
            LibraryError::OthersMayWrite { path: path(), who: "anybody" },
            LibraryError::Fetch { folder: folder(), attempts: attempts(), command: evil(), member: evil() },
            LibraryError::WrongHash { what: "the wheel", found: evil(), expected: evil() },
            LibraryError::Unpack { problem: evil() },
            LibraryError::Load { path: path(), problem: evil(), from_override: true },
            LibraryError::Version { path: path(), found: evil(), from_override: false },
        ] {
            check(&InferenceError::from(error).to_string());
        }
    }
}
