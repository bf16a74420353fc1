//! Who gets a message. The members of a topic and the agents of a group are found group by group: those that don't take messages from
//! the sender's are passed over at once, however many agents they have.

use std::collections::BTreeMap;
use std::ops::Range;

use bevy_ecs::resource::Resource;
use bevy_ecs::system::Query;
use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{Address, AgentId, GroupId, Members, Recipient};

use crate::directory::{Directory, GroupRange};
use crate::ports::{Delivery, HostInbox, InboxView, OutputChunk};

/// All messages of a frame, and who gets them.
pub(crate) struct Sent<'a, 'w, 's> {
    pub directory: &'a Directory,
    pub members: &'a Query<'w, 's, &'static Members>,
    pub chunks: &'a [OutputChunk],
    pub current: &'a [OutputChunk],
    pub host: &'a HostInbox,
}

/// Which of a message's recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Those that get it in the frame after.
    Later,
    /// Those that get it in the frame in which it is sent, in this wave.
    Wave(u32),
}

impl<'a> Sent<'a, '_, '_> {
    /// Whether an agent of a group is among those recipients of a message of `from`.
    pub fn is_in(&self, part: Part, from: GroupId, group: &GroupRange) -> bool {
        match part {
            Part::Later => !group.comes_after(from),
            Part::Wave(wave) => group.comes_after(from) && group.wave == wave,
        }
    }

    pub fn message(&self, at: Delivery) -> &'a MessageHeader {
        let (chunks, current, host) = (self.chunks, self.current, self.host);
        InboxView { firsts: &[], links: &[], chunks, current, host }.message(at).0
    }

    fn takes(&self, group: &GroupRange, from: AgentId, part: Part) -> bool {
        group.takes_from(from) && self.is_in(part, from.group(), group)
    }

    fn members(&self, topic: u32) -> &'a [AgentId] {
        let (_, entity) = self.directory.topics[topic as usize];
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
    /// The group's position.
    group: u32,
    /// Where they are in the topic's list.
    members: Range<usize>,
    /// How much a message to all of them counts.
    weight: u64,
    /// Their positions, once somebody sends to them.
    positions: Option<Vec<u32>>,
}

/// The members of a topic, group by group.
#[derive(Debug, Default)]
struct TopicRuns {
    runs: Vec<Run>,
    /// How much a message counts to all runs whose groups take messages of everybody.
    open: u64,
    /// The other runs.
    choosy: Vec<u32>,
    /// The runs of groups that come after a group, each with its wave, by wave.
    after: BTreeMap<GroupId, Vec<(u32, u32)>>,
}

impl TopicRuns {
    fn of(sent: &Sent<'_, '_, '_>, topic: u32) -> Self {
        let all = sent.members(topic);
        let (mut found, mut start) = (Self::default(), 0);
        while let Some(first) = all.get(start) {
            let id = first.group();
            let end = start + all[start..].partition_point(|member| member.group() == id);
            if let Some(at) = sent.directory.group_position(id) {
                let group = &sent.directory.groups[at];
                // Groups are far fewer than 2^32.
                let run = found.runs.len() as u32;
                let weight = (end - start) as u64 * group.delivery_weight();
                match group.accepts {
                    None => found.open += weight,
                    Some(_) => found.choosy.push(run),
                }
                for &before in &group.after {
                    found.after.entry(before).or_default().push((group.wave, run));
                }
                found.runs.push(Run { group: at as u32, members: start..end, weight, positions: None });
            }
            start = end;
        }
        found.after.values_mut().for_each(|runs| runs.sort_unstable());
        found
    }

    fn group<'a>(&self, sent: &Sent<'a, '_, '_>, run: u32) -> &'a GroupRange {
        &sent.directory.groups[self.runs[run as usize].group as usize]
    }

    /// The runs that come after a group and take its messages, each with its wave.
    fn along(&self, sent: &Sent<'_, '_, '_>, from: AgentId) -> impl Iterator<Item = (u32, u32)> {
        let after = self.after.get(&from.group()).map_or(&[][..], Vec::as_slice);
        #[cfg(test)]
        crate::costs::look(after.len());
        after.iter().copied().filter(move |&(_, run)| self.group(sent, run).takes_from(from))
    }

    /// How much a message counts in the frame in which it is sent.
    fn count_along(&self, sent: &Sent<'_, '_, '_>, from: AgentId) -> u64 {
        self.along(sent, from).map(|(_, run)| self.runs[run as usize].weight).sum()
    }

    /// How much a message counts in the frame after. Of those who take all, only the runs that had it already are looked at.
    fn count_later(&self, sent: &Sent<'_, '_, '_>, from: AgentId) -> u64 {
        let weight = |run: u32| self.runs[run as usize].weight;
        let had = self.along(sent, from).filter(|&(_, run)| self.group(sent, run).accepts.is_none());
        let had: u64 = had.map(|(_, run)| weight(run)).sum();
        #[cfg(test)]
        crate::costs::look(self.choosy.len());
        let choosy = self.choosy.iter().filter(|&&run| sent.takes(self.group(sent, run), from, Part::Later));
        self.open - had + choosy.map(|&run| weight(run)).sum::<u64>()
    }

    /// The runs that get a message in a part.
    fn choose(&self, sent: &Sent<'_, '_, '_>, from: AgentId, part: Part) -> Vec<u32> {
        match part {
            Part::Later => {
                #[cfg(test)]
                crate::costs::look(self.runs.len());
                let all = 0..self.runs.len() as u32;
                all.filter(|&run| sent.takes(self.group(sent, run), from, part)).collect()
            }
            Part::Wave(wave) => {
                let after = self.after.get(&from.group()).map_or(&[][..], Vec::as_slice);
                let after = &after[after.partition_point(|&(of, _)| of < wave)..];
                let after = &after[..after.partition_point(|&(of, _)| of == wave)];
                #[cfg(test)]
                crate::costs::look(after.len());
                let taking = after.iter().filter(|&&(_, run)| self.group(sent, run).takes_from(from));
                taking.map(|&(_, run)| run).collect()
            }
        }
    }
}

