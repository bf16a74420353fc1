//! Budgets of what groups and their tenants may send and ask for in a frame.

use bevy_ecs::resource::Resource;
use wasm_engine_components::{GroupIndex, GroupLimits, TenantId};

use crate::world::directory::Directory;
use crate::world::scheduler::Scheduler;

const UNBOUNDED: u64 = GroupLimits::UNBOUNDED;

/// What groups and tenants may still send in this frame. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct SendBudgets {
    groups: Vec<(u64, u64)>,
    tenants: Vec<u64>,
}

impl SendBudgets {
    /// Opens a frame's budgets.
    pub(crate) fn open(&mut self, directory: &Directory, scheduler: &Scheduler) {
        let limits = directory.groups.iter().map(|group| &group.spec.limits);
        self.groups.clear();
        self.groups.extend(limits.map(|limits| (limits.messages_per_frame_max, limits.message_bytes_per_frame_max)));
        self.tenants.clear();
        self.tenants.extend(scheduler.tenants.iter().map(|tenant| tenant.messages_per_frame_max));
    }

    pub(crate) fn is_bounded(&self, at: GroupIndex, tenant: Option<TenantId>) -> bool {
        let (messages, bytes) = self.groups[at.index()];
        messages < UNBOUNDED || bytes < UNBOUNDED || tenant.is_some_and(|id| self.tenants[id.0 as usize] < UNBOUNDED)
    }

    pub(crate) fn take(&mut self, at: GroupIndex, tenant: Option<TenantId>, bytes: u32) -> bool {
        let (messages, left) = &mut self.groups[at.index()];
        let fits = *left >= u64::from(bytes) && take_one(messages, tenant.map(|id| &mut self.tenants[id.0 as usize]));
        if fits {
            *left -= u64::from(bytes);
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

/// What groups and tenants may still ask for in this frame, by index: inference jobs.
pub(crate) struct JobBudgets {
    groups: Vec<u64>,
    tenants: Vec<u64>,
}

impl JobBudgets {
    pub(crate) fn open(directory: &Directory, scheduler: &Scheduler) -> Self {
        let limits = directory.groups.iter().map(|group| &group.spec.limits);
        Self {
            groups: limits.map(|limits| limits.jobs_per_frame_max).collect(),
            tenants: scheduler.tenants.iter().map(|tenant| tenant.jobs_per_frame_max).collect(),
        }
    }

    pub(crate) fn take(&mut self, at: GroupIndex, tenant: Option<TenantId>) -> bool {
        take_one(&mut self.groups[at.index()], tenant.map(|tenant| &mut self.tenants[tenant.0 as usize]))
    }
}
