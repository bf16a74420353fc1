//! Signals at any moment, sent to real processes: each ends soon, with a status that says by which signal, and nothing that was
//! acknowledged is lost: a run that is resumed comes to what it would have come to.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod frames;
mod hangup;
mod inference;
mod loading;
mod process;
mod start;
