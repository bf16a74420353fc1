//! Groups: agents of one module under one set of rules.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::Capabilities;

use crate::{
    FaultCounts, FaultPolicy, GroupId, GroupLimits, ModuleLimits, OverflowPolicy, Schedule, TenantId, TopicId,
};

/// A group of agents: all that a scenario says of it. Fixed for a run.
///
/// ```
/// # use wasm_engine_components::{GroupId, GroupSpec};
/// let clerks = GroupSpec::new(GroupId(1), "clerks", 3).with(|group| group.limits.fuel_per_step_max = 50_000);
/// assert_eq!((clerks.agents_max, clerks.after.len()), (3, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GroupSpec {
    /// Its number, at least 1.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// Whether it takes part in the run. A group that doesn't keeps its number, so that the ids of all others stay. Default: it does.
    pub enabled: bool,
    /// Number of its module among those of the run, from 0. Default 0.
    pub module: u32,
    /// Number of agents that it starts with.
    pub agents: u32,
    /// Number of agents that it may have at one time, at least 1 and at least as many as it starts with. Default: as many as that.
    pub agents_max: u32,
    /// Parameters that `agent_init` is given: bytes, or a TOML table as canonical TOML text. Default: none.
    pub params: Vec<u8>,
    /// Topics that its agents are members of from the start, sorted. Default: none.
    pub subscribe: Vec<TopicId>,
    /// Capabilities of its agents. Default: all.
    #[serde(with = "capability_names")]
    pub capabilities: Capabilities,
    /// Groups from which its mailboxes take messages, sorted; `None` for all. The host and the outside are always heard. Default: all.
    pub accepts: Option<Vec<GroupId>>,
    /// Policy for a message for which a mailbox has no room. Default: it is rejected.
    pub overflow: OverflowPolicy,
    /// Limits of its agents. Default: [`GroupLimits::default_of`] the number of its agents.
    pub limits: GroupLimits,
    /// Limits of the modules that they are made of.
    pub module_limits: ModuleLimits,
    /// Policy for a fault. Default: a restart.
    pub on_fault: FaultPolicy,
    /// When its agents are stepped. Default: in each frame.
    pub schedule: Schedule,
    /// Groups that are stepped before it in each frame, and whose messages reach it in the same frame: sorted. Default: none.
    pub after: Vec<GroupId>,
    /// Groups in which its agents may spawn agents and give them commands, sorted. Default: none.
    pub controls: Vec<GroupId>,
    /// The group whose agents are told of its faults, and may do in it what those of a group that controls it may. Default: none.
    pub supervisor: Option<GroupId>,
    /// The tenant whose totals it counts towards. Default: none.
    pub tenant: Option<TenantId>,
}

impl GroupSpec {
    /// Returns a group with the defaults of a scenario.
    pub fn new(id: GroupId, name: impl Into<String>, agents: u32) -> Self {
        Self {
            id,
            name: name.into(),
            enabled: true,
            module: 0,
            agents,
            agents_max: agents,
            params: Vec::new(),
            subscribe: Vec::new(),
            capabilities: Capabilities::ALL,
            accepts: None,
            overflow: OverflowPolicy::default(),
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

    /// Returns the group after a change.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns those of `groups` that take part in a run, in their order, without what they say of groups that don't.
    pub fn taking_part(groups: &[Self]) -> Vec<Self> {
        let ids = ids_taking_part(groups);
        let is_there = |id: &GroupId| ids.contains(id);
        let present = |group: &Self| {
            group.clone().with(|group| {
                group.accepts.iter_mut().for_each(|accepts| accepts.retain(is_there));
                group.after.retain(is_there);
                group.controls.retain(is_there);
                group.supervisor = group.supervisor.filter(is_there);
            })
        };
        groups.iter().filter(|group| group.enabled).map(present).collect()
    }
}

/// Returns the ids of those of `groups` that take part in a run.
pub(crate) fn ids_taking_part(groups: &[GroupSpec]) -> BTreeSet<GroupId> {
    groups.iter().filter(|group| group.enabled).map(|group| group.id).collect()
}

/// The spec of a group that takes part in the run. Fixed for a run.
#[derive(Component, Clone, Debug)]
pub struct Group(pub Arc<GroupSpec>);

impl Deref for Group {
    type Target = GroupSpec;

    fn deref(&self) -> &GroupSpec {
        &self.0
    }
}

/// Capabilities as the list of their names.
mod capability_names {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use wasm_engine_abi::{Capabilities, Capability};

    pub(super) fn serialize<S: Serializer>(granted: &Capabilities, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(Capability::ALL.into_iter().filter(|one| granted.has(*one)).map(Capability::name))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Capabilities, D::Error> {
        Vec::<String>::deserialize(deserializer)?.into_iter().try_fold(Capabilities::NONE, |granted, name| {
            let one = Capability::from_name(&name);
            one.map(|one| granted.with(one)).ok_or_else(|| D::Error::custom(format!("there is no capability `{name}`")))
        })
    }
}

/// Totals of a group's agents so far. State.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_take_part_say_nothing_of_those_that_do_not() {
        let all = vec![GroupId(1), GroupId(2), GroupId(3)];
        let refers = |id: u32, supervisor: u32| {
            GroupSpec::new(GroupId(id), format!("g{id}"), 1).with(|group| {
                (group.accepts, group.after, group.controls) = (Some(all.clone()), all.clone(), all.clone());
                group.supervisor = Some(GroupId(supervisor));
            })
        };
        let groups = [refers(1, 2), refers(2, 1).with(|group| group.enabled = false), refers(3, 1)];
        let left = GroupSpec::taking_part(&groups);
        assert_eq!(left.iter().map(|group| group.id).collect::<Vec<_>>(), [GroupId(1), GroupId(3)]);
        let others = vec![GroupId(1), GroupId(3)];
        for group in &left {
            assert_eq!((&group.accepts, &group.after, &group.controls), (&Some(others.clone()), &others, &others));
        }
        assert_eq!([left[0].supervisor, left[1].supervisor], [None, Some(GroupId(1))]);
    }
}
