//! Dense tables of the agents. Each group has a range of *slots*, one for each agent that it may have at one time; an agent's
//! ordinal counts from the first of them. They mirror components, so that the hot paths read arrays instead of looking entities up.

use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use wasm_engine_abi::BounceReason;
use wasm_engine_components::{
    AgentId, AgentSlot, GroupId, GroupIndex, Lifecycle, Recipient, RecipientSlot, TopicId, TopicIndex,
};

use crate::world::groups::{GroupRange, Groups};
use crate::world::hearers::Hearers;
use crate::world::inbox::Inboxes;
use crate::world::regions::RegionTable;

/// The dense tables. Transient: made from the components.
#[derive(Resource, Debug, Default)]
pub struct Directory {
    /// The agents' ids, by slot: ascending. Where no agent has been yet, the id of the first.
    pub(crate) ids: Vec<AgentId>,
    /// The agents' entities; [`Entity::PLACEHOLDER`] where no agent has been yet.
    pub(crate) agents: Vec<Entity>,
    /// Their mailboxes' entities, likewise.
    pub(crate) mailboxes: Vec<Entity>,
    /// A copy of each agent's lifecycle; [`Lifecycle::Terminated`] where there is none.
    pub(crate) lifecycles: Vec<Lifecycle>,
    /// Number of agents that haven't ended and aren't [`Lifecycle::Active`].
    pub(crate) inactive: usize,
    /// Counts the changes of lifecycles.
    pub(crate) changes: u64,
    /// The agents whose lifecycle or fault history was written in this frame: whoever writes one notes it here, so that the
    /// others cost nothing.
    pub(crate) written: Vec<AgentSlot>,
    /// The agents that became [`Lifecycle::Initialising`] or [`Lifecycle::Terminating`], and perhaps still are.
    pub(crate) pending: Vec<AgentSlot>,
    /// The groups, in the order of their ids.
    pub(crate) groups: Groups,
    /// Whether a group comes after another, so that messages may arrive in the frame in which they are sent.
    pub(crate) has_edges: bool,
    /// The groups that take each group's messages.
    pub(crate) hearers: Hearers,
    /// The topics, ascending by id.
    pub(crate) topics: Vec<(TopicId, Entity)>,
    /// The shared regions.
    pub(crate) regions: RegionTable,
}

impl Directory {
    /// Returns the index of a group, which is also that of its sums in the lanes.
    #[inline]
    pub(crate) fn group_index(&self, id: GroupId) -> Option<GroupIndex> {
        self.groups.find(id)
    }

    /// Returns the group with that number.
    #[inline]
    pub(crate) fn group(&self, id: GroupId) -> Option<&GroupRange> {
        self.group_index(id).map(|index| &self.groups[index])
    }

    /// Returns the group of the agent in a slot.
    ///
    /// # Panics
    /// If there is no such slot.
    #[inline]
    pub(crate) fn group_at(&self, slot: AgentSlot) -> &GroupRange {
        self.group(self.ids[slot.index()].group()).expect("a slot belongs to a group")
    }

    /// Returns an agent's group and its slot; also of an agent that has ended, until another one has its ordinal.
    #[inline]
    pub(crate) fn find(&self, id: AgentId) -> Option<(&GroupRange, AgentSlot)> {
        let group = self.group(id.group())?;
        if id.ordinal() >= group.used {
            return None;
        }
        let slot = group.start + id.ordinal();
        let is_there = if group.grows { self.ids[slot.index()] == id } else { id.generation() == 0 };
        is_there.then_some((group, slot))
    }

    /// Returns the slot of an agent, as [`Directory::find`] has it.
    #[inline]
    pub(crate) fn slot(&self, id: AgentId) -> Option<AgentSlot> {
        self.find(id).map(|(_, slot)| slot)
    }

    /// Returns the slot of an agent that hasn't ended.
    pub(crate) fn alive(&self, id: AgentId) -> Option<AgentSlot> {
        self.slot(id).filter(|&slot| self.lifecycles[slot.index()].is_alive())
    }

    /// Returns why an agent isn't alive: it has ended, whichever agent has its ordinal now, or there never was one.
    #[cold]
    pub(crate) fn absence(&self, id: AgentId) -> BounceReason {
        let existed = self.group(id.group()).is_some_and(|group| {
            id.ordinal() < group.used && id.generation() <= self.ids[(group.start + id.ordinal()).index()].generation()
        });
        if existed { BounceReason::Terminated } else { BounceReason::UnknownRecipient }
    }

