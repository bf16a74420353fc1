//! Mailboxes, the messages that wait in them, and the messages between two frames, in a world.

use std::sync::Arc;

use bevy_ecs::component::ComponentId;
use bevy_ecs::world::World;
use wasm_engine_components::{Address, AgentId, Backlog, GroupLimits, MailboxCounters, StoredMessage, Trigger};

use super::entity::StateError;
use super::message::{HeldTable, recipient_of};
use super::part::{Coverage, StatePart, Target};
use super::pass::{Loading, Saving};
use super::section::Section;
use crate::codec::{
    BacklogRuns, Bounces, HeldMessages, MailboxState, Mailboxes, Messages, NativeMessages, SavedMessage, StateCodec,
    places,
};
use crate::world::backlog::{Backlogs, held_message, mailbox_digest};
use crate::world::chunk::OutputChunk;
use crate::world::digest::LaneSums;
use crate::world::directory::Directory;
use crate::world::mailroom::{AgentOutputs, HostMessages, Mailroom};
use crate::world::packed::record_bytes;

/// Calls `visit` for each mailbox that isn't as it was made, in the order of the agents' ids.
fn each_mailbox(saving: &Saving<'_>, mut visit: impl FnMut(AgentId, &MailboxCounters, &Backlog)) {
    let Some(mailboxes) = saving.world.try_query::<(&MailboxCounters, &Backlog)>() else { return };
    let mailboxes = mailboxes.query_manual(saving.world);
    // A mailbox that was ever changed is noted there, for its digest.
    for slot in saving.world.resource::<Backlogs>().known() {
        if let Ok((counters, backlog)) = mailboxes.get(saving.directory.mailboxes[slot.index()]) {
            visit(saving.directory.ids[slot.index()], counters, backlog);
        }
    }
}

impl StatePart for HeldMessages {
    const COVERAGE: Coverage = Coverage::FieldOf(Mailboxes::NAME);

    /// Saves the messages that wait, each once, however many mailboxes hold it.
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let (mut table, mut backlogs) = (HeldTable::default(), Vec::new());
        each_mailbox(saving, |agent, _, backlog| {
            if !backlog.is_empty() {
                backlogs.push((agent, table.runs(backlog)));
            }
        });
        saving.backlogs = backlogs;
        for (held, place) in table.messages.iter().zip(0..) {
            to.put(place, (&held.header, &held.payload));
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let held = section.items().map(|entry| {
            let (header, payload) = entry.decode::<Self>()?;
            Ok::<_, StateError>(Arc::new(held_message(header, payload)))
        });
        loading.held = held.collect::<Result<_, _>>()?;
        Ok(())
    }
}

impl StatePart for BacklogRuns {
    const COVERAGE: Coverage = Coverage::FieldOf(Mailboxes::NAME);

    fn components(world: &mut World) -> Vec<ComponentId> {
        vec![world.register_component::<Backlog>()]
    }

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for (agent, runs) in std::mem::take(&mut saving.backlogs) {
            to.put(agent.0, &runs);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let slot = entry.slot(loading.directory)?;
            let runs = entry.decode::<Self>()?;
            let places = places(runs, loading.held.len()).ok_or_else(|| entry.damaged())?;
            let (mut backlog, mut messages, mut size) = (Backlog::default(), 0_u32, 0_u32);
            for place in places {
                let held = &loading.held[place];
                size = size.saturating_add(record_bytes(held.header.payload_bytes));
                messages = messages.saturating_add(1);
                // No mailbox holds more than that. The backlog is refused below, and needn't be made.
                if messages <= GroupLimits::MAX.mailbox_messages_max {
                    backlog.push(Arc::clone(held));
                }
            }
            let wakes = loading.directory.group_at(slot).spec.schedule.trigger == Trigger::Message;
            if !loading.world.resource_mut::<Mailroom>().inboxes.load_held(slot, messages, size) {
                let problem = format!("{messages} messages of {size} bytes wait, which is more than the mailbox takes");
                return Err(entry.unfit(problem));
            }
            loading.world.resource_mut::<Backlogs>().hold(slot, wakes);
            let entity = loading.directory.mailboxes[slot.index()];
            if let Some(mut empty) = loading.world.get_mut::<Backlog>(entity) {
                *empty = backlog;
            }
            loading.mailboxes.insert(slot);
        }
        Ok(())
    }
}

impl StatePart for Mailboxes {
    const COVERAGE: Coverage = Coverage::Carried(|saving| saving.sums.mailboxes);

