//! The two ports to the machine. A batch goes in and a batch comes out, in the same order; neither can fail, and neither
//! knows the world. The engine plugs wasmtime and ONNX Runtime in here, tests plug in tables.

use core::any::Any;

use bevy_ecs::resource::Resource;
use wasm_engine_abi::{BounceReason, CallKind, InferenceStatus, MessageHeader};
use wasm_engine_components::{
    Address, AgentFault, AgentId, Excess, FaultKind, GroupId, ModelId, ModelNotice, ModelNoticeKind, Recipient, Region,
    RegionState, Unkept,
};

use crate::world::outbox::{Desk, Fault, Route};
use crate::world::packed::{PackedMessages, record_bytes, split};

/// Steps agents. `Any`, so that whoever plugged a runtime in finds it again behind the port.
pub trait AgentRuntime: Any + Send + Sync {
    /// Carries out `batch` and leaves one outcome for each request in `results`, in the order of the requests. Called once in
    /// each wave of each frame, from the stage `Step`.
    ///
    /// `results` may come with the buffers of an earlier frame, to be cleared and filled again. What a guest does wrong is an
    /// outcome. An outbox goes through [`Desk::take`]; that of a faulted call is left out.
    fn step(&mut self, batch: &StepBatch, results: &mut StepResults);

    /// Puts another module in place for a group: each of its agents is a fresh instance afterwards, and those that are asked
    /// for have the state that they had, if both modules offer the exports for it and none of the calls faults. Called for
    /// each swap of a frame, from the stage `Ingest`.
    fn swap(&mut self, batch: &SwapBatch<'_>, results: &mut SwapResults);
}

/// Runs models. Called once in each frame that has jobs for models that aren't given up, from the stage `Infer`.
pub trait ModelRuntime: Send + Sync + 'static {
    /// Carries out `batches` and leaves one result for each row of each batch in `results`, in the same order.
    ///
    /// A row's result doesn't depend on the other rows of its batch. A row that can't be computed has a status that says so, and
    /// a notice gives the reason. Where a batch is to be audited, one of its rows is run again in other company; if the result is
    /// another, a notice says so.
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
    /// What the agents find in their inboxes.
    pub inbox: InboxView<'a>,
    /// What the shared regions hold, in the order of their ids; always the same regions. Before a call, the runtime sees to it
    /// that an agent of a group that reads a region has this version of it.
    pub regions: &'a [SharedRegion<'a>],
    /// Where the agents' outboxes go.
    pub desk: Desk<'a>,
}

/// A shared region, as the agents of this frame see it.
#[derive(Clone, Copy, Debug)]
pub struct SharedRegion<'a> {
    /// What it is, and who reads it.
    pub region: &'a Region,
    /// What it holds. An agent that was called in [`RegionState::since_frame`] or later has been given it.
    pub state: &'a RegionState,
}

/// One call of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRequest {
    /// Whom to call.
    pub agent: AgentId,
    /// Its position in the dense tables, which is its slot in the runtime.
    pub slot: u32,
    /// What to call. `Init` starts from the module's initial image, whatever the instance did before, and has the group's
    /// parameters for an inbox.
    pub call: CallKind,
}

/// Where a delivered message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Number of the chunk of the frame before, or, with [`Delivery::CURRENT`] added, of this frame; [`Delivery::HOST`] for the
    /// host's messages of this frame.
    pub chunk: u32,
    /// Its place among those messages: see [`PackedMessages`].
    pub at: u32,
}

impl Delivery {
    /// Not an agent's: an event, a result, what waited in a backlog.
    pub const HOST: u32 = u32::MAX;

    /// Sent in this frame, by an agent of an earlier wave.
    pub const CURRENT: u32 = 1 << 31;

    /// Its place in the canonical order: the host's messages come first.
    pub const fn place(self) -> (u32, u32) {
        (self.chunk.wrapping_add(1), self.at)
    }
}

/// A message in an agent's inbox, and the one after it.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Where the message lies.
    pub at: Delivery,
    /// Position of the next one, or [`Link::END`].
    pub next: u32,
}

