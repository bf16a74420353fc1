//! Stage `Ingest`, at its beginning: hot swaps. A group gets another module, or another model answers under a model's name. All of them were
//! prepared before the first frame, so that no swap can fail.
//!
//! An agent that is active or paused keeps its state if both modules have the exports for it. Any other is initialised again in
//! this frame, and its messages wait for it. A paused agent stays paused, and is initialised at once.

use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_components::{
    AgentFault, AgentId, AgentSlot, DigestScope, Excess, FaultHistory, GroupCounters, GroupId, GroupIndex, Lane,
    Lifecycle, LoadedFile, LogLine, ModuleSwap, RunTable, Swap, SwapOutcome, SwapRecord, text_row_bytes,
};

use crate::frame::{FrameClock, FrameReport, Inputs};
use crate::ports::{AgentPort, SwapBatch, SwapRequest, SwapResults};
use crate::world::chunk::ImportedLine;
use crate::world::digest::{DigestChain, LaneSums, chain, fault_digest, part_digest};
use crate::world::directory::Directory;
use crate::world::fuel::FrameFuel;
use crate::world::groups::GroupRange;
use crate::world::inbox::Inboxes;
use crate::world::mailroom::Mailroom;
use crate::world::models::ModelTable;
use crate::world::records::lines_digest;
use crate::world::swaps::{CurrentModules, RequestedSwaps, SwapCatalog, swap_bytes};
use crate::world::table_budget::{TableBudgets, note};

/// Results of this frame's swaps, until `Commit` puts them on the record. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct SwapsInHand {
    inputs: u128,
    faults: Vec<AgentFault>,
    lines: Vec<ImportedLine>,
    excess: Vec<Excess>,
    groups: Vec<GroupSums>,
}

/// Contribution of the swap of a group's module to the group's sums.
#[derive(Debug)]
struct GroupSums {
    group_index: GroupIndex,
    fuel: FrameFuel,
    memory_sum: u128,
}

/// Carries out the frame's swaps, in the order in which they were given.
pub(crate) fn take_swaps(
    clock: Res<FrameClock>,
    scope: Res<DigestScope>,
    catalog: Res<SwapCatalog>,
    inputs: Res<Inputs>,
    mut requested: ResMut<RequestedSwaps>,
    mut directory: ResMut<Directory>,
    mut mailroom: ResMut<Mailroom>,
    mut current: ResMut<CurrentModules>,
    mut models: ResMut<ModelTable>,
    mut port: ResMut<AgentPort>,
    mut chains: ResMut<DigestChain>,
    mut report: ResMut<FrameReport>,
    mut in_hand: ResMut<SwapsInHand>,
    mut agents: Query<&mut Lifecycle>,
) {
    let swaps = inputs.0.swaps.iter().copied().chain(requested.0.drain(..));
    for (swap, index) in swaps.zip(0_u64..) {
        let LoadedFile { name, sha256 } = catalog.file(swap);
        in_hand.inputs = in_hand.inputs.wrapping_add(swap_digest(index, swap, &sha256));
        let outcome = match (catalog.refusal(swap), swap) {
            (Some(reason), _) => SwapOutcome::Refused(reason),
            (None, Swap::Model { model, with }) => {
                models.swap(model, with);
                SwapOutcome::Done { carried: 0, fresh: 0 }
            }
            (None, Swap::Module(ModuleSwap { group, module })) => match directory.group_index(group) {
                None => SwapOutcome::Refused("the group doesn't take part".to_owned()),
                Some(group_index) => {
                    current.0.insert(group, module);
                    // The group's digest changes with its module, even if its agents do nothing.
                    let hash = part_digest(Lane::Inputs, u64::from(group.0), &sha256);
                    let group_chain = &mut chains.groups[group_index.index()];
                    *group_chain = chain(*group_chain, clock.frame, &[hash]);
                    let requests = requests(&directory, &directory.groups[group_index]);
                    let batch = SwapBatch {
                        frame: clock.frame,
                        digest_memories: scope.covers_memories(),
                        group,
                        module,
                        requests: &requests,
                    };
                    let mut results = SwapResults::default();
                    port.0.swap(&batch, &mut results);
                    assert_eq!(results.carried.len(), requests.len(), "one outcome for each request of a swap");
                    let outcome = {
                        let tables = (directory.as_mut(), &mut mailroom.inboxes);
                        initialise_anew(tables, clock.frame, group_index, &requests, &results.carried, &mut agents)
                    };
                    in_hand.take(group_index, directory.groups[group_index].id, results);
                    outcome
                }
            },
        };
        report.swaps.push(SwapRecord { swap, name, sha256, outcome });
    }
}

/// Returns the agents that keep their state: those that have one.
fn requests(directory: &Directory, group: &GroupRange) -> Vec<SwapRequest> {
    let requests = group.slots().filter_map(|slot| {
        let agent = directory.ids[slot.index()];
        match directory.lifecycles[slot.index()] {
            Lifecycle::Active => Some(SwapRequest { agent, slot, init: false }),
            Lifecycle::Paused | Lifecycle::Terminating => Some(SwapRequest { agent, slot, init: true }),
            Lifecycle::Initialising | Lifecycle::Faulted | Lifecycle::Terminated => None,
        }
    });
    requests.collect()
}

