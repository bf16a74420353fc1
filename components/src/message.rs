//! For whom messages are.

/// For whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The agent at this position of the dense tables.
    Agent(u32),
    /// All members, as of the frame of delivery, of the topic at this position in the order of the topics' ids.
    Topic(u32),
    /// All agents, as of the frame of delivery, of the group at this position in the order of the groups' ids.
    Group(u32),
    /// Nobody: the message was taken back.
    Nobody,
}

/// For whom a message is, how much room it takes, and where it lies: what sorting needs of it, apart from the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The position, and in the two highest bits what it is a position of.
    to: u32,
    /// Bytes that the message takes in an inbox, header and padding included.
    pub bytes: u32,
    /// Its place among its chunk's messages.
    pub at: u32,
}
const _: () = assert!(size_of::<Address>() == 12);

const POSITION: u32 = (1 << 30) - 1;
const GROUP: u32 = 1 << 30;
const TOPIC: u32 = 2 << 30;
const NOBODY: u32 = 3 << 30;
const _: () = assert!(crate::limits::AGENTS_MAX <= POSITION && crate::limits::TOPICS_MAX <= POSITION);

impl Address {
    /// The address of a message that takes `bytes` and lies at the place `at`.
    #[inline]
    pub const fn new(to: Recipient, bytes: u32, at: u32) -> Self {
        let to = match to {
            Recipient::Agent(at) => at,
            Recipient::Group(at) => at | GROUP,
            Recipient::Topic(at) => at | TOPIC,
            Recipient::Nobody => NOBODY,
        };
        Self { to, bytes, at }
    }

    /// For whom it is.
    #[inline]
    pub const fn recipient(self) -> Recipient {
        match self.to & !POSITION {
            0 => Recipient::Agent(self.to),
            GROUP => Recipient::Group(self.to & POSITION),
            TOPIC => Recipient::Topic(self.to & POSITION),
            _ => Recipient::Nobody,
        }
    }

    /// Takes the message back.
    pub const fn take_back(&mut self) {
        self.to = NOBODY;
    }
}
