//! State of the call that is running in a store: for the imports.

use wasm_engine_components::{AgentId, Unkept};
use wasm_engine_systems::ports::{CallFault, ImportedLine};
use wasmtime::ModuleExport;

/// State of a call, as far as a store's imports need it.
#[derive(Default)]
pub(super) struct CallState {
    /// The call that is running; `None` while a start function runs, in which imports trap.
    pub running: Option<Running>,
    /// Log lines of all calls since the shard's step began.
    pub lines: Vec<ImportedLine>,
    /// Log lines of those calls that were beyond what a step may write.
    pub unkept: Unkept,
}

/// A call of an agent.
pub(super) struct Running {
    /// The agent.
    pub agent: AgentId,
    /// The agent's random key.
    pub key: u64,
    /// Number of the frame.
    pub frame: u64,
    /// Export under which its module's instances have their memory.
    pub memory: ModuleExport,
    /// Most log lines that it may write.
    pub lines_max: u32,
    /// Number of log lines that it has written.
    pub lines: u32,
    /// Most bytes that its log lines may count for.
    pub bytes_max: u32,
    /// Number of bytes that the lines that are kept count for.
    pub bytes: u32,
    /// The fault with which an import ended the call.
    pub fault: Option<CallFault>,
}
