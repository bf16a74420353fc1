//! Problems: what is wrong, where, and what to do about it, in one type for scenarios, events, the command line and run directories; and kinds of
//! errors.
//!
//! The kind of a [`Problem`] decides both the code that a printer of diagnostics shows and the exit status of the command line.
//! [`Problem`] and what is made of it are diagnostics of [`miette`]: a program of an author that returns `miette::Result` from `main` shows
//! the place in the scenario's text.

mod diagnostic;
mod kind;
mod names;
mod one;
mod run_error;
mod source_text;

pub use kind::ErrorKind;
pub use names::nearest_name;
pub use one::{Problem, Problems};
pub use run_error::RunError;
pub use source_text::SourceText;
pub use wasm_engine_files::{counted, thousands};
