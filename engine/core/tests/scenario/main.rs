//! Scenario files and external events: what good ones mean, and what bad ones are told.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod events;
mod files;
mod reference;
