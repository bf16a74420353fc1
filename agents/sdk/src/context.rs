//! The type [`Context`], through which an agent reads the frame in which it is called, and asks the engine for things.

use core::fmt;

use wasm_engine_abi::{FrameContext, Op, OutboxHeader, RecordType, RegionReader};

use crate::outbox::Outbox;
use crate::random::CursorsPlace;
use crate::{AgentId, Message, ModelId, OutboxFull, Random, RegionId, TopicId};

/// The frame in which an agent is called, and the agent's outbox.
///
/// What an agent asks for takes effect at the end of the frame: a message sent in frame `f` is in the recipient's inbox in frame `f + 1`,
/// or in `f` if the scenario says that the recipient's group comes `after` the sender's. Whatever an agent asks for needs a capability, which the
/// scenario grants to the agent's group: the one with which the method's name begins, `send` for `request`, or the one that the method names.
#[derive(Debug)]
pub struct Context<'a> {
    outbox: Outbox<'a>,
    regions: RegionReader<'a>,
    cursors: CursorsPlace<'a>,
}

/// Level of a log line, from the most severe one to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something unexpected happened.
    Warn = 2,
    /// Something worth knowing happened.
    Info = 3,
    /// A detail that helps to find a mistake.
    Debug = 4,
}

impl<'a> Context<'a> {
    /// Returns the context of a call. `area` must be as [`Outbox`] requires.
    #[inline(always)]
    pub(crate) const fn new(
        frame: &'a mut FrameContext,
        area: &'a mut [u8],
        regions: RegionReader<'a>,
        cursors: CursorsPlace<'a>,
    ) -> Self {
        Self { outbox: Outbox::new(frame, area), regions, cursors }
    }

    /// Returns the number of the frame, from 0. `init` runs in frame 0, unless the agent is spawned, restarted or swapped later.
    pub const fn frame(&self) -> u64 {
        self.outbox.frame.frame
    }

    /// Returns the agent's own id.
    pub const fn agent_id(&self) -> AgentId {
        AgentId(self.outbox.frame.agent)
    }

    /// Returns the number of the agent's group, from 1.
    pub const fn group(&self) -> u32 {
        self.outbox.frame.group
    }

    /// Returns the agent's number in its group, from 0.
    pub const fn ordinal(&self) -> u32 {
        self.outbox.frame.ordinal
    }

    /// Returns the simulated length of a frame in microseconds; 0 if the scenario gives none.
    pub const fn frame_period_us(&self) -> u32 {
        self.outbox.frame.frame_period_us
    }

    /// Returns the number of messages in the inbox of this frame.
    pub const fn inbox_messages(&self) -> u32 {
        self.outbox.frame.inbox_records
    }

    /// Returns how many messages the agent may send in this call, at most, before its group or its tenant is over its budget;
    /// `u32::MAX` if there is no bound. Other agents draw on the same budget, and those with lower ids are served first.
    /// Messages over the budget come back as bounces: [`crate::BounceReason::OverBudget`].
    pub const fn credits(&self) -> u32 {
        self.outbox.frame.credits
    }

    /// Returns the number of bounces in the inbox: of messages that weren't taken, and of commands that couldn't be carried out, since the
    /// agent's last call.
    pub const fn refused(&self) -> u32 {
        self.outbox.frame.refused
    }

    /// Returns a pointer to the frame context, for programs that test a host with values that it mustn't believe. Agents don't need it.
    pub const fn as_raw(&mut self) -> *mut FrameContext {
        self.outbox.frame
    }

    // Random numbers. They are computed here, from the key in the frame context, which takes no host call and no capability.

