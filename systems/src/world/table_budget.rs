//! Budgets in bytes of what agents write for the run's tables: log lines and named outputs. The intake checks the budgets of a
//! step. Those of groups, tenants and the run are checked in the stage `Collect`, in the order of the agents' ids.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::{Op, OutboxRecord, RecordType};
use wasm_engine_components::limits::TABLE_BYTES_PER_AGENT;
use wasm_engine_components::{
    Excess, GroupIndex, GroupLimits, RunTable, SchedulerSettings, TableBudget, Tenant, TenantId, bytes_row_bytes,
    text_row_bytes,
};

use crate::frame::FrameReport;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::scheduler::Scheduler;
use crate::world::shares::{FairShares, Shares};

/// Bytes of the longest number as text.
const NUMBER_BYTES: u64 = 24;

/// Returns the table that a record is for, and the bytes that it counts for there.
pub(crate) fn row_of(record: &OutboxRecord<'_>) -> Option<(RunTable, u64)> {
    let payload = record.payload;
    match record.op {
        Op::Log => Some((RunTable::Logs, text_row_bytes(payload))),
        Op::Record => {
            let bytes = match RecordType::from_number(record.header.kind) {
                Some(RecordType::Text) => text_row_bytes(payload),
                Some(RecordType::Bytes) => {
                    let name = usize::try_from(record.header.target).unwrap_or(usize::MAX).min(payload.len());
                    bytes_row_bytes(&payload[..name], payload.len() - name)
                }
                Some(RecordType::I64 | RecordType::F64) | None => text_row_bytes(payload) + NUMBER_BYTES,
            };
            Some((RunTable::Outputs, bytes))
        }
        _ => None,
    }
}

/// Bytes that one step may still write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepTables {
    logs: u64,
    outputs: u64,
}

impl StepTables {
    /// Opens the budgets of a step whose imported log lines count for `log_bytes`.
    pub(crate) fn open(limits: &GroupLimits, log_bytes: u32) -> Self {
        Self {
            logs: limits.log_bytes_per_step_max.saturating_sub(log_bytes).into(),
            outputs: limits.output_bytes_per_step_max.into(),
        }
    }

    /// Takes a record off the step's budgets. Returns `false`, and notes the excess, if it doesn't fit.
    pub(crate) fn take(&mut self, record: &OutboxRecord<'_>, excess: &mut Excess) -> bool {
        let Some((table, bytes)) = row_of(record) else { return true };
        let left = match table {
            RunTable::Logs => &mut self.logs,
            RunTable::Outputs => &mut self.outputs,
        };
        let rest = left.checked_sub(bytes);
        match rest {
            Some(rest) => *left = rest,
            None => excess.of_table(table).add(bytes, TableBudget::Step),
        }
        rest.is_some()
    }
}

/// Budgets of groups and tenants for what they may still write in this frame, by index. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct TableBudgets {
    groups: Vec<Room>,
    tenants: Vec<Room>,
    logs: Shares,
    outputs: Shares,
}

/// Lines and bytes that a group or a tenant may still write.
#[derive(Clone, Copy, Debug)]
struct Room {
    lines: u64,
    logs: u64,
    outputs: u64,
}

impl Room {
    /// Returns the bytes that are left for a table.
    const fn of(&mut self, table: RunTable) -> &mut u64 {
        match table {
            RunTable::Logs => &mut self.logs,
            RunTable::Outputs => &mut self.outputs,
        }
    }
}

impl TableBudgets {
    /// Opens a frame's budgets.
    pub(crate) fn open(&mut self, directory: &Directory, scheduler: &Scheduler) {
        self.groups.clear();
        self.groups.extend(directory.groups.iter().map(|group| Room {
            lines: group.spec.limits.log_lines_per_frame_max,
            logs: group.spec.limits.log_bytes_per_frame_max,
            outputs: group.spec.limits.output_bytes_per_frame_max,
        }));
        self.tenants.clear();
        self.tenants.extend(scheduler.tenants.iter().map(|tenant| Room {
            lines: u64::MAX,
            logs: tenant.log_bytes_per_frame_max,
            outputs: tenant.output_bytes_per_frame_max,
        }));
        let SchedulerSettings { log_bytes_per_frame_max, output_bytes_per_frame_max, .. } = scheduler.settings;
        let tenants = |of: fn(&Tenant) -> u64| scheduler.tenants.iter().map(of).collect::<Vec<_>>();
        let logs = tenants(|tenant| tenant.log_bytes_per_frame_max);
        let outputs = tenants(|tenant| tenant.output_bytes_per_frame_max);
        open(&mut self.logs, directory, log_bytes_per_frame_max, &logs, |limits| limits.log_bytes_per_frame_max);
        let of_outputs = |limits: &GroupLimits| limits.output_bytes_per_frame_max;
        open(&mut self.outputs, directory, output_bytes_per_frame_max, &outputs, of_outputs);
    }

