//! Who gets a message. Members of a topic and agents of a group are found group by group: a group that doesn't accept the sender
//! is skipped at once, however many agents it has.

use std::collections::BTreeMap;
use std::ops::Range;

use bevy_ecs::resource::Resource;
use bevy_ecs::system::Query;
use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{
    Address, AgentId, AgentSlot, GroupId, GroupIndex, Members, Recipient, RecipientSlot, TopicIndex,
};

use crate::world::chunk::OutputChunk;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::hearers::Later;
use crate::world::inbox_view::{Delivery, HostInbox, InboxView};

/// All messages of a frame, and who gets them.
pub(crate) struct Sent<'a, 'w, 's> {
    pub directory: &'a Directory,
    pub members: &'a Query<'w, 's, &'static Members>,
    pub chunks: &'a [OutputChunk],
    pub current: &'a [OutputChunk],
    pub host: &'a HostInbox,
}

/// A part of a message's recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Those that get it in the frame after.
    Later,
    /// Those that get it in the frame in which it is sent, in this wave.
    Wave(u32),
}

impl<'a> Sent<'a, '_, '_> {
    /// Whether an agent of a group is among those recipients of a message of `from`.
    pub(crate) fn is_in(&self, part: Part, from: GroupId, group: &GroupRange) -> bool {
        match part {
            Part::Later => !group.comes_after(from),
            Part::Wave(wave) => group.comes_after(from) && group.wave == wave,
        }
    }

    pub(crate) fn message(&self, at: Delivery) -> &'a MessageHeader {
        let (chunks, current, host) = (self.chunks, self.current, self.host);
        InboxView { firsts: &[], links: &[], chunks, current, host }.message(at).0
    }

    fn takes(&self, group: &GroupRange, from: AgentId, part: Part) -> bool {
        group.takes_from(from) && self.is_in(part, from.group(), group)
    }

    fn members(&self, topic: TopicIndex) -> &'a [AgentId] {
        let (_, entity) = self.directory.topics[topic.index()];
        self.members.get(entity).map_or(&[], |members| &members.0)
    }
}

/// A message that was sent in this frame to agents of a later wave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub address: Address,
    pub at: Delivery,
}

/// Members of a topic that are of one group.
#[derive(Debug)]
struct Run {
    /// The group's index.
    group: GroupIndex,
    /// Where they are in the topic's list.
    members: Range<usize>,
    /// How much a message to all of them counts.
    weight: u64,
    /// Their slots, once somebody sends to them.
    slots: Option<Vec<AgentSlot>>,
}

/// The members of a topic, group by group.
#[derive(Debug, Default)]
struct TopicRuns {
    /// Ascending by group.
    runs: Vec<Run>,
    /// How much a message counts to all runs whose groups take messages of everybody.
    open: u64,
}

impl TopicRuns {
    fn of(sent: &Sent<'_, '_, '_>, topic: TopicIndex) -> Self {
        let all = sent.members(topic);
        let (mut found, mut start) = (Self::default(), 0);
        while let Some(first) = all.get(start) {
            #[cfg(test)]
            crate::world::looks::look(1);
            let id = first.group();
            let end = start + all[start..].partition_point(|member| member.group() == id);
            if let Some(at) = sent.directory.group_index(id) {
                let group = &sent.directory.groups[at];
                let weight = (end - start) as u64 * group.delivery_weight();
                if group.spec.accepts.is_none() {
                    found.open += weight;
                }
                found.runs.push(Run { group: at, members: start..end, weight, slots: None });
            }
            start = end;
        }
        found
    }

    /// Calls `visit` with each run whose group is among `groups`, ascending. It searches for the fewer in the more, or merges
    /// both lists.
    fn each_of(&self, groups: &[GroupIndex], mut visit: impl FnMut(u32, &Run)) {
        /// By how much fewer are searched for one by one.
        const FEW: usize = 16;
        if self.runs.len() * FEW < groups.len() {
            #[cfg(test)]
            crate::world::looks::look(self.runs.len());
            let among = |run: &Run| groups.binary_search(&run.group).is_ok();
            self.runs.iter().zip(0..).filter(|(run, _)| among(run)).for_each(|(run, at)| visit(at, run));
            return;
        }
        let searches = groups.len() * FEW < self.runs.len();
        #[cfg(test)]
        crate::world::looks::look(groups.len() + if searches { 0 } else { self.runs.len() });
        let mut at = 0;
        for &group in groups {
            let rest = &self.runs[at..];
            at += if searches {
                rest.partition_point(|run| run.group < group)
            } else {
                rest.iter().take_while(|run| run.group < group).count()
            };
            if let Some(run) = self.runs.get(at).filter(|run| run.group == group) {
                visit(at as u32, run);
            }
        }
    }

