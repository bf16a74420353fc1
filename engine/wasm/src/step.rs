//! One call of one agent: context and inbox in, the call, outbox out. This is the engine's hottest code.
//!
//! It reaches the agent's memory, and calls its functions, through [`super::guests`].

use wasm_engine_abi::{
    CallKind, FrameContext, MessageHeader, OutboxError, agent_key,
    message::{kind, sender},
};
use wasm_engine_components::{FaultKind, GroupLimits, limits::CALL_DEPTH_MAX};
use wasm_engine_systems::ports::{
    CallFault, InboxView, Outbox, OutboxIntake, OutputChunk, PackedMessages, SharedRegion, StepOutcome, StepRequest,
    header, memory_digest,
};

use super::{
    call_state::Running,
    guest_index::GuestIndex,
    guests::GuestCalls,
    memory::InboxArea,
    program::{CallExport, GroupProgram},
    shard::Shard,
    trap::{counts_fuel, fault_of},
};

/// Number of agents by which memory is fetched ahead.
const PREFETCH_AGENTS: usize = 3;

/// Number of agents from which on memory is fetched ahead. What calls of fewer agents touch, some 500 bytes each, stays in a core's cache.
pub(super) const PREFETCH_FROM_AGENTS: usize = 4_096;

/// Context that all calls of a frame share.
#[derive(Clone, Copy)]
pub(super) struct FrameCalls<'a> {
    pub frame: u64,
    pub digest_memories: bool,
    pub inbox: InboxView<'a>,
    pub regions: &'a [SharedRegion<'a>],
    pub intake: OutboxIntake<'a>,
    /// Whether the agents are too many for the caches.
    pub prefetch: bool,
}

/// Records in an agent's inbox, and the bytes that they take.
#[derive(Clone, Copy, Default)]
pub(super) struct Written {
    records: u32,
    bytes: u32,
    /// Number of bounces among the records.
    bounces: u32,
}

impl Shard {
    /// Carries out requests of this shard's agents.
    pub(super) fn run(
        &mut self,
        calls: &FrameCalls<'_>,
        requests: &[StepRequest],
        outcomes: &mut [StepOutcome],
        chunk: &mut OutputChunk,
    ) {
        if self.guests.len() < self.agents_max as usize {
            self.make_room(requests);
        }
        let Self { guests, shown, first_slot, .. } = self;
        let guests = guests.calls();
        let program = guests.program();
        let credits = calls.intake.credits(program.group);
        let credits =
            if credits < GroupLimits::UNBOUNDED { u32::try_from(credits).unwrap_or(u32::MAX) } else { u32::MAX };
        let newest = program.readable.as_ref().map(|readable| readable.newest(calls.regions));
        let receives = program.template.calls().receive.is_some();
        let mut caller = Caller { calls, credits, guests, shown, newest, receives };
        core::mem::swap(&mut caller.guests.state_mut().lines, &mut chunk.log_lines);
        for (position, (request, outcome)) in requests.iter().zip(outcomes).enumerate() {
            if calls.prefetch
                && let Some(ahead) = requests.get(position + PREFETCH_AGENTS)
            {
                caller.guests.prefetch(GuestIndex(ahead.slot.0.wrapping_sub(first_slot.0)));
            }
            let guest = GuestIndex(request.slot - *first_slot);
            let called = match request.call {
                CallKind::Step => caller.step(request, guest),
                _ => caller.init_or_shutdown(request, guest),
            };
            // Here for all kinds of calls, so that it is compiled into the loop.
            *outcome = match called.and_then(|fuel| caller.take_outbox(request, guest, chunk).map(|()| fuel)) {
                Ok(fuel) => chunk.count(request, fuel, None),
                Err(fault) => caller.faulted(request, fault, chunk),
            };
            if calls.digest_memories {
                caller.digest_memory(request, guest, chunk);
            }
        }
        core::mem::swap(&mut caller.guests.state_mut().lines, &mut chunk.log_lines);
        chunk.excess.logs.append(&core::mem::take(&mut caller.guests.state_mut().unkept));
    }
}