    fn components(world: &mut World) -> Vec<ComponentId> {
        vec![world.register_component::<MailboxCounters>()]
    }

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        each_mailbox(saving, |agent, counters, backlog| {
            let state = MailboxState::new(counters, backlog);
            if !state.is_new() {
                to.put(agent.0, state);
            }
        });
    }

    /// Loads the counters, and checks the backlogs, which are loaded already: each must have the digest that is said here.
    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let mut waiting = loading.mailboxes.len();
        for entry in section.items() {
            let slot = entry.slot(loading.directory)?;
            let read = entry.decode::<Self>()?;
            let mut mailbox = loading.world.entity_mut(loading.directory.mailboxes[slot.index()]);
            let counters = MailboxCounters { dropped: read.dropped };
            let is_whole =
                mailbox.get::<Backlog>().is_some_and(|backlog| MailboxState::new(&counters, backlog) == read);
            if !is_whole {
                return Err(entry.damaged());
            }
            mailbox.insert(counters);
            waiting -= usize::from(!loading.mailboxes.insert(slot));
        }
        match waiting {
            0 => Ok(()),
            // There is a backlog of which the section says nothing.
            _ => Err(StateError::Damaged { component: section.component.clone(), entity: None }),
        }
    }

    /// Computes the lane of mailboxes.
    fn finish(loading: &mut Loading<'_>) {
        let mut waiting = std::mem::take(&mut *loading.world.resource_mut::<Backlogs>());
        waiting.changed.drain();
        let mut sum = 0_u128;
        let mut mailboxes = loading.world.query::<(&Backlog, &MailboxCounters)>();
        for &slot in &loading.mailboxes {
            let entity = loading.directory.mailboxes[slot.index()];
            let Ok(mailbox) = mailboxes.get(loading.world, entity) else { continue };
            let part = mailbox_digest(loading.directory.ids[slot.index()], mailbox);
            waiting.note(slot, part);
            sum = sum.wrapping_add(part);
        }
        *loading.world.resource_mut::<Backlogs>() = waiting;
        loading.world.resource_mut::<LaneSums>().mailboxes = sum;
    }
}

impl StatePart for Messages {
    const COVERAGE: Coverage = Coverage::Outboxes;
    const IS_REPEATED: bool = true;

    /// Saves the messages of chunks in canonical order, without those that were taken back or arrived in the frame in which they were sent.
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let mut chunks: Vec<&OutputChunk> = saving.world.resource::<AgentOutputs>().now.chunks.iter().collect();
        chunks.sort_by_key(|chunk| chunk.group);
        for chunk in chunks {
            for address in &chunk.addresses {
                let Some(target) = address.recipient().map(|to| saving.directory.recipient(to)) else { continue };
                let (header, payload) = chunk.messages.message(address.offset);
                to.put(header.sender, SavedMessage { to: target, header: *header, payload });
            }
        }
    }

    /// Loads the messages. How they were spread over chunks is no state: here, those of a group share one.
    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let mut chunks: Vec<OutputChunk> = Vec::new();
        for entry in section.items() {
            let from = AgentId(entry.id).group();
            if loading.directory.group(from).is_none() {
                return Err(entry.unfit("the scenario lacks the sender's group, or it doesn't take part"));
            }
            let SavedMessage { to, header, payload } = entry.decode::<Self>()?;
            if header.sender != entry.id || header.payload_bytes as usize != payload.len() {
                return Err(entry.damaged());
            }
            let recipient = recipient_of(loading.directory, to).map_err(|problem| entry.unfit(problem))?;
            if chunks.last().is_none_or(|chunk| chunk.group != from) {
                chunks.push(OutputChunk::new(from));
            }
            let Some(chunk) = chunks.last_mut() else { continue };
            let offset = chunk.messages.push(header, payload);
            chunk.addresses.push(Address::new(recipient, record_bytes(header.payload_bytes), offset));
        }
        loading.world.resource_mut::<AgentOutputs>().now.chunks = chunks;
        Ok(())
    }
}

/// Saves messages of the host, keyed by their indexes.
fn save_host<C, T: Target<C>>(directory: &Directory, messages: &HostMessages, to: &mut T)
where
    C: for<'a> StateCodec<Value<'a> = SavedMessage<'a>>,
{
    for ((recipient, stored), at) in messages.0.iter().zip(0..) {
        to.put(
            at,
            SavedMessage { to: directory.recipient(*recipient), header: stored.header, payload: &stored.payload },
        );
    }
}

fn load_host<C>(directory: &Directory, section: &Section) -> Result<HostMessages, StateError>
where
    C: for<'a> StateCodec<Decoded<'a> = SavedMessage<'a>>,
{
    let messages = section.items().map(|entry| {
        let SavedMessage { to, header, payload } = entry.decode::<C>()?;
        let recipient = recipient_of(directory, to).map_err(|problem| entry.unfit(problem))?;
        Ok((recipient, StoredMessage { header, payload: payload.into() }))
    });
    messages.collect::<Result<_, _>>().map(HostMessages)
}

impl StatePart for Bounces {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        save_host(saving.directory, &saving.world.resource::<Mailroom>().bounces, to);
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let messages = load_host::<Self>(loading.directory, section)?;
        loading.world.resource_mut::<Mailroom>().bounces = messages;
        Ok(())
    }
}

impl StatePart for NativeMessages {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        save_host(saving.directory, &saving.world.resource::<Mailroom>().native, to);
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let messages = load_host::<Self>(loading.directory, section)?;
        loading.world.resource_mut::<Mailroom>().native = messages;
        Ok(())
    }
}
