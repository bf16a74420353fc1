//! The tables that the stages of a frame work on. They know nothing of stages, ports or authors.

pub(crate) mod backlog;
pub(crate) mod budget;
pub(crate) mod calls;
pub(crate) mod chunk;
pub(crate) mod commands;
pub(crate) mod delivery_budget;
pub(crate) mod digest;
pub(crate) mod directory;
pub(crate) mod fault;
pub(crate) mod fuel;
pub(crate) mod groups;
pub(crate) mod hearers;
pub(crate) mod inbox;
pub(crate) mod inbox_view;
pub mod inspect;
pub(crate) mod intentions;
pub(crate) mod looks;
pub(crate) mod mailroom;
pub(crate) mod models;
pub(crate) mod outbox;
pub(crate) mod packed;
pub(crate) mod populate;

pub(crate) mod recipients;
pub(crate) mod records;
pub(crate) mod regions;
pub(crate) mod requests;
pub(crate) mod scheduler;
pub(crate) mod sent;
pub(crate) mod shares;
pub(crate) mod slot_set;
pub(crate) mod swaps;
pub(crate) mod table_budget;
pub(crate) mod timers;
pub(crate) mod topic_runs;
