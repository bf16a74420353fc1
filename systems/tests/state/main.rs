//! The state of a world, saved and loaded, and how two states are compared.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod fit;
mod round_trip;
