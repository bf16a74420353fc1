//! Groups' slots and the agents in them, in a world: lifecycles, fault histories, counters.

use std::collections::BTreeSet;

use bevy_ecs::component::ComponentId;
use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use wasm_engine_components::{
    AgentId, AgentSlot, Backlog, FaultHistory, GroupCounters, GroupIndex, Lifecycle, MailboxCounters, MailboxOf,
};

use super::entity::{Entry, StateError};
use super::part::{Coverage, StatePart, Target};
use super::pass::{Loading, Saving};
use super::section::Section;
use crate::codec::{GroupSlots, Places, StateCodec as _};
use crate::world::digest::{LaneSums, PartDigest, agent_digest, sum};
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::mailroom::Mailroom;
use crate::world::scheduler::Restarts;

impl StatePart for Places {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for group in saving.directory.groups.iter() {
            let GroupRange { used, grows, vacating, .. } = group;
            let first_agents = group.spec.agents;
            to.put(group.id.0.into(), GroupSlots { first_agents, used: *used, grows: *grows, vacating });
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let at = entry.group(loading.directory)?;
            let group = &mut loading.directory.groups[at];
            let now = group.spec.agents;
            let GroupSlots { first_agents: first, used, grows, vacating } = entry.decode::<Self>()?;
            if first != now {
                let problem = format!("it began with {first} agents, and here with {now}: that can't change later");
                return Err(entry.unfit(problem));
            }
            if used > group.spec.agents_max {
                let most = group.spec.agents_max;
                return Err(entry.unfit(format!("it has used {used} slots, and `agents_max` is {most}")));
            }
            if used < first {
                return Err(entry.damaged());
            }
            (group.used, group.vacating) = (used, vacating);
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
}

impl StatePart for Lifecycle {
    const COVERAGE: Coverage = Coverage::Carried(|saving| sum(&saving.sums.agents));

    fn components(world: &mut World) -> Vec<ComponentId> {
        vec![world.register_component::<Self>()]
    }

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let directory = saving.directory;
        for slot in directory.groups.iter().flat_map(GroupRange::slots) {
            to.put(directory.ids[slot.index()].0, directory.lifecycles[slot.index()]);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        load_lifecycles(loading, section)
    }

