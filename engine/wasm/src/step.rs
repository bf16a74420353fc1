//! One call of one agent: context and inbox in, the call, outbox out. This is the engine's hottest code.
//!
//! It reaches the agent's memory through [`super::memory`], which has the shard's store borrowed meanwhile.

use wasm_engine_abi::{
    CallKind, MessageHeader, OutboxError, agent_key,
    message::{kind, sender},
};
use wasm_engine_components::{FaultKind, GroupLimits, limits::CALL_DEPTH_MAX};
use wasm_engine_systems::ports::{
    CallFault, InboxView, Outbox, OutboxIntake, OutputChunk, PackedMessages, SharedRegion, StepOutcome, StepRequest,
    header, memory_digest,
};
use wasmtime::{Func, Store, ValRaw};

use super::{
    arena::{Arena, Slot},
    call_state::{CallState, Running},
    memory::{Exchange, ExchangeMut, GuestMemory, GuestMemoryMut, InboxArea},
    shard::{ColdAgent, HotAgent, Program, Shard, function},
    trap::{counts_fuel, fault_of},
};

/// How many agents ahead memory is fetched.
const PREFETCH_AGENTS: usize = 3;

/// From how many agents on: what a call touches of fewer (some 500 bytes each) stays in a core's cache.
pub(super) const PREFETCH_FROM_AGENTS: usize = 4_096;

/// What all calls of a frame share.
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
    /// Of the records, bounces.
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
        if self.hot.len() < self.agents_max as usize {
            self.make_room(requests);
        }
        let Self { program, store, hot, cold, shown, arena, first_slot, .. } = self;
        let credits = calls.intake.credits(program.group);
        let credits =
            if credits < GroupLimits::UNBOUNDED { u32::try_from(credits).unwrap_or(u32::MAX) } else { u32::MAX };
        let newest = program.readable.as_ref().map(|readable| readable.newest(calls.regions));
        let receives = program.recipe.calls.receive.is_some();
        let mut caller = Caller { calls, credits, program, store, hot, cold, shown, newest, arena, receives };
        core::mem::swap(&mut caller.store.data_mut().lines, &mut chunk.log_lines);
        for (position, (request, outcome)) in requests.iter().zip(outcomes).enumerate() {
            if calls.prefetch
                && let Some(ahead) = requests.get(position + PREFETCH_AGENTS)
            {
                caller.prefetch(ahead.slot.0.wrapping_sub(first_slot.0));
            }
            let at = (request.slot - *first_slot) as usize;
            let called = match request.call {
                CallKind::Step => caller.step(request, at),
                _ => caller.init_or_shutdown(request, at),
            };
            // In one place for all kinds of calls, so that it is compiled into the loop.
            *outcome = match called.and_then(|fuel| caller.take_outbox(request, at, chunk).map(|()| fuel)) {
                Ok(fuel) => chunk.count(request, fuel, None),
                Err(fault) => caller.faulted(request, fault, chunk),
            };
            if calls.digest_memories {
                caller.digest_memory(request, at, chunk);
            }
        }
        core::mem::swap(&mut caller.store.data_mut().lines, &mut chunk.log_lines);
        chunk.excess.logs.append(&core::mem::take(&mut caller.store.data_mut().unkept));
    }
}

/// Makes the calls of one shard.
pub(super) struct Caller<'a> {
    pub calls: &'a FrameCalls<'a>,
    /// Messages that the group may send in this frame.
    pub credits: u32,
    pub program: &'a Program,
    pub store: &'a mut Store<CallState>,
    pub hot: &'a mut [HotAgent],
    pub cold: &'a [ColdAgent],
    pub shown: &'a mut [u64],
    /// The last frame in which a shared region that the agents read became another; `None` where they read none.
    pub newest: Option<u64>,
    pub arena: &'a Arena,
    /// Whether the module exports `agent_receive`.
    pub receives: bool,
}

/// Whom a call is about: its number in the shard, and what the hot path wants of it.
#[derive(Clone, Copy)]
pub(super) struct Callee {
    pub at: usize,
    pub slot: Slot,
    pub key: u64,
}

