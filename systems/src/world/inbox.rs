//! The agents' inboxes of one frame: for each recipient, a list of the messages that it is given, as far as its mailbox has room. One pass
//! over the messages, in canonical order, makes all lists.

use wasm_engine_abi::BounceReason;
use wasm_engine_components::{Address, AgentSlot, Recipient};

use crate::world::inbox_view::{Delivery, Link};
use crate::world::slot_set::SlotSet;

/// The lists. Transient: made in each frame from the messages in flight.
#[derive(Debug, Default)]
pub struct Inboxes {
    /// The messages of all lists. A list is a chain of links; those that were taken out of it stay here until the next frame.
    pub links: Vec<Link>,
    /// Index in `links` of the start of each agent's list, or [`Link::END`]. Apart from `loads`, because all threads of the step read it.
    pub firsts: Vec<u32>,
    /// Load of each list, and the capacity of its mailbox.
    pub loads: Vec<Load>,
    /// The agents whose lists aren't empty, and those in `emptied`.
    touched: Vec<AgentSlot>,
    /// Agents whose lists have become empty again.
    emptied: SlotSet,
    /// While messages are delivered to a later wave, the agents whose lists were empty before that.
    wave: Option<Vec<AgentSlot>>,
    /// For each mailbox that drops messages, the last link of those at the head of its list that stay; or [`Link::END`]. So the search for the
    /// oldest message that may be dropped looks at each once. Empty until the first mailbox has one.
    last_kept: Vec<u32>,
    /// The mailboxes that have such a link.
    keeping: Vec<AgentSlot>,
    /// Number of links that were taken out of their lists.
    unlinked: usize,
}

/// A message on its way into a mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// Slot of the agent whose mailbox it is.
    pub slot: AgentSlot,
    /// Bytes that it takes there, header and padding included.
    pub bytes: u32,
    /// Position of the message.
    pub delivery: Delivery,
}

/// Load of a list, and the capacity of its mailbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Number of messages in the list and in the mailbox's backlog.
    pub messages: u32,
    /// Bytes of those, headers and padding included.
    pub bytes: u32,
    /// Index of the last message of the list in [`Inboxes::links`].
    last: u32,
    /// Most messages that the mailbox holds; 0 while its agent takes none.
    pub messages_max: u32,
    /// Most bytes that it holds.
    pub bytes_max: u32,
    /// Number of messages in the backlog.
    held_messages: u32,
    /// Bytes of those.
    held_bytes: u32,
    /// Number of messages that the mailbox refused or dropped, and that its counter doesn't count yet.
    pub dropped: u32,
}

impl Load {
    /// Returns the load of a mailbox without messages.
    pub fn new(messages_max: u32, bytes_max: u32) -> Self {
        Self { messages_max, bytes_max, ..Self::default() }
    }

    /// Returns how many messages and bytes the mailbox has room for beside its backlog.
    pub(crate) const fn room(&self) -> (u32, u32) {
        (self.messages_max.saturating_sub(self.held_messages), self.bytes_max.saturating_sub(self.held_bytes))
    }

    #[inline]
    const fn takes(&self, bytes: u32) -> bool {
        self.messages < self.messages_max && bytes <= self.bytes_max - self.bytes
    }

    /// Returns why the mailbox doesn't take a message.
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

    /// Counts a message that was added to the list, at a link.
    #[inline]
    const fn add(&mut self, bytes: u32, link: u32) {
        self.messages += 1;
        self.bytes += bytes;
        self.last = link;
    }

    /// Counts a message that was taken out of the list.
    const fn remove_listed(&mut self, bytes: u32) {
        self.messages -= 1;
        self.bytes -= bytes;
    }

    /// Counts a message that was taken out of the backlog.
    const fn remove_held(&mut self, bytes: u32) {
        self.remove_listed(bytes);
        self.held_messages -= 1;
        self.held_bytes -= bytes;
    }

    /// Counts what is in the backlog, and nothing else.
    const fn empty_list(&mut self) {
        (self.messages, self.bytes) = (self.held_messages, self.held_bytes);
    }
}

impl Inboxes {
    /// Empties all lists.
    pub fn clear(&mut self) {
        // If most agents have messages, going through all lists is less work than looking them up.
        if self.touched.len() >= self.firsts.len() / 4 {
            self.firsts.fill(Link::END);
            self.loads.iter_mut().for_each(Load::empty_list);
        } else {
            for slot in &self.touched {
                self.firsts[slot.index()] = Link::END;
                self.loads[slot.index()].empty_list();
            }
        }
        self.touched.clear();
        self.emptied.drain();
        self.wave = None;
        self.links.clear();
        for slot in self.keeping.drain(..) {
            self.last_kept[slot.index()] = Link::END;
        }
        self.unlinked = 0;
    }

    /// Returns the number of messages in all lists.
    pub fn messages(&self) -> u64 {
        (self.links.len() - self.unlinked) as u64
    }

    /// Returns the agents whose lists aren't empty, each once.
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

    /// Adds a message to the end of a list.
    ///
    /// # Errors
    /// Why the mailbox doesn't take it.
    #[inline]
    pub fn put(&mut self, message: Incoming) -> Result<(), BounceReason> {
        let load = &self.loads[message.slot.index()];
        if !load.takes(message.bytes) {
            return Err(load.refusal(message.bytes));
        }
        if self.append(message) {
            self.touch(message.slot);
        }
        Ok(())
    }

