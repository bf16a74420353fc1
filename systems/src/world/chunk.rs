//! Inputs and results of the agents' calls: requests, outcomes, and the chunks in which the runtime gathers what agents sent.

use wasm_engine_abi::{BounceReason, CallKind, MessageHeader};
use wasm_engine_components::{Address, AgentFault, AgentId, AgentSlot, Excess, FaultKind, GroupId, MessageOffset};

use crate::world::fault::CallFault;
use crate::world::packed::PackedMessages;

/// One call of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRequest {
    /// The agent to call.
    pub agent: AgentId,
    /// Its slot.
    pub slot: AgentSlot,
    /// Kind of the call. `Init` starts from the module's initial image, whatever the instance did before, and has the group's parameters for an
    /// inbox.
    pub call: CallKind,
}

/// Results of the calls of one wave; in the end, of the whole frame.
#[derive(Debug, Default)]
pub struct StepResults {
    /// One for each request, in the same order.
    pub outcomes: Vec<StepOutcome>,
    /// Contents of the outboxes. Over all chunks of a wave, agents come in the order of their ids. The number of agents that share a chunk is up to
    /// the runtime, and no state.
    pub chunks: Vec<OutputChunk>,
}

/// Result of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepOutcome {
    /// Fuel that it used, also where it faulted.
    pub fuel: u64,
    /// The fault's detail, see [`wasm_engine_components::AgentFault::detail`].
    pub detail: u32,
    /// The kind of the fault, if the call faulted.
    pub fault: Option<FaultKind>,
}

/// Output of some agents of one group. [`crate::ports::OutboxIntake::take`] fills it.
#[derive(Debug)]
pub struct OutputChunk {
    /// The group.
    pub group: GroupId,
    /// The addresses of the messages, in the order in which they were sent.
    pub addresses: Vec<Address>,
    /// The addresses of messages that arrive in this frame, in groups that come after this one. The address of a publication or a broadcast may be
    /// in both lists.
    pub edges: Vec<Address>,
    /// The messages.
    pub messages: PackedMessages,
    /// Messages that were refused, and why.
    pub refused: Vec<Refused>,
    /// Records that aren't messages.
    pub deferred: Vec<DeferredRecord>,
    /// Those records, as they stood in the outboxes.
    pub deferred_bytes: Vec<u8>,
    /// Faults of the calls.
    pub faults: Vec<AgentFault>,
    /// Number of messages that were sent, including those that were refused. A message to many counts once.
    pub sent: u64,
    /// Number of calls of `agent_step`.
    pub steps: u64,
    /// Fuel of all calls.
    pub fuel: u64,
    /// Fuel that calls which ended in a trap may have used beyond that, because a trap leaves the last part of a call uncounted. The group pays for
    /// it.
    pub uncounted: u64,
    /// Sum of the digests of the outboxes that aren't empty.
    pub outbox_sum: u128,
    /// Sum of [`crate::world::digest::memory_digest`] over the agents that were called; 0 unless it was asked for.
    pub memory_sum: u128,
    /// Lines written by the import `log`, in the order of the calls. Those of a faulted call stay.
    pub log_lines: Vec<ImportedLine>,
    /// Log lines and outputs that were beyond what a step may write.
    pub excess: Excess,
    /// The route that the intake found last.
    pub(crate) route: Route,
}

/// A message that was refused by the intake.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// Slot of the sender.
    pub from: AgentSlot,
    /// Number of the agent, group or topic that it was meant for.
    pub meant_for: u64,
    /// The message.
    pub header: MessageHeader,
    /// Why it was refused.
    pub reason: BounceReason,
}

/// A record that isn't a message, or that needs more than sending.
#[derive(Clone, Copy, Debug)]
pub struct DeferredRecord {
    /// The agent that wrote it.
    pub agent: AgentId,
    /// Its slot.
    pub slot: AgentSlot,
    /// Index among the records of its outbox.
    pub sequence: u32,
    /// Offset of the record in [`OutputChunk::deferred_bytes`].
    pub offset: RecordOffset,
    /// Index of the address of its message, if it has one.
    pub address: AddressIndex,
}

/// Offset of a record in [`OutputChunk::deferred_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct RecordOffset(pub u32);

/// Index of a message's address in its chunk: among [`OutputChunk::addresses`], or among [`OutputChunk::edges`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct AddressIndex(u32);

