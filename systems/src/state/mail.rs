//! Mailboxes with what waits in them, and the messages between two frames.

use std::sync::Arc;

use wasm_engine_components::{Address, AgentId, Backlog, GroupLimits, MailboxCounters, StoredMessage, Trigger};

use super::entity::StateError;
use super::message::{HeldTable, SavedMessage, decode_held, decode_places, encode_held, encode_runs, recipient_of};
use super::pass::{Loading, Saving};
use super::section::{EntityKind, Reader, Section};
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
    // Whatever changes a mailbox notes it there, for its digest.
    for at in saving.world.resource::<Backlogs>().known() {
        if let Ok((counters, backlog)) = mailboxes.get(saving.directory.mailboxes[at as usize]) {
            visit(saving.directory.ids[at as usize], counters, backlog);
        }
    }
}

pub(super) fn save_counters(saving: &mut Saving<'_>, section: &mut Section) {
    each_mailbox(saving, |agent, counters, _| {
        if *counters != MailboxCounters::default() {
            section.push(agent.0, |bytes| bytes.extend_from_slice(&counters.dropped.to_le_bytes()));
        }
    });
}

pub(super) fn load_counters(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let position = entry.position(loading.directory)?;
        let dropped = entry.read(Reader::u64)?;
        let entity = loading.directory.mailboxes[position as usize];
        if let Some(mut counters) = loading.world.get_mut::<MailboxCounters>(entity) {
            *counters = MailboxCounters { dropped };
        }
        loading.mailboxes.insert(position);
    }
    Ok(())
}

/// What waits, each message once, however many mailboxes wait with it.
pub(super) fn save_held(saving: &mut Saving<'_>, section: &mut Section) {
    let (mut table, mut backlogs) = (HeldTable::default(), Vec::new());
    each_mailbox(saving, |agent, _, backlog| {
        if !backlog.is_empty() {
            backlogs.push((agent, table.runs(backlog)));
        }
    });
    saving.backlogs = backlogs;
    for (held, place) in table.messages.iter().zip(0..) {
        section.push(place, |bytes| encode_held(bytes, held));
    }
}

pub(super) fn load_held(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let held = section.items().map(|entry| {
        let (header, payload) = decode_held(entry.value).ok_or_else(|| entry.damaged())?;
        Ok::<_, StateError>(Arc::new(held_message(header, payload)))
    });
    loading.held = held.collect::<Result<_, _>>()?;
    Ok(())
}

/// Which of those wait in which mailbox.
pub(super) fn save_backlogs(saving: &mut Saving<'_>, section: &mut Section) {
    for (agent, runs) in std::mem::take(&mut saving.backlogs) {
        section.push(agent.0, |bytes| encode_runs(bytes, &runs));
    }
}

pub(super) fn load_backlogs(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let position = entry.position(loading.directory)?;
        let places = decode_places(entry.value, loading.held.len()).ok_or_else(|| entry.damaged())?;
        let (mut backlog, mut messages, mut size) = (Backlog::default(), 0_u32, 0_u32);
        for place in places {
            let held = &loading.held[place];
            size = size.saturating_add(record_bytes(held.header.payload_bytes));
            messages = messages.saturating_add(1);
            // None holds as many: what is said of it is enough, and it needn't be made.
            if messages <= GroupLimits::MAX.mailbox_messages_max {
                backlog.push(Arc::clone(held));
            }
        }
        let wakes = loading.directory.group_at(position).spec.schedule.trigger == Trigger::Message;
        if !loading.world.resource_mut::<Mailroom>().inboxes.load_held(position, messages, size) {
            let problem = format!("{messages} messages of {size} bytes wait, which is more than the mailbox takes");
            return Err(entry.unfit(problem));
        }
        loading.world.resource_mut::<Backlogs>().hold(position, wakes);
        let entity = loading.directory.mailboxes[position as usize];
        if let Some(mut empty) = loading.world.get_mut::<Backlog>(entity) {
            *empty = backlog;
        }
        loading.mailboxes.insert(position);
    }
    Ok(())
}

