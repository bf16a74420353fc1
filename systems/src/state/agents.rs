//! Groups' places and the agents in them: who there is, where each is in its life, and what its faults have led to.

use std::collections::BTreeSet;

use bevy_ecs::entity::Entity;
use wasm_engine_components::{
    AgentId, Backlog, FaultCounts, FaultHistory, GroupCounters, GroupTotals, Lifecycle, MailboxCounters, MailboxOf,
};

use super::entity::{Entry, StateError};
use super::pass::{Loading, Saving};
use super::section::{Reader, Section};
use crate::world::digest::{LaneSums, PartDigest, agent_digest, history_bytes, totals_bytes};
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::mailroom::Mailroom;
use crate::world::scheduler::Restarts;

pub(super) fn save_places(saving: &mut Saving<'_>, section: &mut Section) {
    for group in saving.directory.groups.iter() {
        section.push(group.id.0.into(), |bytes| {
            bytes.extend_from_slice(&group.spec.agents.to_le_bytes());
            bytes.extend_from_slice(&group.used.to_le_bytes());
            bytes.push(u8::from(group.grows));
            for (frame, ordinal) in &group.vacating {
                bytes.extend_from_slice(&frame.to_le_bytes());
                bytes.extend_from_slice(&ordinal.to_le_bytes());
            }
        });
    }
}

pub(super) fn load_places(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let at = entry.group(loading.directory)?;
        let group = &mut loading.directory.groups[at];
        let now = group.spec.agents;
        let (first, used, grows) = entry_places(&entry, group)?;
        if first != now {
            return Err(
                entry.unfit(format!("it began with {first} agents, and here with {now}: that can't change later"))
            );
        }
        if used > group.spec.agents_max {
            let most = group.spec.agents_max;
            return Err(entry.unfit(format!("it has used {used} places, and `agents_max` is {most}")));
        }
        if used < first {
            return Err(entry.damaged());
        }
        group.used = used;
        group.grows |= grows;
    }
    let missing = loading.directory.groups.iter().find(|group| section.of(group.id.0.into()).next().is_none());
    match missing {
        None => Ok(()),
        Some(group) => {
            let entry = Entry { section, id: group.id.0.into(), value: &[] };
            Err(entry.unfit("it isn't in the saved state, and a group can't come in later"))
        }
    }
}

/// The numbers of a group's places; those that are to be vacant soon go to the group.
fn entry_places(entry: &Entry<'_>, group: &mut GroupRange) -> Result<(u32, u32, bool), StateError> {
    entry.read(|value| {
        let numbers = (value.u32()?, value.u32()?, value.bool()?);
        while !value.0.is_empty() {
            group.vacating.push_back((value.u64()?, value.u32()?));
        }
        group.vacating.iter().is_sorted_by_key(|(frame, _)| frame).then_some(numbers)
    })
}

pub(super) fn save_lifecycles(saving: &mut Saving<'_>, section: &mut Section) {
    let directory = saving.directory;
    for at in directory.groups.iter().flat_map(GroupRange::positions) {
        let at = at as usize;
        section.push(directory.ids[at].0, |bytes| bytes.push(directory.lifecycles[at] as u8));
    }
}

pub(super) fn load_lifecycles(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let damaged = || StateError::Damaged { component: section.component.clone(), entity: None };
    let mut items = section.items();
    loading.directory.pending.clear();
    for at in 0..loading.directory.groups.len() {
        let group = &loading.directory.groups[at];
        let mut vacating: BTreeSet<u32> = group.vacating.iter().map(|&(_, ordinal)| ordinal).collect();
        let is_whole = vacating.len() == group.vacating.len();
        for position in group.positions() {
            let entry = items.next().filter(|_| is_whole).ok_or_else(damaged)?;
            load_agent(loading, at, position, &entry, &mut vacating)?;
        }
        if !vacating.is_empty() {
            return Err(damaged());
        }
        let Directory { groups, lifecycles, .. } = &mut *loading.directory;
        let group = &mut groups[at];
        let states = group.positions().map(|position| lifecycles[position as usize]);
        // Both counts are of agents of one group.
        group.alive = states.clone().filter(|state| state.is_alive()).count() as u32;
        group.inactive = states.filter(|state| is_idle(*state)).count() as u32;
    }
    loading.directory.inactive = loading.directory.groups.iter().map(|group| group.inactive as usize).sum();
    items.next().map_or(Ok(()), |_| Err(damaged()))
}

fn is_idle(state: Lifecycle) -> bool {
    state.is_alive() && state != Lifecycle::Active
}

