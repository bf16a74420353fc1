//! What agents say to each other: whom a message reaches and when, what it costs, and what bounces.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod basics;
mod broadcasts;
#[path = "../common/mod.rs"]
mod common;
mod fanout;
mod mailboxes;
mod many;
mod notices;
mod requests;