/// Makes the lane of mailboxes anew.
pub(super) fn digest(loading: &mut Loading<'_>) {
    let mut backlogs = std::mem::take(&mut *loading.world.resource_mut::<Backlogs>());
    backlogs.changed.drain();
    let mut sum = 0_u128;
    let mut mailboxes = loading.world.query::<(&Backlog, &MailboxCounters)>();
    for &position in &loading.mailboxes {
        let entity = loading.directory.mailboxes[position as usize];
        let Ok(mailbox) = mailboxes.get(loading.world, entity) else { continue };
        let part = mailbox_digest(loading.directory.ids[position as usize], mailbox);
        backlogs.note(position, part);
        sum = sum.wrapping_add(part);
    }
    *loading.world.resource_mut::<Backlogs>() = backlogs;
    loading.world.resource_mut::<LaneSums>().mailboxes = sum;
}

/// The chunks' messages in canonical order. What was taken back, and what arrived in the frame in which it was sent, is over.
pub(super) fn save_messages(saving: &mut Saving<'_>, section: &mut Section) {
    let mut chunks: Vec<&OutputChunk> = saving.world.resource::<AgentOutputs>().now.chunks.iter().collect();
    chunks.sort_by_key(|chunk| chunk.group);
    for chunk in chunks {
        for address in &chunk.addresses {
            let Some(to) = address.recipient().map(|to| saving.directory.recipient(to)) else { continue };
            let (header, payload) = chunk.messages.message(address.at);
            section.push(header.sender, |bytes| SavedMessage::encode(bytes, to, header, payload));
        }
    }
}

/// How messages are spread over chunks is no state: here, those of a group share one.
pub(super) fn load_messages(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let mut chunks: Vec<OutputChunk> = Vec::new();
    for entry in section.items() {
        let from = AgentId(entry.id).group();
        if loading.directory.group(from).is_none() {
            return Err(entry.unfit("the scenario lacks the sender's group, or it doesn't take part"));
        }
        let message = SavedMessage::decode(entry.value).ok_or_else(|| entry.damaged())?;
        let SavedMessage { to, header, payload } = message;
        if header.sender != entry.id || header.payload_bytes as usize != payload.len() {
            return Err(entry.damaged());
        }
        let recipient = recipient_of(loading.directory, to).map_err(|problem| entry.unfit(problem))?;
        if chunks.last().is_none_or(|chunk| chunk.group != from) {
            chunks.push(OutputChunk::new(from));
        }
        let Some(chunk) = chunks.last_mut() else { continue };
        let at = chunk.messages.push(header, payload);
        chunk.addresses.push(Address::new(recipient, record_bytes(header.payload_bytes), at));
    }
    loading.world.resource_mut::<AgentOutputs>().now.chunks = chunks;
    Ok(())
}

fn save_host(directory: &Directory, messages: &HostMessages, section: &mut Section) {
    debug_assert_eq!(section.of, EntityKind::Place);
    for ((recipient, stored), at) in messages.0.iter().zip(0..) {
        let to = directory.recipient(*recipient);
        section.push(at, |bytes| SavedMessage::encode(bytes, to, &stored.header, &stored.payload));
    }
}

fn load_host(directory: &Directory, section: &Section) -> Result<HostMessages, StateError> {
    let messages = section.items().map(|entry| {
        let SavedMessage { to, header, payload } = SavedMessage::decode(entry.value).ok_or_else(|| entry.damaged())?;
        let recipient = recipient_of(directory, to).map_err(|problem| entry.unfit(problem))?;
        Ok::<_, StateError>((recipient, StoredMessage { header, payload: payload.into() }))
    });
    messages.collect::<Result<_, _>>().map(HostMessages)
}

pub(super) fn save_bounces(saving: &mut Saving<'_>, section: &mut Section) {
    save_host(saving.directory, &saving.world.resource::<Mailroom>().bounces, section);
}

pub(super) fn load_bounces(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let messages = load_host(loading.directory, section)?;
    loading.world.resource_mut::<Mailroom>().bounces = messages;
    Ok(())
}

pub(super) fn save_native(saving: &mut Saving<'_>, section: &mut Section) {
    save_host(saving.directory, &saving.world.resource::<Mailroom>().native, section);
}

pub(super) fn load_native(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let messages = load_host(loading.directory, section)?;
    loading.world.resource_mut::<Mailroom>().native = messages;
    Ok(())
}
