//! What an agent receives.

use core::marker::PhantomData;

use bytemuck::AnyBitPattern;
use wasm_engine_abi::message::status;
use wasm_engine_abi::{BounceReason, FaultNotice, InferenceStatus, MessageHeader, kind};

use crate::{AgentId, ModelId, TopicId};

/// One message. It lies in the inbox, and is valid for the duration of the call.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    header: &'a MessageHeader,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Who sent it.
    pub const fn sender(&self) -> AgentId {
        AgentId(self.header.sender)
    }

    /// What the payload means: the sender's own number, below [`kind::RESERVED`], unless the engine sent it.
    pub const fn kind(&self) -> u32 {
        self.header.kind
    }

    /// Chosen by the sender. A result or a bounce carries the one of its request.
    pub const fn correlation(&self) -> u64 {
        self.header.correlation
    }

    /// The frame in which it was sent.
    pub const fn frame(&self) -> u64 {
        self.header.frame
    }

    /// Position among what its sender sent in that frame.
    pub const fn sequence(&self) -> u32 {
        self.header.sequence
    }

    /// The topic it was published to, if any.
    pub const fn topic(&self) -> Option<TopicId> {
        if self.header.topic == 0 || self.is_engine_s() { None } else { Some(TopicId(self.header.topic)) }
    }

    /// The number of an [`InferenceStatus`] in a result, of a [`BounceReason`] in a bounce, 1 in a request, 2 in a reply, 3 in a message to all
    /// agents of a group, else 0.
    pub const fn status(&self) -> u32 {
        self.header.status
    }

    /// Its bytes.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Its bytes as a `T`, if they are as many as a `T` has: numbers, arrays of them, and your own `#[repr(C)]` types.
    ///
    /// `T` is little-endian on every machine that runs agents.
    #[inline]
    pub fn read<T: AnyBitPattern>(&self) -> Option<T> {
        (self.payload.len() == size_of::<T>()).then(|| bytemuck::pod_read_unaligned(self.payload))
    }

    /// Whether its kind is one of the engine's.
    const fn is_engine_s(&self) -> bool {
        self.header.kind >= kind::RESERVED
    }

    /// What its field `topic` means in a message of this kind of the engine's.
    const fn subject(&self, kind: u32) -> Option<u64> {
        if self.header.kind == kind { Some(self.header.topic) } else { None }
    }

    /// Whether it is an external event.
    pub const fn is_event(&self) -> bool {
        self.header.sender == AgentId::EXTERNAL.0
    }

    /// Whether it is the result of an inference.
    pub const fn is_inference(&self) -> bool {
        self.header.kind == kind::INFERENCE
    }

    /// How the inference went, if it is a result: the payload holds the outputs where it is [`InferenceStatus::Ok`].
    pub fn inference(&self) -> Option<InferenceStatus> {
        if !self.is_inference() {
            return None;
        }
        // A status of a later engine is a failure of which this SDK has no name.
        let known = InferenceStatus::ALL.into_iter().find(|&status| status as u32 == self.header.status);
        Some(known.unwrap_or(InferenceStatus::Failed))
    }

    /// The model whose result it is, if it is one.
    pub fn model(&self) -> Option<ModelId> {
        self.subject(kind::INFERENCE).map(ModelId)
    }

    /// Whether its sender waits for a reply: [`crate::Context::reply`].
    pub const fn is_request(&self) -> bool {
        self.header.status == status::REQUEST && !self.is_engine_s()
    }

    /// Whether it is the reply to a request of this agent, which had the same [`correlation`](Self::correlation).
    pub const fn is_reply(&self) -> bool {
        self.header.status == status::REPLY && !self.is_engine_s()
    }

    /// The agent whom a request was for, if this says that no reply came in time. The [`correlation`](Self::correlation) is
    /// the request's.
    pub fn timed_out(&self) -> Option<AgentId> {
        self.subject(kind::TIMEOUT).map(AgentId)
    }

    /// The new agent, if this says that one was spawned. The [`correlation`](Self::correlation) is the request's.
    pub fn spawned(&self) -> Option<AgentId> {
        self.subject(kind::SPAWNED).map(AgentId)
    }

    /// What happened to an agent that this one supervises, if this tells of a fault.
    pub fn notice(&self) -> Option<Notice> {
        if self.header.kind != kind::NOTICE {
            return None;
        }
        self.read::<FaultNotice>().map(Notice::from)
    }

    /// Whether it says that a message of this agent couldn't be delivered, or that a command, a join or a leave of it can't be carried out.
    pub const fn is_bounce(&self) -> bool {
        self.header.kind == kind::BOUNCE
    }

    /// Why a message of this agent came back, or something that it asked for can't be done, if this is a bounce. Its
    /// [`correlation`](Self::correlation) is that of the message or command.
    pub const fn bounce(&self) -> Option<BounceReason> {
        if !self.is_bounce() {
            return None;
        }
        Some(match self.header.status {
            1 => BounceReason::UnknownRecipient,
            2 => BounceReason::UnknownTopic,
            3 => BounceReason::MailboxFull,
            4 => BounceReason::Terminated,
            5 => BounceReason::TooLarge,
            7 => BounceReason::GroupFull,
            8 => BounceReason::WrongState,
            9 => BounceReason::OverBudget,
            10 => BounceReason::NoRequest,
            // A reason of a later engine is a refusal of which this SDK has no name.
            _ => BounceReason::Refused,
        })
    }

    /// In a bounce: the number of the agent, the group or the topic that was meant.
    pub const fn bounced_from(&self) -> Option<u64> {
        if self.is_bounce() { Some(self.header.topic) } else { None }
    }
}

/// What a supervisor is told of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The agent that faulted.
    pub agent: AgentId,
    /// The frame in which it did.
    pub frame: u64,
    /// Number of the kind of fault, as in the table of faults in `docs/ABI.md`.
    pub fault: u32,
    /// The fault's detail.
    pub detail: u32,
    /// How many faults the agent has had, this one included.
    pub faults: u32,
    /// Whether it stays as it is until this agent restarts or terminates it.
    pub escalated: bool,
}

impl From<FaultNotice> for Notice {
    fn from(notice: FaultNotice) -> Self {
        let FaultNotice { agent, frame, fault, detail, faults, escalated } = notice;
        Self { agent: AgentId(agent), frame, fault, detail, faults, escalated: escalated != 0 }
    }
}

/// The messages of a frame, in the order of delivery.
#[derive(Debug)]
pub struct Inbox<'a> {
    at: *const u8,
    left: u32,
    lifetime: PhantomData<&'a [u8]>,
}

impl Inbox<'_> {
    /// Reads `records` records from `at` on.
    ///
    /// # Safety
    /// `at` is aligned to 8, and `records` whole records that aren't written to follow it for the lifetime: what the host
    /// guarantees. So nothing is checked again here, in each agent's hottest loop.
    #[inline(always)]
    pub(crate) const unsafe fn new(at: *const u8, records: u32) -> Self {
        Self { at, left: records, lifetime: PhantomData }
    }
}

impl<'a> Iterator for Inbox<'a> {
    type Item = Message<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Message<'a>> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: a whole record lies here, `new` says; a header is aligned to 8 because every record's size is.
        unsafe {
            let header = &*self.at.cast::<MessageHeader>();
            let body = self.at.add(size_of::<MessageHeader>());
            let payload = core::slice::from_raw_parts(body, header.payload_bytes as usize);
            self.at = body.add(payload.len().next_multiple_of(8));
            Some(Message { header, payload })
        }
    }
}