    /// Returns the ids of a recipient.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn recipient(&self, to: RecipientSlot) -> Recipient {
        match to {
            Recipient::Agent(slot) => Recipient::Agent(self.ids[slot.index()]),
            Recipient::Topic(index) => Recipient::Topic(self.topics[index.index()].0),
            Recipient::Group(index) => Recipient::Group(self.groups[index].id),
        }
    }

    /// Returns the index of a topic.
    pub(crate) fn topic(&self, id: TopicId) -> Option<TopicIndex> {
        self.topics.binary_search_by_key(&id, |topic| topic.0).ok().map(TopicIndex::of)
    }

    /// Mirrors a lifecycle that was written in `frame`, with all that hangs on it.
    pub(crate) fn set_lifecycle(&mut self, inboxes: &mut Inboxes, slot: AgentSlot, after: Lifecycle, frame: u64) {
        let index = slot.index();
        let before = std::mem::replace(&mut self.lifecycles[index], after);
        self.written.push(slot);
        if before == after {
            return;
        }
        self.changes += 1;
        let group = self.group_index(self.ids[index].group()).expect("a slot belongs to a group");
        let group = &mut self.groups[group];
        let is_inactive = |state: Lifecycle| state.is_alive() && state != Lifecycle::Active;
        self.inactive = self.inactive + usize::from(is_inactive(after)) - usize::from(is_inactive(before));
        group.inactive = group.inactive + u32::from(is_inactive(after)) - u32::from(is_inactive(before));
        group.alive = group.alive + u32::from(after.is_alive()) - u32::from(before.is_alive());
        if matches!(after, Lifecycle::Initialising | Lifecycle::Terminating) {
            self.pending.push(slot);
        }
        if !after.is_alive() {
            inboxes.loads[index].messages_max = 0;
            group.grows = true;
            group.vacating.push_back((frame, slot - group.start));
        } else if !before.is_alive() {
            inboxes.loads[index].messages_max = group.mailbox.capacity_messages;
        }
    }

    /// Makes ordinals vacant whose agents ended long enough ago that no message is on its way to them. An ordinal that has had all the generations
    /// that an id has room for stays empty for good.
    pub(crate) fn vacate(&mut self, frame: u64) {
        for group in self.groups.iter_mut() {
            while let Some(&(ended, ordinal)) = group.vacating.front()
                && ended + 2 <= frame
            {
                group.vacating.pop_front();
                let generation = self.ids[(group.start + ordinal).index()].generation();
                if generation < AgentId::GENERATION_MAX {
                    group.vacant.insert((generation + 1, ordinal));
                }
            }
        }
    }

    /// Takes a slot for a new agent of a group: one that was never used, else the least used one.
    pub(crate) fn take_slot(&mut self, group: GroupIndex) -> Option<(AgentId, AgentSlot)> {
        let group = &mut self.groups[group];
        let (generation, ordinal) = if group.used < group.spec.agents_max {
            group.used += 1;
            (0, group.used - 1)
        } else {
            group.vacant.pop_first()?
        };
        let (id, slot) = (AgentId::of_generation(group.id, ordinal, generation), group.start + ordinal);
        self.ids[slot.index()] = id;
        Some((id, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use wasm_engine_components::{GroupSpec, Mailbox, OverflowPolicy};

    /// A group of one slot, whose agent is of this generation.
    fn directory(generation: u32) -> Directory {
        let group = GroupSpec::new(GroupId(1), "pool", 1);
        let overflow = OverflowPolicy::Reject;
        let mailbox = Mailbox { capacity_messages: 1, capacity_bytes: 64, overflow };
        let range = GroupRange::new(Arc::new(group), Entity::PLACEHOLDER, AgentSlot(0), mailbox);
        let ids = vec![AgentId::of_generation(GroupId(1), 0, generation)];
        Directory { ids, groups: Groups::from(vec![range]), ..Directory::default() }
    }

    #[test]
    fn a_place_has_as_many_holders_as_an_id_has_generations_and_is_empty_then() {
        for (generation, next) in [
            (0, Some(1)),
            (AgentId::GENERATION_MAX - 1, Some(AgentId::GENERATION_MAX)),
            (AgentId::GENERATION_MAX, None),
        ] {
            let mut directory = directory(generation);
            directory.groups[GroupIndex(0)].vacating.push_back((10, 0));
            directory.vacate(11);
            assert_eq!(
                directory.take_slot(GroupIndex(0)),
                None,
                "what is on its way to the last holder may still arrive"
            );
            directory.vacate(12);
            let id = next.map(|next| AgentId::of_generation(GroupId(1), 0, next));
            assert_eq!(directory.take_slot(GroupIndex(0)), id.map(|id| (id, AgentSlot(0))));
            assert_eq!(directory.take_slot(GroupIndex(0)), None);
        }
        assert_eq!(AgentId::GENERATION_MAX, 1_048_575);
    }
}