    /// Computes the carried sums of agents.
    fn finish(loading: &mut Loading<'_>) {
        let Loading { world, directory, .. } = loading;
        // All agents were noted as written when the world was populated.
        directory.written.clear();
        let mut sums = vec![0_u128; directory.groups.len()];
        let mut agents = world.query::<(&Self, &FaultHistory, &mut PartDigest)>();
        for (group, sum) in directory.groups.iter().zip(&mut sums) {
            for slot in group.slots() {
                let entity = directory.agents[slot.index()];
                let Ok((lifecycle, history, mut part)) = agents.get_mut(world, entity) else { continue };
                part.0 = agent_digest(directory.ids[slot.index()], *lifecycle, history);
                *sum = sum.wrapping_add(part.0);
            }
        }
        world.resource_mut::<LaneSums>().agents = sums;
    }
}

fn load_lifecycles(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let damaged = || StateError::Damaged { component: section.component.clone(), entity: None };
    let mut items = section.items();
    loading.directory.pending.clear();
    for at in (0..loading.directory.groups.len()).map(GroupIndex::of) {
        let group = &loading.directory.groups[at];
        let mut vacating: BTreeSet<u32> = group.vacating.iter().map(|&(_, ordinal)| ordinal).collect();
        let is_whole = vacating.len() == group.vacating.len();
        for slot in group.slots() {
            let entry = items.next().filter(|_| is_whole).ok_or_else(damaged)?;
            load_agent(loading, at, slot, &entry, &mut vacating)?;
        }
        if !vacating.is_empty() {
            return Err(damaged());
        }
        let Directory { groups, lifecycles, .. } = &mut *loading.directory;
        let group = &mut groups[at];
        let states = group.slots().map(|slot| lifecycles[slot.index()]);
        // A group has fewer than 2^32 agents.
        group.alive = states.clone().filter(|state| state.is_alive()).count() as u32;
        group.inactive = states.filter(|state| is_idle(*state)).count() as u32;
    }
    loading.directory.inactive = loading.directory.groups.iter().map(|group| group.inactive as usize).sum();
    items.next().map_or(Ok(()), |_| Err(damaged()))
}

fn is_idle(state: Lifecycle) -> bool {
    state.is_alive() && state != Lifecycle::Active
}

/// Loads the agent in a slot of a group. `vacating` are the ordinals that are to be vacant soon.
fn load_agent(
    loading: &mut Loading<'_>,
    group: GroupIndex,
    slot: AgentSlot,
    entry: &Entry<'_>,
    vacating: &mut BTreeSet<u32>,
) -> Result<(), StateError> {
    let Loading { world, directory, .. } = loading;
    let group = &mut directory.groups[group];
    let (id, index, ordinal) = (AgentId(entry.id), slot.index(), slot - group.start);
    let state = entry.decode::<Lifecycle>()?;
    let is_soon_vacant = vacating.remove(&ordinal);
    let is_first = id.generation() == 0 && state.is_alive();
    let is_here = (id.group(), id.ordinal()) == (group.id, ordinal);
    if !is_here || !(group.grows || is_first) || (is_soon_vacant && state.is_alive()) {
        return Err(entry.damaged());
    }
    if directory.agents[index] == Entity::PLACEHOLDER {
        let agent = world.spawn((id, state, FaultHistory::default(), PartDigest::default())).id();
        let parts = (MailboxOf(agent), group.mailbox, MailboxCounters::default(), Backlog::default());
        directory.agents[index] = agent;
        directory.mailboxes[index] = world.spawn(parts).id();
    } else {
        let mut agent = world.entity_mut(directory.agents[index]);
        if directory.ids[index] != id {
            agent.insert(id);
        }
        if let Some(mut lifecycle) = agent.get_mut::<Lifecycle>() {
            *lifecycle = state;
        }
    }
    (directory.ids[index], directory.lifecycles[index]) = (id, state);
    if matches!(state, Lifecycle::Initialising | Lifecycle::Terminating) {
        directory.pending.push(slot);
    }
    if !state.is_alive() && !is_soon_vacant && id.generation() < AgentId::GENERATION_MAX {
        group.vacant.insert((id.generation() + 1, ordinal));
    }
    let takes = if state.is_alive() { group.mailbox.capacity_messages } else { 0 };
    world.resource_mut::<Mailroom>().inboxes.loads[index].messages_max = takes;
    Ok(())
}

impl StatePart for FaultHistory {
    const COVERAGE: Coverage = Coverage::CarriedWith(Lifecycle::NAME);

    fn components(world: &mut World) -> Vec<ComponentId> {
        vec![world.register_component::<Self>()]
    }

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let directory = saving.directory;
        let Some(histories) = saving.world.try_query::<&Self>() else { return };
        let histories = histories.query_manual(saving.world);
        for slot in directory.groups.iter().flat_map(GroupRange::slots) {
            if let Ok(history) = histories.get(directory.agents[slot.index()])
                && *history != Self::default()
            {
                to.put(directory.ids[slot.index()].0, history);
            }
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let Loading { world, directory, frame, .. } = loading;
        let mut restarts = Restarts::default();
        for entry in section.items() {
            let slot = entry.slot(directory)?;
            let read = entry.decode::<Self>()?;
            // An agent without a history has no entry.
            if read == Self::default() {
                return Err(entry.damaged());
            }
            if directory.lifecycles[slot.index()] == Lifecycle::Faulted && read.restart_frame > *frame {
                restarts.0.insert((read.restart_frame, slot));
            }
            if let Some(mut history) = world.get_mut::<Self>(directory.agents[slot.index()]) {
                *history = read;
            }
        }
        world.insert_resource(restarts);
        Ok(())
    }
}

impl StatePart for GroupCounters {
    const COVERAGE: Coverage = Coverage::Carried(|saving| sum(&saving.sums.groups));

    fn components(world: &mut World) -> Vec<ComponentId> {
        vec![world.register_component::<Self>()]
    }

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for group in saving.directory.groups.iter() {
            let counters = saving.world.get::<Self>(group.entity).copied().unwrap_or_default();
            to.put(group.id.0.into(), &counters);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let at = entry.group(loading.directory)?;
            let read = entry.decode::<Self>()?;
            if let Some(mut counters) = loading.world.get_mut::<Self>(loading.directory.groups[at].entity) {
                *counters = read;
            }
        }
        Ok(())
    }
}
