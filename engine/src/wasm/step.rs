//! One call of one agent: context and inbox in, the call, outbox out. This is the engine's hottest code.
//!
//! It reaches the agent's memory through its slot. That is sound because the shard is borrowed for the whole call, the guest is
//! stopped whenever the host reads or writes, and every address comes from the exchange layout, which was checked against the
//! initial memory: memories never get smaller than that.

use wasm_engine_abi::{
    CallKind, FrameContext, MessageHeader, OutboxError,
    message::{kind, sender},
};
use wasm_engine_components::FaultKind;
use wasm_engine_systems::{
    digest::memory_digest,
    outbox::{Desk, Fault, Outbox},
    ports::{InboxView, OutputChunk, StepOutcome, StepRequest},
};
use wasmtime::{Func, ValRaw};

use super::{
    arena::Slot,
    imports::Running,
    shard::{Shard, function},
    trap::fault_of,
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
    pub desk: Desk<'a>,
    /// Whether the agents are too many for the caches.
    pub prefetch: bool,
}

/// Records in an agent's inbox, and the bytes that they take.
#[derive(Clone, Copy, Default)]
struct Written {
    records: u32,
    bytes: u32,
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
        core::mem::swap(&mut self.store.data_mut().lines, &mut chunk.log_lines);
        for (position, (request, outcome)) in requests.iter().zip(outcomes).enumerate() {
            if calls.prefetch
                && let Some(ahead) = requests.get(position + PREFETCH_AGENTS)
            {
                self.prefetch(ahead);
            }
            *outcome = self.call(calls, request, chunk);
            chunk.count(request, outcome);
        }
        core::mem::swap(&mut self.store.data_mut().lines, &mut chunk.log_lines);
    }

    #[inline]
    fn prefetch(&self, request: &StepRequest) {
        let at = request.slot.wrapping_sub(self.first_slot) as usize;
        let Some(hot) = self.hot.get(at) else { return };
        let (base, layout) = (hot.slot.base().cast_const(), &self.program.layout);
        fetch(hot.vm);
        fetch(base.wrapping_add(layout.context as usize));
        fetch(base.wrapping_add(layout.inbox as usize));
        fetch(base.wrapping_add(layout.outbox as usize));
    }

    #[inline]
    fn call(&mut self, calls: &FrameCalls<'_>, request: &StepRequest, chunk: &mut OutputChunk) -> StepOutcome {
        let at = (request.slot - self.first_slot) as usize;
        let slot = self.slot(at);
        let called = self.enter(calls, request, at, slot);
        let outcome = match called.and_then(|fuel| self.take_outbox(calls, request, slot, chunk).map(|()| fuel)) {
            Ok(fuel) => StepOutcome { fuel, ..StepOutcome::default() },
            Err((fault, detail)) => {
                StepOutcome { fuel: self.program.recipe.limits.fuel_per_step_max, detail, fault: Some(fault) }
            }
        };
        if calls.digest_memories {
            // SAFETY: see the module's head.
            let memory = unsafe { slot.bytes() };
            chunk.memory_sum = chunk.memory_sum.wrapping_add(memory_digest(request.agent, memory));
        }
        outcome
    }

    /// Hands over the inbox and runs the guest. Gives the fuel that it used.
    #[inline]
    fn enter(&mut self, calls: &FrameCalls<'_>, request: &StepRequest, at: usize, slot: Slot) -> Result<u64, Fault> {
        let written = match request.call {
            CallKind::Init => {
                self.refresh(at);
                self.write_params(calls, slot)
            }
            CallKind::Step | CallKind::Shutdown => self.write_inbox(calls, request, slot),
        };
        self.hot[at].used = true;
        self.write_context(calls, request, at, slot, written);
        let budget = self.program.recipe.limits.fuel_per_step_max;
        self.store.set_fuel(budget).expect("fuel is on");
        if self.program.recipe.uses_imports {
            self.store.data_mut().running = Some(Running {
                agent: request.agent,
                key: self.hot[at].key,
                frame: calls.frame,
                slot,
                lines_max: self.program.recipe.limits.log_lines_per_step_max,
                lines: 0,
                bytes: 0,
                fault: None,
            });
        }
        let context = self.program.layout.context;
        match request.call {
            CallKind::Step => {
                if self.program.recipe.calls.receive.is_some()
                    && let Some(receive) = self.cold[at].receive
                {
                    let mut address = self.program.layout.inbox;
                    for (header, _) in calls.inbox.of(request.slot) {
                        self.invoke(at, receive, address)?;
                        address += header.record_bytes().unwrap_or(0);
                    }
                }
                let step = self.hot[at].step;
                self.invoke(at, step, context)?;
            }
            CallKind::Init => {
                let program = std::sync::Arc::clone(&self.program);
                let init = function(&mut self.store, self.cold[at].instance, &program.recipe.calls.init);
                self.invoke(at, init, context)?;
            }
            CallKind::Shutdown => {
                let program = std::sync::Arc::clone(&self.program);
                // An agent without the export just ends.
                if let Some(export) = &program.recipe.calls.shutdown {
                    let shutdown = function(&mut self.store, self.cold[at].instance, export);
                    self.invoke(at, shutdown, context)?;
                }
            }
        }
        Ok(budget - self.store.get_fuel().expect("fuel is on"))
    }

    /// Calls a function `(i32) -> i32` of the agent, which is to return 0.
    #[inline]
    fn invoke(&mut self, at: usize, function: Func, address: u32) -> Result<(), Fault> {
        let mut values = [ValRaw::u32(address)];
        // SAFETY: validation saw that all four exports take one i32 and return one, for which `values` has room; the function
        // is of this store, and no call of the store is running.
        let called = unsafe { function.call_unchecked(&mut self.store, &raw mut values) };
        match called {
            Ok(()) => match values[0].get_u32() {
                0 => Ok(()),
                status => Err((FaultKind::Reported, status)),
            },
            Err(error) => Err(self.fault(at, &error)),
        }
    }

    /// What a trap was, and makes the instance fit to be called again.
    #[cold]
    fn fault(&mut self, at: usize, error: &wasmtime::Error) -> Fault {
        let depth = self.program.recipe.state.take_depth(&mut self.store, self.cold[at].instance);
        if let Some(fault) = self.store.data_mut().running.as_mut().and_then(|running| running.fault.take()) {
            return fault;
        }
        if depth > wasm_engine_components::limits::CALL_DEPTH_MAX {
            return (FaultKind::CallDepth, 0);
        }
        (fault_of(error), 0)
    }

    #[inline]
    fn write_context(&self, calls: &FrameCalls<'_>, request: &StepRequest, at: usize, slot: Slot, written: Written) {
        let address = self.program.layout.context as usize;
        // SAFETY: the layout was checked, see the module's head: the context lies inside the memory, and its address there is a
        // multiple of 8, as is the slot's own. Any bytes are a context.
        let context = unsafe { &mut *slot.base().add(address).cast::<FrameContext>() };
        // Field by field: a context that is made elsewhere and copied waits for its own stores.
        context.frame = calls.frame;
        context.agent = request.agent.0;
        context.random_key = self.hot[at].key;
        context.group = request.agent.group().0;
        context.ordinal = request.agent.ordinal();
        context.inbox_records = written.records;
        context.inbox_bytes = written.bytes;
        context.call = request.call as u32;
        context.frame_period_us = self.program.frame_period_us;
        context.reserved = [0; 2];
        context.outbox_records = 0;
        context.outbox_bytes = 0;
    }

    #[inline]
    fn write_inbox(&self, calls: &FrameCalls<'_>, request: &StepRequest, slot: Slot) -> Written {
        let mut inbox = InboxWriter::new(self, slot);
        for (header, payload) in calls.inbox.of(request.slot) {
            inbox.push(header, payload);
        }
        inbox.written
    }

    fn write_params(&self, calls: &FrameCalls<'_>, slot: Slot) -> Written {
        let params = &self.program.params;
        let header = MessageHeader {
            sender: sender::ENGINE,
            frame: calls.frame,
            kind: kind::PARAMS,
            payload_bytes: params.len() as u32,
            ..MessageHeader::default()
        };
        let mut inbox = InboxWriter::new(self, slot);
        inbox.push(&header, params);
        inbox.written
    }

    /// Hands the outbox in at the desk.
    #[inline]
    fn take_outbox(
        &self,
        calls: &FrameCalls<'_>,
        request: &StepRequest,
        slot: Slot,
        chunk: &mut OutputChunk,
    ) -> Result<(), Fault> {
        let layout = &self.program.layout;
        // SAFETY: as for the write of the context.
        let context = unsafe { &*slot.base().add(layout.context as usize).cast::<FrameContext>() };
        let (records, bytes) = (context.outbox_records, context.outbox_bytes);
        if records == 0 && bytes == 0 {
            return Ok(());
        }
        if bytes > layout.outbox_bytes_max {
            return Err((FaultKind::BadOutbox, OutboxError::Truncated as u32));
        }
        // SAFETY: the outbox area lies inside the memory, see the module's head, and the length was checked above.
        let bytes = unsafe { core::slice::from_raw_parts(slot.base().add(layout.outbox as usize), bytes as usize) };
        let log_lines = self.store.data().running.as_ref().map_or(0, |running| running.lines);
        calls.desk.take(request, Outbox { bytes, records, log_lines }, &self.program.rules, chunk)
    }
}

