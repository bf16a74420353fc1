//! Tables for ports: agents that are functions, and a model that doubles.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use bevy_app::App;
use wasm_engine_abi::{CallKind, Capabilities, InferenceStatus, MessageHeader, Op, OutboxHeader};
use wasm_engine_components::{
    AgentId, FaultKind, FaultPolicy, GroupId, GroupLimits, GroupSpec, Model, ModelNoticeKind, ModelSpec,
};
use wasm_engine_systems::ports::{
    AgentPort, AgentRuntime, CallFault, ModelBatch, ModelPort, ModelResults, ModelRuntime, Outbox, OutboxRules,
    OutputChunk, RowResult, SharedRegion, StepBatch, StepResults, SwapBatch, SwapResults,
};
use wasm_engine_systems::{GroupSeed, Population, SimulationPlugin, populate, testing};

/// What a call costs.
pub const FUEL: u64 = 10;
/// What a call that ends in a trap may have cost beyond that.
pub const UNCOUNTED: u64 = 35;

/// What a table's agent is shown of a call.
#[allow(dead_code, reason = "each test that has this table looks at some of it")]
pub struct Call<'a> {
    pub agent: AgentId,
    pub frame: u64,
    pub call: CallKind,
    pub inbox: Vec<(MessageHeader, Vec<u8>)>,
    pub regions: &'a [SharedRegion<'a>],
    pub out: &'a mut Out,
}

/// An outbox in the making.
#[derive(Default)]
pub struct Out {
    pub bytes: Vec<u8>,
    pub records: u32,
    pub fault: Option<FaultKind>,
    /// What the call takes beyond the fuel that each call takes.
    pub more_fuel: u64,
}

impl Out {
    pub fn push(&mut self, op: Op, target: u64, kind: u32, correlation: u64, payload: &[u8]) {
        self.record(OutboxHeader { target, correlation, op: op as u32, kind, ..OutboxHeader::default() }, payload);
    }

    /// Any record; the length of its payload is filled in.
    pub fn record(&mut self, header: OutboxHeader, payload: &[u8]) {
        let header = OutboxHeader { payload_bytes: payload.len() as u32, ..header };
        self.bytes.extend_from_slice(bytemuck::bytes_of(&header));
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.records += 1;
    }

    pub fn send(&mut self, to: AgentId, kind: u32, payload: &[u8]) {
        self.push(Op::Send, to.0, kind, 0, payload);
    }

    pub fn request(&mut self, to: AgentId, correlation: u64, deadline_frames: u32) {
        let (target, op) = (to.0, Op::Request as u32);
        self.record(OutboxHeader { target, correlation, op, deadline_frames, ..OutboxHeader::default() }, &[]);
    }
}

/// Agents that are functions. How they are spread over chunks is a parameter, because it must not matter.
pub struct Table<F> {
    pub chunk_agents: usize,
    pub step: F,
}

impl<F: FnMut(Call<'_>) + Send + Sync + 'static> AgentRuntime for Table<F> {
    fn step(&mut self, batch: &StepBatch<'_>, results: &mut StepResults) {
        results.outcomes.clear();
        results.chunks.clear();
        for request in batch.requests {
            let group = request.agent.group();
            let full = results.outcomes.len().is_multiple_of(self.chunk_agents);
            if full || results.chunks.last().is_none_or(|chunk| chunk.group != group) {
                results.chunks.push(OutputChunk::new(group));
            }
            let mut out = Out::default();
            let inbox = match request.call {
                CallKind::Init => Vec::new(),
                _ => batch.inbox.of(request.slot).map(|(header, payload)| (*header, payload.to_vec())).collect(),
            };
            (self.step)(Call {
                agent: request.agent,
                frame: batch.frame,
                call: request.call,
                inbox,
                regions: batch.regions,
                out: &mut out,
            });
            let chunk = results.chunks.last_mut().expect("a chunk was pushed for the first request");
            let limits = testing::limits(&batch.intake, group).unwrap_or(GroupLimits::DEFAULT);
            let rules = OutboxRules { limits, capabilities: Capabilities::ALL };
            let outbox = Outbox { bytes: &out.bytes, records: out.records, log_lines: 0, log_bytes: 0 };
            let fault = match out.fault {
                Some(kind) => Some(CallFault::new(kind, 0)),
                None => batch.intake.take(request, outbox, &rules, chunk).err(),
            };
            if fault.is_some_and(|fault| fault.kind == FaultKind::Trap) {
                chunk.uncounted += UNCOUNTED;
            }
            results.outcomes.push(chunk.count(request, FUEL + out.more_fuel, fault));
        }
    }

    /// A function's state is its own: everybody takes it along.
    fn swap(&mut self, batch: &SwapBatch<'_>, results: &mut SwapResults) {
        results.carried.resize(batch.requests.len(), true);
    }
}

/// A model that doubles each byte of its row, and remembers how it was asked.
#[derive(Clone, Default)]
pub struct Doubler(pub std::sync::Arc<std::sync::Mutex<Vec<Vec<Vec<u8>>>>>);

impl ModelRuntime for Doubler {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        for batch in batches {
            self.0
                .lock()
                .expect("no test fails while it holds the lock")
                .push(batch.rows.iter().map(|row| row.to_vec()).collect());
            for row in batch.rows {
                let offset = results.bytes.len();
                results.bytes.extend(row.iter().map(|byte| byte * 2));
                results.rows.push(RowResult { status: InferenceStatus::Ok, offset, bytes: row.len() });
            }
        }
    }
}

/// A model that fails an audit whenever its rows share a run.
#[derive(Clone, Default)]
pub struct Suspect(pub Doubler);

impl ModelRuntime for Suspect {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        self.0.infer(batches, results);
        for batch in batches.iter().filter(|batch| !batch.alone) {
            results.notice(batch.model, ModelNoticeKind::AuditFailed, 1, || "it is suspect".to_owned());
        }
    }
}

pub fn group(id: u32, agents: u32) -> GroupSeed {
    GroupSeed {
        group: GroupSpec::new(GroupId(id), format!("group-{id}"), agents)
            .with(|group| group.on_fault = FaultPolicy::Terminate),
        inbox_bytes_max: 4096,
    }
}

/// The model of a name: bytes of a row, most rows of a batch, frames to a result.
pub fn model(name: &str, (row_bytes, batch_rows_max, latency_frames): (u32, u32, u32)) -> Model {
    let spec = ModelSpec::new(name, "").with(|model| {
        (model.batch_rows_max, model.latency_frames) = (batch_rows_max, latency_frames);
    });
    Model { spec, row_bytes }
}

pub fn app(population: Population, step: impl FnMut(Call<'_>) + Send + Sync + 'static) -> App {
    app_with(population, 2, step)
}

pub fn app_with(
    population: Population,
    chunk_agents: usize,
    step: impl FnMut(Call<'_>) + Send + Sync + 'static,
) -> App {
    let mut app = App::new();
    app.add_plugins(SimulationPlugin);
    app.insert_resource(AgentPort(Box::new(Table { chunk_agents, step })));
    app.insert_resource(ModelPort(Box::new(Doubler::default())));
    populate(app.world_mut(), population);
    app
}
