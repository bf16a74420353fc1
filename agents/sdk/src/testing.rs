//! A harness that runs an agent natively, one call at a time, with the same bytes that the engine would write and read.
//!
//! ```
//! use wasm_engine_sdk::testing::{Harness, Incoming, Output};
//! use wasm_engine_sdk::{Agent, AgentId, Context, Failure, Message};
//!
//! #[derive(Default)]
//! struct Echo;
//! impl Agent for Echo {
//!     fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
//!         Ok(ctx.send(message.sender(), message.kind(), message.payload())?)
//!     }
//! }
//!
//! let mut echo = Harness::new(Echo, 4096, 4096);
//! echo.init("").unwrap();
//! let to = AgentId::new(2, 5);
//! let answers = echo.step(1, &[Incoming::message(to, 7, b"hello")]).unwrap();
//! assert_eq!(answers, [Output::Send { to, kind: 7, correlation: 0, payload: b"hello".to_vec() }]);
//! ```

mod swap;

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use wasm_engine_abi::message::status;
use wasm_engine_abi::{
    BounceReason, CallKind, FaultNotice, FrameContext, InferenceStatus, MessageHeader, Op, OutboxReader, OutboxRecord,
    RecordType, RegionReader, RegionView, agent_key, kind,
};

use crate::random::{Cursors, CursorsPlace};
use crate::{Agent, AgentId, Context, Failure, Inbox, ModelId, Notice, Params, RegionId, TopicId, entry};

/// Address that the harness gives to the regions area. It has no guest memory, so any multiple of 8 would do.
const REGIONS_ADDRESS: u32 = 4096;

/// An agent and its exchange block.
#[derive(Debug)]
pub struct Harness<A> {
    agent: A,
    frame: FrameContext,
    /// The records of the inbox. They are words of 8 bytes, because records are aligned to 8 bytes.
    inbox: Vec<u64>,
    inbox_bytes_max: usize,
    outbox: Vec<u8>,
    /// Id, version and bytes of the regions that the agent's group reads, in the order of their ids.
    regions: Vec<(RegionId, u64, Vec<u8>)>,
    regions_area: Vec<u8>,
    cursors: Cursors,
    seed: u64,
}

impl<A: Agent> Harness<A> {
    /// Returns a harness for the agent 0 of group 1, in a run with seed 0. Its areas have these sizes in bytes, multiples of 8.
    ///
    /// # Panics
    /// A size isn't a multiple of 8.
    pub fn new(agent: A, inbox_bytes: usize, outbox_bytes: usize) -> Self {
        assert!(inbox_bytes.is_multiple_of(8) && outbox_bytes.is_multiple_of(8), "sizes are multiples of 8");
        let harness = Self {
            agent,
            frame: FrameContext { credits: u32::MAX, ..FrameContext::default() },
            inbox: Vec::new(),
            inbox_bytes_max: inbox_bytes,
            // The bytes aren't zeros, so that a payload whose padding isn't written is found out.
            outbox: vec![0xa5; outbox_bytes],
            regions: Vec::new(),
            regions_area: Vec::new(),
            cursors: Cursors::new(),
            seed: 0,
        };
        harness.id(AgentId::new(1, 0))
    }

    /// Returns the harness with another id for the agent.
    #[must_use]
    pub fn id(mut self, id: AgentId) -> Self {
        self.frame.agent = id.0;
        self.frame.group = id.group();
        self.frame.ordinal = id.ordinal();
        self.frame.random_key = agent_key(self.seed, id.0);
        self
    }

