//! The model's messages: who is given what, what there is no room for, what is taken from an outbox.

use std::collections::{BTreeMap, BTreeSet};

use wasm_engine_abi::message::{kind, sender, status};
use wasm_engine_abi::{BounceReason, FaultNotice, MessageHeader, Op};
use wasm_engine_components::{
    AgentFault, AgentId, FaultKind, GroupId, GroupLimits, Lifecycle, OverflowPolicy, Trigger,
};

use super::program::{KIND, Record};
use super::{Model, Pending};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Agent(AgentId),
    Topic(u64),
    Group(GroupId),
}

/// A message, and its place among those of its frame: the host's, the last frame's, this frame's.
#[derive(Clone, Debug)]
pub struct Mail {
    pub to: To,
    pub header: MessageHeader,
    pub payload: Vec<u8>,
    pub place: (u8, usize),
}

impl Mail {
    pub fn new(to: To, header: MessageHeader, payload: Vec<u8>) -> Self {
        let header = MessageHeader { payload_bytes: payload.len() as u32, ..header };
        Self { to, header, payload, place: (0, 0) }
    }

    fn bytes(&self) -> usize {
        48 + self.payload.len().next_multiple_of(8)
    }
}

/// Messages on their way.
#[derive(Default)]
pub struct Post {
    /// What the engine says, in the next frame or in this one.
    pub engine: Vec<Mail>,
    pub events: Vec<Mail>,
    /// Of the last frame, by sender and sequence; of this one, in the order in which they are sent.
    pub before: Vec<Mail>,
    pub now: Vec<Mail>,
    /// Deliveries of messages to many that are left to this frame.
    deliveries: BTreeMap<Payer, u64>,
    /// Messages of this frame to many, by sender and sequence, that the budgets were asked for: whether there was room.
    metered: BTreeMap<(u64, u32), bool>,
    /// Messages of this frame that aren't taken.
    refused: Vec<(AgentId, MessageHeader, u64, BounceReason)>,
}

/// Whose budgets messages to many count against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Payer {
    All,
    /// Events and native systems.
    Host,
    Group(GroupId),
    Tenant(u32),
}

impl Post {
    /// The engine says something to an agent.
    pub fn tell(&mut self, to: AgentId, header: MessageHeader) {
        self.engine.push(Mail::new(To::Agent(to), MessageHeader { sender: sender::ENGINE, ..header }, Vec::new()));
    }

    fn bounce(&mut self, to: AgentId, of: &MessageHeader, meant_for: u64, reason: BounceReason, frame: u64) {
        let (kind, status) = (kind::BOUNCE, reason as u32);
        let header = MessageHeader { topic: meant_for, frame, kind, status, ..MessageHeader::default() };
        self.tell(to, MessageHeader { correlation: of.correlation, sequence: of.sequence, ..header });
    }

    /// An agent's bounces come in the order in which it asked.
    pub fn bounce_refused(&mut self, frame: u64) {
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_by_key(|(agent, header, ..)| (*agent, header.sequence));
        for (agent, header, meant_for, reason) in refused {
            self.bounce(agent, &header, meant_for, reason, frame);
        }
    }
}

impl Model {
    /// As many deliveries as there are agents, and not less than 262,144, where the program says nothing.
    fn deliveries_of(&self, limit: u64) -> u64 {
        let alive = self.agents.values().filter(|agent| agent.life.is_alive()).count() as u64;
        if limit == GroupLimits::BY_AGENTS { alive.max(262_144) } else { limit }
    }

    fn open_deliveries(&mut self) {
        self.post.metered.clear();
        let population = &self.program.population;
        let groups = population.groups.iter().map(|seed| &seed.group);
        let mut limits: Vec<_> =
            groups.map(|group| (Payer::Group(group.id), group.limits.deliveries_per_frame_max)).collect();
        limits.extend((0..).map(Payer::Tenant).zip(population.tenants.iter().map(|t| t.deliveries_per_frame_max)));
        limits.push((Payer::All, population.scheduler.deliveries_per_frame_max));
        limits.push((Payer::Host, population.scheduler.host_deliveries_per_frame_max));
        self.post.deliveries = limits.into_iter().map(|(payer, limit)| (payer, self.deliveries_of(limit))).collect();
    }

