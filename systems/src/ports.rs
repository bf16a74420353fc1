//! The two ports to the machine. A batch goes in and a batch comes out, in the same order; neither can fail, and neither
//! knows the world. The engine plugs wasmtime and ONNX Runtime in here, tests plug in tables.

use core::any::Any;

use bevy_ecs::resource::Resource;
use wasm_engine_components::{AgentFault, AgentId, AgentSlot, GroupId, ModelId, RegionSpec, RegionState, Unkept};

pub use crate::world::chunk::{
    AddressIndex, DeferredRecord, ImportedLine, OutputChunk, RecordOffset, Refused, StepOutcome, StepRequest,
    StepResults,
};
pub use crate::world::digest::memory_digest;
pub use crate::world::directory::Directory;
pub use crate::world::fault::{CallFault, MailboxLimit, OverLimit};
pub use crate::world::inbox_view::{Delivery, HostInbox, InboxView, Link};
pub use crate::world::outbox::{Outbox, OutboxIntake, OutboxRules};
pub use crate::world::packed::{PackedMessages, header};
pub use wasm_engine_components::{ModelResults, RowResult};

/// Steps agents. It is `Any` so that the code that plugged a runtime in can get it back from the port.
pub trait AgentRuntime: Any + Send + Sync {
    /// Carries out `batch` and leaves one outcome for each request in `results`, in the order of the requests. Called once in
    /// each wave of each frame, from the stage `Step`.
    ///
    /// `results` may come with the buffers of an earlier frame, to be cleared and filled again. A guest's mistake is an outcome.
    /// Outboxes go through [`OutboxIntake::take`]; that of a call that faulted is ignored.
    fn step(&mut self, batch: &StepBatch, results: &mut StepResults);

    /// Replaces the module of a group: each of its agents becomes a fresh instance. Agents in `batch.requests` keep their state
    /// if both modules have the exports for it and no call faults. Called for each swap of a frame, from the stage `Ingest`.
    fn swap(&mut self, batch: &SwapBatch<'_>, results: &mut SwapResults);
}

/// Runs models. Called once in each frame that has jobs for models that aren't given up, from the stage `Infer`.
pub trait ModelRuntime: Send + Sync + 'static {
    /// Carries out `batches` and leaves one result for each row of each batch in `results`, in the same order.
    ///
    /// A row's result doesn't depend on the other rows of its batch. A row that can't be computed has a status that says so, and
    /// a notice gives the reason. Where a batch is to be audited, one of its rows is run again beside other rows; if its result
    /// differs, a notice says so.
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults);
}

/// The agent runtime of a world.
#[derive(Resource)]
pub struct AgentPort(pub Box<dyn AgentRuntime>);

/// The model runtime of a world.
#[derive(Resource)]
pub struct ModelPort(pub Box<dyn ModelRuntime>);

/// The calls of one wave of a frame.
#[derive(Clone, Copy, Debug)]
pub struct StepBatch<'a> {
    /// Number of the frame.
    pub frame: u64,
    /// Whether to digest the memory of each agent that is called.
    pub digest_memories: bool,
    /// The calls, in the order of the agents' ids; an agent occurs once at most.
    pub requests: &'a [StepRequest],
    /// Inboxes of the agents.
    pub inbox: InboxView<'a>,
    /// Contents of the shared regions, in the order of their ids; always the same regions. Before a call, the runtime sees to it that an agent of a
    /// group that reads a region has this version of it.
    pub regions: &'a [SharedRegion<'a>],
    /// Takes the agents' outboxes in.
    pub intake: OutboxIntake<'a>,
}

/// A shared region, as the agents of this frame see it.
#[derive(Clone, Copy, Debug)]
pub struct SharedRegion<'a> {
    /// Name, size, writer and readers of the region.
    pub region: &'a RegionSpec,
    /// Its contents. An agent that was called in [`RegionState::since_frame`] or later already has them.
    pub state: &'a RegionState,
}

/// Rows for one model.
#[derive(Clone, Copy, Debug)]
pub struct ModelBatch<'a> {
    /// The model, which was loaded.
    pub model: ModelId,
    /// Each as long as the model's row: the inputs in the model's order, concatenated. At least one, and at most the model's
    /// `batch_rows_max`.
    pub rows: &'a [&'a [u8]],
    /// Whether each row is run alone, because an audit of the model failed in an earlier frame.
    pub alone: bool,
    /// The row that is audited, if one is.
    pub audit: Option<u32>,
}

impl<'a> ModelBatch<'a> {
    /// Returns a batch whose rows may share a run, without an audit.
    pub const fn new(model: ModelId, rows: &'a [&'a [u8]]) -> Self {
        Self { model, rows, alone: false, audit: None }
    }
}

/// The swap of one group's module.
#[derive(Clone, Copy, Debug)]
pub struct SwapBatch<'a> {
    /// Number of the frame.
    pub frame: u64,
    /// Whether to digest the memory of each agent that is called on its new instance.
    pub digest_memories: bool,
    /// The group.
    pub group: GroupId,
    /// Number of the new module, which was prepared for the group.
    pub module: u32,
    /// The agents that keep their state, in the order of their ids.
    pub requests: &'a [SwapRequest],
}

/// An agent that keeps its state in a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapRequest {
    /// The agent.
    pub agent: AgentId,
    /// Its slot.
    pub slot: AgentSlot,
    /// Whether to initialise it at once if its state can't be kept. Otherwise it stays in its initial image.
    pub init: bool,
}

/// Results of one swap.
#[derive(Debug, Default)]
pub struct SwapResults {
    /// For each request, in the same order, whether the agent kept its state.
    pub carried: Vec<bool>,
    /// Faults of the calls, in the order of the agents' ids, and of the calls.
    pub faults: Vec<AgentFault>,
    /// Lines written by the import `log`, in the same order. Those of a faulted call stay.
    pub log_lines: Vec<ImportedLine>,
    /// Lines that were beyond what a step may write.
    pub unkept_lines: Unkept,
    /// Fuel of all calls.
    pub fuel: u64,
    /// Fuel that calls may have used beyond that: see [`OutputChunk::uncounted`].
    pub uncounted: u64,
    /// Sum of [`crate::world::digest::memory_digest`] over the agents that were called on their new instances; 0 unless it was asked for.
    pub memory_sum: u128,
}

impl SwapResults {
    /// Adds the results of other agents.
    pub fn append(&mut self, other: &mut Self) {
        self.carried.append(&mut other.carried);
        self.faults.append(&mut other.faults);
        self.log_lines.append(&mut other.log_lines);
        self.unkept_lines.append(&other.unkept_lines);
        self.fuel = self.fuel.wrapping_add(other.fuel);
        self.uncounted = self.uncounted.saturating_add(other.uncounted);
        self.memory_sum = self.memory_sum.wrapping_add(other.memory_sum);
    }
}