    fn weight_of(&self, groups: &[GroupIndex]) -> u64 {
        let mut weight = 0;
        self.each_of(groups, |_, run| weight += run.weight);
        weight
    }

    /// Returns what a message counts that these hear in the next frame.
    fn count_later(&self, hearers: &Later) -> u64 {
        self.open - self.weight_of(&hearers.had) + self.weight_of(&hearers.choosy)
    }

    /// The runs that get a message in a part; `list` is that of who hears it then.
    fn choose(&self, sent: &Sent<'_, '_, '_>, (from, list): (AgentId, u32), part: Part) -> Vec<u32> {
        let mut chosen = Vec::new();
        match part {
            Part::Later => {
                #[cfg(test)]
                crate::world::looks::look(self.runs.len());
                let takes = |run: &Run| sent.takes(&sent.directory.groups[run.group], from, part);
                chosen.extend(self.runs.iter().zip(0..).filter(|(run, _)| takes(run)).map(|(_, at)| at));
            }
            Part::Wave(wave) => {
                let groups = sent.directory.hearers.along(list).in_wave(wave);
                self.each_of(groups, |at, _| chosen.push(at));
            }
        }
        chosen
    }
}

/// The recipients of a frame's messages to many, and the messages to later waves. Transient: each list is made once in a frame, when the first message
/// asks for it, so that a message costs what its recipients do.
#[derive(Resource, Debug, Default)]
pub(crate) struct Audiences {
    topics: BTreeMap<TopicIndex, TopicRuns>,
    /// The slots of the agents of a group that haven't ended.
    living: BTreeMap<GroupIndex, Vec<AgentSlot>>,
    /// How much a message to a topic counts, along edges or in the frame after, by the list of who hears it then: so groups that the same
    /// ones hear share what is found.
    counts: BTreeMap<(TopicIndex, bool, u32), u64>,
    /// The waves in which a message to a topic arrives, by the list of who hears it. There is one for what was paid for alone.
    waves: BTreeMap<(TopicIndex, u32), Vec<u32>>,
    /// Of one sorting: which runs of a topic get a message in a part, by the list of who hears it then. There is one for what was paid for
    /// alone, so all together are no longer than the budgets allow.
    chosen: BTreeMap<(TopicIndex, Part, u32), Vec<u32>>,
    /// What was sent in this frame to each later wave.
    edges: BTreeMap<u32, Vec<Edge>>,
    /// How many of this frame's chunks are among those.
    indexed: usize,
}

impl Audiences {
    /// Begins a frame: who is a member and who lives doesn't change until its messages are delivered.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Begins to deliver to a part of the frame's agents.
    pub(crate) fn begin(&mut self) {
        self.chosen.clear();
    }

    /// Puts what was sent in the last wave into the lists of the waves in which it arrives. `take` says whether the budgets have room for so many
    /// deliveries of a message to many, in all those waves together: so the lists are no longer than the budgets allow.
    pub(crate) fn index_edges(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        mut take: impl FnMut(Edge, &MessageHeader, u64) -> bool,
    ) {
        let mut new: Vec<u32> = (self.indexed as u32..sent.current.len() as u32).collect();
        new.sort_by_key(|&chunk| sent.current[chunk as usize].group);
        self.indexed = sent.current.len();
        for chunk in new {
            for &address in &sent.current[chunk as usize].edges {
                let edge = Edge { address, at: Delivery { chunk: chunk | Delivery::CURRENT, at: address.at } };
                match address.recipient() {
                    Some(Recipient::Agent(slot)) => {
                        self.edges.entry(sent.directory.group_at(slot).wave).or_default().push(edge);
                    }
                    None => {}
                    Some(to @ (Recipient::Group(_) | Recipient::Topic(_))) => {
                        let header = sent.message(edge.at);
                        let from = AgentId(header.sender);
                        let count = self.count(sent, to, from, true);
                        #[cfg(test)]
                        crate::world::looks::look(1);
                        if count > 0 && take(edge, header, count) {
                            self.put_into_waves(sent, edge, from);
                        }
                    }
                }
            }
        }
    }

