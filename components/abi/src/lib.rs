//! The bytes that the host and a guest share: ABI version 1.
//!
//! A guest (an agent's WebAssembly module) exports one *exchange block* in its own memory. In each frame the host writes
//! the [`FrameContext`] and the packed inbox into it, calls `agent_step` once, and reads the packed outbox: there is no
//! host call per message. This crate is the single definition of that layout, used by the engine and by the Rust SDK;
//! `docs/ABI.md` is its reference for other languages.
//!
//! Everything is little-endian, every record is a multiple of [`RECORD_ALIGN`] bytes, and all reserved fields are zero.
#![forbid(unsafe_code)]
#![deny(clippy::print_stderr, clippy::print_stdout)]
#![no_std]

mod numbered_enum;

pub mod agent_id;
pub mod capability;
pub mod exchange;
pub mod message;
pub mod name;
pub mod outbox;
pub mod random;
pub mod region;

pub use capability::{Capabilities, Capability};
pub use exchange::{CallKind, ExchangeHeader, ExchangeLayout, FrameContext, LayoutError};
pub use message::{
    BounceReason, EngineKind, FaultNotice, InboxReader, InboxRecord, InferenceStatus, MessageHeader, kind,
};
pub use name::name_id;
pub use outbox::{CheckedOutbox, Op, OutboxError, OutboxHeader, OutboxReader, OutboxRecord, RecordType};
pub use random::{agent_key, philox4x32, random_u64};
pub use region::{RegionReader, RegionView};

/// Version of this ABI. A module that states another one is refused at load.
pub const ABI_VERSION: u32 = 1;

/// The first four bytes of an exchange block: `WAGT`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"WAGT");

/// Alignment of the records of inbox and outbox, in bytes. Payloads are padded with zeros to a multiple of it.
pub const RECORD_ALIGN: u32 = 8;

/// Name of the exported global that holds the address of the exchange block.
pub const EXPORT_EXCHANGE: &str = "agent_exchange";
/// Name of the exported linear memory.
pub const EXPORT_MEMORY: &str = "memory";
/// `agent_init(ctx: i32) -> i32`: called once before the first step, with the parameters as the only inbox record.
pub const EXPORT_INIT: &str = "agent_init";
/// `agent_step(ctx: i32) -> i32`: called once in each frame in which the agent is scheduled.
pub const EXPORT_STEP: &str = "agent_step";
/// `agent_receive(msg: i32) -> i32`, optional: called for each inbox record, before `agent_step`, with its address.
pub const EXPORT_RECEIVE: &str = "agent_receive";
/// `agent_shutdown(ctx: i32) -> i32`, optional: the last call of an agent that is terminated.
pub const EXPORT_SHUTDOWN: &str = "agent_shutdown";
/// `agent_export_state(ctx: i32) -> i32`, optional: leaves the agent's state in the outbox area before its module is swapped.
pub const EXPORT_EXPORT_STATE: &str = "agent_export_state";
/// `agent_import_state(ctx: i32) -> i32`, optional: takes the state that the agent left under its old module, as the only inbox record.
pub const EXPORT_IMPORT_STATE: &str = "agent_import_state";
/// Module name of all imports that the engine offers.
pub const IMPORT_MODULE: &str = "wasm_engine";

/// Returns a payload's length, rounded up to the next record boundary; `None` if that exceeds `u32`.
#[inline]
pub const fn padded(bytes: u32) -> Option<u32> {
    match bytes.checked_add(RECORD_ALIGN - 1) {
        Some(sum) => Some(sum & !(RECORD_ALIGN - 1)),
        None => None,
    }
}
