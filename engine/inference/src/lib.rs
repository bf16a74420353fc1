//! Models: ONNX Runtime behind the port `ModelRuntime`.
//!
//! ```text
//! registry ── load ──> session ── layout      a file, checked by hash, becomes a session and the plan of a row
//!    │         └─────> admission ──┐          may rows share a run? ── verdicts (kept from run to run)
//!    └─ infer ─> batch ──────> binding        rows into buffers, one run, outputs out ── tensor, concurrent
//! runtime ── library (pin, fetch), memory     the process's one ONNX Runtime, found or fetched
//! watchdog, crew                              end loads and runs that take too long; leave behind those that don't end
//! bare                                        a model without all that, for a benchmark
//! ```
//!
//! Invariants: a row's result depends only on the row and the model, never on the other rows of its batch. No content of a model file or a
//! row makes anything here panic. A scenario without models doesn't look for ONNX Runtime. A run takes one thread of the CPU; several
//! runs, of one model or of several, go on side by side. Everything that ONNX Runtime does has a limit of time and memory. Unsafe code
//! is only in `runtime`, which loads the library, in `memory`, and in `concurrent`, which calls it.

#![deny(clippy::print_stderr, clippy::print_stdout)]

mod admission;
mod bare;
mod batch;
mod binding;
mod concurrent;
mod crew;
mod element;
mod error;
mod graph;
mod layout;
mod library;
mod limits;
mod memory;
mod patience;
mod registry;
mod runtime;
mod session;
mod tensor;
mod verdicts;
mod watchdog;

pub use bare::BareModel;
pub use crew::is_left_behind;
pub use element::ElementType;
pub use error::{InferenceError, ModelProblem};
pub use graph::Decider;
pub use layout::TensorInfo;
pub use library::{
    Attempt, LibraryError, LibraryLocation, LibrarySource, ONNX_RUNTIME_VERSION, OVERRIDE_VARIABLE, ResolvedLibrary,
    resolve,
};
pub use registry::{ModelInfo, ModelLoadOptions, OnnxRuntime};
pub use runtime::{LibraryStatus, LoadedLibrary, probe};
