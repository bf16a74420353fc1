//! A reference for the kernel's rules: plain data, looked at by id, one loop after another. It shares nothing with the kernel
//! but the types of `abi` and `components`.

pub mod calls;
pub mod post;
pub mod program;

use std::collections::{BTreeMap, BTreeSet};

use post::{Mail, Post};
use program::{KIND, Program, Record};
use wasm_engine_abi::message::{kind, sender, status};
use wasm_engine_abi::{BounceReason, CallKind, FaultNotice, MessageHeader, Op};
use wasm_engine_components::{
    Action, AgentFault, AgentId, FaultPolicy, FrameCounts, GroupId, Lifecycle, LifecycleAction, Recipient, TenantId,
    TopicId,
};
use wasm_engine_systems::GroupSeed;

/// A message as an agent sees it.
pub type Seen = (MessageHeader, Vec<u8>);

/// Who was called, how, and what it found in its inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    pub agent: AgentId,
    pub call: CallKind,
    pub inbox: Vec<Seen>,
}

/// An agent, until another one has its ordinal.
#[derive(Clone, Debug)]
pub struct Agent {
    pub life: Lifecycle,
    pub faults: u32,
    pub restarts: u32,
    pub restart_frame: u64,
    /// Whether its last initialisation faulted.
    pub uninitialised: bool,
    pub ended: Option<u64>,
    pub backlog: Vec<Mail>,
    /// What arrived in this frame.
    pub inbox: Vec<Mail>,
    pub timer: Option<u64>,
    pub deferred: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub to: AgentId,
    pub asked: u64,
    pub deadline: u64,
}

#[derive(Clone, Debug)]
struct Command {
    issuer: Option<(AgentId, u64, u32)>,
    action: Action,
}

pub struct Model {
    pub program: Program,
    pub frame: u64,
    /// Who has each slot, or had it last: by id, which orders them by slot.
    pub agents: BTreeMap<AgentId, Agent>,
    pub topics: BTreeMap<u64, BTreeSet<AgentId>>,
    pub requests: BTreeMap<(AgentId, u64), Pending>,
    pub post: Post,
    commands: Vec<Command>,
    pub clock: calls::Clock,
    pub counts: FrameCounts,
    pub faults: Vec<AgentFault>,
    pub called: Vec<Called>,
    /// What called agents asked for: by the agent.
    asked: BTreeMap<AgentId, Vec<Record>>,
    faulted: BTreeSet<AgentId>,
}

impl Agent {
    fn new() -> Self {
        Self {
            life: Lifecycle::Initialising,
            uninitialised: false,
            faults: 0,
            restarts: 0,
            restart_frame: 0,
            ended: None,
            backlog: Vec::new(),
            inbox: Vec::new(),
            timer: None,
            deferred: None,
        }
    }
}

impl Model {
    pub fn new(program: Program) -> Self {
        let mut model = Self {
            frame: 0,
            agents: BTreeMap::new(),
            topics: program.population.topics.iter().map(|topic| (topic.id.0, BTreeSet::new())).collect(),
            requests: BTreeMap::new(),
            post: Post::default(),
            commands: Vec::new(),
            clock: calls::Clock::default(),
            counts: FrameCounts::default(),
            faults: Vec::new(),
            called: Vec::new(),
            asked: BTreeMap::new(),
            faulted: BTreeSet::new(),
            program,
        };
        for seed in model.program.population.groups.clone() {
            for ordinal in 0..seed.group.agents {
                model.settle(AgentId::new(seed.group.id, ordinal), &seed);
            }
        }
        model
    }

    pub fn seed(&self, group: GroupId) -> Option<&GroupSeed> {
        self.program.population.groups.iter().find(|seed| seed.group.id == group)
    }

    pub fn alive(&self, id: AgentId) -> bool {
        self.agents.get(&id).is_some_and(|agent| agent.life.is_alive())
    }

    /// Why there is nobody alive of that id.
    pub fn absence(&self, id: AgentId) -> BounceReason {
        let holder = self.agents.keys().find(|at| (at.group(), at.ordinal()) == (id.group(), id.ordinal()));
        match holder {
            Some(holder) if id.generation() <= holder.generation() => BounceReason::Terminated,
            _ => BounceReason::UnknownRecipient,
        }
    }

    fn settle(&mut self, id: AgentId, seed: &GroupSeed) {
        self.agents.insert(id, Agent::new());
        for topic in &seed.group.subscribe {
            self.topics.get_mut(&topic.0).unwrap().insert(id);
        }
    }