    /// Returns the numbers of `stream` that none of the agent's calls has drawn in this frame yet: each draw, here or in a later
    /// `receive` or `step`, gives another number. The numbers differ between frames, agents, streams and seeds, and are always the same
    /// for the same four. The n-th number that a frame draws, counted from 0, is [`random_u64`](Self::random_u64) of
    /// `stream` and n.
    ///
    /// Draws from one stream don't affect another stream, for the first 16 streams of a frame. All further streams share one count of draws.
    ///
    /// ```
    /// use wasm_engine_sdk::testing::{Harness, Incoming, Output};
    /// use wasm_engine_sdk::{Agent, Context, Failure, Message};
    ///
    /// /// Throws a die for each message, and one of its own.
    /// struct Gambler;
    ///
    /// impl Agent for Gambler {
    ///     fn receive(&mut self, ctx: &mut Context<'_>, _message: &Message<'_>) -> Result<(), Failure> {
    ///         self.step(ctx)
    ///     }
    ///
    ///     fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
    ///         let thrown = ctx.random(0).below(6);
    ///         Ok(ctx.record_i64("thrown", thrown.cast_signed() + 1)?)
    ///     }
    /// }
    ///
    /// let thrown = Harness::new(Gambler, 4096, 4096).step(1, &[Incoming::event(1, &[]), Incoming::event(1, &[])]).unwrap();
    /// let of = |value| Output::RecordI64 { name: "thrown".into(), value };
    /// assert_eq!(thrown, [of(1), of(6), of(6)]);
    /// ```
    pub fn random(&self, stream: u32) -> Random<'a> {
        Random::after(self.cursors.find(), self.outbox.frame.random_key, self.outbox.frame.frame, stream)
    }

    /// Returns the numbers of `stream` that belong to a `subject`, whatever the frame: for values that mustn't depend on when they are
    /// computed. The numbers are a function of both arguments, and begin anew with each call.
    pub const fn random_of(&self, subject: u64, stream: u32) -> Random<'static> {
        Random::new(self.outbox.frame.random_key, subject, stream)
    }

    /// Returns the number at `index` of `stream` in this frame. It is a function of both, and doesn't count as a draw of [`random`](Self::random).
    pub const fn random_u64(&self, stream: u32, index: u32) -> u64 {
        wasm_engine_abi::random_u64(self.outbox.frame.random_key, self.outbox.frame.frame, stream, index)
    }

    // Messages.

    /// Sends a message to an agent. `kind` says what the payload means; it must be below `0x8000_0000`.
    ///
    /// # Errors
    /// The outbox has no room.
    #[inline(always)]
    pub fn send(&mut self, to: AgentId, kind: u32, payload: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::Send, to.0, 0, kind, payload)
    }

    /// Sends a message like [`send`](Self::send), with a `correlation` that the recipient sees, and that a bounce carries.
    ///
    /// # Errors
    /// The outbox has no room.
    #[inline(always)]
    pub fn send_with(&mut self, to: AgentId, kind: u32, correlation: u64, payload: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::Send, to.0, correlation, kind, payload)
    }

    /// Sends a message to all members of a topic.
    ///
    /// # Errors
    /// The outbox has no room.
    #[inline(always)]
    pub fn publish(&mut self, topic: TopicId, kind: u32, payload: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::Publish, topic.0, 0, kind, payload)
    }

    /// Sends a message like [`publish`](Self::publish), with a `correlation` that the recipients see, and that a bounce carries.
    ///
    /// # Errors
    /// The outbox has no room.
    #[inline(always)]
    pub fn publish_with(
        &mut self,
        topic: TopicId,
        kind: u32,
        correlation: u64,
        payload: &[u8],
    ) -> Result<(), OutboxFull> {
        self.push(Op::Publish, topic.0, correlation, kind, payload)
    }

    /// Sends a message to all agents of a group that are alive when it is delivered, except this one. This needs the capability `send`,
    /// as requests and replies do.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn broadcast(&mut self, group: u32, kind: u32, payload: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::Broadcast, group.into(), 0, kind, payload)
    }

    /// Sends a message like [`broadcast`](Self::broadcast), with a `correlation` that the recipients see, and that a bounce carries.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn broadcast_with(
        &mut self,
        group: u32,
        kind: u32,
        correlation: u64,
        payload: &[u8],
    ) -> Result<(), OutboxFull> {
        self.push(Op::Broadcast, group.into(), correlation, kind, payload)
    }

    /// Sends a request, which the recipient answers with [`reply`](Self::reply). The reply is a message with the same `correlation`,
    /// for which [`Message::is_reply`] is true. If no reply was sent before the frame that is `deadline_frames` (at least 1) after
    /// this one, a message arrives in that frame for which [`Message::timed_out`] returns the recipient. The recipient sees the request in the
    /// next frame, and its reply arrives in the frame after that. So a deadline of 1 is missed, unless the recipient's group comes `after`
    /// this agent's group: then the recipient sees the request in this frame.
    ///
    /// Requests that wait for a reply must have different correlations, and there is a limit to how many may wait: see
    /// [`crate::BounceReason::WrongState`] and [`crate::BounceReason::OverBudget`].
    ///
    /// ```
    /// use wasm_engine_sdk::testing::{Harness, Incoming, Output};
    /// use wasm_engine_sdk::{Agent, AgentId, Context, Failure, Message};
    ///
    /// /// Asks agent 0 of group 2 for its sum, and again if it doesn't answer in 4 frames.
    /// #[derive(Default)]
    /// struct Asker {
    ///     sum: Option<u64>,
    /// }
    ///
    /// impl Agent for Asker {
    ///     fn init(&mut self, ctx: &mut Context<'_>, _params: wasm_engine_sdk::Params<'_>) -> Result<(), Failure> {
    ///         Ok(ctx.request(AgentId::new(2, 0), 1, 0, 4, &[])?)
    ///     }
    ///
    ///     fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
    ///         if let Some(to) = message.timed_out() {
    ///             ctx.request(to, 1, ctx.frame(), 4, &[])?;
    ///         } else if message.is_reply() {
    ///             self.sum = message.read();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut asker = Harness::new(Asker::default(), 4096, 4096);
    /// let to = AgentId::new(2, 0);
    /// let request =
    ///     |correlation| Output::Request { to, kind: 1, correlation, deadline_frames: 4, payload: vec![] };
    /// assert_eq!(asker.init(""), Ok(vec![request(0)]));
    /// assert_eq!(asker.step(4, &[Incoming::timeout(to)]), Ok(vec![request(4)]));
    /// let reply = Incoming::message(to, 2, &7_u64.to_le_bytes()).reply().correlation(4);
    /// assert_eq!(asker.step(6, &[reply]), Ok(vec![]));
    /// assert_eq!(asker.agent().sum, Some(7));
    /// ```
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn request(
        &mut self,
        to: AgentId,
        kind: u32,
        correlation: u64,
        deadline_frames: u32,
        payload: &[u8],
    ) -> Result<(), OutboxFull> {
        let header = header(Op::Request, to.0, correlation, kind);
        self.outbox.push(OutboxHeader { deadline_frames: deadline_frames.max(1), ..header }, payload, &[])
    }

    /// Answers `request`, which is a message for which [`Message::is_request`] is true. This needs the capability `send`.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn reply(&mut self, request: &Message<'_>, kind: u32, payload: &[u8]) -> Result<(), OutboxFull> {
        self.reply_to(request.sender(), kind, request.correlation(), payload)
    }

    /// Answers a request of an earlier frame: the one that the agent `to` sent with this `correlation`. This needs the capability `send`.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn reply_to(&mut self, to: AgentId, kind: u32, correlation: u64, payload: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::Reply, to.0, correlation, kind, payload)
    }

    /// Becomes a member of a topic.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn join(&mut self, topic: TopicId) -> Result<(), OutboxFull> {
        self.push(Op::Join, topic.0, 0, 0, &[])
    }

    /// Stops being a member of a topic. This needs the capability `join`.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn leave(&mut self, topic: TopicId) -> Result<(), OutboxFull> {
        self.push(Op::Leave, topic.0, 0, 0, &[])
    }

    // Inference.

    /// Asks a model for an inference. `row` is one row of each of its inputs, in the model's order, concatenated. The result is a message
    /// with the same `correlation`, for which [`crate::Message::inference`] returns how it went.
    ///
    /// # Errors
    /// The outbox has no room.
    #[inline(always)]
    pub fn infer(&mut self, model: ModelId, correlation: u64, row: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::Infer, model.0, correlation, 0, row)
    }

    // Shared regions.

    /// Returns what a shared region held at the end of the last frame: its version, which is the number of frames that have written to it,
    /// and its bytes. Returns `None` if the scenario doesn't name the agent's group among the region's readers.
    ///
    /// This makes no host call: the bytes lie in the agent's own memory, and the engine copies them there when they have changed.
    pub fn region(&self, region: RegionId) -> Option<(u64, &'a [u8])> {
        self.regions.find(region.0)
    }

    /// Writes to a shared region whose writer is the agent's group, from its byte `start` on. This needs the capability `regions`. Readers
    /// see it in the next frame. All writes of a frame are applied in the order of the agents' ids, and each agent's in the order of its calls;
    /// together they make one new version. A write that isn't wholly inside the region, or to another writer's region, is a fault.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn write_region(&mut self, region: RegionId, start: u32, bytes: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::WriteRegion, region.0, start.into(), 0, bytes)
    }

    // The run directory.

    /// Writes a line to the log. The line is lost if this frame's call fails, unlike one of [`crate::log_now`].
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn log(&mut self, level: Level, text: &str) -> Result<(), OutboxFull> {
        self.push(Op::Log, 0, 0, level as u32, text.as_bytes())
    }

    /// Writes a line like [`log`](Self::log), formatted straight into the outbox: `ctx.log_fmt(Level::Info, format_args!("{n} left"))`.
    /// Formatting adds at least 3 KB to a module.
    ///
    /// # Errors
    /// The outbox has no room for the whole line.
    pub fn log_fmt(&mut self, level: Level, text: fmt::Arguments<'_>) -> Result<(), OutboxFull> {
        self.outbox.push_formatted(header(Op::Log, 0, 0, level as u32), text)
    }

    /// Records an integer under a name of at least one byte.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn record_i64(&mut self, name: &str, value: i64) -> Result<(), OutboxFull> {
        self.push(Op::Record, value.cast_unsigned(), 0, RecordType::I64 as u32, name.as_bytes())
    }

    /// Records a floating-point number under a name of at least one byte.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn record_f64(&mut self, name: &str, value: f64) -> Result<(), OutboxFull> {
        self.push(Op::Record, value.to_bits(), 0, RecordType::F64 as u32, name.as_bytes())
    }

    /// Records text under a name of at least one byte.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn record_text(&mut self, name: &str, value: &str) -> Result<(), OutboxFull> {
        self.record(RecordType::Text, name, value.as_bytes())
    }

    /// Records bytes under a name of at least one byte.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn record_bytes(&mut self, name: &str, value: &[u8]) -> Result<(), OutboxFull> {
        self.record(RecordType::Bytes, name, value)
    }

    fn record(&mut self, kind: RecordType, name: &str, value: &[u8]) -> Result<(), OutboxFull> {
        self.outbox.push(header(Op::Record, name.len() as u64, 0, kind as u32), name.as_bytes(), value)
    }

    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        op: Op,
        target: u64,
        correlation: u64,
        kind: u32,
        payload: &[u8],
    ) -> Result<(), OutboxFull> {
        self.outbox.push(header(op, target, correlation, kind), payload, &[])
    }
}

/// Returns the header of a record whose `payload_bytes` the outbox sets.
#[inline(always)]
const fn header(op: Op, target: u64, correlation: u64, kind: u32) -> OutboxHeader {
    OutboxHeader { target, correlation, op: op as u32, kind, payload_bytes: 0, deadline_frames: 0 }
}