    /// Adds messages that lie in `chunk`, as [`Inboxes::put`] adds each, up to the first one that is to many or that its mailbox
    /// doesn't take. Returns the number of messages that were added.
    ///
    /// Most messages of a frame come this way. So the room for all of them is made at once, and what `append` and `touch` do is done here without
    /// their calls.
    pub fn put_all(&mut self, addresses: &[Address], chunk: u32) -> usize {
        let Self { links, firsts, loads, touched, emptied, .. } = self;
        // A list that became empty again needs a closer look.
        let addresses = if emptied.is_empty() { addresses } else { &[] };
        let (start, touched_before) = (links.len(), touched.len());
        links.extend(addresses.iter().map(|address| {
            let delivery = Delivery { chunk, offset: address.offset };
            Link { delivery, next: Link::END }
        }));
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
            load.add(address.bytes, link);
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
        for delivery in held.rev() {
            let link = self.links.len() as u32;
            let next = std::mem::replace(&mut self.firsts[slot.index()], link);
            self.links.push(Link { delivery, next });
            if next == Link::END {
                self.loads[slot.index()].last = link;
                self.touch(slot);
            }
        }
    }

    /// Returns whether something is in the backlog of a mailbox.
    pub fn is_holding(&self, slot: AgentSlot) -> bool {
        self.loads[slot.index()].held_messages > 0
    }

    /// Notes the size of a backlog that was loaded. Returns `false` if the mailbox doesn't take that much.
    pub(crate) fn load_held(&mut self, slot: AgentSlot, messages: u32, bytes: u32) -> bool {
        let load = &mut self.loads[slot.index()];
        (load.messages, load.bytes) = (messages, bytes);
        let fits = messages <= load.messages_max && bytes <= load.bytes_max;
        self.hold(slot);
        fits
    }

    /// Forgets the backlog, whose agent has ended.
    pub fn forget_held(&mut self, slot: AgentSlot) {
        let load = &mut self.loads[slot.index()];
        load.messages -= load.held_messages;
        load.bytes -= load.held_bytes;
        (load.held_messages, load.held_bytes) = (0, 0);
    }

    /// Adds a message after dropping the oldest until there is room for it: first those of the backlog, then those of the list.
    ///
    /// `drop_held` drops the oldest message of the backlog that may be dropped, and returns its bytes; `None` if there is none. `stays` says
    /// which messages of the list may not be dropped, and `bytes_of` how many bytes one takes. Those that are dropped from the list go to `dropped`.
    ///
    /// # Errors
    /// Why the mailbox doesn't take it all the same. What was dropped in vain is not put back.
    pub fn put_dropping(
        &mut self,
        message: Incoming,
        mut drop_held: impl FnMut() -> Option<u32>,
        stays: impl Fn(Delivery) -> bool,
        bytes_of: impl Fn(Delivery) -> u32,
        dropped: &mut Vec<Delivery>,
    ) -> Result<(), BounceReason> {
        let Incoming { slot, bytes, .. } = message;
        match self.put(message) {
            Err(BounceReason::MailboxFull) => {}
            done => return done,
        }
        let was_listed = self.firsts[slot.index()] != Link::END;
        while !self.loads[slot.index()].takes(bytes) {
            if let Some(freed) = drop_held() {
                self.loads[slot.index()].remove_held(freed);
            } else if let Some(oldest) = self.take_oldest(slot, &stays) {
                self.loads[slot.index()].remove_listed(bytes_of(oldest));
                dropped.push(oldest);
            } else {
                if was_listed && self.firsts[slot.index()] == Link::END {
                    self.emptied.insert(slot);
                }
                return Err(BounceReason::MailboxFull);
            }
        }
        // Where all of the list was dropped, the agent is among the touched already.
        if self.append(message) && !was_listed {
            self.touch(slot);
        }
        Ok(())
    }

    /// Adds a message to a list, whether or not there is room for it. Returns whether it is the only one there.
    #[inline]
    fn append(&mut self, message: Incoming) -> bool {
        let Self { links, firsts, loads, .. } = self;
        let Incoming { slot, bytes, delivery } = message;
        let load = &mut loads[slot.index()];
        // Each link is a message in memory, or one of its recipients: far fewer than 2^32 of twelve bytes each.
        let link = links.len() as u32;
        let is_first = firsts[slot.index()] == Link::END;
        if is_first {
            firsts[slot.index()] = link;
        } else {
            links[load.last as usize].next = link;
        }
        load.add(bytes, link);
        links.push(Link { delivery, next: Link::END });
        is_first
    }

    /// Takes the oldest message that may be dropped out of a list. Its load isn't changed.
    fn take_oldest(&mut self, slot: AgentSlot, stays: impl Fn(Delivery) -> bool) -> Option<Delivery> {
        let mut before = self.last_kept.get(slot.index()).copied().filter(|&link| link != Link::END);
        loop {
            let link = before.map_or(self.firsts[slot.index()], |before| self.links[before as usize].next);
            // There is no link `END`.
            let delivery = self.links.get(link as usize)?.delivery;
            if !stays(delivery) {
                self.unlink(slot, before, link);
                return Some(delivery);
            }
            self.keep(slot, link);
            before = Some(link);
        }
    }

    /// Takes a link out of a list; `before` is the one before it, if there is one.
    fn unlink(&mut self, slot: AgentSlot, before: Option<u32>, link: u32) {
        let next = self.links[link as usize].next;
        match before {
            None => self.firsts[slot.index()] = next,
            Some(before) => {
                self.links[before as usize].next = next;
                if next == Link::END {
                    self.loads[slot.index()].last = before;
                }
            }
        }
        self.unlinked += 1;
    }

    /// Notes that all messages of a list up to a link stay.
    fn keep(&mut self, slot: AgentSlot, link: u32) {
        if self.last_kept.is_empty() {
            self.last_kept.resize(self.firsts.len(), Link::END);
        }
        if std::mem::replace(&mut self.last_kept[slot.index()], link) == Link::END {
            self.keeping.push(slot);
        }
    }
}

#[cfg(test)]
mod tests;
