//! The two ports to the machine. A batch goes in and a batch comes out, in the same order; neither can fail, and neither
//! knows the world. The engine plugs wasmtime and ONNX Runtime in here, tests plug in tables.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::{CallKind, InferenceStatus, MessageHeader};
use wasm_engine_components::{AgentId, FaultKind, GroupId, Message, ModelId, PayloadRef};

/// Steps agents. Called once in each frame, from the stage `Step`.
pub trait AgentRuntime: Send + Sync + 'static {
    /// Carries out `batch` and leaves one outcome for each request in `results`, in the order of the requests.
    ///
    /// `results` comes with the buffers of an earlier frame, to be cleared and filled again. What a guest does wrong is an
    /// outcome. An outbox that is handed back has passed [`crate::outbox::check_outbox`]; that of a faulted call is empty.
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
    /// Where its messages start in [`InboxView::deliveries`].
    pub inbox_start: u32,
    /// How many they are. They fit into the module's inbox area.
    pub inbox_len: u32,
}

/// The frame's messages, sorted by recipient.
#[derive(Clone, Copy, Debug)]
pub struct InboxView<'a> {
    /// Positions in `messages`, those of one recipient side by side.
    pub deliveries: &'a [u32],
    /// Each message once, however many its recipients are.
    pub messages: &'a [Message],
    /// The payloads of messages from agents: the output of the frame before.
    pub chunks: &'a [OutputChunk],
    /// The payloads of messages from the host.
    pub host: &'a [u8],
}

impl<'a> InboxView<'a> {
    /// The messages of a request, oldest and lowest sender first: what the agent sees of each, and its payload.
    #[inline]
    pub fn of(&self, request: &StepRequest) -> impl Iterator<Item = (&'a MessageHeader, &'a [u8])> + use<'a> {
        let view = *self;
        let start = request.inbox_start as usize;
        view.deliveries[start..start + request.inbox_len as usize].iter().map(move |&at| {
            let message = &view.messages[at as usize];
            (&message.header, view.payload(message))
        })
    }

    /// A message's payload, without padding.
    #[inline]
    pub fn payload(&self, message: &Message) -> &'a [u8] {
        let (bytes, start) = match message.payload.chunk {
            PayloadRef::HOST => (self.host, message.payload.offset as usize * 8),
            chunk => (self.chunks[chunk as usize].bytes.as_slice(), message.payload.offset as usize),
        };
        &bytes[start..start + message.header.payload_bytes as usize]
    }
}

/// What one frame's calls gave.
#[derive(Debug, Default)]
pub struct StepResults {
    /// One for each request, in the same order.
    pub outcomes: Vec<StepOutcome>,
    /// Where the outboxes lie. How agents are spread over chunks is the runtime's business, and no state.
    pub chunks: Vec<OutputChunk>,
}

/// What one call gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepOutcome {
    /// Fuel that it used; the whole budget if it faulted.
    pub fuel: u64,
    /// The chunk that holds its outbox.
    pub chunk: u32,
    /// Where the outbox starts in the chunk, in bytes.
    pub offset: u32,
    /// The outbox's length in bytes.
    pub bytes: u32,
    /// The number of its records.
    pub records: u32,
    /// The fault's detail, see [`wasm_engine_components::AgentFault::detail`].
    pub detail: u32,
    /// Set if the call faulted.
    pub fault: Option<FaultKind>,
}

/// Outboxes of agents of one group, one after the other, as the guests wrote them.
#[derive(Debug)]
pub struct OutputChunk {
    /// The group.
    pub group: GroupId,
    /// The outboxes.
    pub bytes: Vec<u8>,
    /// Sum of [`crate::digest::outbox_digest`] over the outboxes that aren't empty.
    pub outbox_sum: u128,
    /// Sum of [`crate::digest::memory_digest`] over the agents that were called; 0 unless it was asked for.
    pub memory_sum: u128,
    /// Lines written by the import `log`, in the order of the calls. Those of a faulted call stay.
    pub log_lines: Vec<ImportedLine>,
}

impl OutputChunk {
    /// An empty chunk.
    pub const fn new(group: GroupId) -> Self {
        Self { group, bytes: Vec::new(), outbox_sum: 0, memory_sum: 0, log_lines: Vec::new() }
    }

    /// Empties the chunk and keeps its buffers.
    pub fn clear(&mut self, group: GroupId) {
        self.group = group;
        self.bytes.clear();
        self.outbox_sum = 0;
        self.memory_sum = 0;
        self.log_lines.clear();
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
