//! The tables that the stages of a frame work on. They know nothing of stages, ports or authors.

pub mod backlog;
pub(crate) mod budget;
pub(crate) mod calls;
pub(crate) mod chunk;
pub(crate) mod commands;
pub(crate) mod delivery_budget;
pub(crate) mod digest;
pub mod directory;
pub(crate) mod fault;
pub(crate) mod fuel;
pub mod groups;
pub(crate) mod hearers;
pub(crate) mod inbox;
pub(crate) mod inbox_view;
pub mod inspect;
pub(crate) mod intentions;
#[cfg(test)]
pub(crate) mod looks;
pub mod mailroom;
pub mod models;
pub(crate) mod outbox;
pub mod packed;
pub(crate) mod populate;
pub(crate) mod positions;
pub(crate) mod recipients;
pub(crate) mod records;
pub(crate) mod regions;
pub(crate) mod requests;
pub mod scheduler;
pub(crate) mod shares;
pub mod swaps;
pub(crate) mod table_budget;