    /// One frame.
    pub fn step(&mut self) {
        self.counts = FrameCounts::default();
        self.faults.clear();
        self.called.clear();
        self.asked.clear();
        self.faulted.clear();
        self.agents.values_mut().for_each(|agent| agent.inbox.clear());
        let inputs = self.program.inputs.get(self.frame as usize).cloned().unwrap_or_default();
        let outside = inputs.commands.into_iter().map(|action| Command { issuer: None, action });
        for command in outside.chain(std::mem::take(&mut self.commands)) {
            self.carry_out(command);
        }
        self.take_events(&inputs.events);
        self.expire_requests();
        self.deliver();
        self.call_waves();
        self.hold();
        self.collect();
        self.commit();
        self.counts.agents = self.agents.values().filter(|agent| agent.life.is_alive()).count() as u64;
        self.counts.faults = self.faults.len() as u64;
        self.frame += 1;
    }

    fn take_events(&mut self, events: &[wasm_engine_components::ExternalEvent]) {
        for (event, sequence) in events.iter().zip(0..) {
            let (to, topic, missing) = match event.to {
                Recipient::Agent(id) => (post::To::Agent(id), 0, (!self.alive(id)).then(|| self.absence(id))),
                Recipient::Group(id) => {
                    (post::To::Group(id), 0, self.seed(id).is_none().then_some(BounceReason::UnknownRecipient))
                }
                Recipient::Topic(TopicId(topic)) => {
                    let missing = (!self.topics.contains_key(&topic)).then_some(BounceReason::UnknownTopic);
                    (post::To::Topic(topic), topic, missing)
                }
            };
            if let Some(reason) = missing {
                self.counts.drop_messages(reason, 1);
                self.counts.events_lost += 1;
                continue;
            }
            let header = MessageHeader {
                sender: sender::EXTERNAL,
                status: if matches!(to, post::To::Group(_)) { status::BROADCAST } else { status::PLAIN },
                topic,
                correlation: event.correlation,
                frame: self.frame,
                sequence,
                kind: event.kind,
                ..MessageHeader::default()
            };
            self.post.events.push(Mail::new(to, header, event.payload.clone()));
        }
    }

    fn carry_out(&mut self, command: Command) {
        let Command { issuer, action } = command;
        let (meant_for, done) = match action {
            Action::Spawn { group, kind, payload } => (u64::from(group.0), self.spawn(issuer, group, kind, payload)),
            Action::Agent(agent, order) => (agent.0, self.order(issuer, agent, order)),
        };
        let Err(reason) = done else {
            self.counts.commands += 1;
            return;
        };
        self.counts.commands_refused += 1;
        if let Some((id, correlation, sequence)) = issuer
            && self.alive(id)
        {
            let (kind, status) = (kind::BOUNCE, reason as u32);
            let header =
                MessageHeader { correlation, sequence, topic: meant_for, kind, status, ..MessageHeader::default() };
            self.post.tell(id, MessageHeader { frame: self.frame, ..header });
        }
    }

    fn may(&self, issuer: Option<(AgentId, u64, u32)>, group: GroupId) -> bool {
        let Some((id, ..)) = issuer else { return true };
        self.seed(id.group()).unwrap().group.controls.contains(&group)
            || self.seed(group).unwrap().group.supervisor == Some(id.group())
    }

    fn spawn(
        &mut self,
        issuer: Option<(AgentId, u64, u32)>,
        group: GroupId,
        message_kind: u32,
        payload: Vec<u8>,
    ) -> Result<(), BounceReason> {
        let seed = self.seed(group).ok_or(BounceReason::UnknownRecipient)?.clone();
        if !self.may(issuer, group) {
            return Err(BounceReason::Refused);
        }
        if let Some(TenantId(tenant)) = seed.group.tenant {
            let limits = &self.program.population.tenants[tenant as usize];
            let alive = self.agents.iter().filter(|(_, agent)| agent.life.is_alive());
            let alive = alive.filter(|(id, _)| self.seed(id.group()).unwrap().group.tenant == seed.group.tenant);
            // All groups of a program have the same limit of memory.
            let agents = alive.count() as u64 + 1;
            if agents > limits.agents_max || agents * seed.group.limits.memory_bytes_max > limits.memory_bytes_max {
                return Err(BounceReason::GroupFull);
            }
        }
        let id = self.take_slot(group, seed.group.agents_max).ok_or(BounceReason::GroupFull)?;
        self.settle(id, &seed);
        let mut header = MessageHeader { sender: sender::EXTERNAL, kind: message_kind, ..MessageHeader::default() };
        header.frame = self.frame;
        if let Some((parent, correlation, sequence)) = issuer {
            header = MessageHeader { sender: parent.0, correlation, sequence, frame: self.frame - 1, ..header };
            if self.alive(parent) {
                let told = MessageHeader { correlation, sequence, kind: kind::SPAWNED, ..MessageHeader::default() };
                self.post.tell(parent, MessageHeader { topic: id.0, frame: self.frame, ..told });
            }
        }
        if !payload.is_empty() {
            self.post.events.push(Mail::new(post::To::Agent(id), header, payload));
        }
        Ok(())
    }

