//! Warns, once for each group and table, that not everything its agents write is kept; and once that events were over their budget.

use std::collections::BTreeSet;

use wasm_engine_abi::BounceReason;
use wasm_engine_components::{Excess, FrameRecord, GroupId, GroupLimits, RunTable, TableBudget, Unkept};

use wasm_engine_core::problem::thousands;
use wasm_engine_core::scenario::Scenario;

/// Warnings of a run, and those that were reported so far.
pub(super) struct ExcessWarnings<'a> {
    scenario: &'a Scenario,
    told: BTreeSet<(GroupId, RunTable)>,
    /// Whether it was reported that events weren't delivered.
    told_events: bool,
}

impl<'a> ExcessWarnings<'a> {
    /// Creates it with nothing reported.
    pub const fn of(scenario: &'a Scenario) -> Self {
        Self { scenario, told: BTreeSet::new(), told_events: false }
    }

    /// Returns a line for each thing that is new in a frame's record.
    pub fn take(&mut self, record: &FrameRecord) -> Vec<String> {
        let mut lines = Vec::new();
        let over_budget = record.counts.dropped_by_reason[BounceReason::OverBudget as usize - 1] > 0;
        if over_budget && record.counts.events_lost > 0 && !self.told_events {
            self.told_events = true;
            lines.push(format!(
                "{} event{} of frame {} reached nobody, and messages were over a budget of deliveries: what events to topics and groups may \
                 cost in one frame is scheduler.host_deliveries_per_frame_max{}; the summary counts all of them (`events.lost`), and no more is said of it",
                thousands(record.counts.events_lost),
                if record.counts.events_lost == 1 { "" } else { "s" },
                thousands(record.frame),
                match self.scenario.scheduler.host_deliveries_per_frame_max {
                    GroupLimits::BY_AGENTS => String::new(),
                    max => format!(" = {}", thousands(max)),
                }
            ));
        }
        for Excess { group, logs, outputs } in &record.excess {
            for (table, unkept) in [(RunTable::Logs, logs), (RunTable::Outputs, outputs)] {
                if let Some(budget) = unkept.budget
                    && self.told.insert((*group, table))
                {
                    lines.push(self.line(*group, record.frame, (table, budget), unkept));
                }
            }
        }
        lines
    }

    fn line(&self, id: GroupId, frame: u64, (table, budget): (RunTable, TableBudget), unkept: &Unkept) -> String {
        let (rows, counts) = match table {
            RunTable::Logs => ("log line", "log_lines_dropped"),
            RunTable::Outputs => ("output", "outputs_dropped"),
        };
        let (name, limit) = self.limit(id, table, budget);
        let (many, s) = (thousands(unkept.rows), if unkept.rows == 1 { "" } else { "s" });
        format!(
            "group `{name}` writes more than is kept: in frame {} {many} {rows}{s} of it had no room in {limit}; the summary counts \
             all of them (`{counts}`), and no more is said of it",
            thousands(frame)
        )
    }

    /// Returns the group's name, and the limit with its value.
    fn limit(&self, id: GroupId, table: RunTable, budget: TableBudget) -> (&str, String) {
        let Some(group) = self.scenario.group(id) else { return ("", budget.key(table).to_owned()) };
        let (limits, key) = (&group.limits, budget.key(table));
        let tenant = group.tenant.and_then(|tenant| self.scenario.tenants.get(tenant.0 as usize));
        let value = match (budget, table) {
            (TableBudget::Step, RunTable::Logs) => limits.log_bytes_per_step_max.into(),
            (TableBudget::Step, RunTable::Outputs) => limits.output_bytes_per_step_max.into(),
            (TableBudget::GroupLines, _) => limits.log_lines_per_frame_max,
            (TableBudget::Group, RunTable::Logs) => limits.log_bytes_per_frame_max,
            (TableBudget::Group, RunTable::Outputs) => limits.output_bytes_per_frame_max,
            (TableBudget::Tenant, RunTable::Logs) => tenant.map_or(0, |tenant| tenant.log_bytes_per_frame_max),
            (TableBudget::Tenant, RunTable::Outputs) => tenant.map_or(0, |tenant| tenant.output_bytes_per_frame_max),
            (TableBudget::Run, RunTable::Logs) => self.scenario.scheduler.log_bytes_per_frame_max,
            (TableBudget::Run, RunTable::Outputs) => self.scenario.scheduler.output_bytes_per_frame_max,
        };
        if budget == TableBudget::Run && value == GroupLimits::BY_AGENTS {
            let what = format!("what all groups have together; `limits.{key}` of its own gives it more");
            return (&group.name, what);
        }
        let owner = match (budget, tenant) {
            (TableBudget::Tenant, Some(tenant)) => format!("tenants.{}", tenant.name),
            (TableBudget::Run, _) => "scheduler".to_owned(),
            _ => "limits".to_owned(),
        };
        (&group.name, format!("{owner}.{key} = {}", thousands(value)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use wasm_engine_core::scenario::{LoadOptions, parse};

    #[test]
    fn events_over_their_budget_are_told_of_once_with_the_limit() {
        let text = |more: &str| {
            format!(
                "frames = 1\nmodules.a.path = \"a.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 2\n{more}"
            )
        };
        let options = LoadOptions { recorded: true, ..LoadOptions::default() };
        let scenario = |more: &str| parse(text(more), Path::new("s.toml"), &options).unwrap();
        let mut record = FrameRecord { frame: 1_200, ..FrameRecord::default() };
        let limit = "what events to topics and groups may cost in one frame is scheduler.host_deliveries_per_frame_max";
        let end = "; the summary counts all of them (`events.lost`), and no more is said of it";
        for (more, value) in [("", ""), ("[scheduler]\nhost_deliveries_per_frame_max = 5000\n", " = 5,000")] {
            let scenario = scenario(more);
            let mut warnings = ExcessWarnings::of(&scenario);
            record.counts = Default::default();
            assert_eq!(warnings.take(&record), [""; 0]);
            // An event for an agent that isn't there has nothing to do with a budget.
            record.counts.events_lost = 1;
            assert_eq!(warnings.take(&record), [""; 0]);
            record.counts.drop_messages(BounceReason::OverBudget, 1);
            let told = "1 event of frame 1,200 reached nobody, and messages were over a budget of deliveries: ";
            assert_eq!(warnings.take(&record), [format!("{told}{limit}{value}{end}")]);
            assert_eq!(warnings.take(&record), [""; 0]);
        }
    }
}
