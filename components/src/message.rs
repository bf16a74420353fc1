//! Messages between two frames. Payloads stay where they were collected; a message refers to them.

use wasm_engine_abi::MessageHeader;

/// Where a payload lies: in one of the chunks that the agents' outboxes were collected into, or in the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadRef {
    /// Number of the chunk; [`PayloadRef::HOST`] for the host's.
    pub chunk: u32,
    /// Offset in it: in bytes in a chunk of the agents', in units of 8 bytes in the host's, whose payloads are padded.
    pub offset: u32,
}

impl PayloadRef {
    /// The chunk of payloads that didn't come from an agent: events, results, what waited in a backlog.
    pub const HOST: u32 = u32::MAX;
}

/// For whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The agent at this position of the dense tables.
    Agent(u32),
    /// All members, as of the frame of delivery, of the topic at this position in the order of the topics' ids.
    Topic(u32),
}

/// A message in flight: its header is what the recipient will find in its inbox.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// What the recipient sees.
    pub header: MessageHeader,
    /// Where its payload lies; its length is in the header.
    pub payload: PayloadRef,
    /// For whom it is.
    pub recipient: Recipient,
}
const _: () = assert!(size_of::<Message>() == 64);
