//! Runs of tables whose calls are kept in a log.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::{Arc, Mutex};

use bevy_app::App;
use wasm_engine_abi::message::kind;
use wasm_engine_abi::{BounceReason, CallKind, MessageHeader};
use wasm_engine_components::{
    Action, AgentId, FrameInputs, FrameRecord, GroupId, GroupLimits, LifecycleAction, Tenant,
};
use wasm_engine_systems::{GroupSeed, Population, run_frame};

use super::table::{Call, app};

/// Who was called, in which frame and how, and what it found in its inbox.
pub type Log = Arc<Mutex<Vec<Logged>>>;

pub type Logged = (u64, AgentId, CallKind, Vec<(MessageHeader, Vec<u8>)>);

pub fn id(group: u32, ordinal: u32) -> AgentId {
    AgentId::new(GroupId(group), ordinal)
}

pub fn run(population: Population, step: impl Fn(&mut Call<'_>) + Send + Sync + 'static) -> (App, Log) {
    let log = Log::default();
    let noted = log.clone();
    let app = app(population, move |mut call| {
        step(&mut call);
        noted.lock().unwrap().push((call.frame, call.agent, call.call, call.inbox));
    });
    (app, log)
}

pub fn groups(groups: Vec<GroupSeed>) -> Population {
    Population { groups, ..Population::default() }
}

pub fn frame(app: &mut App, commands: Vec<Action>) -> FrameRecord {
    run_frame(app.world_mut(), FrameInputs { commands, ..FrameInputs::default() })
}

pub fn frames(app: &mut App, n: usize) -> Vec<FrameRecord> {
    (0..n).map(|_| frame(app, Vec::new())).collect()
}

/// How many messages of a frame were over a budget.
pub fn over_budget(record: &FrameRecord) -> u64 {
    record.counts.dropped_by_reason[BounceReason::OverBudget as usize - 1]
}

pub fn order(agent: AgentId, order: LifecycleAction) -> Action {
    Action::Agent(agent, order)
}

pub fn spawn(group: u32) -> Action {
    Action::Spawn { group: GroupId(group), kind: 0, payload: Vec::new() }
}

/// The frames in which an agent was called, and how.
pub fn calls(log: &Log, agent: AgentId) -> Vec<(u64, CallKind)> {
    log.lock().unwrap().iter().filter(|call| call.1 == agent).map(|call| (call.0, call.2)).collect()
}

/// The frames in which an agent was stepped.
pub fn steps(log: &Log, agent: AgentId) -> Vec<u64> {
    calls(log, agent).into_iter().filter(|call| call.1 == CallKind::Step).map(|call| call.0).collect()
}

/// What an agent saw, and when.
pub fn seen(log: &Log, agent: AgentId) -> Vec<(u64, MessageHeader, Vec<u8>)> {
    let log = log.lock().unwrap();
    let mine = log.iter().filter(|call| call.1 == agent);
    mine.flat_map(|call| call.3.iter().map(|(header, payload)| (call.0, *header, payload.clone()))).collect()
}

/// Frame, correlation and reason of an agent's bounces.
pub fn bounces(log: &Log, agent: AgentId) -> Vec<(u64, u64, u32)> {
    let bounces = seen(log, agent).into_iter().filter(|(_, header, _)| header.kind == kind::BOUNCE);
    bounces.map(|(frame, header, _)| (frame, header.correlation, header.status)).collect()
}

pub fn tenant() -> Tenant {
    let all = u64::MAX;
    Tenant {
        name: "tenant".into(),
        agents_max: all,
        memory_bytes_max: all,
        fuel_per_frame_max: all,
        messages_per_frame_max: all,
        jobs_per_frame_max: all,
        deliveries_per_frame_max: GroupLimits::BY_AGENTS,
        log_bytes_per_frame_max: all,
        output_bytes_per_frame_max: all,
    }
}
