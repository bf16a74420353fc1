//! Log lines and named outputs are bounded in bytes: by step, by group, by tenant. What is beyond isn't kept, is counted, and on the record.

use wasm_engine_abi::{CallKind, Op, OutboxHeader, RecordType};
use wasm_engine_components::{
    Excess, FrameRecord, GroupId, GroupLimits, RunTable, TableBudget, Tenant, TenantId, Unkept,
};
use wasm_engine_systems::{GroupSeed, Population};

use crate::common::logged::{frames, groups, run, tenant};
use crate::common::table::{Call, group};

/// What a row with a text of so many letters counts for.
const fn row(letters: usize) -> u64 {
    64 + letters as u64
}

fn log(call: &mut Call<'_>, letters: usize) {
    call.out.push(Op::Log, 0, 3, 0, &vec![b'x'; letters]);
}

/// Records bytes under a name of one letter.
fn record(call: &mut Call<'_>, bytes: usize) {
    let (op, kind) = (Op::Record as u32, RecordType::Bytes as u32);
    call.out.record(OutboxHeader { target: 1, op, kind, ..OutboxHeader::default() }, &vec![b'x'; 1 + bytes]);
}

/// The record of the frame in which the agents of these groups write.
fn written(
    seeds: Vec<GroupSeed>,
    tenants: Vec<Tenant>,
    write: impl Fn(&mut Call<'_>) + Send + Sync + 'static,
) -> FrameRecord {
    let population = Population { tenants, ..groups(seeds) };
    let (mut app, _) = run(population, move |call| {
        if call.call == CallKind::Step {
            write(call);
        }
    });
    frames(&mut app, 2).pop().unwrap()
}

fn unkept(rows: u64, bytes: u64, budget: TableBudget) -> Unkept {
    Unkept { rows, bytes, budget: Some(budget) }
}

fn counts(record: &FrameRecord) -> [u64; 4] {
    let counts = &record.counts;
    [counts.log_lines_dropped, counts.log_bytes_dropped, counts.outputs_dropped, counts.output_bytes_dropped]
}

#[test]
fn a_step_writes_what_its_limits_have_room_for_and_later_rows_that_fit_are_kept() {
    let mut small = group(1, 1);
    small.group.limits.log_bytes_per_step_max = 300;
    small.group.limits.output_bytes_per_step_max = 200;
    let record = written(vec![small], vec![], |call| {
        [100, 100, 8, 1].into_iter().for_each(|letters| log(call, letters));
        [90, 120, 3].into_iter().for_each(|bytes| record(call, bytes));
    });
    let texts: Vec<_> = record.logs.iter().map(|line| line.text.len()).collect();
    assert_eq!(texts, [100, 8], "164 of 300, then 72 of 136, and nothing of 64");
    assert_eq!(record.outputs.len(), 1);
    let excess = Excess {
        group: GroupId(1),
        logs: unkept(2, row(100) + row(1), TableBudget::Step),
        outputs: unkept(2, row(1) + 160 + row(1) + 4, TableBudget::Step),
    };
    assert_eq!(record.excess, [excess]);
    assert_eq!(counts(&record), [2, row(100) + row(1), 2, row(1) + 160 + row(1) + 4]);
    assert!(record.faults.is_empty(), "it is no fault");
}

#[test]
fn a_group_and_a_tenant_write_so_much_in_a_frame_the_lowest_ids_first() {
    for (budget, group_max, tenant_max) in [(TableBudget::Group, 250, u64::MAX), (TableBudget::Tenant, u64::MAX, 250)] {
        let seeds = [1, 2].map(|id| {
            let mut seed = group(id, 2);
            seed.group.tenant = Some(TenantId(0));
            seed.group.limits.log_bytes_per_frame_max = group_max;
            seed.group.limits.output_bytes_per_frame_max = group_max;
            seed
        });
        let tenant = Tenant { log_bytes_per_frame_max: tenant_max, output_bytes_per_frame_max: tenant_max, ..tenant() };
        let record = written(seeds.to_vec(), vec![tenant], |call| {
            log(call, 100);
            record(call, 3);
        });
        // A line counts for 164, and an output for 69: one line and three outputs have room.
        let kept = |agents: Vec<wasm_engine_components::AgentId>| {
            agents.iter().map(|agent| agent.group().0).collect::<Vec<_>>()
        };
        let logs = kept(record.logs.iter().map(|line| line.agent).collect());
        let outputs = kept(record.outputs.iter().map(|output| output.agent).collect());
        let rows =
            |logs, outputs| [unkept(logs, logs * row(100), budget), unkept(outputs, outputs * (row(1) + 4), budget)];
        if budget == TableBudget::Group {
            assert_eq!((logs, outputs), (vec![1, 2], vec![1, 1, 2, 2]));
            let [one, none] = [rows(1, 0)[0], Unkept::default()];
            let excess = [1, 2].map(|id| Excess { group: GroupId(id), logs: one, outputs: none });
            assert_eq!(record.excess, excess);
        } else {
            assert_eq!((logs, outputs), (vec![1], vec![1, 1, 2]));
            let [one, _] = rows(1, 0);
            let [two, last] = rows(2, 1);
            let first = Excess { group: GroupId(1), logs: one, outputs: Unkept::default() };
            assert_eq!(record.excess, [first, Excess { group: GroupId(2), logs: two, outputs: last }]);
        }
    }
}

#[test]
fn the_budget_is_that_of_a_frame_and_who_keeps_to_it_loses_nothing() {
    let population = groups(vec![group(1, 3)]);
    let (mut app, _) = run(population, |call| {
        log(call, 100);
        record(call, 1_000);
    });
    for record in frames(&mut app, 20).iter().skip(1) {
        assert_eq!((record.logs.len(), record.outputs.len(), counts(record)), (3, 3, [0; 4]));
        assert!(record.excess.is_empty());
    }
}

#[test]
fn the_keys_that_are_named_are_those_of_a_scenario() {
    let keys = [TableBudget::Step, TableBudget::Group, TableBudget::Tenant, TableBudget::Run];
    let keys = keys.map(|budget| [RunTable::Logs, RunTable::Outputs].map(|table| budget.key(table)));
    let frame = ["log_bytes_per_frame_max", "output_bytes_per_frame_max"];
    assert_eq!(keys, [["log_bytes_per_step_max", "output_bytes_per_step_max"], frame, frame, frame]);
}

/// Many groups that write all that they may are bounded together, whatever their number, and leave each of the others its part.
#[test]
fn groups_that_write_as_much_as_they_may_are_bounded_together_and_leave_the_others_their_parts() {
    let least = GroupLimits::DEFAULT.log_bytes_per_frame_max;
    let limited = |id, bytes: u64| {
        let mut seed = group(id, 1);
        (seed.group.limits.log_bytes_per_frame_max, seed.group.limits.output_bytes_per_frame_max) = (bytes, bytes);
        (seed.group.limits.log_bytes_per_step_max, seed.group.limits.output_bytes_per_step_max) = (4 << 20, 4 << 20);
        seed.group.limits.records_per_step_max = 10_000;
        seed.group.limits.log_lines_per_step_max = 10_000;
        seed
    };
    let mut seeds: Vec<_> = (1..=40).map(|id| limited(id, least)).collect();
    seeds.extend([limited(41, 2 * least), limited(42, least)]);
    let write = |call: &mut Call<'_>| {
        let rows = match call.agent.group().0 {
            41 => 1_800,
            42 => 20,
            _ => 900,
        };
        for _ in 0..rows {
            log(call, 1_000);
            record(call, 699);
        }
    };
    let sums = |record: &FrameRecord| {
        let mut sums = [[0_u64; 43]; 2];
        record.logs.iter().for_each(|line| sums[0][line.agent.group().0 as usize] += 1);
        record.outputs.iter().for_each(|output| sums[1][output.agent.group().0 as usize] += 1);
        sums
    };
    let record = written(seeds.clone(), vec![], write);
    for (of, bytes) in sums(&record).into_iter().zip([row(1_000), row(1) + 932]) {
        assert_eq!((of[41], of[42]), (1_800, 20), "its own limit, and within its part");
        let together: u64 = of[1..41].iter().sum();
        assert!(together * bytes <= 2 * least && (together + 41) * bytes > least, "{of:?}");
        assert!(of[1..41].iter().all(|&rows| rows >= least / 41 / bytes), "{of:?}");
    }
    let beyond = record.excess.iter().find(|excess| excess.group == GroupId(40)).unwrap();
    assert_eq!((beyond.logs.budget, beyond.outputs.budget), (Some(TableBudget::Run), Some(TableBudget::Run)));
    // Where a scenario sets the run's budget, nobody has more.
    let mut population = groups(seeds);
    (population.scheduler.log_bytes_per_frame_max, population.scheduler.output_bytes_per_frame_max) = (10_000, 0);
    let (mut app, _) = run(population, move |call| {
        if call.call == CallKind::Step {
            write(call);
        }
    });
    let record = frames(&mut app, 2).pop().unwrap();
    assert_eq!((record.logs.len() as u64, record.outputs.len()), (10_000 / row(1_000), 0));
}