impl Link {
    /// There is no further message.
    pub const END: u32 = u32::MAX;
}

/// The frame's messages, as a list for each recipient.
#[derive(Clone, Copy, Debug)]
pub struct InboxView<'a> {
    /// For each agent, by position, where its first message stands in `links`, or [`Link::END`]. What it leads to fits into
    /// the inbox area of the agent's module.
    pub firsts: &'a [u32],
    /// The lists. A message is stored once, however many its recipients are.
    pub links: &'a [Link],
    /// The messages from agents: the output of the frame before.
    pub chunks: &'a [OutputChunk],
    /// The output of this frame's earlier waves.
    pub current: &'a [OutputChunk],
    /// The messages from the host.
    pub host: &'a HostInbox,
}

impl<'a> InboxView<'a> {
    /// Where the messages for the agent at position `slot` lie, oldest and lowest sender first.
    pub fn deliveries(&self, slot: u32) -> impl Iterator<Item = Delivery> + use<'a> {
        let view = *self;
        let mut next = view.firsts[slot as usize];
        core::iter::from_fn(move || {
            // `END` is no position of any list.
            let link = view.links.get(next as usize)?;
            next = link.next;
            Some(link.at)
        })
    }

    /// The inbox records for the agent at position `slot`, oldest and lowest sender first, padding included.
    #[inline]
    pub fn records(&self, slot: u32) -> impl Iterator<Item = &'a [u64]> + use<'a> {
        let view = *self;
        self.deliveries(slot).map(move |at| view.messages(at.chunk).record(at.at))
    }

    /// Calls `visit` with each of those: as a loop, which takes fewer instructions than an iterator.
    #[inline]
    pub fn each_record(&self, slot: u32, mut visit: impl FnMut(&'a [u64])) {
        let mut next = self.firsts[slot as usize];
        while next != Link::END {
            let link = &self.links[next as usize];
            next = link.next;
            visit(self.messages(link.at.chunk).record(link.at.at));
        }
    }

    /// The same as headers and payloads.
    #[inline]
    pub fn of(&self, slot: u32) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> + use<'a> {
        self.records(slot).map(split)
    }

    /// One message.
    pub fn message(&self, at: Delivery) -> (&'a MessageHeader, &'a [u8]) {
        self.messages(at.chunk).message(at.at)
    }

    #[inline]
    fn messages(&self, chunk: u32) -> &'a PackedMessages {
        match self.chunks.get(chunk as usize) {
            Some(chunk) => &chunk.messages,
            None if chunk == Delivery::HOST => &self.host.messages,
            None => &self.current[(chunk & !Delivery::CURRENT) as usize].messages,
        }
    }
}

/// This frame's messages from the host: events, results, bounces, native systems' messages, what waited in backlogs.
#[derive(Debug, Default)]
pub struct HostInbox {
    /// For whom they are, in canonical order.
    pub addresses: Vec<Address>,
    /// The messages.
    pub messages: PackedMessages,
}

impl HostInbox {
    /// Adds a message. Its length is filled in.
    pub fn push(&mut self, to: Recipient, header: &MessageHeader, payload: &[u8]) {
        // Payloads are bounded at every door into the world, far below 4 GiB.
        let header = MessageHeader { payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX), ..*header };
        let at = self.messages.push(header, payload);
        self.addresses.push(Address::new(to, record_bytes(header.payload_bytes), at));
    }

    /// Forgets all messages, and keeps the buffers.
    pub fn clear(&mut self) {
        self.addresses.clear();
        self.messages.clear();
    }
}

/// What the calls of one wave gave; in the end, those of the whole frame.
#[derive(Debug, Default)]
pub struct StepResults {
    /// One for each request, in the same order.
    pub outcomes: Vec<StepOutcome>,
    /// What the outboxes held. Over all chunks of a wave, agents come in the order of their ids. How many of them share a chunk is the
    /// runtime's business, and no state.
    pub chunks: Vec<OutputChunk>,
}

