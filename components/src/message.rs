//! Recipients of messages.
//!
//! There is one type for them, [`Recipient`]. Whatever comes from outside, is saved or is shown names stable ids. Between the tables
//! of a world, recipients are indexes into them, [`RecipientSlot`], so that nothing is looked up for each message. An [`Address`] is one of those,
//! packed.

use serde::{Deserialize, Serialize};

use crate::{AgentId, AgentSlot, GroupId, GroupIndex, TopicId, TopicIndex};

/// The recipient of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Recipient<Agent = AgentId, Topic = TopicId, Group = GroupId> {
    /// One agent.
    Agent(Agent),
    /// All members of a topic, as of the frame of delivery.
    Topic(Topic),
    /// All agents of a group, as of the frame of delivery.
    Group(Group),
}

/// A recipient by its index in the tables of a world.
pub type RecipientSlot = Recipient<AgentSlot, TopicIndex, GroupIndex>;

impl Recipient {
    /// Returns what kind of recipient it is, as digests and saved states number it, and the number of its id.
    pub const fn to_parts(self) -> (u8, u64) {
        match self {
            Self::Agent(id) => (0, id.0),
            Self::Topic(id) => (1, id.0),
            Self::Group(id) => (2, id.0 as u64),
        }
    }

    /// Returns the recipient of these parts, if there can be one.
    pub fn from_parts(kind: u8, number: u64) -> Option<Self> {
        match kind {
            0 => Some(Self::Agent(AgentId(number))),
            1 => Some(Self::Topic(TopicId(number))),
            2 => Some(Self::Group(GroupId(u32::try_from(number).ok()?))),
            _ => None,
        }
    }

    /// Returns the number of its id.
    pub const fn number(self) -> u64 {
        self.to_parts().1
    }
}

/// Offset of a message's record among those of its chunk, in words of 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct MessageOffset(pub u32);

impl MessageOffset {
    /// Returns the offset as a `usize`, for the words of the records.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The recipient of a message, how much room it takes, and where it lies: all that sorting needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The recipient's index, and in the two highest bits the table that the index is for.
    to: u32,
    /// Bytes that the message takes in an inbox, header and padding included.
    pub bytes: u32,
    /// Where the message's record lies.
    pub offset: MessageOffset,
}
const _: () = assert!(size_of::<Address>() == 12);

const INDEX: u32 = (1 << 30) - 1;
const GROUP: u32 = 1 << 30;
const TOPIC: u32 = 2 << 30;
const NOBODY: u32 = 3 << 30;
const _: () = assert!(crate::limits::AGENTS_MAX <= INDEX && crate::limits::TOPICS_MAX <= INDEX);

impl Address {
    /// Returns the address of a message that takes `bytes` in an inbox, and whose record is at that offset.
    #[inline]
    pub const fn new(to: RecipientSlot, bytes: u32, offset: MessageOffset) -> Self {
        let to = match to {
            Recipient::Agent(AgentSlot(slot)) => slot,
            Recipient::Group(GroupIndex(index)) => index | GROUP,
            Recipient::Topic(TopicIndex(index)) => index | TOPIC,
        };
        Self { to, bytes, offset }
    }

    /// Returns the recipient; `None` for a message that was taken back.
    #[inline]
    pub const fn recipient(self) -> Option<RecipientSlot> {
        match self.to & !INDEX {
            0 => Some(Recipient::Agent(AgentSlot(self.to))),
            GROUP => Some(Recipient::Group(GroupIndex(self.to & INDEX))),
            TOPIC => Some(Recipient::Topic(TopicIndex(self.to & INDEX))),
            _ => None,
        }
    }

    /// Takes the message back: it has no recipient then.
    pub const fn take_back(&mut self) {
        self.to = NOBODY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_it_was_made_of_until_it_is_taken_back() {
        for to in [
            Recipient::Agent(AgentSlot(0)),
            Recipient::Agent(AgentSlot(INDEX)),
            Recipient::Topic(TopicIndex(7)),
            Recipient::Group(GroupIndex(INDEX)),
        ] {
            let offset = MessageOffset(3);
            let mut address = Address::new(to, 48, offset);
            assert_eq!((address.recipient(), address.bytes, address.offset), (Some(to), 48, offset));
            address.take_back();
            assert_eq!((address.recipient(), address.bytes, address.offset), (None, 48, offset));
        }
    }

    #[test]
    fn a_recipient_is_what_its_parts_say() {
        let all =
            [Recipient::Agent(AgentId(u64::MAX)), Recipient::Topic(TopicId(1)), Recipient::Group(GroupId(u32::MAX))];
        for (kind, to) in (0..).zip(all) {
            assert_eq!(to.to_parts().0, kind);
            assert_eq!(Recipient::from_parts(kind, to.number()), Some(to));
        }
        assert_eq!([Recipient::from_parts(2, 1 << 32), Recipient::from_parts(3, 0)], [None, None]);
    }
}
