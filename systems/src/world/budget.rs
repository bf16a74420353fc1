//! Budgets of what groups and their tenants may send and ask for in a frame.

use bevy_ecs::resource::Resource;
use wasm_engine_components::{GroupIndex, GroupLimits, TenantId};

use crate::world::directory::Directory;
use crate::world::scheduler::Scheduler;

const UNBOUNDED: u64 = GroupLimits::UNBOUNDED;

/// Budgets of groups and tenants for what they may still send in this frame. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct SendBudgets {
    groups: Vec<GroupBudget>,
    tenants: Vec<u64>,
}

/// Messages and bytes that a group may still send in this frame.
#[derive(Debug)]
struct GroupBudget {
    messages: u64,
    bytes: u64,
}

impl SendBudgets {
    /// Opens a frame's budgets.
    pub(crate) fn open(&mut self, directory: &Directory, scheduler: &Scheduler) {
        let limits = directory.groups.iter().map(|group| &group.spec.limits);
        self.groups.clear();
        self.groups.extend(limits.map(|limits| GroupBudget {
            messages: limits.messages_per_frame_max,
            bytes: limits.message_bytes_per_frame_max,
        }));
        self.tenants.clear();
        self.tenants.extend(scheduler.tenants.iter().map(|tenant| tenant.messages_per_frame_max));
    }

    /// Returns whether a group or its tenant may send only so much.
    pub(crate) fn is_bounded(&self, group: GroupIndex, tenant: Option<TenantId>) -> bool {
        let budget = &self.groups[group.index()];
        budget.messages < UNBOUNDED
            || budget.bytes < UNBOUNDED
            || tenant.is_some_and(|id| self.tenants[id.0 as usize] < UNBOUNDED)
    }

    /// Takes a message off the budgets of a group and its tenant. Returns `false`, and takes nothing, if it doesn't fit.
    pub(crate) fn take(&mut self, group: GroupIndex, tenant: Option<TenantId>, bytes: u32) -> bool {
        let budget = &mut self.groups[group.index()];
        let fits = budget.bytes >= u64::from(bytes)
            && take_one(&mut budget.messages, tenant.map(|id| &mut self.tenants[id.0 as usize]));
        if fits {
            budget.bytes -= u64::from(bytes);
        }
        fits
    }
}

/// Takes one off what is left to a group and to its tenant, if both have any.
fn take_one(group: &mut u64, tenant: Option<&mut u64>) -> bool {
    let fits = *group > 0 && tenant.as_ref().is_none_or(|left| **left > 0);
    if fits {
        *group -= 1;
        if let Some(left) = tenant {
            *left -= 1;
        }
    }
    fits
}

/// Numbers of inference jobs that groups and tenants may still ask for in this frame, by index.
pub(crate) struct JobBudgets {
    groups: Vec<u64>,
    tenants: Vec<u64>,
}

impl JobBudgets {
    /// Opens a frame's budgets.
    pub(crate) fn open(directory: &Directory, scheduler: &Scheduler) -> Self {
        let limits = directory.groups.iter().map(|group| &group.spec.limits);
        Self {
            groups: limits.map(|limits| limits.jobs_per_frame_max).collect(),
            tenants: scheduler.tenants.iter().map(|tenant| tenant.jobs_per_frame_max).collect(),
        }
    }

    /// Takes a job off the budgets of a group and its tenant. Returns `false`, and takes nothing, if it doesn't fit.
    pub(crate) fn take(&mut self, group: GroupIndex, tenant: Option<TenantId>) -> bool {
        take_one(&mut self.groups[group.index()], tenant.map(|tenant| &mut self.tenants[tenant.0 as usize]))
    }
}
