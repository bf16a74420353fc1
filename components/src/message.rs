//! For whom messages are.

/// For whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The agent at this position of the dense tables.
    Agent(u32),
    /// All members, as of the frame of delivery, of the topic at this position in the order of the topics' ids.
    Topic(u32),
}

/// For whom a message is, how much room it takes, and where it lies: what sorting needs of it, apart from the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The position, and in the highest bit whether it is a topic's.
    to: u32,
    /// Bytes that the message takes in an inbox, header and padding included.
    pub bytes: u32,
    /// Its place among its chunk's messages.
    pub at: u32,
}
const _: () = assert!(size_of::<Address>() == 12);

const TOPIC: u32 = 1 << 31;
const _: () = assert!(crate::limits::AGENTS_MAX < TOPIC && crate::limits::TOPICS_MAX < TOPIC);

impl Address {
    /// The address of a message that takes `bytes` and lies at the place `at`.
    #[inline]
    pub const fn new(to: Recipient, bytes: u32, at: u32) -> Self {
        let to = match to {
            Recipient::Agent(at) => at,
            Recipient::Topic(at) => at | TOPIC,
        };
        Self { to, bytes, at }
    }

    /// For whom it is.
    #[inline]
    pub const fn recipient(self) -> Recipient {
        if self.to & TOPIC == 0 { Recipient::Agent(self.to) } else { Recipient::Topic(self.to & !TOPIC) }
    }
}