/// Makes the calls of one shard.
pub(super) struct Caller<'a> {
    pub calls: &'a FrameCalls<'a>,
    /// Number of messages that the group may send in this frame.
    pub credits: u32,
    pub guests: GuestCalls<'a>,
    pub shown: &'a mut [u64],
    /// The last frame in which a shared region that the agents read got a new version; `None` if they read none.
    pub newest: Option<u64>,
    /// Whether the module exports `agent_receive`.
    pub receives: bool,
}

/// Parts of which the contexts of a group's agents are made.
#[derive(Clone, Copy)]
struct ContextOf<'a> {
    calls: &'a FrameCalls<'a>,
    program: &'a GroupProgram,
    credits: u32,
}

impl<'a> Caller<'a> {
    #[inline]
    const fn context_of(&self) -> ContextOf<'a> {
        ContextOf { calls: self.calls, program: self.guests.program(), credits: self.credits }
    }

    /// Hands over the inbox and steps the agent. Returns the fuel that it used, as the other calls do.
    #[inline]
    fn step(&mut self, request: &StepRequest, guest: GuestIndex) -> Result<u64, CallFault> {
        let (key, _) = self.mark(guest);
        self.hand_over(request, guest, key);
        if self.receives {
            self.receive(request, guest)?;
        }
        let address = self.guests.program().template.layout().context;
        let status = self.guests.step(guest, address);
        self.ended(guest, status)?;
        Ok(self.fuel_used())
    }

    #[inline(never)]
    fn init_or_shutdown(&mut self, request: &StepRequest, guest: GuestIndex) -> Result<u64, CallFault> {
        let (key, fresh) = self.mark(guest);
        if request.call == CallKind::Init {
            self.init(request, guest, fresh)?;
        } else {
            self.hand_over(request, guest, key);
            // An agent whose module lacks the export ends without a call.
            if let Some(shutdown) = &self.guests.program().template.calls().shutdown {
                self.invoke(guest, shutdown)?;
            }
        }
        Ok(self.fuel_used())
    }

    /// Notes that an agent is called, and returns its random key, and whether it is as it was made.
    #[inline]
    fn mark(&mut self, guest: GuestIndex) -> (u64, bool) {
        let marks = self.guests.marks_mut(guest);
        marks.changed = true;
        (marks.key, !core::mem::replace(&mut marks.used, true))
    }

    /// Writes an agent's inbox and context, and makes it ready to run.
    // Always inlined: otherwise the counts, which were just computed, would be passed in memory.
    #[inline(always)]
    fn hand_over(&mut self, request: &StepRequest, guest: GuestIndex, key: u64) {
        let (calls, context_of) = (self.calls, self.context_of());
        let mut exchange = self.guests.exchange_mut(guest);
        let mut inbox = InboxWriter::new(exchange.inbox());
        calls.inbox.each_record(request.slot, |record| inbox.push(record));
        let written = inbox.written;
        context_of.write(exchange.context(), request, key, written);
        self.begin(request, guest, key);
    }

    #[inline(never)]
    fn digest_memory(&self, request: &StepRequest, guest: GuestIndex, chunk: &mut OutputChunk) {
        let memory = self.guests.memory(guest).bytes();
        chunk.memory_sum = chunk.memory_sum.wrapping_add(memory_digest(request.agent, memory));
    }

    /// Calls `agent_receive` for each message, before the step and with its fuel.
    #[inline(never)]
    fn receive(&mut self, request: &StepRequest, guest: GuestIndex) -> Result<(), CallFault> {
        let mut address = self.guests.program().template.layout().inbox;
        for record in self.calls.inbox.records(request.slot) {
            let status = self.guests.receive(guest, address);
            self.ended(guest, status)?;
            address += size_of_val(record) as u32;
        }
        Ok(())
    }

    /// Calls `agent_init` with the parameters. The agent is made as new, if it isn't.
    pub(super) fn init(&mut self, request: &StepRequest, guest: GuestIndex, fresh: bool) -> Result<(), CallFault> {
        let program = self.guests.program();
        if !fresh {
            self.guests.renew(guest);
            if let Some(shown) = self.shown.get_mut(guest.index()) {
                *shown = 0;
            }
        }
        let marks = self.guests.marks_mut(guest);
        marks.used = true;
        // The agent may be another than the one that had the slot before.
        marks.key = agent_key(program.seed, request.agent.0);
        self.hand_over_own(request, guest, kind::PARAMS, &program.params);
        self.invoke(guest, &program.template.calls().init)
    }

    /// Writes a message of the engine as the only one, and makes the agent ready to run. That the message fits was checked.
    pub(super) fn hand_over_own(&mut self, request: &StepRequest, guest: GuestIndex, kind: u32, payload: &[u8]) {
        let header = MessageHeader {
            sender: sender::ENGINE,
            frame: self.calls.frame,
            kind,
            payload_bytes: payload.len() as u32,
            ..MessageHeader::default()
        };
        let mut packed = PackedMessages::default();
        let record = packed.push(header, payload);
        let mut exchange = self.guests.exchange_mut(guest);
        let mut inbox = InboxWriter::new(exchange.inbox());
        inbox.push(packed.record(record));
        let written = inbox.written;
        self.ready(request, guest, written);
    }

    /// Writes an agent's context, and makes it ready to run.
    pub(super) fn ready(&mut self, request: &StepRequest, guest: GuestIndex, written: Written) {
        let (key, context_of) = (self.guests.marks(guest).key, self.context_of());
        context_of.write(self.guests.exchange_mut(guest).context(), request, key, written);
        self.begin(request, guest, key);
    }

    /// Makes an agent ready to run that has inbox and context: fuel, shared regions, and what its imports know of it.
    #[inline(always)]
    fn begin(&mut self, request: &StepRequest, guest: GuestIndex, key: u64) {
        if let Some(newest) = self.newest {
            self.show_regions(guest, newest);
        }
        let template = &self.guests.program().template;
        self.guests.set_fuel(template.limits().fuel_per_step_max);
        if template.uses_imports() {
            self.guests.state_mut().running = Some(Running {
                agent: request.agent,
                key,
                frame: self.calls.frame,
                memory: template.state().memory_export(),
                lines_max: template.limits().log_lines_per_step_max,
                lines: 0,
                bytes_max: template.limits().log_bytes_per_step_max,
                bytes: 0,
                fault: None,
            });
        }
    }

    /// Brings the agent's copies of shared regions up to date.
    #[inline(never)]
    fn show_regions(&mut self, guest: GuestIndex, newest: u64) {
        let shown = core::mem::replace(&mut self.shown[guest.index()], self.calls.frame + 1);
        if newest >= shown
            && let Some(readable) = &self.guests.program().readable
        {
            readable.write(self.calls.regions, shown, self.guests.memory_mut(guest));
        }
    }

    /// Returns the fuel that the calls since [`Caller::begin`] used.
    ///
    /// Compiled code keeps its count in a register, and writes it down before each call, return and `unreachable`, and where it
    /// runs out of fuel. After any other trap this is what was last written down: too little, but the same on every machine.
    #[inline]
    pub(super) fn fuel_used(&self) -> u64 {
        self.fuel_per_step_max() - self.guests.fuel()
    }

    /// Counts a call that ended in a fault, and what it may have used beyond what is known.
    #[cold]
    fn faulted(&self, request: &StepRequest, fault: CallFault, chunk: &mut OutputChunk) -> StepOutcome {
        chunk.uncounted = chunk.uncounted.saturating_add(self.fuel_uncounted(fault.kind));
        chunk.count(request, self.fuel_used(), Some(fault))
    }

    /// Returns the fuel that a call which ended in such a fault may have used beyond [`Self::fuel_used`].
    pub(super) fn fuel_uncounted(&self, fault: FaultKind) -> u64 {
        if counts_fuel(fault) { 0 } else { self.fuel_per_step_max() - self.fuel_used() }
    }

    #[inline]
    fn fuel_per_step_max(&self) -> u64 {
        self.guests.program().template.limits().fuel_per_step_max
    }

    /// Calls an export of the agent that is seldom called and must return 0.
    pub(super) fn invoke(&mut self, guest: GuestIndex, export: &CallExport) -> Result<(), CallFault> {
        let address = self.guests.program().template.layout().context;
        let status = self.guests.call_export(guest, export, address);
        self.ended(guest, status)
    }

    /// Returns the fault of a call that ended in a trap or with a status other than 0, if it did.
    #[inline]
    fn ended(&mut self, guest: GuestIndex, status: wasmtime::Result<u32>) -> Result<(), CallFault> {
        match status {
            Ok(0) => Ok(()),
            Ok(status) => Err(CallFault::new(FaultKind::Reported, status)),
            Err(error) => Err(self.fault(guest, &error)),
        }
    }

    /// Returns the fault of a trap, and makes the instance fit to be called again.
    #[cold]
    fn fault(&mut self, guest: GuestIndex, error: &wasmtime::Error) -> CallFault {
        let depth = self.guests.take_depth(guest);
        if let Some(fault) = self.guests.state_mut().running.as_mut().and_then(|running| running.fault.take()) {
            return fault;
        }
        if depth > CALL_DEPTH_MAX {
            return CallFault::past(FaultKind::CallDepth, 0, depth.into(), CALL_DEPTH_MAX.into());
        }
        match fault_of(error) {
            kind @ FaultKind::OutOfFuel => {
                // The instruction for which too little fuel was left isn't carried out, and what it would have taken isn't counted.
                let fuel = self.fuel_per_step_max();
                CallFault::past(kind, 0, fuel, fuel)
            }
            kind => CallFault::new(kind, 0),
        }
    }

    /// Gives the outbox to the intake.
    #[inline]
    fn take_outbox(&self, request: &StepRequest, guest: GuestIndex, chunk: &mut OutputChunk) -> Result<(), CallFault> {
        let exchange = self.guests.exchange(guest);
        let context = exchange.context();
        let (records, bytes) = (context.outbox_records, context.outbox_bytes);
        if records == 0 && bytes == 0 {
            return Ok(());
        }
        let Some(bytes) = exchange.outbox(bytes) else {
            return Err(beyond_area(bytes, self.guests.program().template.layout().outbox_bytes_max));
        };
        let running = self.guests.state().running.as_ref();
        let (log_lines, log_bytes) = running.map_or((0, 0), |running| (running.lines, running.bytes));
        let rules = &self.guests.program().rules;
        self.calls.intake.take(request, Outbox { bytes, records, log_lines, log_bytes }, rules, chunk)
    }
}

