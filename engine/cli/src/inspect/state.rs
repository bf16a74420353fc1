//! The state after a frame: agents by group and state, what waits, faults, what is on its way.

use bevy_ecs::prelude::With;
use serde::Serialize;
use wasm_engine_components::text::{Lines, Table};
use wasm_engine_components::{FaultKind, FrameRecord, InferenceJob, Lifecycle, RegionSpec, RegionState};
use wasm_engine_systems::inspect;

use super::view::{View, head};
use wasm_engine_core::problem::{counted, thousands};
use wasm_engine_core::run_dir::OpenRun;
use wasm_engine_core::simulation::Simulation;
use wasm_engine_core::summary::fault_reason;

/// The states of a life, in the order of the columns.
const STATES: [Lifecycle; 6] = [
    Lifecycle::Initialising,
    Lifecycle::Active,
    Lifecycle::Paused,
    Lifecycle::Faulted,
    Lifecycle::Terminating,
    Lifecycle::Terminated,
];

#[derive(Serialize)]
pub(super) struct StateJson {
    #[serde(skip)]
    head: Lines,
    run: String,
    frame: u64,
    digest: String,
    messages_sent: usize,
    jobs_in_flight: usize,
    groups: Vec<GroupJson>,
    faults: Vec<FaultJson>,
    regions: Vec<RegionJson>,
    /// The authors' components, and their digests.
    components: Vec<(String, String)>,
}

#[derive(Serialize)]
struct GroupJson {
    group: String,
    /// Agents by state, in the order of a life.
    states: Vec<(&'static str, u64)>,
    waiting_messages: u64,
    memory_bytes: u64,
    steps: u64,
    faults: u64,
    digest: String,
}

#[derive(Serialize)]
struct FaultJson {
    agent: String,
    kind: &'static str,
    detail: u32,
    reached: u64,
    allowed: u64,
    /// Reason, in words.
    reason: String,
}

#[derive(Serialize)]
struct RegionJson {
    region: String,
    bytes: u32,
    version: u64,
}

impl StateJson {
    pub fn new(run: &OpenRun, record: &FrameRecord, simulation: &mut Simulation) -> Self {
        let scenario = &run.scenario;
        let groups = record.groups.iter().map(|group| {
            let agents = inspect::agents(simulation.world(), group.id());
            let found: Vec<_> = agents.iter().filter_map(|id| inspect::agent(simulation.world(), *id)).collect();
            let of_state = |state: Lifecycle| found.iter().filter(|agent| agent.lifecycle == state).count() as u64;
            let waiting = agents.iter().map(|id| inspect::backlog(simulation.world(), *id).len() as u64).sum();
            let memory = found.iter().map(|agent| simulation.guests().memory_bytes(agent.slot)).sum();
            GroupJson {
                group: scenario.group(group.id()).map(|group| group.name.clone()).unwrap_or_default(),
                states: STATES.map(|state| (state.name(), of_state(state))).to_vec(),
                waiting_messages: waiting,
                memory_bytes: memory,
                steps: group.totals.steps,
                faults: group.totals.faults.total(),
                digest: group.digest.to_string(),
            }
        });
        let groups = groups.collect();
        let faults = record.faults.iter().map(|fault| FaultJson {
            agent: scenario.agent_name(fault.agent),
            kind: FaultKind::name(fault.kind),
            detail: fault.detail,
            reached: fault.reached,
            allowed: fault.allowed,
            reason: fault_reason(fault, scenario),
        });
        let world = simulation.world_mut();
        let mut regions: Vec<_> = world
            .query::<(&RegionSpec, &RegionState)>()
            .iter(world)
            .map(|(region, state)| RegionJson {
                region: region.name.clone(),
                bytes: region.bytes,
                version: state.version,
            })
            .collect();
        regions.sort_by(|a, b| a.region.cmp(&b.region));
        let jobs_in_flight = world.query_filtered::<(), With<InferenceJob>>().iter(world).count();
        Self {
            head: head(run, record),
            run: run.path.to_string_lossy().into_owned(),
            frame: record.frame,
            digest: record.digest.to_string(),
            messages_sent: inspect::sent(simulation.world()).len(),
            jobs_in_flight,
            groups,
            faults: faults.collect(),
            regions,
            components: record.native.iter().map(|(name, digest)| (name.to_string(), digest.to_string())).collect(),
        }
    }
}

impl View for StateJson {
    fn text(&self) -> Lines {
        let mut text = self.head.clone();
        text.line(format_args!(
            "in flight  {}, {}",
            counted(self.messages_sent, "message"),
            counted(self.jobs_in_flight, "inference job")
        ));
        text.blank();
        // Columns of states that no agent is in are left out.
        let shown: Vec<usize> =
            (0..STATES.len()).filter(|&at| self.groups.iter().any(|group| group.states[at].1 > 0)).collect();
        let mut columns = vec!["group"];
        columns.extend(shown.iter().map(|&at| STATES[at].name()));
        columns.extend(["waiting", "memory bytes", "steps", "faults", "digest"]);
        let mut table = Table::new(columns);
        for group in &self.groups {
            let mut row = vec![group.group.clone()];
            row.extend(shown.iter().map(|&at| thousands(group.states[at].1)));
            let numbers = [group.waiting_messages, group.memory_bytes, group.steps, group.faults];
            row.extend(numbers.map(thousands));
            row.push(group.digest[..12].to_owned());
            table.row(row);
        }
        text.append(&table.lines());
        for region in &self.regions {
            let (name, bytes, version) = (&region.region, counted(region.bytes, "byte"), thousands(region.version));
            text.line(format_args!("region {name}: {bytes}, version {version}"));
        }
        for (name, digest) in &self.components {
            text.line(format_args!("component {name}: {digest}"));
        }
        for fault in &self.faults {
            let reason = if fault.reason == fault.kind { String::new() } else { format!(": {}", fault.reason) };
            text.line(format_args!("fault of {}: {}{reason}", fault.agent, fault.kind));
        }
        text
    }
}
