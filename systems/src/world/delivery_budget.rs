//! Budgets of deliveries. A publication or a broadcast is one record of its sender, but one delivery for each recipient: so
//! deliveries have budgets of their own, which are charged where they are made. A message that doesn't fit is dropped as a whole.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::MessageHeader;
use wasm_engine_abi::message::sender;
use wasm_engine_components::limits::deliveries_of;
use wasm_engine_components::{AgentId, GroupIndex, GroupLimits};

use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::scheduler::Scheduler;
use crate::world::shares::{FairShares, Shares};

/// Deliveries that are left to a frame. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct DeliveryBudgets {
    /// Deliveries that are left for all together.
    all: Shares,
    /// Deliveries that are left for events and native systems.
    host: u64,
    /// Deliveries that are left for each group, by index.
    groups: Vec<GroupDeliveries>,
    /// Deliveries that are left for each tenant.
    tenants: Vec<u64>,
    /// Deliveries that are left for the agent that sent last.
    step: Option<StepDeliveries>,
}

#[derive(Debug)]
struct GroupDeliveries {
    /// Deliveries that are left for the group in this frame.
    left: u64,
    /// Deliveries that one of its agents may make in a step.
    per_step: u64,
}

#[derive(Clone, Copy, Debug)]
struct StepDeliveries {
    sender: AgentId,
    /// Deliveries that are left for its step.
    left: u64,
}

impl DeliveryBudgets {
    /// Opens a frame's budgets.
    pub(crate) fn open(&mut self, directory: &Directory, scheduler: &Scheduler) {
        let agents = directory.groups.iter().map(GroupRange::weight).sum();
        let deliveries = |limit| deliveries_of(limit, agents);
        let if_set = |limit: u64| (limit != GroupLimits::BY_AGENTS).then_some(limit);
        let tenants: Vec<_> = scheduler.tenants.iter().map(|tenant| if_set(tenant.deliveries_per_frame_max)).collect();
        match scheduler.settings.deliveries_per_frame_max {
            GroupLimits::BY_AGENTS => {
                let own = |group: &GroupRange| if_set(group.spec.limits.deliveries_per_frame_max);
                let common = deliveries(GroupLimits::BY_AGENTS);
                let fair = FairShares { common, limit_of: own, tenant_limits: &tenants, least_of: |_: &GroupRange| 0 };
                self.all.open_fair(directory, &fair);
            }
            bound => self.all.open_bound(directory, tenants.len(), bound),
        }
        self.host = deliveries(scheduler.settings.host_deliveries_per_frame_max);
        self.groups.clear();
        let limits = directory.groups.iter().map(|group| &group.spec.limits);
        self.groups.extend(limits.map(|limits| GroupDeliveries {
            left: deliveries(limits.deliveries_per_frame_max),
            per_step: deliveries(limits.deliveries_per_step_max),
        }));
        self.tenants.clear();
        self.tenants.extend(scheduler.tenants.iter().map(|tenant| deliveries(tenant.deliveries_per_frame_max)));
    }

    /// Begins to deliver: messages of one step come one after another from here on.
    pub(crate) const fn begin(&mut self) {
        self.step = None;
    }

    /// Takes the deliveries of one message to many, if the budgets have as many left.
    pub(crate) fn take(&mut self, directory: &Directory, header: &MessageHeader, deliveries: u64) -> bool {
        let Self { all, host, groups, tenants, step, .. } = self;
        let agent = match header.sender {
            // The engine's messages to many are notices of faults, which were metered before.
            sender::ENGINE => return true,
            sender::EXTERNAL | sender::NATIVE => return take_all(deliveries, (all, None), &mut [host]),
            agent => AgentId(agent),
        };
        let Some(group_index) = directory.group_index(agent.group()) else { return false };
        let group = &mut groups[group_index.index()];
        let mut left_in_step = match *step {
            Some(StepDeliveries { sender, left }) if sender == agent => left,
            _ => group.per_step,
        };
        let mut unbounded = u64::MAX;
        let tenant = directory.groups[group_index].spec.tenant;
        let tenant = tenant.map_or(&mut unbounded, |tenant| &mut tenants[tenant.0 as usize]);
        let budgets = &mut [&mut group.left, tenant, &mut left_in_step];
        let fits = take_all(deliveries, (all, Some(group_index)), budgets);
        *step = Some(StepDeliveries { sender: agent, left: left_in_step });
        fits
    }
}

/// Takes an amount off all budgets, if all have it.
fn take_all(deliveries: u64, (all, group): (&mut Shares, Option<GroupIndex>), left: &mut [&mut u64]) -> bool {
    let fits = left.iter().all(|left| **left >= deliveries) && all.has(group, deliveries);
    if fits {
        all.take(group, deliveries);
        left.iter_mut().for_each(|left| **left -= deliveries);
    }
    fits
}
