//! Groups: agents of one module under one set of limits.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::Capabilities;

use crate::{FaultCounts, FaultPolicy, GroupId, GroupLimits, ModuleLimits, Schedule, TenantId};

/// A group, as its scenario describes it. Fixed for a run.
#[derive(Component, Clone, Debug)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// Its name in the scenario.
    pub name: String,
    /// How many agents it starts with.
    pub agents: u32,
    /// How many it may have at one time; at least as many as it starts with.
    pub agents_max: u32,
    /// What its agents may do.
    pub capabilities: Capabilities,
    /// From which groups its mailboxes take messages: sorted; `None` for all. The host and the outside are always heard.
    pub accepts: Option<Vec<GroupId>>,
    /// What bounds them.
    pub limits: GroupLimits,
    /// What bounds the modules that they are made of.
    pub module_limits: ModuleLimits,
    /// What a fault leads to.
    pub on_fault: FaultPolicy,
    /// When its agents are stepped.
    pub schedule: Schedule,
    /// Groups that are stepped before it in each frame, and whose messages reach it in the same frame: sorted.
    pub after: Vec<GroupId>,
    /// In which groups its agents may spawn agents and give them commands: sorted.
    pub controls: Vec<GroupId>,
    /// The group whose agents are told of its faults, and may do in it what those of a group that controls it may.
    pub supervisor: Option<GroupId>,
    /// Whose totals it counts towards.
    pub tenant: Option<TenantId>,
}

impl Group {
    /// A group with the defaults of a scenario: its agents may do everything, and are stepped in each frame.
    pub fn new(id: GroupId, name: impl Into<String>, agents: u32) -> Self {
        Self {
            id,
            name: name.into(),
            agents,
            agents_max: agents,
            capabilities: Capabilities::ALL,
            accepts: None,
            limits: GroupLimits::default_of(agents),
            module_limits: ModuleLimits::DEFAULT,
            on_fault: FaultPolicy::default(),
            schedule: Schedule::default(),
            after: Vec::new(),
            controls: Vec::new(),
            supervisor: None,
            tenant: None,
        }
    }
}

/// What a group's agents have done so far. State.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCounters(pub GroupTotals);

/// Sums over a group's agents, over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupTotals {
    /// Calls of `agent_step` that were begun.
    pub steps: u64,
    /// Fuel that all calls used, those that ended in a fault included.
    pub fuel: u64,
    /// Messages and publications that were sent.
    pub messages: u64,
    /// Inference jobs that were asked for.
    pub inference_jobs: u64,
    /// Faults by kind.
    pub faults: FaultCounts,
}
