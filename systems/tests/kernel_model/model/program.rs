//! Random programs: a population, what comes from outside in each frame, and a table of what agents do.

use proptest::collection::vec;
use proptest::prelude::*;
use wasm_engine_abi::message::{sender, status};
use wasm_engine_abi::{CallKind, MessageHeader, Op};
use wasm_engine_components::{
    Action, AgentId, ExternalEvent, FaultPolicy, FrameInputs, GroupId, GroupLimits, GroupSpec, LifecycleAction,
    OverflowPolicy, Recipient, Schedule, SchedulerMode, SchedulerSettings, Tenant, TenantId, TopicId, TopicSpec,
    Trigger,
};
use wasm_engine_systems::{GroupSeed, Population};

/// Topics that there are; the number after them is of one that isn't.
pub const TOPICS: u64 = 2;

/// What both the kernel and the model are given.
#[derive(Clone, Debug)]
pub struct Program {
    pub population: Population,
    pub inputs: Vec<FrameInputs>,
    /// Which row an agent follows in a call depends on its id, the frame, and what is called.
    pub table: Vec<Vec<Act>>,
}

/// Whom an act is about.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    Id(AgentId),
    Me,
    /// The sender of the first message in the inbox, if it is an agent.
    First,
}

#[derive(Clone, Debug)]
pub enum Act {
    Send(Who, u8),
    Publish(u64, u8),
    Join(u64),
    Leave(u64),
    Broadcast(u32, u8),
    Request(Who, u64, u32),
    /// Replies to each request in the inbox.
    Answer,
    Reply(Who, u64),
    Spawn(u32, u8),
    Order(Who, LifecycleAction),
    /// So many frames from now.
    Wake(u64),
    ForgetWake,
    Fault,
}

/// A record of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub op: Op,
    pub target: u64,
    pub correlation: u64,
    pub deadline_frames: u32,
    pub payload: Vec<u8>,
}

/// The kind of all agents' messages.
pub const KIND: u32 = 7;

impl Program {
    /// What an agent does in a call: `None` for a fault.
    pub fn act(
        &self,
        agent: AgentId,
        frame: u64,
        call: CallKind,
        inbox: &[(MessageHeader, Vec<u8>)],
    ) -> Option<Vec<Record>> {
        let mixed = (agent.0 ^ (frame << 20) ^ ((call as u64) << 50)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let row = &self.table[(mixed >> 40) as usize % self.table.len()];
        let first = inbox.iter().map(|(header, _)| header.sender).find(|&id| id > sender::NATIVE);
        let who = |who: &Who| match who {
            Who::Id(id) => id.0,
            Who::Me => agent.0,
            Who::First => first.unwrap_or(agent.0),
        };
        let record = |op, target| Record { op, target, correlation: 0, deadline_frames: 0, payload: Vec::new() };
        let payload = |bytes: u8| vec![frame as u8; bytes.into()];
        let mut records = Vec::new();
        for act in row {
            records.push(match act {
                Act::Send(to, bytes) => Record { payload: payload(*bytes), ..record(Op::Send, who(to)) },
                Act::Publish(topic, bytes) => Record { payload: payload(*bytes), ..record(Op::Publish, *topic) },
                Act::Join(topic) => record(Op::Join, *topic),
                Act::Leave(topic) => record(Op::Leave, *topic),
                Act::Broadcast(group, bytes) => {
                    Record { payload: payload(*bytes), ..record(Op::Broadcast, u64::from(*group)) }
                }
                Act::Request(to, number, deadline) => {
                    Record { correlation: *number, deadline_frames: *deadline, ..record(Op::Request, who(to)) }
                }
                Act::Answer => {
                    let asked = inbox.iter().filter(|(header, _)| header.status == status::REQUEST);
                    let asked = asked.filter(|(header, _)| header.sender > sender::NATIVE);
                    records.extend(asked.map(|(header, _)| Record {
                        correlation: header.correlation,
                        ..record(Op::Reply, header.sender)
                    }));
                    continue;
                }
                Act::Reply(to, number) => Record { correlation: *number, ..record(Op::Reply, who(to)) },
                Act::Spawn(group, bytes) => {
                    Record { correlation: 50, payload: payload(*bytes), ..record(Op::Spawn, u64::from(*group)) }
                }
                Act::Order(to, order) => record(op_of(*order), who(to)),
                Act::Wake(frames) => record(Op::Wake, frame + frames),
                Act::ForgetWake => record(Op::Wake, 0),
                Act::Fault => return None,
            });
        }
        Some(records)
    }
}

fn op_of(order: LifecycleAction) -> Op {
    match order {
        LifecycleAction::Pause => Op::Pause,
        LifecycleAction::Resume => Op::Resume,
        LifecycleAction::Terminate => Op::Terminate,
        LifecycleAction::Restart => Op::Restart,
    }
}

fn agent_id() -> impl Strategy<Value = AgentId> {
    (1_u32..=4, 0_u32..=5, prop_oneof![6 => Just(0_u32), 1 => Just(1), 1 => Just(2)])
        .prop_map(|(group, ordinal, generation)| AgentId::of_generation(GroupId(group), ordinal, generation))
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![6 => agent_id().prop_map(Who::Id), 1 => Just(Who::Me), 3 => Just(Who::First)]
}

fn order() -> impl Strategy<Value = LifecycleAction> {
    prop_oneof![
        2 => Just(LifecycleAction::Pause), 3 => Just(LifecycleAction::Resume), 3 => Just(LifecycleAction::Terminate), 1 => Just(LifecycleAction::Restart)
    ]
}

fn payload_bytes() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0_u8), Just(1), Just(8), Just(60), Just(216)]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => (who(), payload_bytes()).prop_map(|(to, bytes)| Act::Send(to, bytes)),
        3 => (1..=TOPICS + 1, payload_bytes()).prop_map(|(topic, bytes)| Act::Publish(topic, bytes)),
        2 => (1..=TOPICS + 1).prop_map(Act::Join),
        1 => (1..=TOPICS + 1).prop_map(Act::Leave),
        3 => (1_u32..=5, payload_bytes()).prop_map(|(group, bytes)| Act::Broadcast(group, bytes)),
        6 => (who(), 0_u64..3, 1_u32..5).prop_map(|(to, number, deadline)| Act::Request(to, number, deadline)),
        4 => Just(Act::Answer),
        1 => (who(), 0_u64..3).prop_map(|(to, number)| Act::Reply(to, number)),
        5 => (1_u32..=5, payload_bytes()).prop_map(|(group, bytes)| Act::Spawn(group, bytes)),
        7 => (who(), order()).prop_map(|(to, order)| Act::Order(to, order)),
        2 => (0_u64..5).prop_map(Act::Wake),
        1 => Just(Act::ForgetWake),
        2 => Just(Act::Fault),
    ]
}

