//! For whom messages are.

use wasm_engine_abi::{MessageHeader, padded};

/// For whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The agent at this position of the dense tables.
    Agent(u32),
    /// All members, as of the frame of delivery, of the topic at this position in the order of the topics' ids.
    Topic(u32),
}

/// For whom a message is, and how much room it takes: what sorting needs of it, apart from the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The position, and in the highest bit whether it is a topic's.
    to: u32,
    /// Bytes that the message takes in an inbox, header and padding included.
    pub bytes: u32,
}
const _: () = assert!(size_of::<Address>() == 8);

const TOPIC: u32 = 1 << 31;
const _: () = assert!(crate::limits::AGENTS_MAX < TOPIC && crate::limits::TOPICS_MAX < TOPIC);

impl Address {
    /// The address of a message.
    #[inline]
    pub fn new(to: Recipient, header: &MessageHeader) -> Self {
        let to = match to {
            Recipient::Agent(at) => at,
            Recipient::Topic(at) => at | TOPIC,
        };
        // Payloads are far below 4 GiB; a length that isn't fills any mailbox.
        let payload = padded(header.payload_bytes).unwrap_or(u32::MAX);
        Self { to, bytes: payload.saturating_add(MessageHeader::BYTES) }
    }

    /// For whom it is.
    #[inline]
    pub const fn recipient(self) -> Recipient {
        if self.to & TOPIC == 0 { Recipient::Agent(self.to) } else { Recipient::Topic(self.to & !TOPIC) }
    }
}