/// The recipients of a frame's messages to many, and the messages to later waves. Transient: each list is made once in a frame, when the first message
/// asks for it, so that a message costs what its recipients do.
#[derive(Resource, Debug, Default)]
pub struct Audiences {
    topics: BTreeMap<u32, TopicRuns>,
    /// The positions of the agents of a group that haven't ended, by the group's position.
    living: BTreeMap<u32, Vec<u32>>,
    /// How much a message of a group to a topic counts: in the frame after, or in the one in which it is sent.
    counts: BTreeMap<(u32, GroupId, bool), u64>,
    /// Of one sorting: which runs of a topic get messages of a group. There is one for what was paid for alone, so all together are no
    /// longer than the budgets allow.
    chosen: BTreeMap<(u32, GroupId, Part), Vec<u32>>,
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
                    Recipient::Agent(index) => {
                        self.edges.entry(sent.directory.group_at(index).wave).or_default().push(edge);
                    }
                    Recipient::Nobody => {}
                    to @ (Recipient::Group(_) | Recipient::Topic(_)) => {
                        let header = sent.message(edge.at);
                        let from = AgentId(header.sender);
                        let count = self.count(sent, to, from, true);
                        #[cfg(test)]
                        crate::costs::look(1);
                        if count > 0 && take(edge, header, count) {
                            for wave in self.waves(sent, to, from) {
                                #[cfg(test)]
                                crate::costs::look(1);
                                self.edges.entry(wave).or_default().push(edge);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The waves in which a message to many arrives, each once.
    fn waves(&self, sent: &Sent<'_, '_, '_>, to: Recipient, from: AgentId) -> Vec<u32> {
        match to {
            Recipient::Topic(topic) => {
                let along = self.topics.get(&topic).into_iter().flat_map(|all| all.along(sent, from));
                let mut waves: Vec<u32> = along.map(|(wave, _)| wave).collect();
                waves.dedup();
                waves
            }
            Recipient::Group(group) => vec![sent.directory.groups[group as usize].wave],
            Recipient::Agent(_) | Recipient::Nobody => Vec::new(),
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
    pub(crate) fn count(&mut self, sent: &Sent<'_, '_, '_>, to: Recipient, from: AgentId, along: bool) -> u64 {
        match to {
            Recipient::Topic(topic) => {
                let Self { topics, counts, .. } = self;
                let all = topics.entry(topic).or_insert_with(|| TopicRuns::of(sent, topic));
                let count = || if along { all.count_along(sent, from) } else { all.count_later(sent, from) };
                *counts.entry((topic, from.group(), along)).or_insert_with(count)
            }
            Recipient::Group(group) => {
                let group = &sent.directory.groups[group as usize];
                let is_own = from.group() == group.id && sent.directory.alive(from).is_some();
                let others = u64::from(group.alive) - u64::from(is_own);
                let part = if along { Part::Wave(group.wave) } else { Part::Later };
                if sent.takes(group, from, part) { others * group.delivery_weight() } else { 0 }
            }
            Recipient::Agent(_) | Recipient::Nobody => 0,
        }
    }

    /// Calls `visit` with the position of each recipient, ascending within a group.
    pub(crate) fn each(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        to: Recipient,
        (from, part): (AgentId, Part),
        mut visit: impl FnMut(u32),
    ) {
        match to {
            Recipient::Topic(topic) => {
                let Some(all) = self.topics.get_mut(&topic) else { return };
                let chosen = self.chosen.entry((topic, from.group(), part));
                let runs = chosen.or_insert_with(|| all.choose(sent, from, part));
                for &run in &*runs {
                    let Run { members, positions, .. } = &mut all.runs[run as usize];
                    let find = || {
                        let members = &sent.members(topic)[members.clone()];
                        #[cfg(test)]
                        crate::costs::look(members.len());
                        members.iter().filter_map(|&member| sent.directory.index(member)).collect()
                    };
                    let positions = positions.get_or_insert_with(find);
                    #[cfg(test)]
                    crate::costs::look(positions.len());
                    positions.iter().copied().for_each(&mut visit);
                }
            }
            Recipient::Group(at) => {
                let group = &sent.directory.groups[at as usize];
                if !sent.takes(group, from, part) {
                    return;
                }
                let lives = |&index: &u32| sent.directory.lifecycles[index as usize].is_alive();
                let living = self.living.entry(at).or_insert_with(|| {
                    #[cfg(test)]
                    crate::costs::look(group.positions().len());
                    group.positions().filter(lives).collect()
                });
                #[cfg(test)]
                crate::costs::look(living.len());
                living.iter().copied().filter(|&index| sent.directory.ids[index as usize] != from).for_each(visit);
            }
            Recipient::Agent(_) | Recipient::Nobody => {}
        }
    }
}
