//! Hot swaps: the agents of a shard become instances of another program, in the same slots. Each takes its state along, where it
//! is asked to and both modules offer the exports for it:
//!
//! ```text
//! old instance    agent_export_state             the state is what lies in its outbox area
//! its slot        cleared, a new instance        all agents of the shard: they share the store that ends
//! new instance    agent_init, agent_import_state the parameters, then the state, each as the only inbox record
//! ```
//!
//! Each call has the fuel of a step. Outboxes of these calls aren't read. What faults leaves the agent as it was made.

use std::sync::Arc;

use wasm_engine_abi::{CallKind, MessageHeader, OutboxError, kind, padded};
use wasm_engine_components::{AgentSlot, FaultKind};
use wasm_engine_systems::ports::{
    CallFault, Directory, HostInbox, InboxView, OutboxIntake, OverLimit, StepRequest, SwapBatch, SwapRequest,
    SwapResults, memory_digest,
};

use super::{
    guest_index::GuestIndex,
    program::GroupProgram,
    shard::Shard,
    stack::on_deep_stack,
    step::{Caller, FrameCalls, Written, beyond_area},
    work_split::run_on_threads,
};

/// The part of a swap that one shard does.
struct ShardSwap<'a> {
    shard: &'a mut Shard,
    requests: &'a [SwapRequest],
    results: &'a mut SwapResults,
}

/// Swaps the shards of a group, in parallel. The results don't depend on which thread swaps which shard.
pub(super) fn swap_group(
    shards: &mut [Shard],
    program: &Arc<GroupProgram>,
    batch: &SwapBatch<'_>,
    results: &mut SwapResults,
    begin: impl FnOnce() + Send,
) {
    let (host, directory) = (HostInbox::default(), Directory::default());
    let calls = FrameCalls {
        frame: batch.frame,
        digest_memories: batch.digest_memories,
        inbox: InboxView { firsts: &[], links: &[], chunks: &[], current: &[], host: &host },
        intake: OutboxIntake { frame: batch.frame, directory: &directory },
        // Regions are shown with the first call after the swap.
        regions: &[],
        prefetch: false,
    };
    let of_group = |shard: &&mut Shard| shard.program().group == batch.group;
    let mut parts: Vec<SwapResults> = Vec::new();
    parts.resize_with(shards.iter_mut().filter(of_group).count(), SwapResults::default);
    let mut left = batch.requests;
    let mut tasks = Vec::with_capacity(parts.len());
    for (shard, results) in shards.iter_mut().filter(of_group).zip(&mut parts) {
        let end = shard.first_slot + shard.agents_max;
        let (requests, rest) = left.split_at(left.partition_point(|request| request.slot < end));
        left = rest;
        tasks.push(ShardSwap { shard, requests, results });
    }
    assert!(left.is_empty(), "a swap of agents of another group");
    let run = |ShardSwap { shard, requests, results }: ShardSwap<'_>| {
        on_deep_stack(|| shard.swap(program, &calls, requests, results));
    };
    run_on_threads(tasks, run, begin);
    parts.iter_mut().for_each(|part| results.append(part));
}

impl Shard {
    /// Replaces the program and all instances.
    fn swap(
        &mut self,
        program: &Arc<GroupProgram>,
        calls: &FrameCalls<'_>,
        requests: &[SwapRequest],
        results: &mut SwapResults,
    ) {
        let room = program.template.layout().inbox_bytes_max;
        let takes_states = program.template.calls().import_state.is_some();
        let mut caller = self.caller(calls);
        let states: Vec<_> = requests
            .iter()
            .map(|request| match takes_states {
                true => caller.export(request, room, results),
                false => None,
            })
            .collect();
        self.take_lines(results);
        self.replace(program);
        let mut caller = self.caller(calls);
        for (request, state) in requests.iter().zip(states) {
            let carried = match state {
                Some(state) => caller.import(request, &state, results),
                None => {
                    if request.init {
                        caller.init(request, results);
                    }
                    false
                }
            };
            caller.digest(request, results);
            results.carried.push(carried);
        }
        self.take_lines(results);
        // Exports came before imports; the record is by agents.
        results.log_lines.sort_by_key(|line| line.agent);
        results.faults.sort_by_key(|fault| fault.agent);
    }

    /// Takes what the import `log` wrote so far.
    fn take_lines(&mut self, results: &mut SwapResults) {
        let state = self.guests.state_mut();
        results.log_lines.append(&mut state.lines);
        results.unkept_lines.append(&core::mem::take(&mut state.unkept));
    }

