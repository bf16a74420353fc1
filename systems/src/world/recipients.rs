//! The recipients of a frame's messages to many: members of topics, and agents of groups; and the messages to later waves of the frame.

use std::collections::BTreeMap;

use bevy_ecs::resource::Resource;
use wasm_engine_abi::MessageHeader;
use wasm_engine_components::{Address, AgentId, AgentSlot, GroupIndex, Recipient, RecipientSlot, TopicIndex};

use crate::world::hearers::HearerList;
use crate::world::inbox_view::Delivery;
use crate::world::looks::look;
use crate::world::sent::{Arrival, Sent};
use crate::world::topic_runs::TopicRuns;

/// A message that was sent in this frame to agents of a later wave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub address: Address,
    pub delivery: Delivery,
}

/// The recipients of a frame's messages to many, and the messages to later waves. Transient: each list is made at most once in a frame, when the
/// first message asks for it, so that a message costs what its recipients do.
///
/// Senders that are heard by the same groups share what is found for them: it is kept by the list of who hears.
#[derive(Resource, Debug, Default)]
pub(crate) struct Audiences {
    topics: BTreeMap<TopicIndex, TopicRuns>,
    /// The agents of a group that haven't ended.
    living: BTreeMap<GroupIndex, Vec<AgentSlot>>,
    /// Weight of a message to a topic: what it counts against budgets.
    weights: BTreeMap<(TopicIndex, HearerList), u64>,
    /// The waves in which a message to a topic arrives. Only messages that are paid for have an entry.
    waves: BTreeMap<(TopicIndex, HearerList), Vec<u32>>,
    /// The runs of a topic that get a message at an arrival. Only messages that are paid for have an entry, so all entries together are no longer
    /// than the budgets allow. Emptied before each sorting.
    chosen: BTreeMap<(TopicIndex, Arrival, HearerList), Vec<u32>>,
    /// Messages that were sent in this frame to each later wave.
    edges: BTreeMap<u32, Vec<Edge>>,
    /// Number of this frame's chunks whose messages are among the edges.
    indexed_chunks: usize,
}

impl Audiences {
    /// Begins a frame. Who is a member and who lives doesn't change until the frame's messages are delivered.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Begins a sorting: the delivery of all that arrives in one wave.
    pub(crate) fn begin(&mut self) {
        self.chosen.clear();
    }

    /// Puts what was sent in the last wave into the lists of the waves in which it arrives.
    ///
    /// `pay` is asked once for each message to many, with what it counts in all those waves together, and says whether the budgets have room for it:
    /// one that isn't paid for is in no list.
    pub(crate) fn index_edges(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        mut pay: impl FnMut(Edge, &MessageHeader, u64) -> bool,
    ) {
        for chunk in self.take_new_chunks(sent) {
            for &address in &sent.current[chunk as usize].edges {
                let edge =
                    Edge { address, delivery: Delivery { chunk: chunk | Delivery::CURRENT, offset: address.offset } };
                match address.recipient() {
                    Some(Recipient::Agent(slot)) => self.put_edge(sent.directory.group_at(slot).wave, edge),
                    Some(to) => self.index_edge_to_many(sent, edge, to, &mut pay),
                    // It was taken back.
                    None => {}
                }
            }
        }
    }

    /// Returns the indexes of the chunks that weren't indexed yet, in canonical order.
    fn take_new_chunks(&mut self, sent: &Sent<'_, '_, '_>) -> Vec<u32> {
        // A frame has far fewer chunks than 2^31: see `Delivery`.
        let mut chunks: Vec<u32> = (self.indexed_chunks as u32..sent.current.len() as u32).collect();
        chunks.sort_by_key(|&chunk| sent.current[chunk as usize].group);
        self.indexed_chunks = sent.current.len();
        chunks
    }

    /// Puts a message to many into the lists of the waves in which it arrives, if it is paid for.
    fn index_edge_to_many(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        edge: Edge,
        to: RecipientSlot,
        pay: &mut impl FnMut(Edge, &MessageHeader, u64) -> bool,
    ) {
        let header = sent.message(edge.delivery);
        let from = AgentId(header.sender);
        let weight = self.weight_along(sent, to, from);
        look(1);
        if weight == 0 || !pay(edge, header, weight) {
            return;
        }
        match to {
            Recipient::Topic(topic) => {
                let Self { topics, waves, edges, .. } = self;
                // It was made when the weight was found.
                let Some(runs) = topics.get(&topic) else { return };
                // Any wave's list is the same: of all groups that hear the sender in this frame.
                let list = sent.hearers_of(from, Arrival::Wave(0));
                for &wave in waves.entry((topic, list)).or_insert_with(|| runs.waves(sent, list)).iter() {
                    look(1);
                    edges.entry(wave).or_default().push(edge);
                }
            }
            Recipient::Group(group) => {
                look(1);
                self.put_edge(sent.directory.groups[group].wave, edge);
            }
            Recipient::Agent(_) => {}
        }
    }

