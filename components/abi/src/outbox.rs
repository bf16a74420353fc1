//! Outbox records: what an agent asks for. The host believes none of it before [`OutboxReader`] has checked it.

use bytemuck::{Pod, Zeroable};

use crate::{Capability, RECORD_ALIGN, kind, padded};

/// The fixed part of an outbox record. The payload follows, padded with zeros to a multiple of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct OutboxHeader {
    /// The recipient's id, or the number of the topic, model, group, region or frame, as [`Op`] says; the value's bits or the name's length in a
    /// record of a named output.
    pub target: u64,
    /// Comes back in the result or the bounce; carried along to the recipient. In a write to a region: the first byte to write.
    pub correlation: u64,
    /// What is asked for: an [`Op`].
    pub op: u32,
    /// The message's kind, below [`kind::RESERVED`]; a log line's level; a named output's [`RecordType`].
    pub kind: u32,
    /// Length of the payload in bytes, without padding.
    pub payload_bytes: u32,
    /// Frames until a request without a reply times out, at least 1; zero in all other records.
    pub deadline_frames: u32,
}
const _: () = assert!(size_of::<OutboxHeader>() == 32 && align_of::<OutboxHeader>() == 8);
const _: () = assert!(core::mem::offset_of!(OutboxHeader, op) == 16);
const _: () = assert!(core::mem::offset_of!(OutboxHeader, payload_bytes) == 24);

impl OutboxHeader {
    /// Size of the header in bytes.
    pub const BYTES: u32 = size_of::<Self>() as u32;

    /// Reads a header, field by field: each goes into a register of its own.
    #[inline]
    pub const fn read(bytes: &[u8; size_of::<Self>()]) -> Self {
        Self {
            target: word8(bytes, 0),
            correlation: word8(bytes, 8),
            op: word4(bytes, 16),
            kind: word4(bytes, 20),
            payload_bytes: word4(bytes, 24),
            deadline_frames: word4(bytes, 28),
        }
    }
}

#[inline]
const fn word4(bytes: &[u8; 32], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
const fn word8(bytes: &[u8; 32], at: usize) -> u64 {
    word4(bytes, at) as u64 | (word4(bytes, at + 4) as u64) << 32
}

crate::numbered_enum! {
    /// What an outbox record asks for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Op: u32 {
        /// A message to the agent `target`.
        Send = 1, "send";
        /// A message to all members of the topic `target`.
        Publish = 2, "publish";
        /// Become a member of the topic `target`. No payload.
        Join = 3, "join";
        /// Stop being a member of the topic `target`. No payload.
        Leave = 4, "leave";
        /// One row for the model `target`: its inputs' bytes in the model's order, concatenated.
        Infer = 5, "infer";
        /// A line for the log: the payload is UTF-8, `kind` the level (1 error, 2 warn, 3 info, 4 debug).
        Log = 6, "log";
        /// A named output: see [`RecordType`].
        Record = 7, "record";
        /// A new agent in the group with the number `target`. A payload is its first message, from the agent that asks, under `kind`.
        /// The answer is a message of kind [`kind::SPAWNED`], or a bounce.
        Spawn = 8, "spawn";
        /// Don't step the agent `target` until it is resumed. No payload, as in the next three.
        Pause = 9, "pause";
        /// Step the paused agent `target` again.
        Resume = 10, "resume";
        /// End the agent `target`, after a call of its `agent_shutdown` if it is active or paused.
        Terminate = 11, "terminate";
        /// Initialise the agent `target` anew.
        Restart = 12, "restart";
        /// Step the asking agent in the frame `target`, whatever its group's schedule; 0 forgets the wish. No payload.
        Wake = 13, "wake";
        /// A message to the agent `target` that is to be answered within `deadline_frames`: else the asking agent is sent a
        /// message of kind [`kind::TIMEOUT`].
        Request = 14, "request";
        /// The answer to the request with the number `correlation` of the agent `target`.
        Reply = 15, "reply";
        /// A message to all agents of the group with the number `target`.
        Broadcast = 16, "broadcast";
        /// Writes the payload to the shared region `target`, from the byte `correlation` on.
        WriteRegion = 17, "write_region";
    }
}

impl Op {
    /// Returns whether the operation sends a message.
    #[inline]
    pub const fn is_message(self) -> bool {
        matches!(self, Self::Send | Self::Publish | Self::Request | Self::Reply | Self::Broadcast)
    }

    /// Returns the capability that an agent needs for the operation.
    #[inline]
    pub const fn capability(self) -> Capability {
        match self {
            Self::Send | Self::Request | Self::Reply | Self::Broadcast => Capability::Send,
            Self::Publish => Capability::Publish,
            Self::Join | Self::Leave => Capability::Join,
            Self::Infer => Capability::Infer,
            Self::Log => Capability::Log,
            Self::Record => Capability::Record,
            Self::Spawn => Capability::Spawn,
            Self::Pause | Self::Resume | Self::Terminate | Self::Restart => Capability::Control,
            Self::Wake => Capability::Wake,
            Self::WriteRegion => Capability::Regions,
        }
    }
}

crate::numbered_enum! {
    /// The type of a named output: `kind` of a record with [`Op::Record`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum RecordType: u32 {
        /// `target` holds an `i64`; the payload is the name.
        I64 = 1, "i64";
        /// `target` holds the bits of an `f64`; the payload is the name.
        F64 = 2, "f64";
        /// `target` holds the name's length; the payload is the name and then UTF-8 text.
        Text = 3, "text";
        /// `target` holds the name's length; the payload is the name and then any bytes.
        Bytes = 4, "bytes";
    }
}