/// What one call gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepOutcome {
    /// Fuel that it used, also where it faulted.
    pub fuel: u64,
    /// The fault's detail, see [`wasm_engine_components::AgentFault::detail`].
    pub detail: u32,
    /// Set if the call faulted.
    pub fault: Option<FaultKind>,
}

/// What agents of one group gave. [`Desk::take`] fills it.
#[derive(Debug)]
pub struct OutputChunk {
    /// The group.
    pub group: GroupId,
    /// For whom the messages are, in the order in which they were sent.
    pub addresses: Vec<Address>,
    /// The same for messages that arrive in this frame, in groups that come after this one. A publication or a broadcast
    /// may stand in both.
    pub edges: Vec<Address>,
    /// The messages.
    pub messages: PackedMessages,
    /// Messages that nobody gets, and why.
    pub refused: Vec<Refused>,
    /// Records that aren't messages.
    pub others: Vec<OtherRecord>,
    /// Those records, as they stood in the outboxes.
    pub other_bytes: Vec<u8>,
    /// Faults of the calls.
    pub faults: Vec<AgentFault>,
    /// Messages that were sent, the refused ones among them; one to many counts once.
    pub sent: u64,
    /// Calls of `agent_step`.
    pub steps: u64,
    /// Fuel of all calls.
    pub fuel: u64,
    /// Fuel that calls may have used beyond that, which ended in an instruction before which nothing is written down. The group waits for it.
    pub uncounted: u64,
    /// Sum of [`crate::world::digest::outbox_digest`] over the outboxes that aren't empty.
    pub outbox_sum: u128,
    /// Sum of [`crate::world::digest::memory_digest`] over the agents that were called; 0 unless it was asked for.
    pub memory_sum: u128,
    /// Lines written by the import `log`, in the order of the calls. Those of a faulted call stay.
    pub log_lines: Vec<ImportedLine>,
    /// Log lines and outputs that were beyond what a step may write.
    pub excess: Excess,
    /// For the desk.
    pub(crate) route: Route,
}

/// A message that was refused at the desk.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// Position of the sender.
    pub from: u32,
    /// For which agent, group or topic it was meant.
    pub meant_for: u64,
    /// The message.
    pub header: MessageHeader,
    /// Why.
    pub reason: BounceReason,
}

/// A record that isn't a message, or that needs more than sending: where it starts in [`OutputChunk::other_bytes`], whose it is, and its place in the outbox.
#[derive(Clone, Copy, Debug)]
pub struct OtherRecord {
    /// Who asked.
    pub agent: AgentId,
    /// Its position.
    pub slot: u32,
    /// Position among the records of its outbox.
    pub sequence: u32,
    /// Where the record starts.
    pub offset: u32,
    /// Where its message's address stands among the chunk's, if it has one; else [`OtherRecord::NO_MESSAGE`].
    pub address: u32,
}

impl OtherRecord {
    /// The record sent no message, or one that was refused at once.
    pub const NO_MESSAGE: u32 = u32::MAX;
    /// Added to the position of an address that stands among [`OutputChunk::edges`].
    pub const EDGE: u32 = 1 << 31;
}

impl OutputChunk {
    /// An empty chunk.
    pub fn new(group: GroupId) -> Self {
        Self {
            group,
            addresses: Vec::new(),
            edges: Vec::new(),
            messages: PackedMessages::default(),
            refused: Vec::new(),
            others: Vec::new(),
            other_bytes: Vec::new(),
            faults: Vec::new(),
            sent: 0,
            steps: 0,
            fuel: 0,
            uncounted: 0,
            outbox_sum: 0,
            memory_sum: 0,
            log_lines: Vec::new(),
            excess: Excess::of(group),
            route: Route::default(),
        }
    }

    /// Empties the chunk and keeps its buffers.
    pub fn clear(&mut self, group: GroupId) {
        self.group = group;
        self.addresses.clear();
        self.edges.clear();
        self.messages.clear();
        self.refused.clear();
        self.others.clear();
        self.other_bytes.clear();
        self.faults.clear();
        (self.sent, self.steps, self.fuel, self.uncounted) = (0, 0, 0, 0);
        (self.outbox_sum, self.memory_sum) = (0, 0);
        self.log_lines.clear();
        self.excess = Excess::of(group);
        // What it says may change from frame to frame, and is about senders of one group.
        self.route = Route::default();
    }