    /// Takes a message to many off the budgets: one for each recipient and 128 bytes. `steps` is what each agent's messages took.
    fn take_deliveries(&mut self, mail: &Mail, recipients: &[AgentId], steps: &mut BTreeMap<u64, u64>) -> bool {
        let counts = recipients.iter().map(|to| {
            let seed = self.seed(to.group()).unwrap();
            let costs_more =
                seed.group.schedule.trigger != Trigger::default() || seed.group.overflow == OverflowPolicy::DropOldest;
            if costs_more { 2 } else { 1 }
        });
        let count = counts.sum::<u64>() * mail.bytes().div_ceil(128) as u64;
        let from = mail.header.sender;
        // Notices of faults have a budget of their own, which is larger than all that programs of this size send.
        if from == sender::ENGINE {
            return true;
        }
        let mut payers = Vec::new();
        if self.program.population.scheduler.deliveries_per_frame_max != GroupLimits::BY_AGENTS {
            payers.push(Payer::All);
        }
        if from == sender::EXTERNAL || from == sender::NATIVE {
            payers.push(Payer::Host);
        } else {
            let group = self.seed(AgentId(from).group()).unwrap();
            payers.push(Payer::Group(group.group.id));
            payers.extend(group.group.tenant.map(|tenant| Payer::Tenant(tenant.0)));
            let left = self.deliveries_of(group.group.limits.deliveries_per_step_max);
            if steps.get(&from).copied().unwrap_or(0) + count > left {
                return false;
            }
        }
        if payers.iter().any(|payer| self.post.deliveries[payer] < count) {
            return false;
        }
        payers.iter().for_each(|payer| *self.post.deliveries.get_mut(payer).unwrap() -= count);
        *steps.entry(from).or_default() += count;
        true
    }

    /// A message to many is dropped as a whole, and its sender is told.
    fn drop_over_budget(&mut self, mail: &Mail) {
        let (from, reason) = (AgentId(mail.header.sender), BounceReason::OverBudget);
        self.counts.drop_messages(reason, 1);
        let meant_for = if let To::Group(group) = mail.to { group.0.into() } else { mail.header.topic };
        self.counts.events_lost += u64::from(from.0 == sender::EXTERNAL);
        if from.0 > sender::NATIVE && self.alive(from) {
            self.post.bounce(from, &mail.header, meant_for, reason, self.frame);
        }
    }

    /// Delivers what the host says and what was sent in the last frame.
    pub fn deliver(&mut self) {
        self.open_deliveries();
        self.post.before = std::mem::take(&mut self.post.now);
        self.post.before.sort_by_key(|mail| (AgentId(mail.header.sender), mail.header.sequence));
        let engine = std::mem::take(&mut self.post.engine);
        let engine = self.keep_escalations(engine);
        let host = engine.into_iter().chain(std::mem::take(&mut self.post.events));
        let host: Vec<_> = host.enumerate().map(|(at, mail)| Mail { place: (0, at), ..mail }).collect();
        let before = self.post.before.iter().cloned().enumerate().map(|(at, mail)| Mail { place: (1, at), ..mail });
        let all: Vec<_> = host.into_iter().chain(before.collect::<Vec<_>>()).collect();
        self.bring(&all, None);
    }

    /// Delivers what was sent in this frame to agents of a later wave.
    pub fn deliver_edges(&mut self, wave: u32) {
        let now = self.post.now.iter().cloned().enumerate();
        let mut now: Vec<_> = now.map(|(at, mail)| Mail { place: (2, at), ..mail }).collect();
        now.sort_by_key(|mail| (AgentId(mail.header.sender), mail.header.sequence));
        // A message to many is paid for at once, for all the waves in which it arrives.
        let mut steps = BTreeMap::new();
        for mail in now.iter().filter(|mail| !matches!(mail.to, To::Agent(_))) {
            let key = (mail.header.sender, mail.header.sequence);
            let waves = || self.program.population.groups.iter().map(|seed| self.wave(seed.group.id));
            let waves: BTreeSet<u32> = waves().collect();
            let all: Vec<_> = waves.into_iter().flat_map(|wave| self.recipients(mail, Some(wave))).collect();
            if all.is_empty() || self.post.metered.contains_key(&key) {
                continue;
            }
            let fits = self.take_deliveries(mail, &all, &mut steps);
            self.post.metered.insert(key, fits);
            if !fits {
                self.drop_over_budget(mail);
            }
        }
        let metered = &self.post.metered;
        let fits = |mail: &Mail| metered.get(&(mail.header.sender, mail.header.sequence)) != Some(&false);
        now.retain(fits);
        // What reaches nobody now reaches nobody in the next frame.
        self.post.now.retain(fits);
        self.bring(&now, Some(wave));
    }