/// Packs records into an agent's inbox area.
struct InboxWriter {
    base: *mut u8,
    left: u32,
    written: Written,
}

impl InboxWriter {
    #[inline]
    fn new(shard: &Shard, slot: Slot) -> Self {
        let layout = &shard.program.layout;
        // Inside the slot: the layout was checked.
        let base = slot.base().wrapping_add(layout.inbox as usize);
        Self { base, left: layout.inbox_bytes_max, written: Written::default() }
    }

    #[inline]
    fn push(&mut self, header: &MessageHeader, payload: &[u8]) {
        let bytes = header.record_bytes().unwrap_or(u32::MAX);
        // A promise of the systems (and, for parameters, of the load): see `StepRequest::inbox_len`.
        assert!(bytes <= self.left, "an inbox that doesn't fit the module's area");
        assert!(payload.len() == header.payload_bytes as usize, "a header of another payload");
        // SAFETY: `left` bytes from here on are the rest of the inbox area, inside the memory, and the record takes no more. The
        // last 8 bytes of the record are set to zero first, for the padding.
        unsafe {
            let record = self.base.add(self.written.bytes as usize);
            record.add(bytes as usize - 8).cast::<u64>().write_unaligned(0);
            record.cast::<MessageHeader>().write_unaligned(*header);
            copy_payload(payload, record.add(size_of::<MessageHeader>()));
        }
        self.left -= bytes;
        self.written.bytes += bytes;
        self.written.records += 1;
    }
}

/// Copies a payload. Most are a few words long, for which a call of `memcpy` would cost more than the copy.
///
/// # Safety
/// There is room for it at `to`, apart from it.
#[inline]
unsafe fn copy_payload(payload: &[u8], to: *mut u8) {
    if payload.len() == 8 {
        // SAFETY: the caller's promise, of a fixed size.
        unsafe { to.copy_from_nonoverlapping(payload.as_ptr(), 8) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { to.copy_from_nonoverlapping(payload.as_ptr(), payload.len()) };
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