impl<'a> Caller<'a> {
    /// The memory in the slot of one of the shard's agents.
    #[inline]
    pub(super) fn memory(&self, slot: Slot) -> GuestMemory<'_> {
        // SAFETY: the agents of a caller are instances in its store, and slots are given for theirs alone.
        unsafe { GuestMemory::new(slot, self.store.data()) }
    }

    /// What a call hands over, in the memory of one of the shard's agents, to be read.
    #[inline]
    pub(super) fn exchange(&self, slot: Slot) -> Exchange<'_, 'a> {
        // SAFETY: the program's layout was checked against the image of its instances when it was loaded.
        unsafe { Exchange::new(self.memory(slot), &self.program.layout) }
    }

    /// The same, to be written to.
    #[inline]
    fn exchange_mut(&mut self, callee: Callee) -> ExchangeMut<'_, 'a> {
        // SAFETY: as for reading.
        unsafe { GuestMemoryMut::new(callee.slot, self.store.data_mut()).exchange(&self.program.layout) }
    }

    #[inline]
    fn prefetch(&self, at: u32) {
        let Some(hot) = self.hot.get(at as usize) else { return };
        let (base, layout) = (hot.slot.base().cast_const(), &self.program.layout);
        fetch(hot.vm);
        fetch(base.wrapping_add(layout.context as usize));
        fetch(base.wrapping_add(layout.inbox as usize));
        fetch(base.wrapping_add(layout.outbox as usize));
    }

    /// Hands over the inbox and steps the agent. Gives the fuel that it used, as the other calls do.
    #[inline]
    fn step(&mut self, request: &StepRequest, at: usize) -> Result<u64, CallFault> {
        let (callee, step, _) = self.callee(at);
        let calls = self.calls;
        let mut inbox = InboxWriter::new(self.exchange_mut(callee));
        calls.inbox.each_record(request.slot, |record| inbox.push(record));
        let written = inbox.written;
        self.begin(request, callee, written);
        if self.receives {
            self.receive(request, at)?;
        }
        self.invoke(callee, step)?;
        Ok(self.fuel_used())
    }

    #[inline(never)]
    fn init_or_shutdown(&mut self, request: &StepRequest, at: usize) -> Result<u64, CallFault> {
        let (callee, _, fresh) = self.callee(at);
        if request.call == CallKind::Init {
            self.init(request, callee, fresh)?;
        } else {
            self.shutdown(request, callee)?;
        }
        Ok(self.fuel_used())
    }

    /// Who is called, its `agent_step`, and whether it is as it was made.
    #[inline]
    fn callee(&mut self, at: usize) -> (Callee, Func, bool) {
        let HotAgent { slot, key, step, used, changed, .. } = &mut self.hot[at];
        *changed = true;
        (Callee { at, slot: *slot, key: *key }, *step, !core::mem::replace(used, true))
    }

    #[inline(never)]
    fn digest_memory(&self, request: &StepRequest, at: usize, chunk: &mut OutputChunk) {
        let memory = self.memory(self.hot[at].slot).bytes();
        chunk.memory_sum = chunk.memory_sum.wrapping_add(memory_digest(request.agent, memory));
    }

    /// Calls `agent_receive` for each message, before the step and with its fuel.
    // By number: a callee that is handed on lies in memory, even where nobody receives.
    #[inline(never)]
    fn receive(&mut self, request: &StepRequest, at: usize) -> Result<(), CallFault> {
        let (callee, ..) = self.callee(at);
        let Some(receive) = self.cold[callee.at].receive else { return Ok(()) };
        let mut address = self.program.layout.inbox;
        for record in self.calls.inbox.records(request.slot) {
            self.invoke_at(callee, receive, address)?;
            address += size_of_val(record) as u32;
        }
        Ok(())
    }

    pub(super) fn init(&mut self, request: &StepRequest, callee: Callee, fresh: bool) -> Result<(), CallFault> {
        let (program, instance) = (self.program, self.cold[callee.at].instance);
        // The agent may be another than the one that had the slot before.
        let callee = Callee { key: agent_key(program.seed, request.agent.0), ..callee };
        self.hot[callee.at].key = callee.key;
        if !fresh {
            let Program { recipe, image, .. } = program;
            // SAFETY: the slot is this instance's, and the shard, which is borrowed, runs nothing meanwhile.
            unsafe { image.restore(&recipe.state, self.store, instance, self.arena, callee.slot) };
            if let Some(shown) = self.shown.get_mut(callee.at) {
                *shown = 0;
            }
        }
        let written = self.write_own(kind::PARAMS, &program.params, callee);
        self.begin(request, callee, written);
        let init = function(self.store, instance, &program.recipe.calls.init);
        self.invoke(callee, init)
    }

    fn shutdown(&mut self, request: &StepRequest, callee: Callee) -> Result<(), CallFault> {
        let calls = self.calls;
        let mut inbox = InboxWriter::new(self.exchange_mut(callee));
        calls.inbox.records(request.slot).for_each(|record| inbox.push(record));
        let written = inbox.written;
        self.begin(request, callee, written);
        // An agent without the export just ends.
        if let Some(export) = &self.program.recipe.calls.shutdown {
            let shutdown = function(self.store, self.cold[callee.at].instance, export);
            self.invoke(callee, shutdown)?;
        }
        Ok(())
    }

    /// Makes an agent ready to run: context, fuel, and what its imports know of it.
    // Always: the counts in `written` were just made, and would be handed over in memory.
    #[inline(always)]
    pub(super) fn begin(&mut self, request: &StepRequest, callee: Callee, written: Written) {
        self.write_context(request, callee, written);
        if let Some(newest) = self.newest {
            self.show_regions(callee.at, newest);
        }
        let recipe = &self.program.recipe;
        self.store.set_fuel(recipe.limits.fuel_per_step_max).expect("fuel is on");
        if recipe.uses_imports {
            self.store.data_mut().running = Some(Running {
                agent: request.agent,
                key: callee.key,
                frame: self.calls.frame,
                slot: callee.slot,
                lines_max: recipe.limits.log_lines_per_step_max,
                lines: 0,
                bytes_max: recipe.limits.log_bytes_per_step_max,
                bytes: 0,
                fault: None,
            });
        }
    }

    /// Brings the agent's copies of shared regions up to date.
    #[inline(never)]
    fn show_regions(&mut self, at: usize, newest: u64) {
        let shown = core::mem::replace(&mut self.shown[at], self.calls.frame + 1);
        if newest >= shown
            && let Some(readable) = &self.program.readable
        {
            // SAFETY: the agents of a caller are instances in its store.
            let memory = unsafe { GuestMemoryMut::new(self.hot[at].slot, self.store.data_mut()) };
            readable.write(self.calls.regions, shown, memory);
        }
    }

    /// Fuel that the calls since [`Caller::begin`] used.
    ///
    /// Compiled code keeps its count in a register, and writes it down before each call, return and `unreachable`, and where it
    /// runs out of fuel. After any other trap this is what was last written down: too little, but the same on every machine.
    #[inline]
    pub(super) fn fuel_used(&self) -> u64 {
        self.program.recipe.limits.fuel_per_step_max - self.store.get_fuel().expect("fuel is on")
    }

    /// Counts a call that ended in a fault, and what it may have used beyond what is known.
    #[cold]
    fn faulted(&self, request: &StepRequest, fault: CallFault, chunk: &mut OutputChunk) -> StepOutcome {
        chunk.uncounted = chunk.uncounted.saturating_add(self.fuel_uncounted(fault.kind));
        chunk.count(request, self.fuel_used(), Some(fault))
    }

    /// Fuel that a call which ended in such a fault may have used beyond [`Self::fuel_used`].
    pub(super) fn fuel_uncounted(&self, fault: FaultKind) -> u64 {
        if counts_fuel(fault) { 0 } else { self.program.recipe.limits.fuel_per_step_max - self.fuel_used() }
    }

    #[inline]
    pub(super) fn invoke(&mut self, callee: Callee, function: Func) -> Result<(), CallFault> {
        self.invoke_at(callee, function, self.program.layout.context)
    }

    /// Calls a function `(i32) -> i32` of the agent, which is to return 0.
    #[inline]
    fn invoke_at(&mut self, callee: Callee, function: Func, address: u32) -> Result<(), CallFault> {
        let mut values = [ValRaw::u32(address)];
        // SAFETY: validation saw that all exports that are called take one i32 and return one, for which `values` has room; the function
        // is of this store, and no call of the store is running.
        let called = unsafe { function.call_unchecked(&mut *self.store, &raw mut values) };
        match called {
            Ok(()) => match values[0].get_u32() {
                0 => Ok(()),
                status => Err(CallFault::new(FaultKind::Reported, status)),
            },
            Err(error) => Err(self.fault(callee.at, &error)),
        }
    }

    /// What a trap was, and makes the instance fit to be called again.
    #[cold]
    fn fault(&mut self, at: usize, error: &wasmtime::Error) -> CallFault {
        let depth = self.program.recipe.state.take_depth(self.store, self.cold[at].instance);
        if let Some(fault) = self.store.data_mut().running.as_mut().and_then(|running| running.fault.take()) {
            return fault;
        }
        if depth > CALL_DEPTH_MAX {
            return CallFault::past(FaultKind::CallDepth, 0, depth.into(), CALL_DEPTH_MAX.into());
        }
        match fault_of(error) {
            kind @ FaultKind::OutOfFuel => {
                // What comes next isn't carried out, and how much it would have taken isn't counted.
                let fuel = self.program.recipe.limits.fuel_per_step_max;
                CallFault::past(kind, 0, fuel, fuel)
            }
            kind => CallFault::new(kind, 0),
        }
    }

    #[inline]
    fn write_context(&mut self, request: &StepRequest, callee: Callee, written: Written) {
        let (calls, program, credits) = (self.calls, self.program, self.credits);
        let context = self.exchange_mut(callee).context();
        // Field by field: a context that is made elsewhere and copied waits for its own stores.
        context.frame = calls.frame;
        context.agent = request.agent.0;
        context.random_key = callee.key;
        context.group = request.agent.group().0;
        context.ordinal = request.agent.ordinal();
        context.inbox_records = written.records;
        context.inbox_bytes = written.bytes;
        context.call = request.call as u32;
        context.frame_period_us = program.frame_period_us;
        context.credits = credits;
        context.refused = written.bounces;
        context.outbox_records = 0;
        context.outbox_bytes = 0;
    }

    /// Writes a message of the engine as the only one. That it fits was checked.
    pub(super) fn write_own(&mut self, kind: u32, payload: &[u8], callee: Callee) -> Written {
        let header = MessageHeader {
            sender: sender::ENGINE,
            frame: self.calls.frame,
            kind,
            payload_bytes: payload.len() as u32,
            ..MessageHeader::default()
        };
        let mut packed = PackedMessages::default();
        let at = packed.push(header, payload);
        let mut inbox = InboxWriter::new(self.exchange_mut(callee));
        inbox.push(packed.record(at));
        inbox.written
    }

    /// Hands the outbox in at the intake.
    #[inline]
    fn take_outbox(&self, request: &StepRequest, at: usize, chunk: &mut OutputChunk) -> Result<(), CallFault> {
        let exchange = self.exchange(self.hot[at].slot);
        let context = exchange.context();
        let (records, bytes) = (context.outbox_records, context.outbox_bytes);
        if records == 0 && bytes == 0 {
            return Ok(());
        }
        let Some(bytes) = exchange.outbox(bytes) else {
            return Err(beyond_area(bytes, self.program.layout.outbox_bytes_max));
        };
        let running = self.store.data().running.as_ref();
        let (log_lines, log_bytes) = running.map_or((0, 0), |running| (running.lines, running.bytes));
        self.calls.intake.take(request, Outbox { bytes, records, log_lines, log_bytes }, &self.program.rules, chunk)
    }
}

/// The guest says that its outbox has more bytes than its area.
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
    fn new(exchange: ExchangeMut<'a, '_>) -> Self {
        Self { area: exchange.inbox(), written: Written::default() }
    }

    #[inline]
    fn push(&mut self, record: &[u64]) {
        self.area.push(record);
        self.written.bytes += size_of_val(record) as u32;
        self.written.records += 1;
        self.written.bounces += u32::from(header(record).kind == kind::BOUNCE);
    }
}

/// Starts to load a line into the cache. Any address will do.
#[inline]
fn fetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on the cache, whatever the address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
