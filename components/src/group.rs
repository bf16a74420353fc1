//! Groups: agents of one module under one set of limits.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::Capabilities;

use crate::{FaultCounts, FaultPolicy, GroupId, GroupLimits};

/// A group, as its scenario describes it. Fixed for a run.
#[derive(Component, Clone, Debug)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// Its name in the scenario.
    pub name: String,
    /// How many agents it starts with.
    pub agents: u32,
    /// What its agents may do.
    pub capabilities: Capabilities,
    /// From which groups its mailboxes take messages: sorted; `None` for all. The host and the outside are always heard.
    pub accepts: Option<Vec<GroupId>>,
    /// What bounds them.
    pub limits: GroupLimits,
    /// What a fault leads to.
    pub on_fault: FaultPolicy,
}

/// What a group's agents have done so far. State.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCounters(pub GroupTotals);

/// Sums over a group's agents, over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupTotals {
    /// Calls of `agent_step` that were begun.
    pub steps: u64,
    /// Fuel that all calls used. A faulted call is charged its whole budget.
    pub fuel: u64,
    /// Messages and publications that were sent.
    pub messages: u64,
    /// Inference jobs that were asked for.
    pub inference_jobs: u64,
    /// Faults by kind.
    pub faults: FaultCounts,
}