fn trigger() -> impl Strategy<Value = Trigger> {
    let every = (1_u32..4).prop_flat_map(|period| (Just(period), 0..period));
    prop_oneof![
        4 => Just(Trigger::default()),
        2 => every.prop_map(|(period, phase)| Trigger::Every { period, phase }),
        2 => Just(Trigger::Message),
        1 => Just(Trigger::Timer),
    ]
}

fn policy() -> impl Strategy<Value = FaultPolicy> {
    prop_oneof![
        (0_u32..3, 1_u32..3)
            .prop_map(|(restarts_max, backoff_frames)| FaultPolicy::Restart { restarts_max, backoff_frames }),
        Just(FaultPolicy::Pause),
        Just(FaultPolicy::Terminate),
        Just(FaultPolicy::Escalate),
    ]
}

/// A bound that most programs don't have.
fn seldom(bound: std::ops::Range<u64>) -> impl Strategy<Value = u64> {
    prop_oneof![5 => Just(GroupLimits::UNBOUNDED), 1 => bound]
}

/// Deliveries that most programs have enough of.
fn deliveries() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(GroupLimits::BY_AGENTS), 1 => 0_u64..12]
}

fn limits() -> impl Strategy<Value = GroupLimits> {
    let bytes = prop_oneof![Just(48_u32), Just(100), Just(160), Just(4096)];
    let mailbox = (prop_oneof![1_u32..4, Just(16_u32)], bytes);
    let sent = (seldom(0..5), seldom(48..400), deliveries(), deliveries());
    (mailbox, 0_u32..3, seldom(1..30), sent).prop_map(
        |((messages, bytes), requests, fuel, (sent, sent_bytes, by_step, by_frame))| GroupLimits {
            mailbox_messages_max: messages,
            mailbox_bytes_max: bytes,
            requests_max: requests,
            fuel_per_frame_max: fuel,
            messages_per_frame_max: sent,
            message_bytes_per_frame_max: sent_bytes,
            deliveries_per_step_max: by_step,
            deliveries_per_frame_max: by_frame,
            ..GroupLimits::DEFAULT
        },
    )
}

/// A group of number `id`, and its rank: a group may come after those of lower rank.
fn group(id: u32) -> impl Strategy<Value = (u8, u8, GroupSeed)> {
    let size = (0_u32..=4, 0_u32..=2);
    let overflow =
        prop_oneof![Just(OverflowPolicy::Reject), Just(OverflowPolicy::DropOldest), Just(OverflowPolicy::Fault)];
    let when = (trigger(), 0_u32..3);
    let order = (any::<u8>(), prop_oneof![Just(0_u8), 0_u8..16]);
    let power = (0_u8..16, prop::option::weighted(0.4, 1_u32..=4));
    let accepts = prop::option::weighted(0.25, 0_u8..16);
    let tenant = prop::option::weighted(0.3, 0_u32..2);
    let subscribe = 0_u8..4;
    (size, overflow, when, order, power, accepts, tenant, subscribe, policy(), limits()).prop_map(
        move |(
            (agents, more),
            overflow,
            (trigger, priority),
            (rank, after),
            power,
            accepts,
            tenant,
            topics,
            fault,
            limits,
        )| {
            let groups = |bits: u8| (1..=4).filter(|at| bits >> (at - 1) & 1 == 1).map(GroupId).collect::<Vec<_>>();
            let group = GroupSpec::new(GroupId(id), format!("group-{id}"), agents).with(|group| {
                group.agents_max = agents + more;
                group.limits = limits;
                group.on_fault = fault;
                group.schedule = Schedule { trigger, priority };
                group.controls = groups(power.0);
                group.supervisor = power.1.map(GroupId);
                group.accepts = accepts.map(groups);
                group.tenant = tenant.map(TenantId);
                group.overflow = overflow;
                group.subscribe = (1..=TOPICS).filter(|topic| topics >> (topic - 1) & 1 == 1).map(TopicId).collect();
            });
            (rank, after, GroupSeed { group, inbox_bytes_max: 4096 })
        },
    )
}

