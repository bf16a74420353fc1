//! The tables that the stages of a frame work on: agents, messages, budgets, requests, digests.

pub mod backlog;
pub mod delivery_budget;
pub mod digest;
pub mod directory;
pub mod hearers;
pub mod inbox;
pub mod inspect;
pub mod mailroom;
pub mod outbox;
pub mod packed;
pub mod populate;
pub mod positions;
pub(crate) mod recipients;
pub mod requests;
pub(crate) mod shares;
pub mod table_budget;
