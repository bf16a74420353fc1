//! Messages that an agent receives, and the inbox in which they lie.

use core::marker::PhantomData;

use bytemuck::AnyBitPattern;
use wasm_engine_abi::message::status;
use wasm_engine_abi::{BounceReason, FaultNotice, InferenceStatus, MessageHeader, kind};

use crate::{AgentId, ModelId, TopicId};

/// A message. It lies in the inbox, and is valid for the duration of the call.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    header: &'a MessageHeader,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Returns the sender.
    pub const fn sender(&self) -> AgentId {
        AgentId(self.header.sender)
    }

    /// Returns what the payload means: the sender's own number, below [`kind::RESERVED`], unless the engine sent it.
    pub const fn kind(&self) -> u32 {
        self.header.kind
    }

    /// Returns the number that the sender chose. A result, a bounce or another answer of the engine has that of the record that it answers.
    pub const fn correlation(&self) -> u64 {
        self.header.correlation
    }

    /// Returns the frame in which it was sent.
    pub const fn frame(&self) -> u64 {
        self.header.frame
    }

    /// Returns its index among the records that its sender sent in that frame.
    pub const fn sequence(&self) -> u32 {
        self.header.sequence
    }

    /// Returns the topic it was published to; `None` if it wasn't published.
    pub const fn topic(&self) -> Option<TopicId> {
        if self.header.topic == 0 || self.is_engine_s() { None } else { Some(TopicId(self.header.topic)) }
    }

    /// Returns the number of an [`InferenceStatus`] in a result, and of a [`BounceReason`] in a bounce. Otherwise returns 1 in a request, 2 in a
    /// reply, 3 in a message to all agents of a group, and 0 in any other message.
    pub const fn status(&self) -> u32 {
        self.header.status
    }

    /// Returns the payload.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the payload as a `T`: a number, an array of numbers, or your own `#[repr(C)]` type. Returns `None` if a `T` has another size.
    ///
    /// Numbers are little-endian on every machine that runs agents.
    #[inline]
    pub fn read<T: AnyBitPattern>(&self) -> Option<T> {
        (self.payload.len() == size_of::<T>()).then(|| bytemuck::pod_read_unaligned(self.payload))
    }

    /// Returns whether its kind is one of the engine's.
    const fn is_engine_s(&self) -> bool {
        self.header.kind >= kind::RESERVED
    }

    /// Returns its field `topic` if it is a message of this kind of the engine.
    const fn subject(&self, kind: u32) -> Option<u64> {
        if self.header.kind == kind { Some(self.header.topic) } else { None }
    }

    /// Returns whether it is an external event.
    pub const fn is_event(&self) -> bool {
        self.header.sender == AgentId::EXTERNAL.0
    }

    /// Returns whether it is the result of an inference.
    pub const fn is_inference(&self) -> bool {
        self.header.kind == kind::INFERENCE
    }

    /// Returns how the inference went; `None` if it isn't a result. If it is [`InferenceStatus::Ok`], the payload holds the outputs.
    pub fn inference(&self) -> Option<InferenceStatus> {
        if !self.is_inference() {
            return None;
        }
        // A later engine may have a status that this SDK doesn't know: it is taken as a failure.
        let known = InferenceStatus::ALL.into_iter().find(|&status| status as u32 == self.header.status);
        Some(known.unwrap_or(InferenceStatus::Failed))
    }

    /// Returns the model whose result it is; `None` if it isn't a result.
    pub fn model(&self) -> Option<ModelId> {
        self.subject(kind::INFERENCE).map(ModelId)
    }

    /// Returns whether its sender waits for a reply, as [`crate::Context::reply`] sends it.
    pub const fn is_request(&self) -> bool {
        self.header.status == status::REQUEST && !self.is_engine_s()
    }

    /// Returns whether it is the reply to a request of this agent, which had the same [`correlation`](Self::correlation).
    pub const fn is_reply(&self) -> bool {
        self.header.status == status::REPLY && !self.is_engine_s()
    }

    /// Returns the agent that a request was for, if this message says that no reply came in time. The [`correlation`](Self::correlation) is
    /// the request's.
    pub fn timed_out(&self) -> Option<AgentId> {
        self.subject(kind::TIMEOUT).map(AgentId)
    }

    /// Returns the new agent, if this message says that one was spawned. The [`correlation`](Self::correlation) is the request's.
    pub fn spawned(&self) -> Option<AgentId> {
        self.subject(kind::SPAWNED).map(AgentId)
    }

    /// Returns what happened to an agent that this one supervises, if this message tells of a fault.
    pub fn notice(&self) -> Option<Notice> {
        if self.header.kind != kind::NOTICE {
            return None;
        }
        self.read::<FaultNotice>().map(Notice::from)
    }

    /// Returns whether it says that a message of this agent couldn't be delivered, or that its command, join or leave couldn't be carried out.
    pub const fn is_bounce(&self) -> bool {
        self.header.kind == kind::BOUNCE
    }

    /// Returns why a message of this agent came back, or why something that it asked for wasn't done; `None` if this isn't a bounce. The
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
            // A later engine may have a reason that this SDK doesn't know: it is taken as a refusal.
            _ => BounceReason::Refused,
        })
    }

    /// Returns the number of the agent, the group or the topic that was meant; `None` if this isn't a bounce.
    pub const fn bounced_from(&self) -> Option<u64> {
        if self.is_bounce() { Some(self.header.topic) } else { None }
    }
}

/// A fault, as its supervisor is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Id of the agent that faulted.
    pub agent: AgentId,
    /// Frame in which it faulted.
    pub frame: u64,
    /// Number of the kind of fault, as in the table of faults in `docs/ABI.md`.
    pub fault: u32,
    /// Detail of the fault.
    pub detail: u32,
    /// Number of faults that the agent has had, this one included.
    pub faults: u32,
    /// Whether the agent stays faulted until an agent of its supervisor, such as this one, restarts or terminates it.
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
    /// Returns an inbox of the `records` records from `at` on.
    ///
    /// # Safety
    /// `at` is aligned to 8. From there on lie `records` whole records, which nothing writes to during the lifetime. The host
    /// guarantees that, so nothing is checked again here, in each agent's hottest loop.
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
        // SAFETY: a whole record lies here, as the contract of `new` says. Its header is aligned to 8, because every record's size is.
        unsafe {
            let header = &*self.at.cast::<MessageHeader>();
            let body = self.at.add(size_of::<MessageHeader>());
            let payload = core::slice::from_raw_parts(body, header.payload_bytes as usize);
            self.at = body.add(payload.len().next_multiple_of(8));
            Some(Message { header, payload })
        }
    }
}
