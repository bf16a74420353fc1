//! The entity that a piece of state belongs to, and the reasons why a saved state can't be loaded.

use std::fmt;

use wasm_engine_components::limits::LINE_CHARS_MAX;
use wasm_engine_components::text::shown;
use wasm_engine_components::{
    AgentId, AgentSlot, GroupId, GroupIndex, JobId, ModelId, RegionId, StableId, TenantId, TopicId,
};

use super::section::Section;
use crate::codec::{EntityKind, Reader, SavedMessage, StateCodec};
use crate::world::directory::Directory;

/// The entity that a piece of state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateEntity {
    /// The world.
    World,
    /// An agent.
    Agent(AgentId),
    /// A group.
    Group(GroupId),
    /// A tenant.
    Tenant(TenantId),
    /// A topic.
    Topic(TopicId),
    /// A shared region.
    Region(RegionId),
    /// An inference job.
    Job(JobId),
    /// A model.
    Model(ModelId),
    /// An entity of an author.
    Native(StableId),
    /// A message of an agent that is in flight.
    Message {
        /// The agent that sent it.
        sender: AgentId,
        /// Its number among what the sender sent in the frame.
        sequence: u32,
    },
    /// Index in a queue of the world, from 0.
    Place(u64),
}

impl StateEntity {
    /// Returns the entity that a value of a section belongs to.
    pub fn of(section: &Section, id: u64, value: &[u8]) -> Self {
        // Only a damaged state has an id that its type can't hold: the highest one is shown in its place.
        let short = u32::try_from(id).unwrap_or(u32::MAX);
        match section.of {
            EntityKind::World => Self::World,
            EntityKind::Group if id == 0 => Self::World,
            EntityKind::Agent => Self::Agent(AgentId(id)),
            EntityKind::Group => Self::Group(GroupId(short)),
            EntityKind::Tenant => Self::Tenant(TenantId(short)),
            EntityKind::Topic => Self::Topic(TopicId(id)),
            EntityKind::Region => Self::Region(RegionId(id)),
            EntityKind::Job => Self::Job(JobId(id)),
            EntityKind::Model => Self::Model(ModelId(id)),
            EntityKind::Native => Self::Native(StableId(id)),
            EntityKind::Message => {
                let sequence = SavedMessage::decode(&mut Reader(value)).map_or(0, |message| message.header.sequence);
                Self::Message { sender: AgentId(id), sequence }
            }
            EntityKind::Place => Self::Place(id),
        }
    }
}

impl fmt::Display for StateEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.write_str("the world"),
            Self::Agent(id) => write!(f, "agent {id}"),
            Self::Group(id) => write!(f, "group {}", id.0),
            Self::Tenant(id) => write!(f, "tenant {}", id.0),
            Self::Topic(id) => write!(f, "topic {:#018x}", id.0),
            Self::Region(id) => write!(f, "region {:#018x}", id.0),
            Self::Job(id) => write!(f, "job {}", id.0),
            Self::Model(id) => write!(f, "model {:#018x}", id.0),
            Self::Native(id) => write!(f, "the entity with StableId {}", id.0),
            Self::Message { sender, sequence } => write!(f, "message {sequence} of agent {sender}"),
            Self::Place(at) => write!(f, "place {at}"),
        }
    }
}

/// Why a saved state can't be loaded into a world. The world may hold half of it then, and is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The world has run a frame.
    #[error("a saved state can be loaded only into a world that has run no frame, and this one has run some")]
    NotFresh,
    /// The state has no such section.
    #[error("the saved state lacks `{}`: it is of another version of the engine, or of the plugins", shown(component))]
    Missing {
        /// Name of the component.
        component: String,
    },
    /// The world has no such component, or the state has its section twice.
    #[error(
        "the saved state has `{}`, which is no state of this world, or has it twice; a plugin that registered it with \
         `register_state` must do so here, too",
        shown(component)
    )]
    Unknown {
        /// Name of the component.
        component: String,
    },
    /// A section isn't what was saved: its entries aren't in order, or a value isn't one.
    #[error("the saved state is damaged: {}", damage(component, *entity))]
    Damaged {
        /// Name of the component.
        component: String,
        /// The entity whose value it is; `None` for the section as a whole.
        entity: Option<StateEntity>,
    },
    /// A value doesn't fit the world, whose scenario isn't that of the state.
    #[error("the saved state doesn't fit the scenario: `{}` of {entity}: {}", shown(component), shown(problem).at_most(LINE_CHARS_MAX))]
    Unfit {
        /// Name of the component.
        component: String,
        /// The entity whose value it is.
        entity: StateEntity,
        /// Reason why it doesn't fit.
        problem: String,
    },
}

