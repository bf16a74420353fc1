//! What a store knows of the call that is running in it: for the imports.

use wasm_engine_components::{AgentId, Unkept};
use wasm_engine_systems::ports::{CallFault, ImportedLine};
use wasmtime::ModuleExport;

/// What a store's imports know of the call that is running.
#[derive(Default)]
pub(super) struct CallState {
    /// Whose call; `None` outside of a call, in a start function: imports trap then.
    pub running: Option<Running>,
    /// Lines of all calls since the shard's step began.
    pub lines: Vec<ImportedLine>,
    /// Lines of those calls that were beyond what a step may write.
    pub unkept: Unkept,
}

/// One call.
pub(super) struct Running {
    /// Who.
    pub agent: AgentId,
    /// Its random key.
    pub key: u64,
    /// In which frame.
    pub frame: u64,
    /// Where its module's instances have their memory.
    pub memory: ModuleExport,
    /// Lines that it may write at most.
    pub lines_max: u32,
    /// Lines that it has written.
    pub lines: u32,
    /// What its lines may count for at most, in bytes.
    pub bytes_max: u32,
    /// What those that are kept count for.
    pub bytes: u32,
    /// The fault with which an import ended the call.
    pub fault: Option<CallFault>,
}