    /// Counts a call, puts its fault on the record, and gives its outcome. To be called for each request, in order.
    #[inline]
    pub fn count(&mut self, request: &StepRequest, fuel: u64, fault: Option<Fault>) -> StepOutcome {
        self.steps += u64::from(request.call == CallKind::Step);
        self.fuel = self.fuel.wrapping_add(fuel);
        let Some(fault) = fault else { return StepOutcome { fuel, ..StepOutcome::default() } };
        self.faults.push(fault.of(request.agent));
        StepOutcome { fuel, detail: fault.detail, fault: Some(fault.kind) }
    }
}

/// A line that an agent wrote while it was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedLine {
    /// Who.
    pub agent: AgentId,
    /// 1 error, 2 warn, 3 info, 4 debug.
    pub level: u32,
    /// What: bytes that weren't UTF-8 are replaced.
    pub text: String,
}

/// Rows for one model.
#[derive(Clone, Copy, Debug)]
pub struct ModelBatch<'a> {
    /// The model; it is one that was loaded.
    pub model: ModelId,
    /// Each as long as the model's row: the inputs in the model's order, concatenated. At least one, and at most the model's
    /// `batch_rows_max`.
    pub rows: &'a [&'a [u8]],
    /// Whether each row is run without company, because an audit of the model failed in an earlier frame.
    pub alone: bool,
    /// The row that is audited, if one is.
    pub audit: Option<u32>,
}

impl<'a> ModelBatch<'a> {
    /// Rows that may share a run, without an audit.
    pub const fn new(model: ModelId, rows: &'a [&'a [u8]]) -> Self {
        Self { model, rows, alone: false, audit: None }
    }
}

/// What batches gave.
#[derive(Debug, Default)]
pub struct ModelResults {
    /// One for each row of each batch, in order.
    pub rows: Vec<RowResult>,
    /// Where the outputs lie.
    pub bytes: Vec<u8>,
    /// What is to be told of the models, sorted by model and kind, one of each: see [`ModelResults::notice`].
    pub notices: Vec<ModelNotice>,
}

impl ModelResults {
    /// Empties the results and keeps their buffers.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.bytes.clear();
        self.notices.clear();
    }

    /// Tells something of so many rows of a model. The reason that was given first stays.
    pub fn notice(&mut self, model: ModelId, kind: ModelNoticeKind, rows: u32, reason: impl FnOnce() -> String) {
        match self.notices.binary_search_by_key(&(model, kind), |notice| (notice.model, notice.kind)) {
            Ok(at) => self.notices[at].rows = self.notices[at].rows.saturating_add(rows),
            Err(at) => self.notices.insert(at, ModelNotice { model, kind, rows, reason: reason() }),
        }
    }

    /// The outputs of a row.
    pub fn output(&self, row: &RowResult) -> &[u8] {
        &self.bytes[row.offset..row.offset + row.bytes]
    }
}

/// What one row gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowResult {
    /// How it went.
    pub status: InferenceStatus,
    /// Where the outputs start in [`ModelResults::bytes`]: the outputs in the model's order, concatenated.
    pub offset: usize,
    /// Their length in bytes; 0 unless the status is `Ok`.
    pub bytes: usize,
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
    /// Number of the new module; it is one that was prepared for the group.
    pub module: u32,
    /// The agents that take their state along, in the order of their ids.
    pub requests: &'a [SwapRequest],
}

/// An agent that takes its state along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapRequest {
    /// Who.
    pub agent: AgentId,
    /// Its slot.
    pub slot: u32,
    /// Whether to initialise it at once if its state can't be taken along. Otherwise it stays as it was made.
    pub init: bool,
}

/// What one swap gave.
#[derive(Debug, Default)]
pub struct SwapResults {
    /// One for each request, in the same order: whether the agent has its state.
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
    /// Adds what other agents gave.
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