    /// What the engine says in this frame. An escalation that nobody would hear, because no mailbox of its supervisors has room, is said in the next one,
    /// if its agent still waits then.
    fn keep_escalations(&mut self, engine: Vec<Mail>) -> Vec<Mail> {
        let mut said: Vec<Mail> = Vec::new();
        // What was said so far has taken room in each mailbox that had it.
        let mut taken = BTreeMap::<AgentId, Vec<Mail>>::new();
        for mail in engine {
            let recipients = self.recipients(&mail, None);
            let hears = |id: &AgentId| self.has_room(*id, taken.get(id).map_or(&[], Vec::as_slice), &mail);
            let heard: Vec<_> = recipients.into_iter().filter(hears).collect();
            let waits = heard.is_empty() && self.is_escalation_of_a_waiting_agent(&mail);
            if waits {
                self.post.engine.push(mail);
                continue;
            }
            heard.into_iter().for_each(|id| taken.entry(id).or_default().push(mail.clone()));
            said.push(mail);
        }
        said
    }

    fn has_room(&self, id: AgentId, arrived: &[Mail], mail: &Mail) -> bool {
        let (seed, agent) = (self.seed(id.group()).unwrap(), &self.agents[&id]);
        let all = || agent.backlog.iter().chain(arrived);
        let bytes_max = seed.group.limits.mailbox_bytes_max.min(seed.inbox_bytes_max) as usize;
        agent.life.is_alive()
            && all().count() < seed.group.limits.mailbox_messages_max as usize
            && all().map(Mail::bytes).sum::<usize>() + mail.bytes() <= bytes_max
    }

    fn is_escalation_of_a_waiting_agent(&self, mail: &Mail) -> bool {
        if mail.header.kind != kind::NOTICE {
            return false;
        }
        let notice: FaultNotice = bytemuck::pod_read_unaligned(&mail.payload);
        let is_last = |agent: &super::Agent| agent.life == Lifecycle::Faulted && agent.faults == notice.faults;
        notice.escalated == 1 && self.agents.get(&AgentId(notice.agent)).is_some_and(is_last)
    }

    fn bring(&mut self, all: &[Mail], wave: Option<u32>) {
        let (mut refusals, mut overflowed, mut steps) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for mail in all {
            let recipients = self.recipients(mail, wave);
            let is_to_many = !matches!(mail.to, To::Agent(_)) && !recipients.is_empty();
            if wave.is_none() && is_to_many && !self.take_deliveries(mail, &recipients, &mut steps) {
                self.drop_over_budget(mail);
                continue;
            }
            for to in recipients {
                self.put(to, mail, &mut refusals, &mut overflowed);
            }
        }
        refusals.sort_by_key(|(to, mail, _)| (mail.place, *to));
        for (to, mail, reason) in refusals {
            self.refuse(to, &mail.header, reason);
        }
        for (id, fault) in overflowed {
            let agent = &self.agents[&id];
            let trigger = self.seed(id.group()).unwrap().group.schedule.trigger;
            let reads = trigger == Trigger::default() || trigger == Trigger::Message;
            // One fault in a frame, in whichever wave.
            let is_new = !self.faults.iter().any(|known| (known.agent, known.kind) == (id, FaultKind::MailboxFull));
            if reads && agent.life == Lifecycle::Active && agent.backlog.is_empty() && is_new {
                self.faults.push(fault);
            }
        }
    }

