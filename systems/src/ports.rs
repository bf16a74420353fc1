//! The two ports to the machine. A batch goes in and a batch comes out, in the same order; neither can fail, and neither
//! knows the world. The engine plugs wasmtime and ONNX Runtime in here, tests plug in tables.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::{BounceReason, CallKind, InferenceStatus, MessageHeader};
use wasm_engine_components::{Address, AgentFault, AgentId, FaultKind, GroupId, ModelId, Recipient};

use crate::outbox::Desk;

/// Steps agents. Called once in each frame, from the stage `Step`.
pub trait AgentRuntime: Send + Sync + 'static {
    /// Carries out `batch` and leaves one outcome for each request in `results`, in the order of the requests.
    ///
    /// `results` comes with the buffers of an earlier frame, to be cleared and filled again. What a guest does wrong is an
    /// outcome. An outbox goes through [`Desk::take`]; that of a faulted call is left out.
    fn step(&mut self, batch: &StepBatch, results: &mut StepResults);
}

/// Runs models. Called once in each frame that has jobs, from the stage `Infer`.
pub trait ModelRuntime: Send + Sync + 'static {
    /// Carries out `batches` and leaves one result for each row of each batch in `results`, in the same order.
    ///
    /// A row's result doesn't depend on the other rows of its batch. A row that can't be computed has a status that says so.
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults);
}

/// The agent runtime of a world.
#[derive(Resource)]
pub struct AgentPort(pub Box<dyn AgentRuntime>);

/// The model runtime of a world.
#[derive(Resource)]
pub struct ModelPort(pub Box<dyn ModelRuntime>);

/// One frame's calls.
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
    /// Where the agents' outboxes go.
    pub desk: Desk<'a>,
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

/// An agent's inbox of this frame: a range of [`InboxView::deliveries`]. Its messages fit into the module's inbox area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxRange {
    /// Where it starts.
    pub start: u32,
    /// How many messages it holds.
    pub messages: u32,
}

/// Where a delivered message lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// Number of the chunk of the frame before; [`Delivery::HOST`] for the host's messages of this frame.
    pub chunk: u32,
    /// Position among its messages.
    pub at: u32,
}

impl Delivery {
    /// Not an agent's: an event, a result, what waited in a backlog.
    pub const HOST: u32 = u32::MAX;
}

/// The frame's messages, sorted by recipient.
#[derive(Clone, Copy, Debug)]
pub struct InboxView<'a> {
    /// Each agent's range of `deliveries`, by position.
    pub ranges: &'a [InboxRange],
    /// The messages of one recipient side by side. A message is stored once, however many its recipients are.
    pub deliveries: &'a [Delivery],
    /// The messages from agents: the output of the frame before.
    pub chunks: &'a [OutputChunk],
    /// The messages from the host.
    pub host: &'a HostInbox,
}

impl<'a> InboxView<'a> {
    /// The messages for the agent at position `slot`, oldest and lowest sender first: what the agent sees of each, and its
    /// payload without padding.
    #[inline]
    pub fn of(&self, slot: u32) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> + use<'a> {
        let view = *self;
        let InboxRange { start, messages } = view.ranges[slot as usize];
        view.deliveries[start as usize..(start + messages) as usize].iter().map(move |&at| view.message(at))
    }

    /// One message.
    #[inline]
    pub fn message(&self, at: Delivery) -> (&'a MessageHeader, &'a [u8]) {
        if at.chunk == Delivery::HOST {
            return self.host.message(at.at as usize);
        }
        let chunk = &self.chunks[at.chunk as usize];
        let message = &chunk.messages[at.at as usize];
        let start = message.offset as usize;
        (&message.header, &chunk.bytes[start..start + message.header.payload_bytes as usize])
    }
}

/// This frame's messages from the host: events, results, bounces, native systems' messages, what waited in backlogs.
#[derive(Debug, Default)]
pub struct HostInbox {
    /// For whom they are, in canonical order.
    pub addresses: Vec<Address>,
    /// What the recipients see of them, and where their payloads start in `bytes`.
    messages: Vec<(MessageHeader, usize)>,
    bytes: Vec<u8>,
}