    /// Returns the harness in a run with another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        let id = AgentId(self.frame.agent);
        self.id(id)
    }

    /// Sets what [`Context::credits`] and [`Context::refused`] return in the next calls: at first, `u32::MAX` and 0.
    pub const fn budget(&mut self, credits: u32, refused: u32) {
        self.frame.credits = credits;
        self.frame.refused = refused;
    }

    /// Sets the version and the bytes of a shared region that the agent sees from the next call on.
    ///
    /// # Panics
    /// There are no bytes, or another number of them than the region had before.
    pub fn set_region(&mut self, region: RegionId, version: u64, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "a region has at least one byte");
        match self.regions.binary_search_by_key(&region, |&(id, ..)| id) {
            Ok(at) => {
                assert_eq!(self.regions[at].2.len(), bytes.len(), "a region keeps its size");
                self.regions[at] = (region, version, bytes.to_vec());
            }
            Err(at) => self.regions.insert(at, (region, version, bytes.to_vec())),
        }
    }

    /// Returns the agent.
    pub const fn agent(&self) -> &A {
        &self.agent
    }

    /// Calls `init` in frame 0, and returns what the agent asked for. The parameters are as the engine writes them: a line `name = value` for each.
    ///
    /// # Errors
    /// The agent's failure.
    pub fn init(&mut self, params: &str) -> Result<Vec<Output>, Failure> {
        self.init_in(0, params)
    }

    /// Calls `init` in another frame, as for an agent that is spawned or restarted then. The agent keeps its state: to restart it as the
    /// engine does, with the module's initial memory, make a new harness.
    ///
    /// # Errors
    /// The agent's failure.
    pub fn init_in(&mut self, frame: u64, params: &str) -> Result<Vec<Output>, Failure> {
        self.open(frame, CallKind::Init, &[Incoming::new(AgentId::ENGINE, kind::PARAMS, params.as_bytes())]);
        let (agent, mut ctx, mut inbox) = self.parts();
        let payload = inbox.next().map_or(&[][..], |message| message.payload());
        let result = agent.init(&mut ctx, Params::new(payload));
        self.close(result)
    }

    /// Calls `receive` for each message, and then `step`. Returns what the agent asked for.
    ///
    /// # Errors
    /// The agent's failure.
    ///
    /// # Panics
    /// The messages don't fit the inbox, or the outbox isn't well formed.
    pub fn step(&mut self, frame: u64, messages: &[Incoming]) -> Result<Vec<Output>, Failure> {
        self.open(frame, CallKind::Step, messages);
        let (agent, mut ctx, inbox) = self.parts();
        let result = entry::frame(agent, &mut ctx, inbox);
        self.close(result)
    }

    /// Calls `shutdown`, with the messages of the agent's last frame. Returns what the agent asked for.
    ///
    /// # Errors
    /// The agent's failure.
    ///
    /// # Panics
    /// As for [`step`](Self::step).
    pub fn shutdown(&mut self, frame: u64, messages: &[Incoming]) -> Result<Vec<Output>, Failure> {
        self.open(frame, CallKind::Shutdown, messages);
        let (agent, mut ctx, inbox) = self.parts();
        let result = agent.shutdown(&mut ctx, inbox);
        self.close(result)
    }

    /// Does what the host does before a call: writes the frame context, the inbox and the regions area.
    pub(crate) fn open(&mut self, frame: u64, call: CallKind, messages: &[Incoming]) {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend_from_slice(bytemuck::bytes_of(&message.header(frame)));
            bytes.extend_from_slice(&message.payload);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        assert!(bytes.len() <= self.inbox_bytes_max, "{} bytes of messages don't fit the inbox", bytes.len());
        self.frame.frame = frame;
        self.frame.call = call as u32;
        self.frame.inbox_records = count(messages.len());
        self.frame.inbox_bytes = count(bytes.len());
        self.frame.outbox_records = 0;
        self.frame.outbox_bytes = 0;
        self.inbox = bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
        self.regions_area = self.regions_area();
    }

    /// Returns the regions area as the engine lays it out.
    fn regions_area(&self) -> Vec<u8> {
        let table = (self.regions.len() + 1) * size_of::<RegionView>();
        let mut area = vec![0; table];
        for (at, (region, version, bytes)) in self.regions.iter().enumerate() {
            let address = REGIONS_ADDRESS + count(area.len());
            let view = RegionView { region: region.0, version: *version, address, bytes: count(bytes.len()) };
            let at = at * size_of::<RegionView>();
            area[at..at + size_of::<RegionView>()].copy_from_slice(bytemuck::bytes_of(&view));
            area.extend_from_slice(bytes);
            area.resize(area.len().next_multiple_of(8), 0);
        }
        area
    }

    pub(crate) fn parts(&mut self) -> (&mut A, Context<'_>, Inbox<'_>) {
        // SAFETY: `open` wrote that many whole records, from an address that is aligned to 8.
        let inbox = unsafe { Inbox::new(self.inbox.as_ptr().cast(), self.frame.inbox_records) };
        let regions = RegionReader::new(&self.regions_area, REGIONS_ADDRESS);
        let cursors = CursorsPlace::Harness(&self.cursors);
        (&mut self.agent, Context::new(&mut self.frame, &mut self.outbox, regions, cursors), inbox)
    }

    /// Returns the agent, and the frame context and the outbox area in which it leaves its state.
    pub(crate) fn raw_parts(&mut self) -> (&mut A, &mut FrameContext, &mut [u8]) {
        (&mut self.agent, &mut self.frame, &mut self.outbox)
    }

    /// Does what the host does after a call: returns the failure, or checks the outbox and returns its records.
    fn close(&self, result: Result<(), Failure>) -> Result<Vec<Output>, Failure> {
        result?;
        let bytes = &self.outbox[..self.frame.outbox_bytes as usize];
        let records = OutboxReader::new(bytes, self.frame.outbox_records).map(|record| {
            let record = record.unwrap_or_else(|error| panic!("the outbox isn't well formed: {error:?}"));
            let end = record.offset as usize + size_of::<wasm_engine_abi::OutboxHeader>() + record.payload.len();
            let padding = &bytes[end..end.next_multiple_of(8)];
            assert!(padding.iter().all(|&byte| byte == 0), "a payload is padded with zeros");
            Output::from(record)
        });
        Ok(records.collect())
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or_else(|_| panic!("{count} is too many"))
}