    fn recipients(&self, mail: &Mail, wave: Option<u32>) -> Vec<AgentId> {
        let from = AgentId(mail.header.sender);
        let in_time = |to: AgentId| {
            // What the host brings isn't sent in this frame: a new agent's first message may be of an agent.
            let edge = mail.place.0 != 0 && self.seed(to.group()).unwrap().group.after.contains(&from.group());
            wave.map_or(!edge, |wave| edge && self.wave(to.group()) == wave)
        };
        let hears = |to: AgentId| self.takes_from(to.group(), from);
        let all: Vec<AgentId> = match mail.to {
            To::Agent(id) => vec![id],
            To::Topic(topic) => self.topics[&topic].iter().copied().filter(|&id| hears(id)).collect(),
            To::Group(group) => {
                let alive = self.agents.iter().filter(|(_, agent)| agent.life.is_alive()).map(|(id, _)| *id);
                alive.filter(|&id| id.group() == group && id != from && hears(id)).collect()
            }
        };
        all.into_iter().filter(|&id| in_time(id)).collect()
    }

    fn takes_from(&self, group: GroupId, from: AgentId) -> bool {
        let accepts = &self.seed(group).unwrap().group.accepts;
        from.0 <= sender::NATIVE || accepts.as_ref().is_none_or(|groups| groups.contains(&from.group()))
    }

    /// Puts a message into a mailbox, as its policy says.
    fn put(
        &mut self,
        to: AgentId,
        mail: &Mail,
        refusals: &mut Vec<(AgentId, Mail, BounceReason)>,
        overflowed: &mut BTreeMap<AgentId, AgentFault>,
    ) {
        let seed = self.seed(to.group()).unwrap().clone();
        let agent = self.agents.get_mut(&to).unwrap();
        if !agent.life.is_alive() {
            return refusals.push((to, mail.clone(), BounceReason::Terminated));
        }
        let bytes_max = seed.group.limits.mailbox_bytes_max.min(seed.inbox_bytes_max) as usize;
        if mail.bytes() > bytes_max {
            return refusals.push((to, mail.clone(), BounceReason::TooLarge));
        }
        loop {
            let all = || agent.backlog.iter().chain(&agent.inbox);
            let bytes: usize = all().map(Mail::bytes).sum();
            let (messages, messages_max) = (all().count(), seed.group.limits.mailbox_messages_max as usize);
            if messages < messages_max && bytes + mail.bytes() <= bytes_max {
                return agent.inbox.push(mail.clone());
            }
            if seed.group.overflow == OverflowPolicy::Fault {
                // 1 says that it was messages that were too many, 2 that it was bytes.
                let (detail, reached, allowed) = match messages < messages_max {
                    true => (2, bytes + mail.bytes(), bytes_max),
                    false => (1, messages + 1, messages_max),
                };
                let (reached, allowed) = (reached as u64, allowed as u64);
                let fault = AgentFault { agent: to, kind: FaultKind::MailboxFull, detail, reached, allowed };
                overflowed.entry(to).or_insert(fault);
            }
            if seed.group.overflow != OverflowPolicy::DropOldest {
                return refusals.push((to, mail.clone(), BounceReason::MailboxFull));
            }
            let old = |list: &[Mail]| list.iter().position(|mail| mail.header.sender != sender::ENGINE);
            let dropped = match (old(&agent.backlog), old(&agent.inbox)) {
                (Some(at), _) => Mail { place: (0, 0), ..agent.backlog.remove(at) },
                (None, Some(at)) => agent.inbox.remove(at),
                (None, None) => return refusals.push((to, mail.clone(), BounceReason::MailboxFull)),
            };
            refusals.push((to, dropped, BounceReason::MailboxFull));
        }
    }

    /// Counts a message that was on its way to an agent and isn't taken, and tells its sender.
    pub fn refuse(&mut self, to: AgentId, header: &MessageHeader, reason: BounceReason) {
        self.counts.drop_messages(reason, 1);
        let from = AgentId(header.sender);
        if header.sender > sender::NATIVE && header.topic == 0 && header.status != status::BROADCAST && self.alive(from)
        {
            self.post.bounce(from, header, to.0, reason, self.frame);
        }
        let asker = self.agents.get(&to).is_some_and(|agent| agent.life.is_alive());
        if header.status == status::REPLY && header.sender > sender::NATIVE && asker {
            let said =
                MessageHeader { topic: header.sender, correlation: header.correlation, ..MessageHeader::default() };
            self.post.tell(to, MessageHeader { kind: kind::TIMEOUT, frame: self.frame, ..said });
        }
        let key = (from, header.correlation);
        if header.status == status::REQUEST && header.sender > sender::NATIVE {
            self.requests.retain(|other, pending| *other != key || pending.asked != header.frame);
        }
    }