/// Why an outbox was refused. The whole outbox is dropped then: nothing of a faulted step is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxError {
    /// A record, or its payload, isn't whole; or bytes are left after the last record.
    Truncated,
    /// A record asks for an operation that this ABI version doesn't have.
    UnknownOp,
    /// A reserved field isn't zero, or a kind is reserved for the engine.
    Reserved,
    /// A record's fields don't fit its operation: a payload where none belongs, a name that is too long, text that isn't UTF-8.
    Malformed,
}

/// One checked record of an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxRecord<'a> {
    /// Offset of the record in the outbox, in bytes.
    pub offset: u32,
    /// Its operation.
    pub op: Op,
    /// Its fixed part.
    pub header: OutboxHeader,
    /// Its payload, without padding.
    pub payload: &'a [u8],
}

/// Walks and checks the records of an outbox. It yields `records` records, or an error and then nothing.
#[derive(Clone, Debug)]
pub struct OutboxReader<'a> {
    bytes: &'a [u8],
    at: u32,
    left: u32,
}

impl<'a> OutboxReader<'a> {
    /// Reads `records` records, which take exactly all of `bytes`.
    pub const fn new(bytes: &'a [u8], records: u32) -> Self {
        Self { bytes, at: 0, left: records }
    }

    #[inline]
    fn read(&mut self) -> Result<OutboxRecord<'a>, OutboxError> {
        let offset = self.at;
        let rest = self.bytes.get(offset as usize..).ok_or(OutboxError::Truncated)?;
        let (head, body) = rest.split_first_chunk().ok_or(OutboxError::Truncated)?;
        let header = OutboxHeader::read(head);
        let room = padded(header.payload_bytes).ok_or(OutboxError::Truncated)?;
        let body = body.get(..room as usize).ok_or(OutboxError::Truncated)?;
        let payload = &body[..header.payload_bytes as usize];
        let op = Op::from_number(header.op).ok_or(OutboxError::UnknownOp)?;
        if (header.deadline_frames != 0) != (op == Op::Request) || header.kind >= kind::RESERVED {
            return Err(OutboxError::Reserved);
        }
        // By value: a header whose address is taken has to lie in memory, and the copies of it stall.
        if op > Op::Publish {
            check_payload(op, header.kind, header.target, payload)?;
        }
        // In range: the record was found inside `bytes`, whose length came from a u32.
        self.at = offset + OutboxHeader::BYTES + room;
        Ok(OutboxRecord { offset, op, header, payload })
    }
}

/// Checks the payload of anything but a message.
#[inline(never)]
fn check_payload(op: Op, kind: u32, target: u64, payload: &[u8]) -> Result<(), OutboxError> {
    match op {
        Op::Join | Op::Leave | Op::Pause | Op::Resume | Op::Terminate | Op::Restart | Op::Wake
            if !payload.is_empty() =>
        {
            Err(OutboxError::Malformed)
        }
        Op::Log if core::str::from_utf8(payload).is_err() => Err(OutboxError::Malformed),
        Op::Record => check_record(kind, target, payload),
        _ => Ok(()),
    }
}

fn check_record(kind: u32, target: u64, payload: &[u8]) -> Result<(), OutboxError> {
    let record = RecordType::from_number(kind).ok_or(OutboxError::Malformed)?;
    let name = match record {
        RecordType::I64 | RecordType::F64 => payload,
        RecordType::Text | RecordType::Bytes => {
            let length = usize::try_from(target).map_err(|_| OutboxError::Malformed)?;
            let (name, value) = payload.split_at_checked(length).ok_or(OutboxError::Malformed)?;
            if record == RecordType::Text && core::str::from_utf8(value).is_err() {
                return Err(OutboxError::Malformed);
            }
            name
        }
    };
    match core::str::from_utf8(name) {
        Ok(name) if !name.is_empty() => Ok(()),
        _ => Err(OutboxError::Malformed),
    }
}

impl<'a> Iterator for OutboxReader<'a> {
    type Item = Result<OutboxRecord<'a>, OutboxError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let whole = self.at as usize == self.bytes.len();
            self.at = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
            return if whole { None } else { Some(Err(OutboxError::Truncated)) };
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
            self.at = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        }
        Some(record)
    }
}

/// Walks an outbox that [`OutboxReader`] has passed, without looking at it again.
#[derive(Clone, Debug)]
pub struct CheckedOutbox<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> CheckedOutbox<'a> {
    /// Reads the records that take all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for CheckedOutbox<'a> {
    type Item = OutboxRecord<'a>;

    /// # Panics
    /// At a record that isn't well formed: then the bytes weren't checked.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        const HEADER: usize = size_of::<OutboxHeader>();
        let rest = &self.bytes[self.at..];
        let header = OutboxHeader::read(rest.first_chunk()?);
        let length = header.payload_bytes as usize;
        let payload = &rest[HEADER..HEADER + length];
        let op = Op::from_number(header.op).expect("a checked outbox");
        let offset = self.at as u32;
        self.at += HEADER + length.next_multiple_of(RECORD_ALIGN as usize);
        Some(OutboxRecord { offset, op, header, payload })
    }
}

impl core::fmt::Display for OutboxError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "a record of the outbox isn't whole, or bytes are left after the last one",
            Self::UnknownOp => "a record of the outbox asks for an operation that this version of the ABI doesn't have",
            Self::Reserved => "a reserved field of a record isn't zero, or its kind is reserved for the engine",
            Self::Malformed => "the fields of a record don't fit its operation",
        })
    }
}

impl core::error::Error for OutboxError {}
