//! Tests of the sandbox: modules are written as text, groups as tables, and each test drives the port itself.
#![allow(clippy::unwrap_used, reason = "a test ends at what it doesn't expect")]

mod bombs;
mod calls;
mod capture;
mod depth;
mod faults;
mod fuel;
mod fuzz;
mod hostile;
mod large;
mod modules;
mod parallel;
mod regions;
mod restart;
mod restore;
mod speed;
mod swap;

use std::path::PathBuf;
use std::slice::from_ref;

use wasm_engine_abi::{CallKind, Capabilities, MessageHeader};
use wasm_engine_components::{
    AgentId, AgentSlot, FaultKind, GroupId, GroupLimits, GroupSpec, ModuleSwap, Recipient, RegionSpec, RegionState,
    TopicId,
};
use wasm_engine_systems::ports::{
    AgentRuntime, Delivery, Directory, HostInbox, InboxView, Link, OutboxIntake, SharedRegion, StepBatch, StepOutcome,
    StepRequest, StepResults,
};
use wasm_engine_systems::testing;

use super::{ModuleError, ModuleProblem, ModuleSource, WasmOptions, WasmRuntime};

/// Address of the exchange block of [`agent`]s.
const BLOCK: u32 = 1024;
/// Address of their context.
const CONTEXT: u32 = BLOCK + 64;
/// Address of their inbox, 4,096 bytes.
const INBOX: u32 = BLOCK + 128;
/// Address of their outbox, 8,192 bytes.
const OUTBOX: u32 = BLOCK + 8192;

/// The data segment of an exchange block without a regions area.
fn header(magic: u32, version: u32, inbox: (u32, u32), outbox: (u32, u32)) -> String {
    header_with(magic, version, inbox, outbox, (0, 0))
}

fn header_with(magic: u32, version: u32, inbox: (u32, u32), outbox: (u32, u32), regions: (u32, u32)) -> String {
    let words = [magic, version, inbox.0, inbox.1, outbox.0, outbox.1, regions.0, regions.1];
    words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect()
}

fn good_header() -> String {
    header(wasm_engine_abi::MAGIC, 1, (128, 4096), (8192, 8192))
}

/// A whole agent: a step's body, and anything else for the module.
fn agent(step: &str, rest: &str) -> String {
    agent_with("", step, rest)
}

fn agent_with(imports: &str, step: &str, rest: &str) -> String {
    format!(
        r#"(module {imports}
  (memory (export "memory") 1)
  (data (i32.const {BLOCK}) "{}")
  (global (export "agent_exchange") i32 (i32.const {BLOCK}))
  (func (export "agent_init") (param i32) (result i32) i32.const 0)
  (func (export "agent_step") (param $ctx i32) (result i32) {step})
  {rest})"#,
        good_header()
    )
}

/// Body of a step that sends `bytes` as the outbox of `records` records, whatever they are.
fn outbox_claims(records: u32, bytes: u32) -> String {
    format!(
        "(i32.store offset=56 (local.get $ctx) (i32.const {records}))
         (i32.store offset=60 (local.get $ctx) (i32.const {bytes})) i32.const 0"
    )
}

fn source(text: &str) -> ModuleSource {
    ModuleSource { name: "m".into(), path: PathBuf::from("agents/m.wasm"), bytes: wat::parse_str(text).unwrap() }
}

fn group(number: u32, agents: u32) -> GroupSpec {
    GroupSpec::new(GroupId(number), format!("g{number}"), agents)
}

fn load(text: &str, group: &GroupSpec) -> Result<WasmRuntime, ModuleError> {
    load_bytes(source(text), group)
}

fn load_bytes(source: ModuleSource, group: &GroupSpec) -> Result<WasmRuntime, ModuleError> {
    WasmRuntime::load(&WasmOptions::default(), &[source], from_ref(group))
}

/// The problem that a load ends with.
fn problem(text: &str) -> ModuleProblem {
    problem_of(source(text), &group(1, 2))
}

fn problem_of(source: ModuleSource, group: &GroupSpec) -> ModuleProblem {
    match load_bytes(source, group) {
        Err(ModuleError::Module { problem, .. }) => {
            assert!(!problem.to_string().is_empty() && !problem.help().is_empty(), "it says what to do: {problem}");
            problem
        }
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("the module was loaded"),
    }
}

/// A runtime and its agents' ids by slot.
struct Rig {
    runtime: WasmRuntime,
    agents: Vec<AgentId>,
    results: StepResults,
    frame: u64,
    /// The slots that were called in the last frame, in that order.
    called: Vec<u32>,
    /// What the next frame's agents see of the shared regions.
    regions: Vec<(RegionSpec, RegionState)>,
}

/// A message that an agent sent.
struct Given<'a> {
    header: MessageHeader,
    payload: &'a [u8],
}

/// A directory in which there is whoever a message is for, as long as it is of the host's group, and the topic 0.
fn directory() -> Directory {
    testing::directory(&GroupSpec::new(GroupId(0), "host", u32::MAX), &[TopicId(0)])
}

/// A message in a test: for which slot, and what.
struct Mail<'a>(u32, MessageHeader, &'a [u8]);

fn mail(slot: u32, kind: u32, payload: &[u8]) -> Mail<'_> {
    let payload_bytes = payload.len() as u32;
    Mail(slot, MessageHeader { sender: 7, kind, correlation: 9, payload_bytes, ..MessageHeader::default() }, payload)
}

impl Rig {
    fn new(text: &str) -> Self {
        Self::of(text, &group(1, 1))
    }