fn tenant() -> impl Strategy<Value = Tenant> {
    let bounds = (seldom(0..6), seldom(0..6), seldom(1..40), seldom(0..4), deliveries());
    bounds.prop_map(|(agents, memory, fuel, messages, deliveries)| Tenant {
        name: String::new(),
        agents_max: agents,
        memory_bytes_max: memory.saturating_mul(GroupLimits::DEFAULT.memory_bytes_max),
        fuel_per_frame_max: fuel,
        messages_per_frame_max: messages,
        jobs_per_frame_max: GroupLimits::UNBOUNDED,
        deliveries_per_frame_max: deliveries,
        log_bytes_per_frame_max: GroupLimits::UNBOUNDED,
        output_bytes_per_frame_max: GroupLimits::UNBOUNDED,
    })
}

fn scheduler() -> impl Strategy<Value = SchedulerSettings> {
    let mode = prop_oneof![Just(SchedulerMode::Priority), Just(SchedulerMode::RoundRobin)];
    let steps = prop_oneof![3 => Just(u64::MAX), 1 => 1_u64..6];
    let sent = (deliveries(), deliveries());
    (mode, steps, seldom(1..60), 0_u32..3, sent).prop_map(|(mode, steps, fuel, ageing_frames, (all, host))| {
        SchedulerSettings {
            deliveries_per_frame_max: all,
            host_deliveries_per_frame_max: host,
            log_bytes_per_frame_max: GroupLimits::BY_AGENTS,
            output_bytes_per_frame_max: GroupLimits::BY_AGENTS,
            mode,
            steps_per_frame_max: steps,
            fuel_per_frame_max: fuel,
            ageing_frames,
        }
    })
}

fn population() -> impl Strategy<Value = Population> {
    let groups = (group(1), group(2), group(3), group(4), 1_usize..=4);
    (groups, vec(tenant(), 2), scheduler()).prop_map(|((a, b, c, d, count), tenants, scheduler)| {
        let mut seeds = vec![a, b, c, d];
        seeds.truncate(count);
        let ranks: Vec<_> = seeds.iter().map(|(rank, _, seed)| (*rank, seed.group.id)).collect();
        let linked = seeds.iter().map(|(rank, after, seed)| {
            let mut seed = seed.clone();
            let before = ranks.iter().filter(|&&before| before < (*rank, seed.group.id));
            let before = before.map(|&(_, id)| id).filter(|id| after >> (id.0 - 1) & 1 == 1);
            seed.group.after = before.collect();
            seed.group.after.sort_unstable();
            seed
        });
        let topics = (1..=TOPICS).map(|id| TopicSpec::new("").with(|topic| topic.id = TopicId(id))).collect();
        Population { seed: 1, groups: linked.collect(), topics, scheduler, tenants, ..Population::default() }
    })
}

fn inputs() -> impl Strategy<Value = FrameInputs> {
    let to = prop_oneof![
        4 => agent_id().prop_map(Recipient::Agent),
        1 => (1..=TOPICS + 1).prop_map(|topic| Recipient::Topic(TopicId(topic))),
        1 => (1_u32..=5).prop_map(|group| Recipient::Group(GroupId(group))),
    ];
    let event = (to, payload_bytes()).prop_map(|(to, bytes)| ExternalEvent {
        to,
        kind: KIND,
        correlation: 90,
        payload: vec![9; bytes.into()],
    });
    let spawn = (1_u32..=5, payload_bytes()).prop_map(|(group, bytes)| Action::Spawn {
        group: GroupId(group),
        kind: KIND,
        payload: vec![8; bytes.into()],
    });
    let order = (agent_id(), order()).prop_map(|(agent, order)| Action::Agent(agent, order));
    let command = prop_oneof![1 => spawn, 2 => order];
    (vec(event, 0..3), vec(command, 0..3)).prop_map(|(events, commands)| FrameInputs {
        events,
        commands,
        ..FrameInputs::default()
    })
}

pub fn program() -> impl Strategy<Value = Program> {
    (population(), vec(inputs(), 16), vec(vec(act(), 0..4), 24)).prop_map(|(population, inputs, table)| Program {
        population,
        inputs,
        table,
    })
}
