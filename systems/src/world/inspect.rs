//! Reads a world between two frames: the messages of the last frame, and the messages that an agent's mailbox was given and still
//! holds. Called by the engine's inspection, and by tests.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::world::World;
use wasm_engine_abi::message::status;
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::{
    Address, AgentId, AgentSlot, Backlog, Digest, FaultHistory, GroupId, Lifecycle, MessageOffset, Recipient, TopicId,
};

use crate::world::chunk::OutputChunk;
use crate::world::digest::DigestChain;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::mailroom::{AgentOutputs, HostMessages, Mailroom};
use crate::world::swaps::CurrentModules;

/// Returns the digest of the last frame; before the first frame, the digest that it will be chained to.
pub fn digest(world: &World) -> Digest {
    world.resource::<DigestChain>().world
}

/// Returns the agents by slot: the one that has it, or had it last, or will be its first.
pub fn slots(world: &World) -> &[AgentId] {
    &world.resource::<Directory>().ids
}

/// Returns the slot of an agent; also of one that has ended, until the slot is given to another one.
pub fn slot(world: &World, agent: AgentId) -> Option<AgentSlot> {
    world.resource::<Directory>().slot(agent)
}

/// Returns the modules of the groups that were swapped, by number.
pub fn modules(world: &World) -> &BTreeMap<GroupId, u32> {
    &world.resource::<CurrentModules>().0
}

/// A message that was sent in the last frame.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SeenMessage<'a> {
    /// Its recipient, or the one that it was meant for.
    pub to: Recipient,
    /// Why it was refused at once, or taken back, if it was: a budget was used up, there was no such request, or nobody to hear it.
    pub refused: Option<BounceReason>,
    /// Header, as its recipients see it: sender, kind, sequence and so on.
    pub header: MessageHeader,
    /// Its payload; empty for one that was refused.
    pub payload: &'a [u8],
}

/// Returns the messages that agents sent in the last frame, by sender and sequence, and then those of native systems and of the engine
/// that come to mailboxes in the next one.
pub fn sent(world: &World) -> Vec<SeenMessage<'_>> {
    let (directory, mailroom) = (world.resource::<Directory>(), world.resource::<Mailroom>());
    let mut messages = Vec::new();
    for chunk in &world.resource::<AgentOutputs>().now.chunks {
        push_sent_of_chunk(directory, chunk, &mut messages);
    }
    messages.sort_by_key(|message| (AgentId(message.header.sender), message.header.sequence));
    for HostMessages(host) in [&mailroom.native, &mailroom.bounces] {
        messages.extend(host.iter().map(|(to, stored)| {
            let header = MessageHeader { payload_bytes: stored.payload.len() as u32, ..stored.header };
            SeenMessage { to: directory.recipient(*to), refused: None, header, payload: &stored.payload }
        }));
    }
    messages
}

/// Adds the messages that agents of a chunk sent: those to the next frame, those along edges, and those that were refused.
fn push_sent_of_chunk<'a>(directory: &Directory, chunk: &'a OutputChunk, messages: &mut Vec<SeenMessage<'a>>) {
    let refused: BTreeSet<_> = chunk.refused.iter().map(|refused| key(&refused.header)).collect();
    let message = |address: &Address| {
        let (header, payload) = chunk.messages.message(address.offset);
        let (to, refused) = match address.recipient() {
            Some(to) => (directory.recipient(to), None),
            // A message that was taken back is among the refused ones, unless it was taken back because its deliveries along edges were over a
            // budget.
            None if refused.contains(&key(header)) => return None,
            None => (meant_for(directory, chunk, header, address.offset), Some(BounceReason::OverBudget)),
        };
        Some(SeenMessage { to, refused, header: *header, payload })
    };
    messages.extend(chunk.addresses.iter().filter_map(message));
    // A message to many may be in both lists. Both ascend by the offsets of the messages.
    let is_listed =
        |address: &Address| chunk.addresses.binary_search_by_key(&address.offset, |other| other.offset).is_ok();
    messages.extend(chunk.edges.iter().filter(|address| !is_listed(address)).filter_map(message));
    messages.extend(chunk.refused.iter().map(|refused| SeenMessage {
        to: of_number(&refused.header, refused.meant_for),
        refused: Some(refused.reason),
        header: refused.header,
        payload: &[],
    }));
}

/// Returns what tells a message of a frame from all others.
fn key(header: &MessageHeader) -> (u64, u32) {
    (header.sender, header.sequence)
}

/// Returns for whom a message to many that was taken back was meant: its address along edges still says so.
fn meant_for(directory: &Directory, chunk: &OutputChunk, header: &MessageHeader, offset: MessageOffset) -> Recipient {
    let edge = chunk
        .edges
        .binary_search_by_key(&offset, |edge| edge.offset)
        .ok()
        .and_then(|found| chunk.edges[found].recipient());
    edge.map_or_else(|| of_number(header, header.topic), |to| directory.recipient(to))
}

/// Returns for whom a message that was refused was meant. Agents may name numbers that nothing has.
fn of_number(header: &MessageHeader, number: u64) -> Recipient {
    if header.topic != 0 {
        Recipient::Topic(TopicId(number))
    } else if header.status == status::BROADCAST {
        Recipient::Group(GroupId(u32::try_from(number).unwrap_or(u32::MAX)))
    } else {
        Recipient::Agent(AgentId(number))
    }
}

/// An agent, as it is after the last frame.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SeenAgent {
    /// Its slot.
    pub slot: AgentSlot,
    /// State in its lifecycle.
    pub lifecycle: Lifecycle,
    /// Faults so far, and the restarts that they led to.
    pub faults: FaultHistory,
}

/// Returns an agent that there is, or that has ended and whose slot wasn't given to another one yet.
pub fn agent(world: &World, id: AgentId) -> Option<SeenAgent> {
    let directory = world.resource::<Directory>();
    let slot = directory.slot(id)?;
    let entity = world.get_entity(directory.agents[slot.index()]).ok()?;
    let faults = entity.get::<FaultHistory>().copied().unwrap_or_default();
    Some(SeenAgent { slot, lifecycle: directory.lifecycles[slot.index()], faults })
}

/// Returns the agents in the slots of a group that were ever used, in the order of their ids: those that there are, and those that ended last.
pub fn agents(world: &World, group: GroupId) -> Vec<AgentId> {
    let directory = world.resource::<Directory>();
    let slots = directory.group(group).into_iter().flat_map(GroupRange::slots);
    slots.map(|slot| directory.ids[slot.index()]).collect()
}

/// Returns the messages that came to an agent's mailbox in the last frame, in the order in which they were, or would have been, handed over.
pub fn inbox(world: &World, id: AgentId) -> Vec<(MessageHeader, &[u8])> {
    let Some(slot) = world.resource::<Directory>().slot(id) else { return Vec::new() };
    let messages = world.resource::<Mailroom>().inbox(world.resource::<AgentOutputs>(), slot);
    messages.map(|(header, payload)| (*header, payload)).collect()
}

/// Returns the messages that wait in an agent's mailbox because they couldn't be handed over.
pub fn backlog(world: &World, id: AgentId) -> Vec<(MessageHeader, &[u8])> {
    let directory = world.resource::<Directory>();
    let Some(slot) = directory.slot(id) else { return Vec::new() };
    let backlog = world.get::<Backlog>(directory.mailboxes[slot.index()]);
    let held = backlog.into_iter().flat_map(Backlog::iter);
    held.map(|held| (held.header, &*held.payload)).collect()
}