    fn of(text: &str, group: &GroupSpec) -> Self {
        let runtime = load(text, group).unwrap_or_else(|error| panic!("{error}"));
        let agents = (0..group.agents).map(|ordinal| AgentId::new(group.id, ordinal)).collect();
        Self::from(runtime, agents, 0)
    }

    fn from(runtime: WasmRuntime, agents: Vec<AgentId>, frame: u64) -> Self {
        Self { runtime, agents, results: StepResults::default(), frame, called: Vec::new(), regions: Vec::new() }
    }

    /// One frame in which the agents at `slots` are called, in that order.
    fn frame_of(&mut self, slots: &[u32], call: CallKind, mails: &[Mail<'_>], digest: bool) {
        let mut host = HostInbox::default();
        for Mail(slot, header, payload) in mails {
            host.push(Recipient::Agent(AgentSlot(*slot)), header, payload);
        }
        let (mut requests, mut links) = (Vec::new(), Vec::new());
        let mut firsts = vec![Link::END; self.agents.len()];
        for slot in slots.iter().copied().map(AgentSlot) {
            for address in
                host.addresses.iter().rev().filter(|address| address.recipient() == Some(Recipient::Agent(slot)))
            {
                let next = std::mem::replace(&mut firsts[slot.index()], links.len() as u32);
                links.push(Link { delivery: Delivery { chunk: Delivery::HOST, offset: address.offset }, next });
            }
            requests.push(StepRequest { agent: self.agents[slot.index()], slot, call });
        }
        self.called = slots.to_vec();
        let inbox = InboxView { firsts: &firsts, links: &links, chunks: &[], current: &[], host: &host };
        let directory = directory();
        let intake = OutboxIntake { frame: self.frame, directory: &directory };
        let regions: Vec<_> = self.regions.iter().map(|(region, state)| SharedRegion { region, state }).collect();
        let batch = StepBatch {
            frame: self.frame,
            digest_memories: digest,
            requests: &requests,
            inbox,
            regions: &regions,
            intake,
        };
        self.runtime.step(&batch, &mut self.results);
        self.frame += 1;
    }

    /// One frame in which all agents are called.
    fn frame(&mut self, call: CallKind, mails: &[Mail<'_>]) {
        let slots: Vec<u32> = (0..self.agents.len() as u32).collect();
        self.frame_of(&slots, call, mails, true);
    }

    /// Calls the first agent without messages.
    fn step(&mut self) -> StepOutcome {
        self.frame_of(&[0], CallKind::Step, &[], true);
        self.results.outcomes[0]
    }

    fn fault(&mut self) -> (Option<FaultKind>, u32) {
        let outcome = self.step();
        if outcome.fault.is_some() {
            assert!(self.outbox(0).is_empty(), "of a faulted call nothing stays");
        }
        (outcome.fault, outcome.detail)
    }

    /// The messages that the request at `position` gave: what their recipients see.
    fn outbox(&self, position: usize) -> Vec<Given<'_>> {
        let sender = self.agents[self.called[position] as usize].0;
        let messages = self.results.chunks.iter().flat_map(|chunk| {
            chunk.addresses.iter().map(|address| {
                let (header, payload) = chunk.messages.message(address.offset);
                Given { header: *header, payload }
            })
        });
        messages.filter(|given| given.header.sender == sender).collect()
    }

    /// Records of the last frame, of all kinds.
    fn records(&self) -> usize {
        self.results.chunks.iter().map(|chunk| chunk.addresses.len() + chunk.refused.len() + chunk.deferred.len()).sum()
    }

    /// Digest of the memories in the last frame.
    fn memory_sum(&self) -> u128 {
        self.results.chunks.iter().fold(0, |sum, chunk| sum.wrapping_add(chunk.memory_sum))
    }
}

/// An agent that sends each message back, and one more byte of what it counts.
fn echo() -> String {
    agent(
        &format!(
            "(local $in i32) (local $out i32) (local $left i32) (local $len i32)
  (local.set $in (i32.const {INBOX})) (local.set $out (i32.const {OUTBOX}))
  (local.set $left (i32.load offset=32 (local.get $ctx)))
  (block $done (loop $next
    (br_if $done (i32.eqz (local.get $left)))
    (local.set $len (i32.load offset=44 (local.get $in)))
    (i64.store (local.get $out) (i64.load (local.get $in)))
    (i64.store offset=8 (local.get $out) (i64.load offset=16 (local.get $in)))
    (i32.store offset=16 (local.get $out) (i32.const 1))
    (i32.store offset=20 (local.get $out) (i32.load offset=36 (local.get $in)))
    (i32.store offset=24 (local.get $out) (local.get $len))
    (i32.store offset=28 (local.get $out) (i32.const 0))
    (memory.copy (i32.add (local.get $out) (i32.const 32)) (i32.add (local.get $in) (i32.const 48)) (local.get $len))
    (local.set $len (i32.and (i32.add (local.get $len) (i32.const 7)) (i32.const -8)))
    (local.set $in (i32.add (i32.add (local.get $in) (i32.const 48)) (local.get $len)))
    (local.set $out (i32.add (i32.add (local.get $out) (i32.const 32)) (local.get $len)))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br $next)))
  (global.set $steps (i32.add (global.get $steps) (i32.const 1)))
  (i32.store (i32.const 65000) (global.get $steps))
  (i32.store offset=56 (local.get $ctx) (i32.load offset=32 (local.get $ctx)))
  (i32.store offset=60 (local.get $ctx) (i32.sub (local.get $out) (i32.const {OUTBOX})))
  i32.const 0"
        ),
        "(global $steps (mut i32) (i32.const 0))",
    )
}