impl HostInbox {
    /// Adds a message. Its length is filled in.
    pub fn push(&mut self, to: Recipient, header: &MessageHeader, payload: &[u8]) {
        // Payloads are bounded at every door into the world, far below 4 GiB.
        let header = MessageHeader { payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX), ..*header };
        self.addresses.push(Address::new(to, &header));
        self.messages.push((header, self.bytes.len()));
        self.bytes.extend_from_slice(payload);
    }

    /// The message at a position.
    pub fn message(&self, at: usize) -> (&MessageHeader, &[u8]) {
        let (header, start) = &self.messages[at];
        (header, &self.bytes[*start..start + header.payload_bytes as usize])
    }

    /// Forgets all messages, and keeps the buffers.
    pub fn clear(&mut self) {
        self.addresses.clear();
        self.messages.clear();
        self.bytes.clear();
    }
}

/// What one frame's calls gave.
#[derive(Debug, Default)]
pub struct StepResults {
    /// One for each request, in the same order.
    pub outcomes: Vec<StepOutcome>,
    /// What the outboxes held. Over all chunks, agents come in the order of their ids. How many of them share a chunk is the
    /// runtime's business, and no state.
    pub chunks: Vec<OutputChunk>,
}

/// What one call gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepOutcome {
    /// Fuel that it used; the whole budget if it faulted.
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
    /// Payloads of messages, and whole records that aren't messages.
    pub bytes: Vec<u8>,
    /// For whom the messages are, in the order in which they were sent.
    pub addresses: Vec<Address>,
    /// The messages, in the same order.
    pub messages: Vec<Sent>,
    /// Messages that nobody gets, and why.
    pub refused: Vec<Refused>,
    /// Records that aren't messages.
    pub others: Vec<OtherRecord>,
    /// Faults of the calls.
    pub faults: Vec<AgentFault>,
    /// Calls of `agent_step`.
    pub steps: u64,
    /// Fuel of all calls.
    pub fuel: u64,
    /// Sum of [`crate::digest::outbox_digest`] over the outboxes that aren't empty.
    pub outbox_sum: u128,
    /// Sum of [`crate::digest::memory_digest`] over the agents that were called; 0 unless it was asked for.
    pub memory_sum: u128,
    /// Lines written by the import `log`, in the order of the calls. Those of a faulted call stay.
    pub log_lines: Vec<ImportedLine>,
}

/// A message as it lies in a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// What the recipient sees.
    pub header: MessageHeader,
    /// Where the payload starts in the chunk's bytes.
    pub offset: u32,
}

/// A message that was refused at the desk.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// Position of the sender.
    pub from: u32,
    /// For which agent or topic it was meant.
    pub meant_for: u64,
    /// The message.
    pub header: MessageHeader,
    /// Why.
    pub reason: BounceReason,
}

/// A record that isn't a message: where it starts in the chunk's bytes, whose it is, and its place in the outbox.
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
}

impl OutputChunk {
    /// An empty chunk.
    pub const fn new(group: GroupId) -> Self {
        Self {
            group,
            bytes: Vec::new(),
            addresses: Vec::new(),
            messages: Vec::new(),
            refused: Vec::new(),
            others: Vec::new(),
            faults: Vec::new(),
            steps: 0,
            fuel: 0,
            outbox_sum: 0,
            memory_sum: 0,
            log_lines: Vec::new(),
        }
    }

    /// Empties the chunk and keeps its buffers.
    pub fn clear(&mut self, group: GroupId) {
        self.group = group;
        self.bytes.clear();
        self.addresses.clear();
        self.messages.clear();
        self.refused.clear();
        self.others.clear();
        self.faults.clear();
        (self.steps, self.fuel) = (0, 0);
        (self.outbox_sum, self.memory_sum) = (0, 0);
        self.log_lines.clear();
    }

    /// Counts a call, and puts its fault on the record. To be called for each request, in order.
    #[inline]
    pub fn count(&mut self, request: &StepRequest, outcome: &StepOutcome) {
        self.steps += u64::from(request.call == CallKind::Step);
        self.fuel = self.fuel.wrapping_add(outcome.fuel);
        if let Some(kind) = outcome.fault {
            self.faults.push(AgentFault { agent: request.agent, kind, detail: outcome.detail });
        }
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
}

/// What batches gave.
#[derive(Debug, Default)]
pub struct ModelResults {
    /// One for each row of each batch, in order.
    pub rows: Vec<RowResult>,
    /// Where the outputs lie.
    pub bytes: Vec<u8>,
}

impl ModelResults {
    /// Empties the results and keeps their buffers.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.bytes.clear();
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
