//! Dense tables of the agents: the position of an agent is its rank in the order of ids. They mirror components, so that the
//! hot paths read arrays instead of looking entities up.

use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use wasm_engine_abi::message::sender;
use wasm_engine_components::{AgentId, GroupId, Lifecycle, TopicId};

use crate::region::RegionPlace;

/// Where everything is. Transient: made from the components.
#[derive(Resource, Debug, Default)]
pub struct Directory {
    /// The agents' ids, ascending.
    pub ids: Vec<AgentId>,
    /// The agents' entities.
    pub agents: Vec<Entity>,
    /// Their mailboxes' entities.
    pub mailboxes: Vec<Entity>,
    /// A copy of each agent's lifecycle, as it was at the end of the last frame.
    pub lifecycles: Vec<Lifecycle>,
    /// How many of those aren't [`Lifecycle::Active`].
    pub inactive: usize,
    /// Counts the frames in which one of those changed.
    pub changes: u64,
    /// The agents whose lifecycle or fault history was written in this frame: whoever writes one notes it here, so that the
    /// others cost nothing.
    pub written: Vec<u32>,
    /// The groups, in the order of their ids.
    pub groups: Vec<GroupRange>,
    /// The topics, ascending by id.
    pub topics: Vec<(TopicId, Entity)>,
    /// The shared regions, ascending by id.
    pub regions: Vec<RegionPlace>,
}

/// A group's place in the tables.
#[derive(Clone, Debug)]
pub struct GroupRange {
    /// The group.
    pub id: GroupId,
    /// Its entity.
    pub entity: Entity,
    /// Position of its first agent.
    pub start: u32,
    /// How many agents it was given.
    pub agents: u32,
    /// From which groups it takes messages; `None` for all.
    pub accepts: Option<Vec<GroupId>>,
    /// Inference jobs that an agent of it may ask for in one step.
    pub jobs_per_step_max: u32,
}

impl GroupRange {
    /// Whether agents of this group take messages from `from`.
    #[inline]
    pub fn takes_from(&self, from: AgentId) -> bool {
        match &self.accepts {
            None => true,
            Some(groups) => from.0 <= sender::NATIVE || groups.binary_search(&from.group()).is_ok(),
        }
    }
}

impl Directory {
    /// The position of a group in the order of ids: where its lanes lie.
    #[inline]
    pub fn group_position(&self, id: GroupId) -> Option<usize> {
        // Groups are few and mostly numbered without gaps: try the place where it would be then.
        let guess = (id.0 as usize).wrapping_sub(1);
        match self.groups.get(guess) {
            Some(group) if group.id == id => Some(guess),
            _ => self.search_group(id),
        }
    }

    #[inline(never)]
    fn search_group(&self, id: GroupId) -> Option<usize> {
        self.groups.binary_search_by_key(&id, |group| group.id).ok()
    }

    /// The group with that number.
    #[inline]
    pub fn group(&self, id: GroupId) -> Option<&GroupRange> {
        self.group_position(id).map(|at| &self.groups[at])
    }

    /// An agent's group, and its position.
    #[inline]
    pub fn find(&self, id: AgentId) -> Option<(&GroupRange, u32)> {
        let group = self.group(id.group())?;
        (id.ordinal() < group.agents).then(|| (group, group.start + id.ordinal()))
    }

    /// The position of an agent.
    #[inline]
    pub fn index(&self, id: AgentId) -> Option<u32> {
        self.find(id).map(|(_, index)| index)
    }

    /// The position of a topic in the order of ids.
    pub fn topic(&self, id: TopicId) -> Option<u32> {
        let at = self.topics.binary_search_by_key(&id, |topic| topic.0).ok()?;
        u32::try_from(at).ok()
    }
}