/// Has active agents that didn't keep their state initialised in this frame. Returns how many kept it and how many didn't.
fn initialise_anew(
    (directory, inboxes): (&mut Directory, &mut Inboxes),
    frame: u64,
    group_index: GroupIndex,
    requests: &[SwapRequest],
    carried: &[bool],
    agents: &mut Query<&mut Lifecycle>,
) -> SwapOutcome {
    for (request, _) in requests.iter().zip(carried).filter(|&(_, &carried)| !carried) {
        let index = request.slot.index();
        if directory.lifecycles[index] == Lifecycle::Active
            && let Ok(mut lifecycle) = agents.get_mut(directory.agents[index])
        {
            *lifecycle = Lifecycle::Initialising;
            directory.set_lifecycle(inboxes, request.slot, Lifecycle::Initialising, frame);
        }
    }
    // A group has fewer than 2^32 agents.
    let carried = carried.iter().filter(|&&carried| carried).count() as u32;
    SwapOutcome::Done { carried, fresh: directory.groups[group_index].alive - carried }
}

impl SwapsInHand {
    /// Adds the results of the swap of a group's module.
    fn take(&mut self, group_index: GroupIndex, group: GroupId, mut results: SwapResults) {
        self.faults.append(&mut results.faults);
        self.lines.append(&mut results.log_lines);
        self.excess.push(Excess { logs: results.unkept_lines, ..Excess::of(group) });
        let fuel = FrameFuel { used: results.fuel, uncounted: results.uncounted };
        self.groups.push(GroupSums { group_index, fuel, memory_sum: results.memory_sum });
    }

    /// Adds to each group's fuel of the frame what swaps of its module took.
    pub(crate) fn add_fuel(&self, fuel: &mut [FrameFuel]) {
        for sums in &self.groups {
            fuel[sums.group_index.index()].add(sums.fuel);
        }
    }
}

/// Counts the faults of swaps in their agents' histories. It runs before the other faults of the frame are counted, so that the
/// number in a notice of one of those is the agent's last.
pub(crate) fn count_swap_faults(
    mut directory: ResMut<Directory>,
    in_hand: Res<SwapsInHand>,
    mut histories: Query<&mut FaultHistory>,
) {
    for fault in &in_hand.faults {
        let Some((_, slot)) = locate(&directory, fault.agent) else { continue };
        if let Ok(mut history) = histories.get_mut(directory.agents[slot.index()]) {
            history.faults = history.faults.saturating_add(1);
            directory.written.push(slot);
        }
    }
}

/// Puts the results of swaps on the record. A fault in a swap has led to a fresh start already, so that it is counted, and the
/// group's policy isn't applied.
pub(crate) fn commit_swaps(
    directory: Res<Directory>,
    mut in_hand: ResMut<SwapsInHand>,
    mut report: ResMut<FrameReport>,
    mut lanes: ResMut<LaneSums>,
    mut tables: ResMut<TableBudgets>,
    mut counters: Query<&mut GroupCounters>,
) {
    // Each swap adds to this digest, so that it is 0 in a frame without one.
    if in_hand.inputs == 0 {
        return;
    }
    let SwapsInHand { inputs, faults, mut lines, excess, groups } = std::mem::take(in_hand.as_mut());
    lanes.inputs = lanes.inputs.wrapping_add(inputs);
    for GroupSums { group_index, fuel, memory_sum } in groups {
        lanes.memories[group_index.index()] = lanes.memories[group_index.index()].wrapping_add(memory_sum);
        if let Ok(mut counters) = counters.get_mut(directory.groups[group_index].entity) {
            counters.0.fuel = counters.0.fuel.wrapping_add(fuel.used);
        }
    }
    for lines in lines.chunk_by(|a, b| a.agent == b.agent) {
        if let Some(group_index) = directory.group_index(lines[0].agent.group()) {
            let lane = &mut lanes.logs[group_index.index()];
            *lane = lane.wrapping_add(lines_digest(lines));
        }
    }
    for fault in &faults {
        let Some((group_index, _)) = locate(&directory, fault.agent) else { continue };
        lanes.faults[group_index.index()] = lanes.faults[group_index.index()].wrapping_add(fault_digest(fault));
        if let Ok(mut counters) = counters.get_mut(directory.groups[group_index].entity) {
            counters.0.faults.add(fault.kind);
        }
    }
    // The faults of swaps go first, because swaps came before everything else in the frame; the sort is stable.
    report.counts.faults += faults.len() as u64;
    report.faults.splice(0..0, faults);
    report.faults.sort_by_key(|fault| fault.agent);
    excess.iter().for_each(|excess| note(&mut report, excess));
    lines.retain(|line| is_kept(&directory, &mut tables, &mut report, line));
    let lines = lines.into_iter().map(|line| LogLine { agent: line.agent, level: line.level, text: line.text });
    report.logs.splice(0..0, lines);
    report.logs.sort_by_key(|line| line.agent);
}

/// Returns whether what is left of its group's and its tenant's budgets has room for a line.
fn is_kept(directory: &Directory, tables: &mut TableBudgets, report: &mut FrameReport, line: &ImportedLine) -> bool {
    let Some((group_index, _)) = locate(directory, line.agent) else { return false };
    let (group, mut excess) = (&directory.groups[group_index], Excess::of(line.agent.group()));
    let row = (RunTable::Logs, text_row_bytes(line.text.as_bytes()));
    let fits = tables.take((group_index, group.spec.tenant), row, &mut excess);
    note(report, &excess);
    fits
}

/// Returns the index of an agent's group, and the slot of the agent.
fn locate(directory: &Directory, agent: AgentId) -> Option<(GroupIndex, AgentSlot)> {
    let (group, slot) = directory.find(agent)?;
    Some((directory.group_index(group.id)?, slot))
}

fn swap_digest(index: u64, swap: Swap, sha256: &[u8; 32]) -> u128 {
    let mut bytes = swap_bytes(swap);
    bytes.extend_from_slice(sha256);
    // Commands are numbered from 2^32 and events from 0: so swaps have numbers of their own.
    part_digest(Lane::Inputs, (1 << 48) | index, &bytes)
}