/// A message for the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    sender: AgentId,
    kind: u32,
    correlation: u64,
    topic: u64,
    status: u32,
    payload: Vec<u8>,
}

impl Incoming {
    fn new(sender: AgentId, kind: u32, payload: &[u8]) -> Self {
        Self { sender, kind, correlation: 0, topic: 0, status: 0, payload: payload.to_vec() }
    }

    /// Returns a message from an agent.
    pub fn message(sender: AgentId, kind: u32, payload: &[u8]) -> Self {
        Self::new(sender, kind, payload)
    }

    /// Returns an external event.
    pub fn event(kind: u32, payload: &[u8]) -> Self {
        Self::new(AgentId::EXTERNAL, kind, payload)
    }

    /// Returns the result of an inference.
    pub fn inference(status: InferenceStatus, outputs: &[u8]) -> Self {
        Self { status: status as u32, ..Self::new(AgentId::ENGINE, kind::INFERENCE, outputs) }
    }

    /// Returns the message that says that the agent's request to spawn was carried out.
    pub fn spawned(child: AgentId) -> Self {
        Self { topic: child.0, ..Self::new(AgentId::ENGINE, kind::SPAWNED, &[]) }
    }

    /// Returns the message that tells a supervisor of a fault.
    pub fn notice(notice: Notice) -> Self {
        let Notice { agent, frame, fault, detail, faults, escalated } = notice;
        let payload = FaultNotice { agent: agent.0, frame, fault, detail, faults, escalated: u32::from(escalated) };
        Self { topic: agent.0, ..Self::new(AgentId::ENGINE, kind::NOTICE, bytemuck::bytes_of(&payload)) }
    }

    /// Returns the message that says that the agent's request to `to` wasn't answered in time.
    pub fn timeout(to: AgentId) -> Self {
        Self { topic: to.0, ..Self::new(AgentId::ENGINE, kind::TIMEOUT, &[]) }
    }

    /// Returns the bounce of a message or a command that was meant for `meant`, the number of an agent, a group or a topic.
    pub fn bounce(reason: BounceReason, meant: u64) -> Self {
        Self { status: reason as u32, topic: meant, ..Self::new(AgentId::ENGINE, kind::BOUNCE, &[]) }
    }

    /// Returns the message with a correlation.
    #[must_use]
    pub fn correlation(mut self, correlation: u64) -> Self {
        self.correlation = correlation;
        self
    }

    /// Returns the message as a request, whose sender waits for a reply.
    #[must_use]
    pub fn request(mut self) -> Self {
        self.status = status::REQUEST;
        self
    }

    /// Returns the message as the reply to a request of the agent.
    #[must_use]
    pub fn reply(mut self) -> Self {
        self.status = status::REPLY;
        self
    }

    /// Returns the message as the result of an inference of this model.
    #[must_use]
    pub fn model(mut self, model: ModelId) -> Self {
        self.topic = model.0;
        self
    }

    /// Returns the message as one that was published to a topic.
    #[must_use]
    pub fn topic(mut self, topic: TopicId) -> Self {
        self.topic = topic.0;
        self
    }

    /// Returns the header of the message as it arrives in `frame`.
    fn header(&self, frame: u64) -> MessageHeader {
        MessageHeader {
            sender: self.sender.0,
            topic: self.topic,
            correlation: self.correlation,
            frame: if self.sender.group() == 0 { frame } else { frame.saturating_sub(1) },
            sequence: 0,
            kind: self.kind,
            status: self.status,
            payload_bytes: count(self.payload.len()),
        }
    }
}

