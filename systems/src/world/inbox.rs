//! The agents' inboxes of one frame: for each recipient, a list of what it is given, within what its mailbox holds. One pass
//! over the messages, in canonical order, makes them all.

use wasm_engine_abi::BounceReason;
use wasm_engine_components::{Address, AgentSlot, Recipient};

use crate::world::inbox_view::{Delivery, Link};
use crate::world::slot_set::SlotSet;

/// The lists. Transient: made in each frame from the messages in flight.
#[derive(Debug, Default)]
pub struct Inboxes {
    /// The messages of all lists.
    pub links: Vec<Link>,
    /// Where each agent's list starts, or [`Link::END`]. Apart from `loads`, because all threads of the step read it.
    pub firsts: Vec<u32>,
    /// What is in each list, and what its mailbox holds at most.
    pub loads: Vec<Load>,
    /// The agents whose lists aren't empty, and those in `emptied`.
    touched: Vec<AgentSlot>,
    /// Agents whose lists have become empty again.
    emptied: SlotSet,
    /// While messages are delivered to a later wave, the agents whose lists were empty before that.
    wave: Option<Vec<AgentSlot>>,
    /// For each mailbox, the link before the oldest message that it may drop, all up to which stay; or [`Link::END`]. Empty until
    /// one drops messages and keeps others.
    kept: Vec<u32>,
    /// The mailboxes that have one.
    keeping: Vec<AgentSlot>,
    /// How many links were taken out of their lists.
    dropped: usize,
}

/// What is in a list, and what the mailbox holds at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Messages in the list, and in the mailbox's backlog.
    pub messages: u32,
    /// Bytes of those, headers and padding included.
    pub bytes: u32,
    /// Where the last of them stands in [`Inboxes::links`].
    last: u32,
    /// Messages that the mailbox holds at most; 0 while its agent takes none.
    pub messages_max: u32,
    /// Bytes that it holds at most.
    pub bytes_max: u32,
    /// Of `messages`, those in the backlog.
    held_messages: u32,
    /// Of `bytes`, those in the backlog.
    held_bytes: u32,
    /// Messages that the mailbox didn't take or dropped, and that its counter doesn't count yet.
    pub dropped: u32,
}

impl Load {
    /// Returns the load of a mailbox without messages.
    pub fn new(messages_max: u32, bytes_max: u32) -> Self {
        Self { messages_max, bytes_max, ..Self::default() }
    }

    /// How many messages and bytes the mailbox has room for beside its backlog.
    pub(crate) const fn room(&self) -> (u32, u32) {
        (self.messages_max.saturating_sub(self.held_messages), self.bytes_max.saturating_sub(self.held_bytes))
    }

    #[inline]
    const fn takes(&self, bytes: u32) -> bool {
        self.messages < self.messages_max && bytes <= self.bytes_max - self.bytes
    }

    #[cold]
    const fn refusal(&self, bytes: u32) -> BounceReason {
        if self.messages_max == 0 {
            BounceReason::Terminated
        } else if bytes > self.bytes_max {
            BounceReason::TooLarge
        } else {
            BounceReason::MailboxFull
        }
    }
}

impl Inboxes {
    /// Empties all lists.
    pub fn clear(&mut self) {
        // If most agents have messages, going through all lists is less work than looking them up.
        if self.touched.len() >= self.firsts.len() / 4 {
            self.firsts.fill(Link::END);
            for load in &mut self.loads {
                (load.messages, load.bytes) = (load.held_messages, load.held_bytes);
            }
        } else {
            for &slot in &self.touched {
                self.firsts[slot.index()] = Link::END;
                let load = &mut self.loads[slot.index()];
                (load.messages, load.bytes) = (load.held_messages, load.held_bytes);
            }
        }
        self.touched.clear();
        self.emptied.drain();
        self.wave = None;
        self.links.clear();
        for slot in self.keeping.drain(..) {
            self.kept[slot.index()] = Link::END;
        }
        self.dropped = 0;
    }

    /// Messages in all lists.
    pub fn messages(&self) -> u64 {
        (self.links.len() - self.dropped) as u64
    }

