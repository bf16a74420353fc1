//! Stage `Step`. Before each wave's calls, messages that waited in backlogs go to the inboxes of agents that are called. After the last wave,
//! messages that weren't handed over go into backlogs.

use std::collections::BTreeMap;
use std::sync::Arc;

use bevy_ecs::change_detection::Mut;
use wasm_engine_components::{AgentSlot, Backlog, HeldMessage, MailboxCounters, MessageOffset, Trigger};

use crate::stages::deliver::Router;
use crate::stages::overflow::is_to_many;
use crate::world::backlog::held_message;
use crate::world::calls::Calls;
use crate::world::inbox_view::Delivery;
use crate::world::mailroom::{AgentOutputs, Mailroom};

impl Router<'_, '_> {
    /// Moves waiting messages to the heads of inboxes. A message that waited in several backlogs is stored once.
    pub(crate) fn take_from_backlogs(&mut self, slots: &[AgentSlot]) {
        let Self { directory, mailroom, backlogs, mailboxes, .. } = self;
        let Mailroom { host, inboxes, .. } = mailroom.as_mut();
        let mut placed = Shared::<usize, (Arc<HeldMessage>, Delivery)>::default();
        let mut deliveries = Vec::new();
        for &slot in slots {
            if !backlogs.release(slot) {
                continue;
            }
            let Ok((_, mut backlog)) = mailboxes.get_mut(directory.mailboxes[slot.index()]) else { continue };
            for (held, nth) in backlog.drain().zip(0..) {
                let mut put =
                    || Delivery { chunk: Delivery::HOST, offset: host.messages.push(held.header, &held.payload) };
                let delivery = match Arc::strong_count(&held) {
                    1 => put(),
                    // The table keeps it alive, so that no other message can have its address.
                    _ => placed.get(nth, Arc::as_ptr(&held).addr(), || (Arc::clone(&held), put())).1,
                };
                deliveries.push(delivery);
            }
            inboxes.release(slot, deliveries.drain(..));
        }
    }

    /// Puts messages that weren't handed over in this frame into backlogs. A message to many is kept once.
    pub(crate) fn put_into_backlogs(&mut self, outputs: &AgentOutputs, calls: &Calls) {
        let Self { clock, directory, report, mailroom, backlogs, mailboxes, .. } = self;
        let (mailroom, backlogs) = (mailroom.as_mut(), backlogs.as_mut());
        let is_called = |slot| calls.was_handed(directory, slot, clock.frame);
        let waiting: Vec<AgentSlot> = mailroom.inboxes.touched().filter(|&slot| !is_called(slot)).collect();
        let view = mailroom.view(&outputs.before, &outputs.now.chunks);
        let mut shared = Shared::<(u32, MessageOffset), Stock>::default();
        let mut held = 0;
        let mut add = |slot: AgentSlot, counters: &MailboxCounters, backlog: &mut Backlog| {
            let before = backlog.len();
            for (delivery, nth) in view.deliveries(slot).zip(0..) {
                let (header, payload) = view.message(delivery);
                let hold = || Arc::new(held_message(*header, payload));
                backlog.push(match is_to_many(header) {
                    true => shared.get(nth, delivery.order(), || Stock::new(hold())).take(),
                    false => hold(),
                });
            }
            held += (backlog.len() - before) as u64;
            backlogs.digest(slot, directory.ids[slot.index()], (backlog, counters));
        };
        let mailbox_of = |slot: AgentSlot| directory.mailboxes[slot.index()];
        let (batches, rest) = waiting.as_chunks::<STORED_AT_ONCE>();
        for batch in batches {
            // Only an author's system could have despawned a mailbox, and it may despawn only its own entities.
            let mut mailboxes = mailboxes.get_many_mut(batch.map(mailbox_of)).expect(HAS_MAILBOX);
            if store_now(batch[0], clock.frame) {
                store(&mut mailboxes);
            }
            for (&slot, (counters, backlog)) in batch.iter().zip(&mut mailboxes) {
                add(slot, counters, backlog);
            }
        }
        for &slot in rest {
            let (counters, mut backlog) = mailboxes.get_mut(mailbox_of(slot)).expect(HAS_MAILBOX);
            add(slot, &counters, &mut backlog);
        }
        report.counts.delivered -= held;
        for &slot in &waiting {
            mailroom.inboxes.hold(slot);
            backlogs.hold(slot, directory.group_at(slot).spec.schedule.trigger == Trigger::Message);
        }
    }
}

const HAS_MAILBOX: &str = "an agent has a mailbox until it ends: a native system ends an agent with the command Terminate, and despawns nothing of it";

/// Number of backlogs that are stored together.
const STORED_AT_ONCE: usize = 16;

/// Returns whether the backlogs from a slot on are stored in this frame. Each is stored before it is full, even if it gets a message
/// in every frame, and they take turns, so that every frame costs the same.
const fn store_now(first: AgentSlot, frame: u64) -> bool {
    (first.0 as u64 / STORED_AT_ONCE as u64 + frame).is_multiple_of(Backlog::NEWEST as u64)
}

/// Stores what is newest in some backlogs. It first reads where each of them ends, and only then writes: a processor waits for many reads at a time,
/// but carries out writes in their order, so that one write that waits for memory holds up all later ones.
fn store(mailboxes: &mut [(Mut<'_, MailboxCounters>, Mut<'_, Backlog>)]) {
    core::hint::black_box(mailboxes.iter().fold(0, |all, (_, backlog)| all ^ backlog.fetch()));
    for (_, backlog) in mailboxes {
        backlog.store();
    }
}

/// Values that mailboxes share. Mostly, the next mailbox has the same value at the same index of its list.
#[derive(Debug)]
struct Shared<K, T> {
    all: Vec<T>,
    by_place: Vec<Option<(K, usize)>>,
    by_key: BTreeMap<K, usize>,
}

impl<K, T> Default for Shared<K, T> {
    fn default() -> Self {
        Self { all: Vec::new(), by_place: Vec::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Copy + Ord, T> Shared<K, T> {
    /// Returns the value of a key, and makes it if it isn't there yet. `nth` is its index in the list of the mailbox
    /// that asks for it.
    fn get(&mut self, nth: usize, key: K, make: impl FnOnce() -> T) -> &mut T {
        let Self { all, by_place, by_key } = self;
        if let Some(&Some((last, at))) = by_place.get(nth)
            && last == key
        {
            return &mut all[at];
        }
        let at = *by_key.entry(key).or_insert_with(|| {
            all.push(make());
            all.len() - 1
        });
        if by_place.len() <= nth {
            by_place.resize_with(nth + 1, || None);
        }
        by_place[nth] = Some((key, at));
        &mut all[at]
    }
}

/// A message that waits in many mailboxes, and references to it that are handed out one by one. They are made many at a time, because making one is
/// an atomic operation, which waits until all earlier writes are done, and those to mailboxes are slow: mailboxes are in no cache.
#[derive(Debug)]
struct Stock {
    message: Arc<HeldMessage>,
    made: Vec<Arc<HeldMessage>>,
}

impl Stock {
    const MADE_AT_ONCE: usize = 256;

    fn new(message: Arc<HeldMessage>) -> Self {
        Self { message, made: Vec::new() }
    }

    fn take(&mut self) -> Arc<HeldMessage> {
        if let Some(made) = self.made.pop() {
            return made;
        }
        self.made.extend((1..Self::MADE_AT_ONCE).map(|_| Arc::clone(&self.message)));
        Arc::clone(&self.message)
    }
}
