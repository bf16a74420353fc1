//! The agents' sandbox: wasmtime behind the port `AgentRuntime`. The engine's simulation loads one [`WasmRuntime`] and
//! plugs it into the world, captures its guests for snapshots and restores them. What else is public is what captures hold, errors, a look
//! at one guest, the port to a code cache, and [`BareShard`], which is for benchmarks.
//!
//! ```text
//! load   validate -> instrument -> compile (or code cache) -> arena -> shards: instantiate, capture the initial image
//! step   step: requests split by shard -> shard: for each agent context and inbox in, call, outbox out -> trap: faults as data
//! save   capture: the pages of memories that changed, globals -> restore: check everything, then put it in place
//! ```
//!
//! Invariants: what a guest does never panics the host; a module that got past `load` can't reach any state that memory and
//! mutable globals don't hold; the work is split by shards of fixed size, never by the number of threads.

#![deny(clippy::print_stderr, clippy::print_stdout)]

mod arena;
mod bare;
mod cache;
mod call_state;
mod capture;
mod captured;
mod compile;
mod constants;
mod copy;
mod effort;
mod error;
mod facts;
mod guest_error;
mod guest_index;
mod guests;
mod image;
mod imports;
mod inspect;
mod instrument;
mod interface;
mod memory;
mod pages;
mod problem;
mod program;
mod regions;
mod resident;
mod restore;
mod runtime;
mod shard;
mod spin_wait;
mod stack;
mod step;
mod swap;
mod trap;
mod validate;
mod work_split;

#[cfg(test)]
#[cfg(feature = "cranelift")]
mod tests;
#[cfg(test)]
#[cfg(not(feature = "cranelift"))]
mod tests_without_compiler;

pub use bare::BareShard;
pub use cache::{CacheReport, CodeCache, DamagedEntry, UnkeptEntry};
pub use captured::{BLOCK_PAGES, GuestCapture, InstanceColumns, PageBlock, SpareBlocks};
pub use compile::{CONFIGURATION as CODE_CONFIGURATION, WASMTIME_RELEASE, WASMTIME_VERSION, check_machine};
pub use copy::{CopyPreparation, GuestCopy};
pub use error::{MachineError, ModuleError};
pub use guest_error::GuestStateError;
pub use inspect::{GlobalBits, GuestGlobal};
pub use pages::{CopyMark, PAGE_BYTES, PageTracker};
pub use problem::{FunctionLimit, MissingCode, ModuleProblem};
pub use runtime::{ModuleSource, WasmOptions, WasmRuntime};
