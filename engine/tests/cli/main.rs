//! What the command line says and does, but for runs and models: errors, statuses, streams, input, the cache of code.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod code_cache;
#[path = "../common/mod.rs"]
mod common;
mod completions;
mod errors;
mod guest_costs;
mod hostile_names;
mod kept_files;
mod lacks;
mod links;
mod loading;
mod log;
mod notices;
mod reached;
mod run_input;
mod statuses;
mod streams;
