//! Who gets a message. The members of a topic and the agents of a group are found group by group: those that don't take messages from
//! the sender's are passed over at once, however many agents they have.

use std::collections::BTreeMap;

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
    /// Calls `visit` with each message that was sent in this frame to agents of a later wave, in canonical order.
    pub fn each_edge(&self, mut visit: impl FnMut(&Address, Delivery)) {
        let mut chunks: Vec<_> = (0..).zip(self.current).filter(|(_, chunk)| !chunk.edges.is_empty()).collect();
        // The waves' chunks come one after another.
        chunks.sort_by_key(|(number, chunk)| (chunk.group, *number));
        for (number, chunk) in chunks {
            for address in &chunk.edges {
                visit(address, Delivery { chunk: number | Delivery::CURRENT, at: address.at });
            }
        }
    }

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

    /// The members of a topic, group by group, where those take messages from the sender.
    fn runs(&self, topic: u32, from: AgentId, part: Part) -> impl Iterator<Item = (&'a GroupRange, &'a [AgentId])> {
        let directory = self.directory;
        let (_, entity) = directory.topics[topic as usize];
        let mut rest: &'a [AgentId] = self.members.get(entity).map_or(&[], |members| &members.0);
        let runs = core::iter::from_fn(move || {
            let group = rest.first()?.group();
            let (run, others) = rest.split_at(rest.partition_point(|member| member.group() == group));
            rest = others;
            Some((group, run))
        });
        let runs = runs.filter_map(move |(group, run)| Some((directory.group(group)?, run)));
        runs.filter(move |(group, _)| self.takes(group, from, part))
    }

    /// How many recipients a message has, as budgets count them.
    fn count(&self, to: Recipient, from: AgentId, part: Part) -> u64 {
        match to {
            Recipient::Topic(topic) => {
                self.runs(topic, from, part).map(|(group, run)| run.len() as u64 * group.delivery_weight()).sum()
            }
            Recipient::Group(group) => {
                let group = &self.directory.groups[group as usize];
                let is_own = from.group() == group.id && self.directory.alive(from).is_some();
                let others = u64::from(group.alive) - u64::from(is_own);
                if self.takes(group, from, part) { others * group.delivery_weight() } else { 0 }
            }
            Recipient::Agent(_) | Recipient::Nobody => 0,
        }
    }

    fn find(&self, to: Recipient, from: AgentId, part: Part, found: &mut Vec<u32>) {
        found.clear();
        match to {
            Recipient::Topic(topic) => {
                let members = self.runs(topic, from, part).flat_map(|(_, run)| run);
                found.extend(members.filter_map(|&member| self.directory.index(member)));
            }
            Recipient::Group(group) => {
                let group = &self.directory.groups[group as usize];
                if !self.takes(group, from, part) {
                    return;
                }
                let lives = |&index: &u32| {
                    let at = index as usize;
                    self.directory.lifecycles[at].is_alive() && self.directory.ids[at] != from
                };
                found.extend(group.positions().filter(lives));
            }
            Recipient::Agent(_) | Recipient::Nobody => {}
        }
    }
}

/// The recipients of messages to many, of one sorting. Who sends to many mostly sends to the same again.
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    counts: BTreeMap<(u32, GroupId, Part), u64>,
    last: Option<(Recipient, AgentId, Part)>,
    recipients: Vec<u32>,
}

impl Audiences {
    /// How many recipients a message has, as budgets count them.
    pub fn count(&mut self, sent: &Sent<'_, '_, '_>, to: Recipient, from: AgentId, part: Part) -> u64 {
        match to {
            Recipient::Topic(topic) => {
                let count = || sent.count(to, from, part);
                *self.counts.entry((topic, from.group(), part)).or_insert_with(count)
            }
            _ => sent.count(to, from, part),
        }
    }

    /// The positions of the recipients, ascending.
    pub fn find(&mut self, sent: &Sent<'_, '_, '_>, to: Recipient, from: AgentId, part: Part) -> &[u32] {
        let key = Some((to, from, part));
        if self.last != key {
            self.last = key;
            sent.find(to, from, part, &mut self.recipients);
        }
        &self.recipients
    }
}
