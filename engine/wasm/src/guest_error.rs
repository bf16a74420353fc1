//! Why guests can't get back what a capture holds. Each message is one sentence that says what is wrong, and where.

use wasm_engine_components::{AgentSlot, Digest, GroupId};

use super::problem::ModuleProblem;

/// Why [`super::WasmRuntime::restore`] failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestStateError {
    /// There is no full capture to begin with, or another one after it.
    #[error("the captures aren't a chain: a full one comes first, and each other one holds only what has changed")]
    Chain,
    /// Columns don't have the same length.
    #[error("the capture is malformed: the columns of {what} don't fit together")]
    Columns {
        /// Kind of the columns, in words.
        what: &'static str,
    },
    /// There is no such slot, or it is out of order.
    #[error(
        "the capture has an instance or a page in slot {slot}, where this scenario has none; is it a snapshot of another scenario?"
    )]
    Slot {
        /// Slot that the capture names.
        slot: AgentSlot,
    },
    /// Pages or zeroed pages aren't in ascending order.
    #[error("the capture is malformed: page {page} of slot {slot} is out of order")]
    Order {
        /// Slot of the instance.
        slot: AgentSlot,
        /// Number of the page.
        page: u32,
    },
    /// A page lies outside its memory, or belongs to an instance that has none.
    #[error("the capture has page {page} of slot {slot}, which lies outside of what that instance's memory is to be")]
    Page {
        /// Slot of the instance.
        slot: AgentSlot,
        /// Number of the page.
        page: u32,
    },
    /// There is no such group.
    #[error("group number {} isn't one of this scenario", group.0)]
    Group {
        /// Group that the capture names.
        group: GroupId,
    },
    /// The module wasn't prepared for the group.
    #[error("module number {module} wasn't loaded for group number {}; is it a snapshot of another scenario?", group.0)]
    Module {
        /// Group that is to run the module.
        group: GroupId,
        /// Number of the module.
        module: u32,
    },
    /// A memory has a size that it can't have.
    #[error(
        "the memory of slot {slot} is to have {bytes} bytes, and with its module it can have {bytes_min} to {bytes_max}, in steps of 65536"
    )]
    Memory {
        /// Slot of the instance.
        slot: AgentSlot,
        /// Size in the capture, in bytes.
        bytes: u64,
        /// Size that a memory of the module is made with, in bytes.
        bytes_min: u64,
        /// Largest size that it can have, in bytes.
        bytes_max: u64,
    },
    /// The number of globals isn't that of the module.
    #[error(
        "the globals of slot {slot} take {words} words, and those of its module {expected}; was the module changed?"
    )]
    Globals {
        /// Slot of the instance.
        slot: AgentSlot,
        /// Number of words in the capture.
        words: usize,
        /// Number of words that the module's globals take.
        expected: usize,
    },
    /// A global's value isn't one of its type.
    #[error("global {index} of slot {slot} is to have a value that its type doesn't have")]
    Global {
        /// Slot of the instance.
        slot: AgentSlot,
        /// Index of the global in the module.
        index: u32,
    },
    /// An agent that reads no regions was shown some.
    #[error("slot {slot} was shown shared regions, and its group reads none; is it a snapshot of another scenario?")]
    Shown {
        /// Slot of the agent.
        slot: AgentSlot,
    },
    /// A slot has no agent's id, or that of another slot.
    #[error("the agent in slot {slot} has no id, or one that belongs to another slot")]
    Id {
        /// Slot of the agent.
        slot: AgentSlot,
    },
    /// An instance can't be made.
    #[error("the instance in slot {slot} can't be made ({problem}); {}", problem.help())]
    Instance {
        /// Slot of the instance.
        slot: AgentSlot,
        /// Reason why it can't be made.
        problem: ModuleProblem,
    },
    /// The restored memories aren't those that were captured.
    #[error(
        "the guests' memories were restored to the digest {found}, and the capture says {stated}: a capture of the chain is missing or isn't the right one"
    )]
    Digest {
        /// Digest that the last capture states.
        stated: Digest,
        /// Digest of the restored memories.
        found: Digest,
    },
}