/// The agent at a position of the group at position `group`; `vacating` are the ordinals that are to be vacant soon.
fn load_agent(
    loading: &mut Loading<'_>,
    group: usize,
    position: u32,
    entry: &Entry<'_>,
    vacating: &mut BTreeSet<u32>,
) -> Result<(), StateError> {
    let Loading { world, directory, .. } = loading;
    let group = &mut directory.groups[group];
    let (id, at, ordinal) = (AgentId(entry.id), position as usize, position - group.start);
    let state = entry.read(|value| lifecycle(value.u8()?))?;
    let is_soon_vacant = vacating.remove(&ordinal);
    let is_first = id.generation() == 0 && state.is_alive();
    let is_here = (id.group(), id.ordinal()) == (group.id, ordinal);
    if !is_here || !(group.grows || is_first) || (is_soon_vacant && state.is_alive()) {
        return Err(entry.damaged());
    }
    if directory.agents[at] == Entity::PLACEHOLDER {
        let agent = world.spawn((id, state, FaultHistory::default(), PartDigest::default())).id();
        let parts = (MailboxOf(agent), group.mailbox, MailboxCounters::default(), Backlog::default());
        directory.agents[at] = agent;
        directory.mailboxes[at] = world.spawn(parts).id();
    } else {
        let mut agent = world.entity_mut(directory.agents[at]);
        if directory.ids[at] != id {
            agent.insert(id);
        }
        if let Some(mut lifecycle) = agent.get_mut::<Lifecycle>() {
            *lifecycle = state;
        }
    }
    (directory.ids[at], directory.lifecycles[at]) = (id, state);
    if matches!(state, Lifecycle::Initialising | Lifecycle::Terminating) {
        directory.pending.push(position);
    }
    if !state.is_alive() && !is_soon_vacant && id.generation() < AgentId::GENERATION_MAX {
        group.vacant.insert((id.generation() + 1, ordinal));
    }
    let takes = if state.is_alive() { group.mailbox.capacity_messages } else { 0 };
    world.resource_mut::<Mailroom>().inboxes.loads[at].messages_max = takes;
    Ok(())
}

pub(super) fn lifecycle(number: u8) -> Option<Lifecycle> {
    use Lifecycle::{Active, Faulted, Initialising, Paused, Terminated, Terminating};
    [Initialising, Active, Paused, Faulted, Terminated, Terminating].into_iter().find(|state| *state as u8 == number)
}

pub(super) fn save_histories(saving: &mut Saving<'_>, section: &mut Section) {
    let directory = saving.directory;
    let Some(histories) = saving.world.try_query::<&FaultHistory>() else { return };
    let histories = histories.query_manual(saving.world);
    for at in directory.groups.iter().flat_map(GroupRange::positions) {
        if let Ok(history) = histories.get(directory.agents[at as usize])
            && *history != FaultHistory::default()
        {
            section.push(directory.ids[at as usize].0, |bytes| bytes.extend_from_slice(&history_bytes(history)));
        }
    }
}

pub(super) fn history(value: &mut Reader<'_>) -> Option<FaultHistory> {
    let (faults, restarts) = (value.u32()?, value.u32()?);
    Some(FaultHistory { faults, restarts, restart_frame: value.u64()?, uninitialised: value.bool()? })
}

pub(super) fn load_histories(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let Loading { world, directory, frame, .. } = loading;
    let mut restarts = Restarts::default();
    for entry in section.items() {
        let position = entry.position(directory)?;
        let read = entry.read(history)?;
        if directory.lifecycles[position as usize] == Lifecycle::Faulted && read.restart_frame > *frame {
            restarts.0.insert((read.restart_frame, position));
        }
        if let Some(mut history) = world.get_mut::<FaultHistory>(directory.agents[position as usize]) {
            *history = read;
        }
    }
    world.insert_resource(restarts);
    Ok(())
}

pub(super) fn save_counters(saving: &mut Saving<'_>, section: &mut Section) {
    for group in saving.directory.groups.iter() {
        let totals = saving.world.get::<GroupCounters>(group.entity).copied().unwrap_or_default();
        section.push(group.id.0.into(), |bytes| bytes.extend_from_slice(&totals_bytes(&totals.0)));
    }
}

pub(super) fn load_counters(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let at = entry.group(loading.directory)?;
        let totals = entry.read(|value| {
            let [steps, fuel, messages, inference_jobs] = [value.u64()?, value.u64()?, value.u64()?, value.u64()?];
            let mut faults = FaultCounts::default();
            for count in &mut faults.0 {
                *count = value.u64()?;
            }
            Some(GroupTotals { steps, fuel, messages, inference_jobs, faults })
        })?;
        if let Some(mut counters) = loading.world.get_mut::<GroupCounters>(loading.directory.groups[at].entity) {
            counters.0 = totals;
        }
    }
    Ok(())
}

/// Makes the lane of agents anew.
pub(super) fn digest(loading: &mut Loading<'_>) {
    let Loading { world, directory, .. } = loading;
    // Each of them was written when the world was populated.
    directory.written.clear();
    let mut sums = vec![0_u128; directory.groups.len()];
    let mut agents = world.query::<(&Lifecycle, &FaultHistory, &mut PartDigest)>();
    for (group, sum) in directory.groups.iter().zip(&mut sums) {
        for at in group.positions() {
            let at = at as usize;
            let Ok((lifecycle, history, mut part)) = agents.get_mut(world, directory.agents[at]) else { continue };
            part.0 = agent_digest(directory.ids[at], *lifecycle, history);
            *sum = sum.wrapping_add(part.0);
        }
    }
    world.resource_mut::<LaneSums>().agents = sums;
}
