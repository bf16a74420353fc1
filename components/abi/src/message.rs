//! Inbox records, in which an agent receives messages, and the numbers in their fields: kinds, statuses, senders and reasons.

use bytemuck::{Pod, Zeroable};

use crate::padded;

/// The fixed part of an inbox record. The payload follows, padded with zeros to a multiple of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MessageHeader {
    /// Id of the agent that sent it, or a number of [`sender`] if it wasn't an agent.
    pub sender: u64,
    /// Number of the topic it was published to ([`crate::name_id`] of its name), or 0. In a bounce: the agent, group or topic that was meant.
    /// In a result: number of the model. In [`kind::SPAWNED`], [`kind::NOTICE`] and [`kind::TIMEOUT`]: id of the agent that it is about.
    pub topic: u64,
    /// Number that the sender chose. A result, a bounce or another answer of the engine has that of the record that it answers.
    pub correlation: u64,
    /// Frame in which it was sent.
    pub frame: u64,
    /// Index among the records that its sender sent in that frame.
    pub sequence: u32,
    /// Meaning of the payload: the sender's own number below [`kind::RESERVED`], one of [`kind`] from there on.
    pub kind: u32,
    /// An [`InferenceStatus`] in a result, a [`BounceReason`] in a bounce, one of [`status`] in a message that isn't the engine's, otherwise 0.
    pub status: u32,
    /// Length of the payload in bytes, without padding.
    pub payload_bytes: u32,
}
const _: () = assert!(size_of::<MessageHeader>() == 48 && align_of::<MessageHeader>() == 8);
const _: () = assert!(core::mem::offset_of!(MessageHeader, kind) == 36);
const _: () = assert!(core::mem::offset_of!(MessageHeader, payload_bytes) == 44);

impl MessageHeader {
    /// Size of the header, in bytes.
    pub const BYTES: u32 = size_of::<Self>() as u32;

    /// Returns the size of the whole record with its padded payload, in bytes; `None` if that exceeds `u32`.
    #[inline]
    pub const fn record_bytes(&self) -> Option<u32> {
        match padded(self.payload_bytes) {
            Some(payload) => payload.checked_add(Self::BYTES),
            None => None,
        }
    }
}

/// Kinds of messages. Those below [`kind::RESERVED`] are the agents' own; the others are [`EngineKind`]s.
pub mod kind {
    /// The first kind that only the engine may use.
    pub const RESERVED: u32 = 0x8000_0000;
    /// The result of an inference job: `status` says how it went, and the payload is the model's outputs, concatenated.
    pub const INFERENCE: u32 = super::EngineKind::Inference as u32;
    /// A message that couldn't be delivered, or a command, a join or a leave that couldn't be carried out: `status` is the reason, `topic` is
    /// the agent, group or topic that was meant, and `correlation` is that of the record.
    pub const BOUNCE: u32 = super::EngineKind::Bounce as u32;
    /// The parameters of the agent's group, in the inbox of `agent_init`.
    pub const PARAMS: u32 = super::EngineKind::Params as u32;
    /// A spawn was carried out: `topic` is the new agent's id, and `correlation` is the request's.
    pub const SPAWNED: u32 = super::EngineKind::Spawned as u32;
    /// An agent that the recipient supervises faulted: `topic` is its id, and the payload is a [`crate::FaultNotice`].
    pub const NOTICE: u32 = super::EngineKind::Notice as u32;
    /// A request wasn't answered in time: `topic` is the id of the agent that it was sent to, and `correlation` is the request's.
    pub const TIMEOUT: u32 = super::EngineKind::Timeout as u32;
    /// The state that the agent left under its old module, in the inbox of `agent_import_state`.
    pub const STATE: u32 = super::EngineKind::State as u32;
}

/// Values of `status` in a message of an agent, of a native system or from outside. The engine sets them.
pub mod status {
    /// A message to one agent or to a topic, neither a request nor a reply.
    pub const PLAIN: u32 = 0;
    /// A request: its sender waits for a reply with the same `correlation`.
    pub const REQUEST: u32 = 1;
    /// The reply to a request of the recipient.
    pub const REPLY: u32 = 2;
    /// A message to all agents of the recipient's group.
    pub const BROADCAST: u32 = 3;
}

/// Senders that aren't agents. Group 0 is the host.
pub mod sender {
    /// The engine itself, which sends results, bounces, parameters and everything else whose kind is an [`EngineKind`](super::EngineKind).
    pub const ENGINE: u64 = 0;
    /// The world outside, which sends external events.
    pub const EXTERNAL: u64 = 1;
    /// A native system of the simulation's author.
    pub const NATIVE: u64 = 2;
}