/// One thing that an agent asked for: a record of its outbox.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are the parameters of the methods of Context")]
pub enum Output {
    /// Asked for by [`Context::send`] and [`Context::send_with`].
    Send { to: AgentId, kind: u32, correlation: u64, payload: Vec<u8> },
    /// Asked for by [`Context::publish`] and [`Context::publish_with`].
    Publish { topic: TopicId, kind: u32, correlation: u64, payload: Vec<u8> },
    /// Asked for by [`Context::broadcast`] and [`Context::broadcast_with`].
    Broadcast { group: u32, kind: u32, correlation: u64, payload: Vec<u8> },
    /// Asked for by [`Context::request`].
    Request { to: AgentId, kind: u32, correlation: u64, deadline_frames: u32, payload: Vec<u8> },
    /// Asked for by [`Context::reply`] and [`Context::reply_to`].
    Reply { to: AgentId, kind: u32, correlation: u64, payload: Vec<u8> },
    /// Asked for by [`Context::spawn`] and [`Context::spawn_with`].
    Spawn { group: u32, kind: u32, correlation: u64, payload: Vec<u8> },
    /// Asked for by [`Context::pause`].
    Pause { agent: AgentId },
    /// Asked for by [`Context::resume`].
    Resume { agent: AgentId },
    /// Asked for by [`Context::terminate`].
    Terminate { agent: AgentId },
    /// Asked for by [`Context::restart`].
    Restart { agent: AgentId },
    /// Asked for by [`Context::wake_at`] and [`Context::wake_in`].
    Wake { frame: u64 },
    /// Asked for by [`Context::join`].
    Join { topic: TopicId },
    /// Asked for by [`Context::leave`].
    Leave { topic: TopicId },
    /// Asked for by [`Context::infer`].
    Infer { model: ModelId, correlation: u64, row: Vec<u8> },
    /// Asked for by [`Context::log`] and [`Context::log_fmt`].
    Log { level: u32, text: String },
    /// Asked for by [`Context::record_i64`].
    RecordI64 { name: String, value: i64 },
    /// Asked for by [`Context::record_f64`].
    RecordF64 { name: String, value: f64 },
    /// Asked for by [`Context::record_text`].
    RecordText { name: String, value: String },
    /// Asked for by [`Context::record_bytes`].
    RecordBytes { name: String, value: Vec<u8> },
    /// Asked for by [`Context::write_region`].
    WriteRegion { region: RegionId, start: u64, bytes: Vec<u8> },
}

impl From<OutboxRecord<'_>> for Output {
    fn from(record: OutboxRecord<'_>) -> Self {
        let header = record.header;
        let (kind, correlation, payload) = (header.kind, header.correlation, record.payload.to_vec());
        match record.op {
            Op::Send => Self::Send { to: AgentId(header.target), kind, correlation, payload },
            Op::Publish => Self::Publish { topic: TopicId(header.target), kind, correlation, payload },
            Op::Broadcast => Self::Broadcast { group: group(header.target), kind, correlation, payload },
            Op::Request => {
                let deadline_frames = header.deadline_frames;
                Self::Request { to: AgentId(header.target), kind, correlation, deadline_frames, payload }
            }
            Op::Reply => Self::Reply { to: AgentId(header.target), kind, correlation, payload },
            Op::Spawn => Self::Spawn { group: group(header.target), kind, correlation, payload },
            Op::Pause => Self::Pause { agent: AgentId(header.target) },
            Op::Resume => Self::Resume { agent: AgentId(header.target) },
            Op::Terminate => Self::Terminate { agent: AgentId(header.target) },
            Op::Restart => Self::Restart { agent: AgentId(header.target) },
            Op::Wake => Self::Wake { frame: header.target },
            Op::Join => Self::Join { topic: TopicId(header.target) },
            Op::Leave => Self::Leave { topic: TopicId(header.target) },
            Op::Infer => Self::Infer { model: ModelId(header.target), correlation, row: payload },
            Op::Log => Self::Log { level: kind, text: text(&payload) },
            Op::Record => named(header.target, RecordType::from_number(kind), &payload),
            Op::WriteRegion => {
                Self::WriteRegion { region: RegionId(header.target), start: correlation, bytes: payload }
            }
        }
    }
}

/// Returns the number of a group as a u32, which is what the methods of `Context` take.
fn group(target: u64) -> u32 {
    u32::try_from(target).unwrap_or_else(|_| panic!("{target} isn't the number of a group"))
}

fn named(target: u64, kind: Option<RecordType>, payload: &[u8]) -> Output {
    let split = || payload.split_at(usize::try_from(target).unwrap_or(usize::MAX));
    match kind {
        Some(RecordType::I64) => Output::RecordI64 { name: text(payload), value: target.cast_signed() },
        Some(RecordType::F64) => Output::RecordF64 { name: text(payload), value: f64::from_bits(target) },
        Some(RecordType::Text) => Output::RecordText { name: text(split().0), value: text(split().1) },
        Some(RecordType::Bytes) => Output::RecordBytes { name: text(split().0), value: split().1.to_vec() },
        None => unreachable!("the reader refuses unknown types"),
    }
}

/// Returns a text, which the reader has already checked to be UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|error| format!("not UTF-8: {error}"))
}