    fn put_edge(&mut self, wave: u32, edge: Edge) {
        self.edges.entry(wave).or_default().push(edge);
    }

    /// Removes and returns the messages that were sent in this frame to agents of a wave, in canonical order.
    pub(crate) fn take_edges(&mut self, sent: &Sent<'_, '_, '_>, wave: u32) -> Vec<Edge> {
        let mut edges = self.edges.remove(&wave).unwrap_or_default();
        // The chunks come wave by wave, and that is no order of ids. The sort is stable: the messages of a chunk stay in their order.
        let chunk = |edge: &Edge| edge.delivery.chunk & !Delivery::CURRENT;
        edges.sort_by_key(|edge| (sent.current[chunk(edge) as usize].group, chunk(edge)));
        edges
    }

    /// Returns what a message to many counts in the frame after the one in which it was sent.
    pub(crate) fn weight_later(&mut self, sent: &Sent<'_, '_, '_>, to: RecipientSlot, from: AgentId) -> u64 {
        self.weight(sent, to, from, |_| Arrival::NextFrame)
    }

    /// Returns what a message to many counts in all waves of the frame in which it was sent.
    fn weight_along(&mut self, sent: &Sent<'_, '_, '_>, to: RecipientSlot, from: AgentId) -> u64 {
        self.weight(sent, to, from, Arrival::Wave)
    }

    /// Returns what a message counts. `arrival` says when a group of a given wave gets it.
    fn weight(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        to: RecipientSlot,
        from: AgentId,
        arrival: impl Fn(u32) -> Arrival,
    ) -> u64 {
        match to {
            Recipient::Topic(topic) => {
                let Self { topics, weights, .. } = self;
                let runs = topics.entry(topic).or_insert_with(|| TopicRuns::of(sent, topic));
                // The list is the same for all waves.
                let list = sent.hearers_of(from, arrival(0));
                *weights.entry((topic, list)).or_insert_with(|| runs.weight(&sent.directory.hearers, list))
            }
            Recipient::Group(group) => {
                let group = &sent.directory.groups[group];
                if !sent.takes(group, from, arrival(group.wave)) {
                    return 0;
                }
                // A broadcast doesn't come back to its sender.
                let is_own = from.group() == group.id && sent.directory.alive(from).is_some();
                (u64::from(group.alive) - u64::from(is_own)) * group.delivery_weight()
            }
            Recipient::Agent(_) => 0,
        }
    }

    /// Calls `visit` with each recipient of a message to many that gets it at an arrival: group by group, ascending by slot.
    pub(crate) fn each(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        to: RecipientSlot,
        (from, arrival): (AgentId, Arrival),
        visit: impl FnMut(AgentSlot),
    ) {
        match to {
            Recipient::Topic(topic) => self.each_member(sent, topic, (from, arrival), visit),
            Recipient::Group(group) => self.each_living(sent, group, (from, arrival), visit),
            Recipient::Agent(_) => {}
        }
    }

    /// Calls `visit` with each member of a topic that gets a message.
    fn each_member(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        topic: TopicIndex,
        (from, arrival): (AgentId, Arrival),
        mut visit: impl FnMut(AgentSlot),
    ) {
        let Self { topics, chosen, .. } = self;
        // It was made when the message was paid for.
        let Some(runs) = topics.get_mut(&topic) else { return };
        let list = sent.hearers_of(from, arrival);
        let chosen = chosen.entry((topic, arrival, list)).or_insert_with(|| runs.choose(sent, (from, list), arrival));
        for &run in &*chosen {
            let slots = runs.slots(sent, run);
            look(slots.len());
            slots.iter().copied().for_each(&mut visit);
        }
    }

    /// Calls `visit` with each agent of a group that gets a message: all that haven't ended, but for the sender.
    fn each_living(
        &mut self,
        sent: &Sent<'_, '_, '_>,
        index: GroupIndex,
        (from, arrival): (AgentId, Arrival),
        visit: impl FnMut(AgentSlot),
    ) {
        let (directory, group) = (sent.directory, &sent.directory.groups[index]);
        if !sent.takes(group, from, arrival) {
            return;
        }
        let living = self.living.entry(index).or_insert_with(|| {
            look(group.slots().len());
            group.slots().filter(|slot| directory.lifecycles[slot.index()].is_alive()).collect()
        });
        look(living.len());
        living.iter().copied().filter(|slot| directory.ids[slot.index()] != from).for_each(visit);
    }
}
