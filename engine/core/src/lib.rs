//! A world with its machine, and everything that is done with it: scenarios, the main loop, events, recordings, journals, snapshots,
//! replays, summaries. No command line, no signals, and nothing is printed.
//!
//! The main loop is [`frame_loop::run`]; the world and its frame are [`simulation::Simulation`].

#![forbid(unsafe_code)]
#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod code_cache;
pub mod events;
pub mod frame_loop;
pub mod journal;
pub mod problem;
pub mod run_dir;
pub mod scenario;
pub mod simulation;
pub mod snapshot;
pub mod state;
pub mod summary;
pub mod threads;
pub mod time_travel;
