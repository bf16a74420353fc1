//! Models in whole runs, by the command line.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod company;
mod forms;
mod timeouts;