/// Returns the text of a damaged section, or of one value in it.
fn damage(component: &str, entity: Option<StateEntity>) -> String {
    let component = shown(component);
    match entity {
        Some(entity) => format!("`{component}` of {entity} can't be read"),
        None => format!("the entries of `{component}` aren't in order"),
    }
}

/// An entry of a section that is being loaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub section: &'a Section,
    pub id: u64,
    pub value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Decodes the value, which must have no bytes left then.
    pub(super) fn decode<C: StateCodec>(&self) -> Result<C::Decoded<'a>, StateError> {
        self.read(C::decode)
    }

    /// Returns what `read` makes of the value. It must read all of it.
    pub(super) fn read<T>(&self, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Result<T, StateError> {
        let mut reader = Reader(self.value);
        read(&mut reader).filter(|_| reader.0.is_empty()).ok_or_else(|| self.damaged())
    }

    /// Returns the slot of the agent whose entry it is.
    pub(super) fn slot(&self, directory: &Directory) -> Result<AgentSlot, StateError> {
        self.slot_of(directory, AgentId(self.id))
    }

    /// Returns the slot of an agent that the entry is about.
    pub(super) fn slot_of(&self, directory: &Directory, agent: AgentId) -> Result<AgentSlot, StateError> {
        directory.slot(agent).ok_or_else(|| self.unfit(format!("nobody has the slot of agent {agent} under that id")))
    }

    /// Returns the index of the group whose entry it is.
    pub(super) fn group(&self, directory: &Directory) -> Result<GroupIndex, StateError> {
        let id = u32::try_from(self.id).ok().map(GroupId);
        let at = id.and_then(|id| directory.group_index(id));
        at.ok_or_else(|| self.unfit("the scenario lacks the group, or it doesn't take part"))
    }

    pub(super) fn entity(&self) -> StateEntity {
        StateEntity::of(self.section, self.id, self.value)
    }

    #[cold]
    pub(super) fn damaged(&self) -> StateError {
        StateError::Damaged { component: self.section.component.clone(), entity: Some(self.entity()) }
    }

    #[cold]
    pub(super) fn unfit(&self, problem: impl Into<String>) -> StateError {
        let component = self.section.component.clone();
        StateError::Unfit { component, entity: self.entity(), problem: problem.into() }
    }
}

impl Section {
    /// Returns the entries, to be loaded.
    pub(super) fn items(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries().map(|(id, value)| Entry { section: self, id, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::IncompleteState;

    #[test]
    fn no_name_of_others_reaches_a_terminal_as_it_is() {
        let evil = || "a\u{1b}[2J\r\nerror: forged\u{202e}".to_owned();
        let entity = StateEntity::Agent(AgentId(7));
        let errors: [&dyn std::error::Error; 7] = [
            &StateError::Missing { component: evil() },
            &StateError::Unknown { component: evil() },
            &StateError::Damaged { component: evil(), entity: None },
            &StateError::Damaged { component: evil(), entity: Some(entity) },
            &StateError::Unfit { component: evil(), entity, problem: evil() },
            &IncompleteState::Unregistered { component: evil(), entity: evil() },
            &IncompleteState::WithoutId { component: evil(), entity: evil() },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
            assert!(text.contains(r"a\u{1b}[2J\r\nerror: forged\u{202e}"), "{text}");
        }
    }
}
