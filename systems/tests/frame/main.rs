//! What happens in a frame, with tables for ports: who is called when, what enters and leaves a frame, swaps, regions, models, and what is
//! digested.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod answers;
mod audits;
mod basics;
#[path = "../common/mod.rs"]
mod common;
mod ingest;
mod lanes;
mod lives;
mod regions;
mod schedules;
mod successors;
mod swap;
mod table_budgets;
