//! What a run is, by the command line: its digest, its folder, and going on, back and elsewhere in it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod canary;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod disk;
mod draws;
mod kernel_tour;
mod native;
mod reference;
mod run_dir;
mod spans;
mod streams;
mod swap;
mod time_travel;
mod time_travel_cli;