    /// Counts a message that isn't sent at all, and tells who wanted to send it.
    pub fn refuse_at_once(&mut self, from: AgentId, header: &MessageHeader, meant_for: u64, reason: BounceReason) {
        self.counts.drop_messages(reason, 1);
        self.post.refused.push((from, *header, meant_for, reason));
    }

    /// What an agent sends.
    pub fn send_all(&mut self, from: AgentId, records: &[Record]) {
        for (record, sequence) in records.iter().zip(0_u32..) {
            let status = match record.op {
                Op::Send | Op::Publish => status::PLAIN,
                Op::Request => status::REQUEST,
                Op::Reply => status::REPLY,
                Op::Broadcast => status::BROADCAST,
                _ => continue,
            };
            self.counts.messages += 1;
            let topic = if record.op == Op::Publish { record.target } else { 0 };
            let header = MessageHeader {
                sender: from.0,
                topic,
                correlation: record.correlation,
                frame: self.frame,
                sequence,
                kind: KIND,
                status,
                payload_bytes: record.payload.len() as u32,
            };
            if let Err(reason) = self.send(from, record, header) {
                self.refuse_at_once(from, &header, record.target, reason);
            }
        }
    }

    fn send(&mut self, from: AgentId, record: &Record, header: MessageHeader) -> Result<(), BounceReason> {
        let (target, number) = (AgentId(record.target), record.correlation);
        let to = self.address(from, record)?;
        let mail = Mail::new(to, header, record.payload.clone());
        if !self.clock.take_message(&self.program.population, from.group(), mail.bytes() as u64) {
            return Err(BounceReason::OverBudget);
        }
        match record.op {
            Op::Request => {
                let limits = &self.seed(from.group()).unwrap().group.limits;
                let waiting = self.requests.keys().filter(|(who, _)| *who == from).count();
                if self.requests.contains_key(&(from, number)) {
                    return Err(BounceReason::WrongState);
                }
                if waiting >= limits.requests_max as usize {
                    return Err(BounceReason::OverBudget);
                }
                let deadline = self.frame + u64::from(record.deadline_frames);
                self.requests.insert((from, number), Pending { to: target, asked: self.frame, deadline });
            }
            Op::Reply => match self.requests.get(&(target, number)) {
                Some(pending) if pending.to == from => drop(self.requests.remove(&(target, number))),
                _ => return Err(BounceReason::NoRequest),
            },
            _ => {}
        }
        self.post.now.push(mail);
        Ok(())
    }

    /// For whom a record is, or why there is nobody.
    fn address(&self, from: AgentId, record: &Record) -> Result<To, BounceReason> {
        let target = record.target;
        match record.op {
            Op::Publish if self.topics.contains_key(&target) => Ok(To::Topic(target)),
            Op::Publish => Err(BounceReason::UnknownTopic),
            Op::Broadcast => {
                let group = self.seed(GroupId(target as u32)).ok_or(BounceReason::UnknownRecipient)?.group.id;
                self.takes_from(group, from).then_some(To::Group(group)).ok_or(BounceReason::Refused)
            }
            _ => {
                let id = AgentId(target);
                let group = &self.seed(id.group()).ok_or(BounceReason::UnknownRecipient)?.group;
                if !self.takes_from(group.id, from) {
                    return Err(BounceReason::Refused);
                }
                let Some(agent) = self.agents.get(&id) else { return Err(self.absence(id)) };
                // Whether it has ended is asked at once where that is possible: else, when the message is delivered.
                let ends = group.agents_max > group.agents || self.clock.ended.contains(&group.id);
                if ends && agent.life.is_ending() { Err(BounceReason::Terminated) } else { Ok(To::Agent(id)) }
            }
        }
    }
}