    fn caller<'a>(&'a mut self, calls: &'a FrameCalls<'a>) -> ShardCaller<'a> {
        let Self { guests, shown, first_slot, .. } = self;
        let guests = guests.calls();
        let caller = Caller { calls, credits: u32::MAX, guests, shown, newest: None, receives: false };
        ShardCaller { first_slot: *first_slot, caller }
    }
}

/// Makes the calls of a swap.
struct ShardCaller<'a> {
    first_slot: AgentSlot,
    caller: Caller<'a>,
}

impl ShardCaller<'_> {
    /// Returns the index of the agent's guest in the shard.
    fn guest(&self, request: &SwapRequest) -> GuestIndex {
        GuestIndex(request.slot - self.first_slot)
    }

    /// Returns the state that an agent leaves; `None` where its module doesn't offer it, and where it faults.
    fn export(&mut self, request: &SwapRequest, room: u32, results: &mut SwapResults) -> Option<Vec<u8>> {
        let export = self.caller.guests.program().template.calls().export_state.as_ref()?;
        let guest = self.guest(request);
        self.caller.ready(&step_request(request, CallKind::Export), guest, Written::default());
        let called = self.caller.invoke(guest, export);
        let state = called.and_then(|()| self.state(guest, room));
        self.settle(request, state, results)
    }

    /// Returns what lies in the outbox area, as far as the guest says that it is its state.
    fn state(&self, guest: GuestIndex, room: u32) -> Result<Vec<u8>, CallFault> {
        let exchange = self.caller.guests.exchange(guest);
        let context = exchange.context();
        let bytes = context.outbox_bytes;
        if context.outbox_records != 0 {
            return Err(CallFault::new(FaultKind::BadOutbox, OutboxError::Malformed as u32));
        }
        let Some(state) = exchange.outbox(bytes) else {
            return Err(beyond_area(bytes, self.caller.guests.program().template.layout().outbox_bytes_max));
        };
        let record = padded(bytes).and_then(|payload| payload.checked_add(MessageHeader::BYTES)).unwrap_or(u32::MAX);
        if record > room {
            return Err(CallFault::over(OverLimit::StateBytes, record, room));
        }
        Ok(state.to_vec())
    }

    /// Initialises an agent and gives it its state; whether that went well. If not, the agent is as the request says.
    fn import(&mut self, request: &SwapRequest, state: &[u8], results: &mut SwapResults) -> bool {
        if !self.init(request, results) {
            // A second try would end as the first did.
            if !request.init {
                self.renew(request);
            }
            return false;
        }
        let guest = self.guest(request);
        self.caller.hand_over_own(&step_request(request, CallKind::Import), guest, kind::STATE, state);
        let import = self.caller.guests.program().template.calls().import_state.as_ref();
        let imported = self.caller.invoke(guest, import.expect("states are exported for modules that import them"));
        let imported = self.settle(request, imported, results).is_some();
        if !imported {
            self.renew(request);
            if request.init {
                self.init(request, results);
            }
        }
        imported
    }

    /// Calls `agent_init` on a fresh instance.
    fn init(&mut self, request: &SwapRequest, results: &mut SwapResults) -> bool {
        let guest = self.guest(request);
        self.caller.guests.marks_mut(guest).changed = true;
        let init = self.caller.init(&step_request(request, CallKind::Init), guest, true);
        self.settle(request, init, results).is_some()
    }

    /// Makes an instance as new.
    fn renew(&mut self, request: &SwapRequest) {
        self.caller.guests.renew(self.guest(request));
    }

    /// Notes what a call took, and its fault.
    fn settle<T>(&self, request: &SwapRequest, outcome: Result<T, CallFault>, results: &mut SwapResults) -> Option<T> {
        results.fuel = results.fuel.wrapping_add(self.caller.fuel_used());
        match outcome {
            Ok(value) => Some(value),
            Err(fault) => {
                results.uncounted = results.uncounted.saturating_add(self.caller.fuel_uncounted(fault.kind));
                results.faults.push(fault.of(request.agent));
                None
            }
        }
    }

    fn digest(&self, request: &SwapRequest, results: &mut SwapResults) {
        let guest = self.guest(request);
        if self.caller.calls.digest_memories && self.caller.guests.marks(guest).used {
            let memory = self.caller.guests.memory(guest).bytes();
            results.memory_sum = results.memory_sum.wrapping_add(memory_digest(request.agent, memory));
        }
    }
}

const fn step_request(request: &SwapRequest, call: CallKind) -> StepRequest {
    StepRequest { agent: request.agent, slot: request.slot, call }
}
