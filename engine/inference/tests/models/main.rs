//! Models by ONNX Runtime itself: their rows, limits, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod bad_models;
mod common;
mod limits;
#[path = "../../../tests/common/listener.rs"]
mod listener;
mod rows;
mod zoo;
