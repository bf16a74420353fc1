//! What a run writes, and worlds that are run without the command line.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod journal;
mod output_room;
mod records;
mod regions;