    /// Puts a message to many into the lists of the waves in which it arrives.
    fn put_into_waves(&mut self, sent: &Sent<'_, '_, '_>, edge: Edge, from: AgentId) {
        let Self { topics, waves, edges, .. } = self;
        let single;
        let waves: &[u32] = match edge.address.recipient() {
            Some(Recipient::Topic(topic)) => {
                let (list, _) = sent.directory.hearers.lists(&sent.directory.groups, from);
                waves.entry((topic, list)).or_insert_with(|| {
                    let mut found = Vec::new();
                    let groups = &sent.directory.hearers.along(list).groups;
                    let mut add = |_, run: &Run| found.push(sent.directory.groups[run.group].wave);
                    topics.get(&topic).into_iter().for_each(|all| all.each_of(groups, &mut add));
                    found.sort_unstable();
                    found.dedup();
                    found
                })
            }
            Some(Recipient::Group(group)) => {
                single = [sent.directory.groups[group].wave];
                &single
            }
            Some(Recipient::Agent(_)) | None => &[],
        };
        for &wave in waves {
            #[cfg(test)]
            crate::world::looks::look(1);
            edges.entry(wave).or_default().push(edge);
        }
    }

    /// The messages that were sent in this frame to agents of a wave, in canonical order.
    pub(crate) fn take_edges(&mut self, sent: &Sent<'_, '_, '_>, wave: u32) -> Vec<Edge> {
        let mut edges = self.edges.remove(&wave).unwrap_or_default();
        // The waves' chunks come one after another. The sort is stable: those of a chunk stay in their order.
        let chunk = |edge: &Edge| edge.at.chunk & !Delivery::CURRENT;
        edges.sort_by_key(|edge| (sent.current[chunk(edge) as usize].group, chunk(edge)));
        edges
    }

    /// How much a message counts in the frame after or, `along` edges, in all waves of the frame in which it is sent.
    pub(crate) fn count(&mut self, sent: &Sent<'_, '_, '_>, to: RecipientSlot, from: AgentId, along: bool) -> u64 {
        match to {
            Recipient::Topic(topic) => {
                let Self { topics, counts, .. } = self;
                let all = topics.entry(topic).or_insert_with(|| TopicRuns::of(sent, topic));
                let hearers = &sent.directory.hearers;
                let (now, later) = hearers.lists(&sent.directory.groups, from);
                let list = if along { now } else { later };
                *counts.entry((topic, along, list)).or_insert_with(|| match along {
                    true => all.weight_of(&hearers.along(list).groups),
                    false => all.count_later(hearers.later(list)),
                })
            }
            Recipient::Group(group) => {
                let group = &sent.directory.groups[group];
                let is_own = from.group() == group.id && sent.directory.alive(from).is_some();
                let others = u64::from(group.alive) - u64::from(is_own);
                let part = if along { Part::Wave(group.wave) } else { Part::Later };
                if sent.takes(group, from, part) { others * group.delivery_weight() } else { 0 }
            }
            Recipient::Agent(_) => 0,
        }
    }

    /// Calls `visit` with the slot of each recipient, ascending within a group.
    pub(crate) fn each(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        to: RecipientSlot,
        (from, part): (AgentId, Part),
        mut visit: impl FnMut(AgentSlot),
    ) {
        match to {
            Recipient::Topic(topic) => {
                let Some(all) = self.topics.get_mut(&topic) else { return };
                let (now, later) = sent.directory.hearers.lists(&sent.directory.groups, from);
                let list = if part == Part::Later { later } else { now };
                let runs =
                    self.chosen.entry((topic, part, list)).or_insert_with(|| all.choose(sent, (from, list), part));
                for &run in &*runs {
                    let Run { members, slots, .. } = &mut all.runs[run as usize];
                    let find = || {
                        let members = &sent.members(topic)[members.clone()];
                        #[cfg(test)]
                        crate::world::looks::look(members.len());
                        members.iter().filter_map(|&member| sent.directory.slot(member)).collect()
                    };
                    let slots = slots.get_or_insert_with(find);
                    #[cfg(test)]
                    crate::world::looks::look(slots.len());
                    slots.iter().copied().for_each(&mut visit);
                }
            }
            Recipient::Group(at) => {
                let group = &sent.directory.groups[at];
                if !sent.takes(group, from, part) {
                    return;
                }
                let lives = |&slot: &AgentSlot| sent.directory.lifecycles[slot.index()].is_alive();
                let living = self.living.entry(at).or_insert_with(|| {
                    #[cfg(test)]
                    crate::world::looks::look(group.slots().len());
                    group.slots().filter(lives).collect()
                });
                #[cfg(test)]
                crate::world::looks::look(living.len());
                living.iter().copied().filter(|&slot| sent.directory.ids[slot.index()] != from).for_each(visit);
            }
            Recipient::Agent(_) => {}
        }
    }
}