    /// A slot that was never used, else the least used one of those whose agents ended two frames ago and more.
    fn take_slot(&mut self, group: GroupId, agents_max: u32) -> Option<AgentId> {
        let used = self.agents.keys().filter(|id| id.group() == group).count() as u32;
        if used < agents_max {
            return Some(AgentId::new(group, used));
        }
        let vacant = self.agents.iter().filter(|(id, _)| id.group() == group);
        let vacant = vacant.filter(|(_, agent)| agent.ended.is_some_and(|ended| ended + 2 <= self.frame));
        let last = vacant.map(|(id, _)| *id).min_by_key(|id| (id.generation(), id.ordinal()))?;
        self.agents.remove(&last);
        Some(AgentId::of_generation(group, last.ordinal(), last.generation() + 1))
    }

    fn order(
        &mut self,
        issuer: Option<(AgentId, u64, u32)>,
        id: AgentId,
        order: LifecycleAction,
    ) -> Result<(), BounceReason> {
        let Some(agent) = self.agents.get(&id) else { return Err(self.absence(id)) };
        let own = issuer.is_some_and(|(issuer, ..)| issuer == id);
        if !own && !self.may(issuer, id.group()) {
            return Err(BounceReason::Refused);
        }
        let after = match (order, agent.life) {
            (_, Lifecycle::Terminating | Lifecycle::Terminated) => return Err(BounceReason::Terminated),
            (LifecycleAction::Pause, Lifecycle::Active) => Lifecycle::Paused,
            (LifecycleAction::Resume, Lifecycle::Paused) if agent.uninitialised => Lifecycle::Initialising,
            (LifecycleAction::Resume, Lifecycle::Paused) => Lifecycle::Active,
            (LifecycleAction::Pause | LifecycleAction::Resume, _) => return Err(BounceReason::WrongState),
            (LifecycleAction::Terminate, Lifecycle::Active | Lifecycle::Paused) => Lifecycle::Terminating,
            (LifecycleAction::Terminate, _) => Lifecycle::Terminated,
            (LifecycleAction::Restart, _) => Lifecycle::Initialising,
        };
        self.set_life(id, after);
        Ok(())
    }

    fn set_life(&mut self, id: AgentId, life: Lifecycle) {
        let agent = self.agents.get_mut(&id).unwrap();
        agent.life = life;
        if life == Lifecycle::Terminated {
            agent.ended = Some(self.frame);
        }
    }

    fn expire_requests(&mut self) {
        let mut due: Vec<_> = self.requests.iter().filter(|(_, pending)| pending.deadline <= self.frame).collect();
        due.sort_by_key(|((from, number), pending)| (pending.deadline, *from, *number));
        let due: Vec<_> = due.into_iter().map(|(key, pending)| (*key, *pending)).collect();
        for ((from, correlation), pending) in due {
            self.requests.remove(&(from, correlation));
            if self.alive(from) {
                let header = MessageHeader { topic: pending.to.0, correlation, ..MessageHeader::default() };
                self.post.tell(from, MessageHeader { kind: kind::TIMEOUT, frame: self.frame, ..header });
            }
        }
    }

