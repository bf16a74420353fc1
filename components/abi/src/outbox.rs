//! Outbox records, in which an agent asks for things. The host believes none of them before [`OutboxReader`] has checked them.

use bytemuck::{Pod, Zeroable};

use crate::{Capability, RECORD_ALIGN, kind, padded};

/// The fixed part of an outbox record. The payload follows, padded with zeros to a multiple of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct OutboxHeader {
    /// Id of the recipient, or number of the topic, model, group, region or frame, as [`Op`] says. In a record of a named output: bits of the
    /// value, or length of the name in bytes.
    pub target: u64,
    /// Number that comes back in the result or the bounce, and is passed on to the recipient. In a write to a region: index of the first byte.
    pub correlation: u64,
    /// Operation that is asked for: the number of an [`Op`].
    pub op: u32,
    /// Kind of the message, below [`kind::RESERVED`]; level of a log line; [`RecordType`] of a named output.
    pub kind: u32,
    /// Length of the payload in bytes, without padding.
    pub payload_bytes: u32,
    /// Number of frames until a request without a reply times out, at least 1; zero in all other records.
    pub deadline_frames: u32,
}
const _: () = assert!(size_of::<OutboxHeader>() == 32 && align_of::<OutboxHeader>() == 8);
const _: () = assert!(core::mem::offset_of!(OutboxHeader, op) == 16);
const _: () = assert!(core::mem::offset_of!(OutboxHeader, payload_bytes) == 24);

impl OutboxHeader {
    /// Size of the header, in bytes.
    pub const BYTES: u32 = size_of::<Self>() as u32;

    /// Reads a header field by field, so that each field goes into a register of its own.
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
    /// Operation of an outbox record: what it asks for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Op: u32 {
        /// Sends a message to the agent `target`.
        Send = 1, "send";
        /// Sends a message to all members of the topic `target`.
        Publish = 2, "publish";
        /// Makes the agent a member of the topic `target`. No payload.
        Join = 3, "join";
        /// Ends the agent's membership of the topic `target`. No payload.
        Leave = 4, "leave";
        /// Asks the model `target` for an inference. The payload is one row: the bytes of its inputs in the model's order, concatenated.
        Infer = 5, "infer";
        /// Writes a line to the log. The payload is the line in UTF-8, and `kind` is the level (1 error, 2 warn, 3 info, 4 debug).
        Log = 6, "log";
        /// Records a named output: see [`RecordType`].
        Record = 7, "record";
        /// Spawns an agent in the group with the number `target`. A payload is its first message, of kind `kind`, from the agent that asks.
        /// The answer is a message of kind [`kind::SPAWNED`], or a bounce.
        Spawn = 8, "spawn";
        /// Pauses the agent `target`: it isn't stepped until it is resumed. No payload, as in the next three.
        Pause = 9, "pause";
        /// Resumes the paused agent `target`.
        Resume = 10, "resume";
        /// Terminates the agent `target`, after a call of its `agent_shutdown` if it is active or paused.
        Terminate = 11, "terminate";
        /// Restarts the agent `target`: it is initialised anew.
        Restart = 12, "restart";
        /// Asks for a step of the agent itself in the frame `target`, whatever its group's schedule; 0 cancels the last such record. No payload.
        Wake = 13, "wake";
        /// Sends a request to the agent `target`, to be answered within `deadline_frames`. Otherwise the agent that asks is sent a
        /// message of kind [`kind::TIMEOUT`].
        Request = 14, "request";
        /// Answers the request that the agent `target` sent with this `correlation`.
        Reply = 15, "reply";
        /// Sends a message to all agents of the group with the number `target`.
        Broadcast = 16, "broadcast";
        /// Writes the payload to the shared region `target`, starting at its byte `correlation`.
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
    /// Type of a named output: the `kind` of a record with [`Op::Record`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum RecordType: u32 {
        /// An integer: `target` holds the `i64`, and the payload is the name.
        I64 = 1, "i64";
        /// A number: `target` holds the bits of the `f64`, and the payload is the name.
        F64 = 2, "f64";
        /// Text: `target` holds the length of the name in bytes, and the payload is the name and then the text in UTF-8.
        Text = 3, "text";
        /// Bytes: `target` holds the length of the name in bytes, and the payload is the name and then the bytes.
        Bytes = 4, "bytes";
    }
}

/// Why an outbox was refused. The whole outbox is dropped then, because nothing of a faulted step is believed.
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

/// Reads and checks the records of an outbox. It yields each record, or an error at the first one that is wrong, and then nothing more.
#[derive(Clone, Debug)]
pub struct OutboxReader<'a> {
    bytes: &'a [u8],
    at: u32,
    left: u32,
}

impl<'a> OutboxReader<'a> {
    /// Returns a reader of `records` records, which must take exactly all of `bytes`.
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
        // The fields are passed by value: a header whose address is taken has to lie in memory, and copies of it stall.
        if op > Op::Publish {
            check_payload(op, header.kind, header.target, payload)?;
        }
        // No overflow: the record was found inside `bytes`, whose length came from a u32.
        self.at = offset + OutboxHeader::BYTES + room;
        Ok(OutboxRecord { offset, op, header, payload })
    }
}

/// Checks the payload of a record that isn't a message.
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

/// Reads the records of an outbox that [`OutboxReader`] has checked, without checking them again.
#[derive(Clone, Debug)]
pub struct CheckedOutbox<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> CheckedOutbox<'a> {
    /// Returns a reader of the records that take all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for CheckedOutbox<'a> {
    type Item = OutboxRecord<'a>;

    /// # Panics
    /// A record isn't well formed, which means that the bytes weren't checked.
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
