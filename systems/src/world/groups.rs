//! The groups: their slots in the dense tables, and what the hot paths need to know of them.

use std::collections::{BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut, Index, IndexMut};
use std::sync::Arc;

use bevy_ecs::entity::Entity;
use wasm_engine_abi::message::sender;
use wasm_engine_components::{
    AgentId, AgentSlot, GroupId, GroupIndex, GroupLimits, GroupSpec, Mailbox, OverflowPolicy, Trigger,
};

/// The groups, in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct Groups(Vec<GroupRange>);

/// A group's row in the dense tables: where its slots lie, and what changes of it. What is read for each message lies side by side here; what is
/// read less often is asked of the spec.
#[derive(Clone, Debug)]
pub(crate) struct GroupRange {
    /// The group's number, as in its spec.
    pub id: GroupId,
    /// Its spec, shared with its entity.
    pub spec: Arc<GroupSpec>,
    /// Its entity.
    pub entity: Entity,
    /// Slot of its first agent.
    pub start: AgentSlot,
    /// Number of its ordinals that were ever used: those below this.
    pub used: u32,
    /// Whether it may be given agents during the run, so that an ordinal may belong to another agent later: it has room for more
    /// than it starts with, or one of its agents has ended.
    pub grows: bool,
    /// Ordinals that may be used again, with the generation that would be next: the least used one first.
    pub vacant: BTreeSet<(u32, u32)>,
    /// Ordinals whose agents ended, and in which frame. They are vacant two frames later: nothing is on its way to them then.
    pub vacating: VecDeque<(u64, u32)>,
    /// Agents that haven't ended.
    pub alive: u32,
    /// Of those, agents that aren't active.
    pub inactive: u32,
    /// Capacity and overflow policy of each agent's mailbox.
    pub mailbox: Mailbox,
    /// The wave of a frame in which it is stepped, from 0.
    pub wave: u32,
    /// Messages that any one of its agents may send in this frame at most: the lower of the group's budget and its tenant's, as they are
    /// when the frame begins. What others send in the frame isn't taken off. Set by `Schedule`.
    pub credits: u64,
}

impl GroupRange {
    /// Returns the range of a group whose first agent has the slot `start`. Its agents aren't alive yet.
    pub(crate) fn new(spec: Arc<GroupSpec>, entity: Entity, start: AgentSlot, mailbox: Mailbox) -> Self {
        Self {
            id: spec.id,
            entity,
            start,
            used: spec.agents,
            grows: spec.agents_max > spec.agents,
            vacant: BTreeSet::new(),
            vacating: VecDeque::new(),
            alive: 0,
            inactive: 0,
            mailbox,
            wave: 0,
            credits: GroupLimits::UNBOUNDED,
            spec,
        }
    }

    /// Returns whether agents of this group take messages from `from`.
    #[inline]
    pub(crate) fn takes_from(&self, from: AgentId) -> bool {
        match &self.spec.accepts {
            None => true,
            Some(groups) => from.0 <= sender::NATIVE || groups.binary_search(&from.group()).is_ok(),
        }
    }

    /// Returns whether messages of `group` reach this one in the frame in which they are sent.
    #[inline]
    pub(crate) fn comes_after(&self, group: GroupId) -> bool {
        // This is asked for each message to one agent, and most groups come after no other.
        !self.spec.after.is_empty() && self.spec.after.binary_search(&group).is_ok()
    }

    /// Returns the slots of the ordinals that were ever used, ascending.
    pub(crate) fn slots(&self) -> impl ExactSizeIterator<Item = AgentSlot> + Clone + use<> {
        (self.start.0..self.start.0 + self.used).map(AgentSlot)
    }

    /// Returns how often the delivery of a message to many counts for one of its agents: twice if it costs about twice as much, because it waits in a
    /// backlog or wakes the agent, or may push another message out.
    pub(crate) fn delivery_weight(&self) -> u64 {
        if self.is_steady() && self.mailbox.overflow != OverflowPolicy::DropOldest { 1 } else { 2 }
    }

    /// Returns what a message to all of its agents that haven't ended counts, for each unit of its size.
    pub(crate) fn weight(&self) -> u64 {
        u64::from(self.alive) * self.delivery_weight()
    }

    /// Returns whether its agents are stepped in each frame.
    pub(crate) fn is_steady(&self) -> bool {
        self.spec.schedule.trigger == Trigger::default()
    }
}

impl Groups {
    /// Returns the index of a group.
    #[inline]
    pub(crate) fn find(&self, id: GroupId) -> Option<GroupIndex> {
        // Most scenarios number their groups without gaps: try the index that it has then.
        let guess = (id.0 as usize).wrapping_sub(1);
        match self.0.get(guess) {
            Some(group) if group.id == id => Some(GroupIndex::of(guess)),
            _ => self.search(id),
        }
    }

    #[inline(never)]
    fn search(&self, id: GroupId) -> Option<GroupIndex> {
        self.0.binary_search_by_key(&id, |group| group.id).ok().map(GroupIndex::of)
    }

    /// Adds a group whose id is higher than those of the others.
    pub(crate) fn push(&mut self, group: GroupRange) {
        self.0.push(group);
    }
}

impl From<Vec<GroupRange>> for Groups {
    fn from(groups: Vec<GroupRange>) -> Self {
        Self(groups)
    }
}

impl Index<GroupIndex> for Groups {
    type Output = GroupRange;

    #[inline]
    fn index(&self, at: GroupIndex) -> &GroupRange {
        &self.0[at.index()]
    }
}

impl IndexMut<GroupIndex> for Groups {
    #[inline]
    fn index_mut(&mut self, at: GroupIndex) -> &mut GroupRange {
        &mut self.0[at.index()]
    }
}

impl Deref for Groups {
    type Target = [GroupRange];

    #[inline]
    fn deref(&self) -> &[GroupRange] {
        &self.0
    }
}

impl DerefMut for Groups {
    #[inline]
    fn deref_mut(&mut self) -> &mut [GroupRange] {
        &mut self.0
    }
}