    /// What isn't a message, in the order of ids.
    fn collect(&mut self) {
        for (agent, records) in std::mem::take(&mut self.asked) {
            for (record, sequence) in records.into_iter().zip(0_u32..) {
                let Record { op, target, correlation, payload, .. } = record;
                let order = match op {
                    Op::Wake => {
                        let wish = (target > 0).then(|| target.max(self.frame + 1));
                        self.agents.get_mut(&agent).unwrap().timer = wish;
                        continue;
                    }
                    Op::Join | Op::Leave => {
                        let joins = op == Op::Join;
                        match self.topics.get_mut(&target) {
                            Some(members) if joins => drop(members.insert(agent)),
                            Some(members) => drop(members.remove(&agent)),
                            None => {
                                let header = MessageHeader { sender: agent.0, sequence, ..MessageHeader::default() };
                                self.refuse_at_once(agent, &header, target, BounceReason::UnknownTopic);
                            }
                        }
                        continue;
                    }
                    Op::Spawn => {
                        let action = Action::Spawn { group: GroupId(target as u32), kind: KIND, payload };
                        let issuer = Some((agent, correlation, sequence));
                        self.commands.push(Command { issuer, action });
                        continue;
                    }
                    Op::Pause => LifecycleAction::Pause,
                    Op::Resume => LifecycleAction::Resume,
                    Op::Terminate => LifecycleAction::Terminate,
                    Op::Restart => LifecycleAction::Restart,
                    _ => continue,
                };
                let action = Action::Agent(AgentId(target), order);
                self.commands.push(Command { issuer: Some((agent, correlation, sequence)), action });
            }
        }
        self.post.bounce_refused(self.frame);
    }

    fn commit(&mut self) {
        for Called { agent, call, .. } in self.called.clone() {
            match call {
                CallKind::Init if !self.faulted.contains(&agent) => {
                    self.agents.get_mut(&agent).unwrap().uninitialised = false;
                    self.set_life(agent, Lifecycle::Active);
                }
                CallKind::Shutdown => self.set_life(agent, Lifecycle::Terminated),
                _ => {}
            }
        }
        self.faults.sort_by_key(|fault| fault.agent);
        for fault in self.faults.clone() {
            self.commit_fault(fault);
        }
        let ended: Vec<_> = self.agents.iter().filter(|(_, agent)| agent.ended == Some(self.frame)).collect();
        let ended: Vec<_> = ended.into_iter().map(|(id, _)| *id).collect();
        for id in ended {
            self.topics.values_mut().for_each(|members| members.retain(|member| *member != id));
            self.requests.retain(|(from, _), _| *from != id);
            let agent = self.agents.get_mut(&id).unwrap();
            (agent.timer, agent.deferred) = (None, None);
            for mail in std::mem::take(&mut agent.backlog) {
                self.refuse(id, &mail.header, BounceReason::Terminated);
            }
        }
        for agent in self.agents.values_mut() {
            if agent.life == Lifecycle::Faulted && agent.restart_frame == self.frame + 1 {
                agent.life = Lifecycle::Initialising;
                agent.restarts += 1;
            }
        }
    }

    fn commit_fault(&mut self, fault: AgentFault) {
        let AgentFault { agent: id, kind, detail, .. } = fault;
        let frame = self.frame;
        let group = self.seed(id.group()).unwrap().group.clone();
        let agent = self.agents.get_mut(&id).unwrap();
        agent.faults += 1;
        if let Some(supervisor) = group.supervisor.filter(|id| id.0 <= self.program.population.groups.len() as u32) {
            let escalated = u32::from(group.on_fault == FaultPolicy::Escalate && !agent.life.is_ending());
            let (fault, faults) = (kind as u32, agent.faults);
            let notice = FaultNotice { agent: id.0, frame, fault, detail, faults, escalated };
            let header = MessageHeader { topic: id.0, frame, kind: kind::NOTICE, ..MessageHeader::default() };
            let payload = bytemuck::bytes_of(&notice).to_vec();
            self.post.engine.push(Mail::new(post::To::Group(supervisor), header, payload));
        }
        agent.uninitialised |= agent.life == Lifecycle::Initialising;
        if !matches!(agent.life, Lifecycle::Active | Lifecycle::Initialising) {
            return;
        }
        let after = match group.on_fault {
            FaultPolicy::Pause => Lifecycle::Paused,
            FaultPolicy::Escalate => Lifecycle::Faulted,
            FaultPolicy::Restart { restarts_max, backoff_frames } if agent.restarts < restarts_max => {
                agent.restart_frame = frame + (u64::from(backoff_frames) << agent.restarts);
                Lifecycle::Faulted
            }
            FaultPolicy::Restart { .. } | FaultPolicy::Terminate => Lifecycle::Terminated,
        };
        self.set_life(id, after);
    }
}