impl AddressIndex {
    /// Stands for no address: there is no message, or one that was refused at once.
    pub const NONE: Self = Self(u32::MAX);

    /// Set if the address stands among the edges. A chunk has far fewer of them.
    const EDGE: u32 = 1 << 31;

    /// Returns the index of the last address of a chunk.
    #[inline]
    pub(crate) fn last_address(chunk: &OutputChunk) -> Self {
        // A chunk has fewer messages than words.
        Self(chunk.addresses.len() as u32 - 1)
    }

    /// Returns the index of the last edge of a chunk.
    #[inline]
    pub(crate) fn last_edge(chunk: &OutputChunk) -> Self {
        Self(Self::EDGE + (chunk.edges.len() as u32 - 1))
    }

    /// Returns the address, if there is one.
    pub(crate) fn of(self, chunk: &mut OutputChunk) -> Option<&mut Address> {
        match self.0 & Self::EDGE {
            0 => chunk.addresses.get_mut(self.0 as usize),
            _ => chunk.edges.get_mut((self.0 & !Self::EDGE) as usize),
        }
    }
}

impl OutputChunk {
    /// Returns an empty chunk.
    pub fn new(group: GroupId) -> Self {
        Self {
            group,
            addresses: Vec::new(),
            edges: Vec::new(),
            messages: PackedMessages::default(),
            refused: Vec::new(),
            deferred: Vec::new(),
            deferred_bytes: Vec::new(),
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
        self.deferred.clear();
        self.deferred_bytes.clear();
        self.faults.clear();
        (self.sent, self.steps, self.fuel, self.uncounted) = (0, 0, 0, 0);
        (self.outbox_sum, self.memory_sum) = (0, 0);
        self.log_lines.clear();
        self.excess = Excess::of(group);
        // A route holds for one frame, and for senders of one group.
        self.route = Route::default();
    }

    /// Counts a call, puts its fault on the record, and gives its outcome. To be called for each request, in order.
    #[inline]
    pub fn count(&mut self, request: &StepRequest, fuel: u64, fault: Option<CallFault>) -> StepOutcome {
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
    /// The agent.
    pub agent: AgentId,
    /// 1 error, 2 warn, 3 info, 4 debug.
    pub level: u32,
    /// The text. Bytes that weren't UTF-8 are replaced.
    pub text: String,
}

/// The slots of a group that takes messages from the senders of a chunk: what [`Directory::find`](crate::world::directory::Directory::find) would say
/// of its agents. An agent that sent to one of them mostly sends to others, too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Route {
    /// Id of the group's first agent.
    pub(crate) first: u64,
    /// Number of its slots.
    pub(crate) agents: u32,
    /// Slot of its first agent.
    pub(crate) start: AgentSlot,
}

impl Route {
    /// Returns the slot of an agent, if it is of that group.
    #[inline]
    pub(crate) fn find(&self, id: u64) -> Option<AgentSlot> {
        // Ids of a group are side by side, in the order of their slots.
        let ordinal = id.wrapping_sub(self.first);
        (ordinal < u64::from(self.agents)).then(|| self.start + ordinal as u32)
    }
}

/// Lengths and sums of a chunk before an outbox was taken in, to be restored if the outbox is refused.
pub(crate) struct Mark {
    sent: u64,
    addresses: usize,
    edges: usize,
    messages: MessageOffset,
    refused: usize,
    deferred: usize,
    deferred_bytes: usize,
    excess: Excess,
}

impl Mark {
    #[inline]
    pub(crate) fn of(chunk: &OutputChunk) -> Self {
        Self {
            sent: chunk.sent,
            addresses: chunk.addresses.len(),
            edges: chunk.edges.len(),
            messages: chunk.messages.next_offset(),
            refused: chunk.refused.len(),
            deferred: chunk.deferred.len(),
            deferred_bytes: chunk.deferred_bytes.len(),
            excess: chunk.excess,
        }
    }

    #[cold]
    pub(crate) fn restore(&self, chunk: &mut OutputChunk) {
        chunk.sent = self.sent;
        chunk.addresses.truncate(self.addresses);
        chunk.edges.truncate(self.edges);
        chunk.messages.truncate(self.messages);
        chunk.refused.truncate(self.refused);
        chunk.deferred.truncate(self.deferred);
        chunk.deferred_bytes.truncate(self.deferred_bytes);
        chunk.excess = self.excess;
    }
}
