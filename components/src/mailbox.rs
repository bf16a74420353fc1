//! Mailboxes: entities of their own, one for each agent. What a mailbox was given in a frame is a list of the frame's
//! messages; only what its agent couldn't take yet is kept apart, in its [`Backlog`].

use std::collections::VecDeque;
use std::sync::Arc;

use bevy_ecs::component::Component;
use bevy_ecs::entity::Entity;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::MessageHeader;

/// Link from a mailbox to the agent that it belongs to.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[relationship(relationship_target = OwnedMailbox)]
pub struct MailboxOf(pub Entity);

/// Link from an agent to its mailbox.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[relationship_target(relationship = MailboxOf, linked_spawn)]
pub struct OwnedMailbox(Entity);

/// Capacity of a mailbox, and its policy for messages that don't fit.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Most messages that it holds.
    pub capacity_messages: u32,
    /// Most bytes that it holds, headers and padding included.
    pub capacity_bytes: u32,
    /// Policy for a message that doesn't fit.
    pub overflow: OverflowPolicy,
}

/// Overflow policy: what happens to a message for which a mailbox has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OverflowPolicy {
    /// It is dropped, and its sender is told by a bounce, unless it was published or broadcast.
    #[default]
    Reject,
    /// The oldest messages that aren't the engine's own are dropped to make room, and their senders told likewise.
    DropOldest,
    /// It is dropped likewise, and the mailbox's owner faults, if it could have read what was there before.
    Fault,
}

/// Counts of a mailbox's messages. State.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MailboxCounters {
    /// Number of messages that were dropped, whether or not the sender was told.
    pub dropped: u64,
}

/// Messages that wait because their agent isn't stepped. Oldest first. State, but for what is shared: mailboxes that wait with
/// the same publication refer to one message.
#[derive(Component, Clone, Debug, Default)]
pub struct Backlog {
    /// All but the newest.
    older: VecDeque<Arc<HeldMessage>>,
    /// The newest, from the front, without gaps. They lie in the component, because the end of `older` is mostly in no cache: if each of many
    /// mailboxes got a message, each would wait for memory.
    newest: [Option<Arc<HeldMessage>>; Self::NEWEST],
    /// The digest of all messages in their order. It is kept up to date with each change, because hashing all messages would cost more than the
    /// change.
    digest: u128,
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldMessage {
    /// Its header.
    pub header: MessageHeader,
    /// Its payload, without padding.
    pub payload: Box<[u8]>,
    /// The digest of both.
    pub digest: u128,
}

/// Some of the oldest messages of a backlog, or none, as [`Backlog::extend`] counted them. It stays valid as long as messages are only added, or
/// taken out after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    messages: usize,
    /// The digest of those in their order. With it, a message after them is taken out without hashing them again.
    digest: u128,
}

/// Factor by which the digest of a message is multiplied for each message after it. It is odd, so that nothing is lost modulo 2^128.
const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

impl Backlog {
    /// Number of messages that a backlog takes before it has to move some to memory of its own.
    pub const NEWEST: usize = 4;

    /// Returns the messages, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<HeldMessage>> {
        self.older.iter().chain(self.newest.iter().flatten())
    }

    /// Returns a message by its index, counted from the oldest.
    fn get(&self, index: usize) -> Option<&Arc<HeldMessage>> {
        match index.checked_sub(self.older.len()) {
            None => self.older.get(index),
            Some(index) => self.newest.get(index)?.as_ref(),
        }
    }

    /// Returns the number of messages.
    pub fn len(&self) -> usize {
        self.older.len() + self.newest.iter().flatten().count()
    }

    /// Returns whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.newest[0].is_none() && self.older.is_empty()
    }

    /// Returns the digest of all messages in their order: 0 of none.
    pub const fn digest(&self) -> u128 {
        self.digest
    }

    /// Adds the newest message.
    pub fn push(&mut self, message: Arc<HeldMessage>) {
        self.digest = self.digest.wrapping_mul(FACTOR).wrapping_add(message.digest);
        if self.newest[Self::NEWEST - 1].is_some() {
            self.store();
        }
        if let Some(free) = self.newest.iter_mut().find(|place| place.is_none()) {
            *free = Some(message);
        }
    }

    /// Moves the newest messages to the older ones, so that the component itself has room for the next [`Backlog::NEWEST`] messages. Nothing else
    /// changes.
    pub fn store(&mut self) {
        self.older.extend(self.newest.iter_mut().map_while(Option::take));
    }

    /// Reads the memory in which [`Backlog::store`] will write, so that it is in the cache by then.
    pub fn fetch(&self) -> usize {
        self.older.back().map_or(0, |message| Arc::as_ptr(message).addr())
    }

    /// Extends a head by all messages after it, up to the first one of which `stays` says no.
    pub fn extend(&self, head: &mut Head, stays: impl Fn(&HeldMessage) -> bool) {
        while let Some(message) = self.get(head.messages).filter(|message| stays(message)) {
            head.messages += 1;
            head.digest = head.digest.wrapping_mul(FACTOR).wrapping_add(message.digest);
        }
    }

    /// Takes out the first message after a head of this backlog.
    pub fn remove_after(&mut self, head: Head) -> Option<Arc<HeldMessage>> {
        if head.messages >= self.older.len() {
            self.store();
        }
        let removed = self.older.remove(head.messages)?;
        // A mailbox holds less than 2^32 messages.
        let after = FACTOR.wrapping_pow((self.len() - head.messages) as u32);
        // Each message of the head loses a factor in the digest.
        let was = head.digest.wrapping_mul(FACTOR).wrapping_add(removed.digest).wrapping_mul(after);
        self.digest = self.digest.wrapping_sub(was).wrapping_add(head.digest.wrapping_mul(after));
        Some(removed)
    }

    /// Takes out all messages.
    pub fn drain(&mut self) -> impl DoubleEndedIterator<Item = Arc<HeldMessage>> + ExactSizeIterator + '_ {
        self.store();
        self.digest = 0;
        self.older.drain(..)
    }
}

