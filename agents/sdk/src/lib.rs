//! The SDK for agents of wasm-engine in Rust.
//!
//! An agent is a type that implements [`Agent`], and a module is one such type handed to [`agent!`]:
//!
//! ```
//! # #![allow(unexpected_cfgs)]
//! use wasm_engine_sdk::{Agent, Context, Failure, Message, Params, agent};
//!
//! /// Answers each message with the number of messages so far.
//! #[derive(Default)]
//! struct Counter {
//!     seen: u64,
//! }
//!
//! impl Agent for Counter {
//!     fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
//!         self.seen = params.u64("start")?;
//!         Ok(())
//!     }
//!
//!     fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
//!         self.seen += 1;
//!         ctx.send(message.sender(), 1, &self.seen.to_le_bytes())?;
//!         Ok(())
//!     }
//! }
//!
//! agent!(Counter, inbox_bytes = 4096, outbox_bytes = 4096);
//! # fn main() {}
//! ```
//!
//! In a module, nothing of this crate allocates or panics: what has no room is an [`OutboxFull`], which `?` turns into a [`Failure`].
//! Only what an agent uses is linked into its module. On other targets than wasm32 the same code runs natively, in the
//! [`testing`] harness.
//!
//! `docs/how-to/write-an-agent.md` leads from an empty folder to a running agent. `docs/ABI.md` describes the bytes that this crate handles.
#![deny(clippy::print_stderr, clippy::print_stdout)]
#![no_std]

#[cfg(not(target_arch = "wasm32"))]
extern crate alloc;

mod agent;
mod context;
#[doc(hidden)]
pub mod entry;
mod failure;
mod id;
mod import;
mod lifecycle;
mod macros;
mod message;
mod outbox;
#[cfg(all(target_arch = "wasm32", feature = "panic-handler"))]
mod panic;
mod params;
mod random;
mod swap;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use agent::Agent;
pub use context::{Context, Level};
pub use failure::{Failure, OutboxFull};
pub use id::{AgentId, ModelId, Name, RegionId, TopicId};
pub use import::log_now;
pub use message::{Inbox, Message, Notice};
pub use params::{FromParam, ParamError, Params};
pub use random::Random;
pub use swap::{StateWriter, Swappable};
pub use wasm_engine_abi as abi;
pub use wasm_engine_abi::{BounceReason, InferenceStatus};