crate::numbered_enum! {
    /// Outcome of an inference job: the `status` of a message of kind [`kind::INFERENCE`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum InferenceStatus: u32 {
        /// The payload holds the outputs.
        Ok = 0, "ok";
        /// No model of that name is loaded.
        UnknownModel = 1, "unknown_model";
        /// The payload isn't as long as one row of the model's inputs.
        WrongSize = 2, "wrong_size";
        /// An input isn't a finite number, and the model's entry in the scenario refuses such rows.
        NonFinite = 3, "non_finite";
        /// The agent asked for more jobs than it may in one step, or its group or its tenant in one frame.
        TooMany = 4, "too_many";
        /// The model failed on this job.
        Failed = 5, "failed";
        /// The model took longer than the time that the row had: at most its entry's `run_ms_max`, or a part of the model's time in a frame. Or the
        /// model was given up, because one of its runs didn't come back.
        TimedOut = 6, "timed_out";
    }
}

crate::numbered_enum! {
    /// Reason of a bounce: the `status` of a message of kind [`kind::BOUNCE`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum BounceReason: u32 {
        /// There is no such agent; for a spawn or a broadcast, no such group.
        UnknownRecipient = 1, "unknown_recipient";
        /// There is no such topic.
        UnknownTopic = 2, "unknown_topic";
        /// The recipient's mailbox had no room for it, whatever its overflow policy.
        MailboxFull = 3, "mailbox_full";
        /// The recipient, or the agent that a command is for, has ended.
        Terminated = 4, "terminated";
        /// The recipient's inbox area is smaller than the message.
        TooLarge = 5, "too_large";
        /// The recipient's group doesn't take messages from the sender's group; or the sender may not give commands to that agent, or spawn agents
        /// in that group.
        Refused = 6, "refused";
        /// A spawn found no free place in the group, or none in the tenant's total.
        GroupFull = 7, "group_full";
        /// A command doesn't fit the agent's state: for example, only a paused agent can be resumed. Or a request has the correlation of another one
        /// that still waits.
        WrongState = 8, "wrong_state";
        /// The group or its tenant has sent as much in this frame as it may; a message to many doesn't fit into what the sender's step, its
        /// group, its tenant or the run may deliver; or as many requests as are allowed wait already.
        OverBudget = 9, "over_budget";
        /// A reply to a request that the recipient didn't make, or that was answered or has timed out.
        NoRequest = 10, "no_request";
    }
}

// Counters are indexed by the number, which starts at 1.
const _: () = assert!(BounceReason::ALL[BounceReason::COUNT - 1] as usize == BounceReason::COUNT);

/// Payload of a message of kind [`kind::NOTICE`], which tells a supervisor of a fault. It doesn't hold what was reached of a limit: the run's
/// record of the fault does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FaultNotice {
    /// Id of the agent that faulted.
    pub agent: u64,
    /// Frame in which it faulted.
    pub frame: u64,
    /// Number of the kind of fault, in the order of the table of faults, from 0.
    pub fault: u32,
    /// Detail of the fault.
    pub detail: u32,
    /// Number of faults that the agent has had, this one included.
    pub faults: u32,
    /// 1 if the agent stays faulted until an agent of its supervisor restarts or terminates it, otherwise 0.
    pub escalated: u32,
}
const _: () = assert!(size_of::<FaultNotice>() == 32 && align_of::<FaultNotice>() == 8);

/// One record of an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRecord<'a> {
    /// Offset of the record in the inbox, in bytes.
    pub offset: u32,
    /// Its fixed part.
    pub header: MessageHeader,
    /// Its payload, without padding.
    pub payload: &'a [u8],
}

/// Reads the records of an inbox. It stops at the first one that isn't whole.
#[derive(Clone, Debug)]
pub struct InboxReader<'a> {
    bytes: &'a [u8],
    at: u32,
}

impl<'a> InboxReader<'a> {
    /// Returns a reader of `bytes`, which are the first `inbox_bytes` bytes of an inbox.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for InboxReader<'a> {
    type Item = InboxRecord<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at as usize..)?;
        let header: MessageHeader = bytemuck::pod_read_unaligned(rest.get(..size_of::<MessageHeader>())?);
        let payload = rest[size_of::<MessageHeader>()..].get(..header.payload_bytes as usize)?;
        let offset = self.at;
        self.at = offset.checked_add(header.record_bytes()?)?;
        Some(InboxRecord { offset, header, payload })
    }
}

crate::numbered_enum! {
    /// Kind of a message of the engine. Each has a constant in [`kind`] that says what the other fields hold.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum EngineKind: u32 {
        /// The result of an inference job: [`kind::INFERENCE`].
        Inference = 0x8000_0001, "inference";
        /// Something that couldn't be delivered or carried out: [`kind::BOUNCE`].
        Bounce = 0x8000_0002, "bounce";
        /// The parameters of the agent's group: [`kind::PARAMS`].
        Params = 0x8000_0003, "params";
        /// The answer to a spawn: [`kind::SPAWNED`].
        Spawned = 0x8000_0004, "spawned";
        /// The fault of an agent that the recipient supervises: [`kind::NOTICE`].
        Notice = 0x8000_0005, "notice";
        /// The end of a request without an answer: [`kind::TIMEOUT`].
        Timeout = 0x8000_0006, "timeout";
        /// The state that the agent left for its next module: [`kind::STATE`].
        State = 0x8000_0007, "state";
    }
}

const _: () = assert!(EngineKind::ALL[0] as u32 > kind::RESERVED);
