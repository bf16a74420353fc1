//! The machine under the world: wasmtime, ONNX Runtime, files, threads and the command line.
//!
//! The main loop is [`frame_loop::run`]; the world and its frame are [`simulation::Simulation`].

// They panic where nobody can be told, as where the disk behind standard error is full: the functions of `cli::terminal` don't.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod cache_file;
pub mod cli;
pub mod cpu;
pub mod events;
pub mod files;
pub mod frame_loop;
pub mod inference;
pub mod journal;
pub mod problem;
pub mod run_dir;
pub mod scenario;
pub mod simulation;
mod sizes;
pub mod snapshot;
pub mod summary;
mod swaps;
pub mod time_travel;
pub mod unfinished;
pub mod wasm;
