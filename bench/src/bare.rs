//! The floor: a bare loop over the same instances, in the same shards, with the same exchange. For each agent it writes context
//! and inbox, sets the fuel, calls `agent_step`, reads the fuel and the outbox. It knows that each agent's message goes to the
//! next one, so it neither addresses, sorts, checks nor digests anything.

use rayon::prelude::*;
use wasm_engine::wasm::{BareShard, ModuleSource, WasmOptions, WasmRuntime};
use wasm_engine_abi::{CallKind, FrameContext, MessageHeader, OutboxHeader, agent_key};
use wasm_engine_components::{AgentId, AgentSlot, GroupSpec};
use wasm_engine_systems::ports::{
    AgentRuntime, Directory, HostInbox, InboxView, Link, OutboxIntake, StepBatch, StepRequest, StepResults,
};

/// A message of the ring: one inbox record with its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Record {
    header: MessageHeader,
    value: u64,
}

/// A message of an agent, as it is in its outbox.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Sent {
    header: OutboxHeader,
    value: u64,
}

/// The ring without the engine.
pub struct Ring {
    shards: Vec<BareShard>,
    group: GroupSpec,
    keys: Vec<u64>,
    /// Message of each agent in the last frame, as its neighbour sees it.
    before: Vec<Record>,
    now: Vec<Record>,
    frame: u64,
    fuel: u64,
}

impl Ring {
    /// Returns the ring after its first frame, on the current thread pool.
    ///
    /// # Panics
    /// If the module of this repository doesn't load, or doesn't behave as a ring.
    pub fn new(agents: u32) -> Self {
        let scenario = crate::engine::scenario(agents);
        let (entry, module) = (&scenario.groups[0], &scenario.modules[0]);
        let of_size = |group: &mut GroupSpec| (group.module, group.agents, group.agents_max) = (0, agents, agents);
        let group = entry.clone().with(of_size);
        let bytes = std::fs::read(&module.path).unwrap_or_else(|e| panic!("{}: {e}", module.path.display()));
        let source = ModuleSource { name: module.name.clone(), path: module.path.clone(), bytes };
        let options = WasmOptions { seed: scenario.seed, ..WasmOptions::default() };
        let mut runtime =
            WasmRuntime::load(&options, &[source], std::slice::from_ref(&group)).unwrap_or_else(|e| panic!("{e}"));
        initialise(&mut runtime, &group);

        let ids = (0..agents).map(|ordinal| AgentId::new(group.id, ordinal));
        let keys = ids.clone().map(|id| agent_key(scenario.seed, id.0)).collect();
        // `agent_init` sent each token with the value 0 to the next agent.
        let before: Vec<Record> = ids.map(|id| record(id, 0, &Sent { header: token_header(), value: 0 })).collect();
        Self { shards: runtime.into_bare(), group, keys, now: before.clone(), before, frame: 1, fuel: 0 }
    }

    /// Runs one frame, in which every token is passed on.
    ///
    /// # Panics
    /// If a call faults, or doesn't send one message.
    pub fn frame(&mut self) {
        let Self { shards, keys, before, now, group, frame, .. } = self;
        let first = shards.first().map_or(1, BareShard::agents);
        let parts = shards.iter_mut().zip(now.chunks_mut(first)).enumerate();
        let calls = Calls { frame: *frame, group, keys, before };
        let run = |(at, (shard, now)): (usize, (&mut BareShard, &mut [Record]))| calls.run(at * first, shard, now);
        let fuel: u64 = if rayon::current_num_threads() == 1 {
            parts.map(run).sum()
        } else {
            parts.collect::<Vec<_>>().into_par_iter().map(run).sum()
        };
        self.fuel = self.fuel.wrapping_add(fuel);
        self.frame += 1;
        std::mem::swap(&mut self.before, &mut self.now);
    }

    /// Returns the sum of the tokens' values. Each frame adds one to each token.
    pub fn sum(&self) -> u64 {
        self.before.iter().map(|record| record.value).sum()
    }

    /// Returns the number of frames that were run, including the first.
    pub const fn frames(&self) -> u64 {
        self.frame
    }
}

/// What the calls of a frame share.
struct Calls<'a> {
    frame: u64,
    group: &'a GroupSpec,
    keys: &'a [u64],
    before: &'a [Record],
}

impl Calls<'_> {
    /// Steps a shard, whose first agent has the number `start`. Returns the fuel that it used.
    fn run(&self, start: usize, shard: &mut BareShard, now: &mut [Record]) -> u64 {
        let mut fuel = 0;
        let layout = *shard.layout();
        for (at, slot) in now.iter_mut().enumerate() {
            let agent = start + at;
            let neighbour = agent.checked_sub(1).unwrap_or(self.before.len() - 1);
            let ordinal = u32::try_from(agent).expect("the agents are numbered with u32");
            let id = AgentId::new(self.group.id, ordinal);
            let context = FrameContext {
                frame: self.frame,
                agent: id.0,
                random_key: self.keys[agent],
                group: self.group.id.0,
                ordinal,
                inbox_records: 1,
                inbox_bytes: size_of::<Record>() as u32,
                call: CallKind::Step as u32,
                ..FrameContext::default()
            };
            let memory = shard.memory(at);
            // SAFETY: context and inbox lie inside the memory (the layout was checked, and the ring's inbox holds a record).
            unsafe {
                memory.add(layout.context as usize).cast::<FrameContext>().write_unaligned(context);
                memory.add(layout.inbox as usize).cast::<Record>().write_unaligned(self.before[neighbour]);
            }
            let (status, used) = shard.step(at).expect("the ring's agents don't trap");
            fuel += used;
            let ends = core::mem::offset_of!(FrameContext, outbox_records);
            // SAFETY: as above, for the context's end and the outbox.
            let (counts, sent) = unsafe {
                let counts = memory.add(layout.context as usize + ends).cast::<[u32; 2]>().read_unaligned();
                (counts, memory.add(layout.outbox as usize).cast::<Sent>().read_unaligned())
            };
            assert!(status == 0 && counts == [1, size_of::<Sent>() as u32], "the ring's agents send one token each");
            *slot = record(id, self.frame, &sent);
        }
        fuel
    }
}

fn token_header() -> OutboxHeader {
    OutboxHeader { op: 1, kind: 1, payload_bytes: 8, ..OutboxHeader::default() }
}

/// Returns a sent message as its recipient sees it.
#[inline]
fn record(from: AgentId, frame: u64, sent: &Sent) -> Record {
    let header = MessageHeader {
        sender: from.0,
        correlation: sent.header.correlation,
        frame,
        kind: sent.header.kind,
        payload_bytes: sent.header.payload_bytes,
        ..MessageHeader::default()
    };
    Record { header, value: sent.value }
}

fn initialise(runtime: &mut WasmRuntime, group: &GroupSpec) {
    let requests: Vec<StepRequest> = (0..group.agents)
        .map(|slot| StepRequest { agent: AgentId::new(group.id, slot), slot: AgentSlot(slot), call: CallKind::Init })
        .collect();
    let (slots, host, directory) = (vec![Link::END; requests.len()], HostInbox::default(), Directory::default());
    let inbox = InboxView { firsts: &slots, links: &[], chunks: &[], current: &[], host: &host };
    let intake = OutboxIntake { frame: 0, directory: &directory };
    let mut results = StepResults::default();
    let batch = StepBatch { frame: 0, digest_memories: false, requests: &requests, inbox, regions: &[], intake };
    runtime.step(&batch, &mut results);
    assert!(results.outcomes.iter().all(|outcome| outcome.fault.is_none()), "the ring's agents initialise");
}