    /// The agents whose lists aren't empty, each once.
    pub fn touched(&self) -> impl Iterator<Item = AgentSlot> + '_ {
        self.touched.iter().copied().filter(|&slot| self.emptied.is_empty() || !self.emptied.contains(slot))
    }

    /// Begins to deliver to a later wave.
    pub(crate) fn begin_wave(&mut self) {
        self.wave.get_or_insert_default().clear();
    }

    /// Returns the agents whose lists were empty before this wave's messages were delivered, maybe several times. The first wave
    /// of a frame isn't counted.
    pub(crate) fn touched_in_wave(&self) -> impl Iterator<Item = AgentSlot> + '_ {
        self.wave.iter().flatten().copied().filter(|&slot| self.firsts[slot.index()] != Link::END)
    }

    /// Notes that the list of an agent isn't empty any more.
    #[inline]
    fn touch(&mut self, slot: AgentSlot) {
        if self.emptied.is_empty() || !self.emptied.remove(slot) {
            self.touched.push(slot);
        }
        if let Some(wave) = &mut self.wave {
            wave.push(slot);
        }
    }

    /// Adds a message that takes `bytes` to the end of a list.
    ///
    /// # Errors
    /// Why the mailbox doesn't take it.
    #[inline]
    pub fn put(&mut self, slot: AgentSlot, bytes: u32, at: Delivery) -> Result<(), BounceReason> {
        let load = &self.loads[slot.index()];
        if !load.takes(bytes) {
            return Err(load.refusal(bytes));
        }
        if self.append(slot, bytes, at) {
            self.touch(slot);
        }
        Ok(())
    }

    /// Adds messages that lie in `chunk`, as [`Inboxes::put`] adds each, up to the first one that is to many or that its mailbox
    /// doesn't take. Returns the number of messages that were added. The room for all of them is made at once.
    pub fn put_all(&mut self, addresses: &[Address], chunk: u32) -> usize {
        let Self { links, firsts, loads, touched, emptied, .. } = self;
        // A list that became empty again needs a closer look.
        let addresses = if emptied.is_empty() { addresses } else { &[] };
        let (start, touched_before) = (links.len(), touched.len());
        links.extend(addresses.iter().map(|address| Link { at: Delivery { chunk, at: address.at }, next: Link::END }));
        touched.resize(touched_before + addresses.len(), AgentSlot::default());
        let mut touches = touched_before;
        let mut added = 0;
        for address in addresses {
            let Some(Recipient::Agent(slot)) = address.recipient() else { break };
            let load = &mut loads[slot.index()];
            if !load.takes(address.bytes) {
                break;
            }
            let link = (start + added) as u32;
            let first = &mut firsts[slot.index()];
            if *first == Link::END {
                *first = link;
                touched[touches] = slot;
                touches += 1;
            } else {
                links[load.last as usize].next = link;
            }
            load.messages += 1;
            load.bytes += address.bytes;
            load.last = link;
            added += 1;
        }
        links.truncate(start + added);
        touched.truncate(touches);
        added
    }

    /// Notes that all messages of the list are now in the backlog.
    pub fn hold(&mut self, slot: AgentSlot) {
        let load = &mut self.loads[slot.index()];
        (load.held_messages, load.held_bytes) = (load.messages, load.bytes);
    }

    /// Puts the messages of the backlog before the rest of the list.
    pub fn release(&mut self, slot: AgentSlot, held: impl DoubleEndedIterator<Item = Delivery>) {
        let load = &mut self.loads[slot.index()];
        (load.held_messages, load.held_bytes) = (0, 0);
        for at in held.rev() {
            let link = self.links.len() as u32;
            let next = std::mem::replace(&mut self.firsts[slot.index()], link);
            self.links.push(Link { at, next });
            if next == Link::END {
                self.loads[slot.index()].last = link;
                self.touch(slot);
            }
        }
    }

    /// Whether something is in the backlog of a mailbox.
    pub fn is_holding(&self, slot: AgentSlot) -> bool {
        self.loads[slot.index()].held_messages > 0
    }

    /// Notes the size of a backlog that was loaded; `false` if the mailbox doesn't take that much.
    pub(crate) fn load_held(&mut self, slot: AgentSlot, messages: u32, bytes: u32) -> bool {
        let load = &mut self.loads[slot.index()];
        (load.messages, load.bytes) = (messages, bytes);
        self.hold(slot);
        let load = &self.loads[slot.index()];
        messages <= load.messages_max && bytes <= load.bytes_max
    }

    /// Forgets the backlog, whose agent has ended.
    pub fn forget_held(&mut self, slot: AgentSlot) {
        let load = &mut self.loads[slot.index()];
        load.messages -= load.held_messages;
        load.bytes -= load.held_bytes;
        (load.held_messages, load.held_bytes) = (0, 0);
    }

    /// Adds a message after dropping the oldest until there is room: first of the backlog, by `drop_held`, which gives the bytes
    /// that are free then; then of the list: those go to `dropped`. What `stays` isn't dropped, and `bytes_of` gives the bytes
    /// that a message takes.
    ///
    /// # Errors
    /// Why the mailbox doesn't take it all the same.
    pub fn put_dropping(
        &mut self,
        (slot, bytes, at): (AgentSlot, u32, Delivery),
        mut drop_held: impl FnMut() -> Option<u32>,
        stays: impl Fn(Delivery) -> bool,
        bytes_of: impl Fn(Delivery) -> u32,
        dropped: &mut Vec<Delivery>,
    ) -> Result<(), BounceReason> {
        match self.put(slot, bytes, at) {
            Err(BounceReason::MailboxFull) => {}
            done => return done,
        }
        let was_listed = self.firsts[slot.index()] != Link::END;
        while !self.loads[slot.index()].takes(bytes) {
            if let Some(freed) = drop_held() {
                let load = &mut self.loads[slot.index()];
                (load.messages, load.bytes) = (load.messages - 1, load.bytes - freed);
                (load.held_messages, load.held_bytes) = (load.held_messages - 1, load.held_bytes - freed);
                continue;
            }
            let Some(oldest) = self.take_oldest(slot, &stays) else {
                if was_listed && self.firsts[slot.index()] == Link::END {
                    self.emptied.insert(slot);
                }
                return Err(BounceReason::MailboxFull);
            };
            let load = &mut self.loads[slot.index()];
            (load.messages, load.bytes) = (load.messages - 1, load.bytes - bytes_of(oldest));
            dropped.push(oldest);
        }
        // What was dropped may have been all of the list: then the agent is among the touched already.
        if self.firsts[slot.index()] == Link::END && !was_listed {
            self.touch(slot);
        }
        self.append(slot, bytes, at);
        Ok(())
    }

    /// Adds a message to a list. Returns whether it is the only one there.
    #[inline]
    fn append(&mut self, slot: AgentSlot, bytes: u32, at: Delivery) -> bool {
        let Self { links, firsts, loads, .. } = self;
        let load = &mut loads[slot.index()];
        // Each link is a message in memory, or one of its recipients: far fewer than 2^32 of twelve bytes each.
        let link = links.len() as u32;
        let first = firsts[slot.index()] == Link::END;
        if first {
            firsts[slot.index()] = link;
        } else {
            links[load.last as usize].next = link;
        }
        load.messages += 1;
        load.bytes += bytes;
        load.last = link;
        links.push(Link { at, next: Link::END });
        first
    }

    /// Notes that all messages of a list up to a link stay.
    fn keep(&mut self, slot: AgentSlot, link: u32) {
        if self.kept.is_empty() {
            self.kept.resize(self.firsts.len(), Link::END);
        }
        if std::mem::replace(&mut self.kept[slot.index()], link) == Link::END {
            self.keeping.push(slot);
        }
    }

    /// Takes the oldest message that may be dropped out of a list.
    fn take_oldest(&mut self, slot: AgentSlot, stays: impl Fn(Delivery) -> bool) -> Option<Delivery> {
        let mut before = self.kept.get(slot.index()).copied().filter(|&link| link != Link::END);
        loop {
            let link = before.map_or(self.firsts[slot.index()], |before| self.links[before as usize].next);
            if link == Link::END {
                return None;
            }
            let Link { at, next } = self.links[link as usize];
            if stays(at) {
                before = Some(link);
                self.keep(slot, link);
                continue;
            }
            match before {
                None => self.firsts[slot.index()] = next,
                Some(before) => self.links[before as usize].next = next,
            }
            if let (Link::END, Some(before)) = (next, before) {
                self.loads[slot.index()].last = before;
            }
            self.dropped += 1;
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_engine_components::RecipientSlot;

    use super::*;
    use wasm_engine_components::TopicIndex;

    /// The only agent.
    const A: AgentSlot = AgentSlot(0);
    const FULL: Result<(), BounceReason> = Err(BounceReason::MailboxFull);

    fn roomy() -> Load {
        Load::new(2, 100)
    }

    fn at(at: u32) -> Delivery {
        Delivery { chunk: 0, at }
    }

    fn inboxes(load: Load) -> Inboxes {
        Inboxes { firsts: vec![Link::END], loads: vec![load], ..Inboxes::default() }
    }

    fn put(load: Load, sizes: &[u32]) -> Vec<Result<(), BounceReason>> {
        let mut inboxes = inboxes(load);
        sizes.iter().zip(0..).map(|(&bytes, n)| inboxes.put(A, bytes, at(n))).collect()
    }

    /// What is dropped of messages with those sizes, of which the second value says whether they stay, what is refused, and
    /// what is left.
    fn put_dropping(load: Load, messages: &[(u32, bool)]) -> (Vec<u32>, Vec<(u32, BounceReason)>, Vec<u32>) {
        let (mut inboxes, mut dropped, mut refused) = (inboxes(load), Vec::new(), Vec::new());
        for (&(bytes, _), n) in messages.iter().zip(0..) {
            let message = (A, bytes, at(n));
            let stays = |at: Delivery| messages[at.at as usize].1;
            let bytes_of = |at: Delivery| messages[at.at as usize].0;
            refused.extend(
                inboxes.put_dropping(message, || None, stays, bytes_of, &mut dropped).err().map(|reason| (n, reason)),
            );
        }
        let (mut left, mut next) = (Vec::new(), inboxes.firsts[0]);
        while let Some(link) = inboxes.links.get(next as usize) {
            left.push(link.at.at);
            next = link.next;
        }
        assert_eq!(left.len(), inboxes.loads[0].messages as usize);
        assert_eq!(left.iter().map(|&n| messages[n as usize].0).sum::<u32>(), inboxes.loads[0].bytes);
        assert!(inboxes.touched.len() <= 1, "an agent is touched once");
        inboxes.clear();
        assert_eq!((inboxes.firsts[0], inboxes.loads[0].messages), (Link::END, 0));
        (dropped.iter().map(|at| at.at).collect(), refused, left)
    }

    #[test]
    fn reject_keeps_the_oldest_and_what_still_fits() {
        assert_eq!(put(roomy(), &[80, 40, 20, 8]), [Ok(()), FULL, Ok(()), FULL]);
    }

    #[test]
    fn many_are_put_as_one_by_one_up_to_the_first_that_is_not_taken() {
        let to = |to: RecipientSlot, n: u32| Address::new(to, 40, n);
        let plain = [0, 1, 1, 0].map(|slot| Recipient::Agent(AgentSlot(slot)));
        for (last, added) in [
            (Recipient::Agent(AgentSlot(1)), 4),
            (Recipient::Topic(TopicIndex(0)), 4),
            (Recipient::Agent(AgentSlot(2)), 5),
        ] {
            let addresses: Vec<_> = plain.into_iter().chain([last]).zip(0..).map(|(who, n)| to(who, n)).collect();
            let (firsts, loads) = (vec![Link::END; 3], vec![roomy(); 3]);
            let mut each = Inboxes { firsts, loads, ..Inboxes::default() };
            let mut all = Inboxes { firsts: each.firsts.clone(), loads: each.loads.clone(), ..Inboxes::default() };
            assert_eq!(all.put_all(&addresses, 0), added);
            for address in &addresses[..added] {
                let Some(Recipient::Agent(slot)) = address.recipient() else { panic!("{address:?} was added") };
                assert_eq!(each.put(slot, address.bytes, at(address.at)), Ok(()));
            }
            assert_eq!(format!("{all:?}"), format!("{each:?}"));
        }
    }

    #[test]
    fn drop_oldest_keeps_the_newest() {
        let messages = [(80, false), (40, false), (20, false), (8, false)];
        assert_eq!(put_dropping(roomy(), &messages), (vec![0, 1], vec![], vec![2, 3]));
    }

    #[test]
    fn drop_oldest_never_drops_what_the_engine_says() {
        let messages = [(20, true), (20, false), (20, false), (20, true), (20, true)];
        let refused = vec![(4, BounceReason::MailboxFull)];
        assert_eq!(put_dropping(roomy(), &messages), (vec![1, 2], refused, vec![0, 3]));
    }

    #[test]
    fn a_mailbox_for_one_message_keeps_the_last() {
        let messages = [(20, false), (20, false), (20, false)];
        assert_eq!(put_dropping(Load::new(1, 100), &messages), (vec![0, 1], vec![], vec![2]));
    }

    #[test]
    fn what_can_never_fit_is_too_large_and_pushes_nothing_out() {
        let refused = vec![(1, BounceReason::TooLarge)];
        assert_eq!(put_dropping(roomy(), &[(80, false), (101, false)]), (vec![], refused, vec![0]));
        assert_eq!(put(roomy(), &[80, 101]), [Ok(()), Err(BounceReason::TooLarge)]);
    }

    #[test]
    fn a_closed_mailbox_takes_nothing() {
        let closed = Load::new(0, 100);
        assert_eq!(put(closed, &[48]), [Err(BounceReason::Terminated)]);
        assert_eq!(put_dropping(closed, &[(48, false)]).1, [(0, BounceReason::Terminated)]);
    }

    #[test]
    fn a_list_that_was_dropped_for_a_message_that_does_not_fit_is_touched_once() {
        let mut inboxes = inboxes(Load::new(2, 100));
        assert_eq!(inboxes.put(A, 48, at(0)), Ok(()));
        inboxes.hold(A);
        inboxes.clear();
        let bytes = [48, 56, 48];
        let mut put = |n: u32| {
            let message = (A, bytes[n as usize], at(n));
            inboxes.put_dropping(message, || None, |_| false, |at| bytes[at.at as usize], &mut Vec::new())
        };
        assert_eq!((put(0), put(1), put(2)), (Ok(()), FULL, Ok(())));
        assert_eq!((inboxes.touched.as_slice(), inboxes.messages()), ([A].as_slice(), 1));
    }

    #[test]
    fn what_is_held_counts_and_comes_first() {
        let mut inboxes = inboxes(Load::new(3, 1_000));
        for n in 0..2 {
            assert_eq!(inboxes.put(A, 50, at(n)), Ok(()));
        }
        inboxes.hold(A);
        inboxes.clear();
        assert_eq!((inboxes.firsts[0], inboxes.loads[0].messages, inboxes.loads[0].bytes), (Link::END, 2, 100));
        assert_eq!(inboxes.put(A, 50, at(2)), Ok(()));
        assert_eq!(inboxes.put(A, 50, at(3)), FULL);
        let mut held = vec![50];
        let dropped = inboxes.put_dropping((A, 50, at(4)), || held.pop(), |_| false, |_| 50, &mut Vec::new());
        assert_eq!((dropped, inboxes.loads[0].messages), (Ok(()), 3));
        inboxes.release(A, [at(7)].into_iter());
        let mut order = Vec::new();
        let mut next = inboxes.firsts[0];
        while let Some(link) = inboxes.links.get(next as usize) {
            order.push(link.at.at);
            next = link.next;
        }
        assert_eq!((order, inboxes.touched.as_slice()), (vec![7, 2, 4], [A].as_slice()));
        inboxes.clear();
        assert_eq!((inboxes.loads[0].messages, inboxes.loads[0].bytes), (0, 0));
    }
}
