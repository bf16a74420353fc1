//! All messages of a frame, and when each group takes those of another.

use bevy_ecs::system::Query;
use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{AgentId, GroupId, Members, TopicIndex};

use crate::world::chunk::OutputChunk;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::hearers::HearerList;
use crate::world::inbox_view::{Delivery, HostInbox, InboxView};

/// All messages of a frame, and what is needed to find their recipients.
pub(crate) struct Sent<'a, 'w, 's> {
    pub directory: &'a Directory,
    pub members: &'a Query<'w, 's, &'static Members>,
    /// Messages that agents sent in the frame before.
    pub chunks: &'a [OutputChunk],
    /// Messages that agents of earlier waves sent in this frame.
    pub current: &'a [OutputChunk],
    /// Messages that the host sends in this frame.
    pub host: &'a HostInbox,
}

/// When some of a message's recipients get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arrival {
    /// In the frame after the one in which it was sent.
    NextFrame,
    /// In the frame in which it was sent, in this wave.
    Wave(u32),
}

impl Arrival {
    /// Returns whether agents of `group` get messages of agents of `from` then.
    pub(crate) fn is_that_of(self, from: GroupId, group: &GroupRange) -> bool {
        match self {
            Self::NextFrame => !group.comes_after(from),
            Self::Wave(wave) => group.comes_after(from) && group.wave == wave,
        }
    }
}

impl<'a> Sent<'a, '_, '_> {
    /// Returns the header of a message.
    pub(crate) fn message(&self, delivery: Delivery) -> &'a MessageHeader {
        let (chunks, current, host) = (self.chunks, self.current, self.host);
        InboxView { firsts: &[], links: &[], chunks, current, host }.message(delivery).0
    }

    /// Returns whether a group accepts messages of an agent, and gets them then.
    pub(crate) fn takes(&self, group: &GroupRange, from: AgentId, arrival: Arrival) -> bool {
        group.takes_from(from) && arrival.is_that_of(from.group(), group)
    }

    /// Returns the members of a topic, in the order of their ids.
    pub(crate) fn members(&self, topic: TopicIndex) -> &'a [AgentId] {
        let (_, entity) = self.directory.topics[topic.index()];
        self.members.get(entity).map_or(&[], |members| &members.0)
    }

    /// Returns the list of the groups that hear a sender: in the frame in which it sends, or in the next one.
    pub(crate) fn hearers_of(&self, from: AgentId, arrival: Arrival) -> HearerList {
        let Directory { groups, hearers, .. } = self.directory;
        match arrival {
            Arrival::NextFrame => hearers.later_list(groups, from),
            Arrival::Wave(_) => hearers.along_list(groups, from),
        }
    }
}