    /// Takes a row of a group off the budgets. Returns `false`, and notes the excess, if it doesn't fit.
    pub(crate) fn take(
        &mut self,
        (group, tenant): (GroupIndex, Option<TenantId>),
        (table, bytes): (RunTable, u64),
        excess: &mut Excess,
    ) -> bool {
        let full = self.try_take(group, tenant, table, bytes).err();
        if let Some(budget) = full {
            excess.of_table(table).add(bytes, budget);
        }
        full.is_none()
    }

    fn try_take(
        &mut self,
        group: GroupIndex,
        tenant: Option<TenantId>,
        table: RunTable,
        bytes: u64,
    ) -> Result<(), TableBudget> {
        let room = &mut self.groups[group.index()];
        let lines = room.lines.checked_sub(u64::from(table == RunTable::Logs)).ok_or(TableBudget::GroupLines)?;
        let left = room.of(table).checked_sub(bytes).ok_or(TableBudget::Group)?;
        let all = match table {
            RunTable::Logs => &mut self.logs,
            RunTable::Outputs => &mut self.outputs,
        };
        let of_tenant = tenant.map(|TenantId(tenant)| self.tenants[tenant as usize].of(table));
        if of_tenant.as_ref().is_some_and(|left| **left < bytes) {
            return Err(TableBudget::Tenant);
        }
        if !all.has(Some(group), bytes) {
            return Err(TableBudget::Run);
        }
        all.take(Some(group), bytes);
        if let Some(left) = of_tenant {
            *left -= bytes;
        }
        room.lines = lines;
        *room.of(table) = left;
        Ok(())
    }
}

/// Opens the budget of all groups for one table. A limit that a scenario sets above the default is a part of the group's own.
fn open(all: &mut Shares, directory: &Directory, bound: u64, tenants: &[u64], limit: impl Fn(&GroupLimits) -> u64) {
    if bound != GroupLimits::BY_AGENTS {
        return all.open_bound(directory, tenants.len(), bound);
    }
    let by_itself = |group: &GroupRange| limit(&GroupLimits::default_of(group.spec.agents_max));
    let set = |group: &GroupRange| Some(limit(&group.spec.limits)).filter(|&limit| limit > by_itself(group));
    let tenants: Vec<_> = tenants.iter().map(|&limit| (limit < GroupLimits::UNBOUNDED).then_some(limit)).collect();
    let least = |group: &GroupRange| u64::from(group.spec.agents_max) * TABLE_BYTES_PER_AGENT;
    let common = limit(&GroupLimits::DEFAULT);
    all.open_fair(directory, &FairShares { common, limit_of: set, tenant_limits: &tenants, least_of: least });
}

/// Puts rows on the record that weren't kept.
pub(crate) fn note(report: &mut FrameReport, excess: &Excess) {
    if excess.is_empty() {
        return;
    }
    let counts = &mut report.counts;
    counts.log_lines_dropped += excess.logs.rows;
    counts.log_bytes_dropped = counts.log_bytes_dropped.saturating_add(excess.logs.bytes);
    counts.outputs_dropped += excess.outputs.rows;
    counts.output_bytes_dropped = counts.output_bytes_dropped.saturating_add(excess.outputs.bytes);
    match report.excess.binary_search_by_key(&excess.group, |known| known.group) {
        Ok(index) => {
            report.excess[index].logs.append(&excess.logs);
            report.excess[index].outputs.append(&excess.outputs);
        }
        Err(index) => report.excess.insert(index, *excess),
    }
}