impl PartialEq for Backlog {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.iter().eq(other.iter())
    }
}

impl Eq for Backlog {}

impl FromIterator<Arc<HeldMessage>> for Backlog {
    fn from_iter<T: IntoIterator<Item = Arc<HeldMessage>>>(messages: T) -> Self {
        let mut backlog = Self::default();
        messages.into_iter().for_each(|message| backlog.push(message));
        backlog
    }
}

/// A message with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its header.
    pub header: MessageHeader,
    /// Its payload, without padding.
    pub payload: Box<[u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(digest: u128) -> Arc<HeldMessage> {
        Arc::new(HeldMessage { header: MessageHeader::default(), payload: Box::default(), digest })
    }

    /// The oldest ones, in two steps.
    fn head(backlog: &Backlog, messages: usize) -> Head {
        let mut head = Head::default();
        for upto in [messages / 2, messages] {
            let left = core::cell::Cell::new(upto - head.messages);
            backlog.extend(&mut head, |_| left.replace(left.get().saturating_sub(1)) > 0);
        }
        head
    }

    #[test]
    fn the_digest_is_that_of_what_is_there_in_its_order() {
        let of = |digests: &[u128]| digests.iter().map(|&digest| message(digest)).collect::<Backlog>();
        let all = [u128::MAX - 5, 7, 7, 1 << 127, 0, 12];
        for at in 0..all.len() {
            let mut left = all.to_vec();
            let mut backlog = of(&all);
            let head = head(&backlog, at);
            assert_eq!(backlog.remove_after(head).map(|message| message.digest), Some(left.remove(at)));
            assert_eq!(backlog, of(&left), "without the one at {at}");
            backlog.push(message(3));
            left.push(3);
            assert_eq!(backlog, of(&left));
        }
        let mut backlog = of(&all);
        let whole = head(&backlog, all.len());
        assert_eq!(backlog.remove_after(whole), None);
        assert_eq!(backlog, of(&all));
        assert_ne!(of(&[1, 2]).digest(), of(&[2, 1]).digest());
        assert_ne!(of(&[1]).digest(), of(&[1, 0]).digest());
        assert_eq!(backlog.drain().len(), 6);
        assert_eq!(backlog, Backlog::default());
    }

    #[test]
    fn where_the_newest_lie_changes_nothing() {
        let digests: Vec<u128> = (1..=3 * Backlog::NEWEST as u128 + 1).collect();
        for stored_at in 0..digests.len() {
            let (mut backlog, mut pushed) = (Backlog::default(), Backlog::default());
            for (at, &digest) in digests.iter().enumerate() {
                if at == stored_at {
                    backlog.store();
                }
                backlog.push(message(digest));
                pushed.push(message(digest));
                assert_eq!((backlog.len(), backlog.is_empty()), (at + 1, false));
                assert_eq!(backlog, pushed, "stored before {stored_at}, {at} pushed");
            }
            assert!(backlog.iter().map(|message| message.digest).eq(digests.iter().copied()));
            assert!(backlog.iter().rev().map(|message| message.digest).eq(digests.iter().rev().copied()));
            let head = head(&backlog, stored_at);
            assert_eq!(backlog.remove_after(head), pushed.remove_after(head));
            assert_eq!(backlog, pushed);
            backlog.push(message(7));
            assert_ne!(backlog, pushed);
            let drained: Vec<u128> = backlog.drain().map(|message| message.digest).collect();
            assert_eq!((drained.len(), drained.last()), (digests.len(), Some(&7)));
            assert!(backlog.is_empty());
            backlog.push(message(9));
            assert_eq!((backlog.len(), backlog.digest()), (1, 9));
        }
    }
}