impl ContextOf<'_> {
    #[inline]
    const fn write(self, context: &mut FrameContext, request: &StepRequest, key: u64, written: Written) {
        // Written field by field, because copying a context that was just made elsewhere would wait for its stores.
        context.frame = self.calls.frame;
        context.agent = request.agent.0;
        context.random_key = key;
        context.group = request.agent.group().0;
        context.ordinal = request.agent.ordinal();
        context.inbox_records = written.records;
        context.inbox_bytes = written.bytes;
        context.call = request.call as u32;
        context.frame_period_us = self.program.frame_period_us;
        context.credits = self.credits;
        context.refused = written.bounces;
        context.outbox_records = 0;
        context.outbox_bytes = 0;
    }
}

/// Returns the fault of a guest that says that its outbox has more bytes than its area.
#[cold]
pub(super) fn beyond_area(bytes: u32, bytes_max: u32) -> CallFault {
    CallFault::past(FaultKind::BadOutbox, OutboxError::Truncated as u32, bytes.into(), bytes_max.into())
}

/// Packs records into an agent's inbox area.
struct InboxWriter<'a> {
    area: InboxArea<'a>,
    written: Written,
}

impl<'a> InboxWriter<'a> {
    #[inline]
    fn new(area: InboxArea<'a>) -> Self {
        Self { area, written: Written::default() }
    }

    #[inline]
    fn push(&mut self, record: &[u64]) {
        self.area.push(record);
        self.written.bytes += size_of_val(record) as u32;
        self.written.records += 1;
        self.written.bounces += u32::from(header(record).kind == kind::BOUNCE);
    }
}
