//! The memory of one agent, as the host reaches it.
//!
//! A [`Slot`] says where a memory is, and nothing else. Code that reads or writes the memory must have borrowed the state of the shard's store, which
//! every call of a guest needs, for as long as it uses the memory. So no guest of the shard runs meanwhile. [`super::guests`] does.

use core::marker::PhantomData;

use wasm_engine_abi::{ExchangeLayout, FrameContext};

use super::arena::Slot;
use super::call_state::CallState;

/// The memory of an agent that isn't running, to be read.
#[derive(Clone, Copy)]
pub(super) struct GuestMemory<'shard> {
    slot: Slot,
    shard: PhantomData<&'shard CallState>,
}

impl<'shard> GuestMemory<'shard> {
    /// Returns the memory in a slot, for as long as the state of its shard's store is borrowed.
    ///
    /// # Safety
    /// `slot` is the memory of an instance in the store whose state this is, and its arena is there as long as the store is.
    #[inline]
    pub(super) const unsafe fn new(slot: Slot, _: &'shard CallState) -> Self {
        Self { slot, shard: PhantomData }
    }

    /// Returns the bytes of the memory.
    #[inline]
    pub(super) fn bytes(self) -> &'shard [u8] {
        // SAFETY: a memory's bytes are in its slot, initialised as zero by the map. Who writes to them runs a guest of the store or makes a
        // `GuestMemoryMut`, and both take the store's state by a unique borrow, which there can't be as long as this one is.
        unsafe { core::slice::from_raw_parts(self.slot.base(), self.slot.size()) }
    }
}

/// The memory of an agent that isn't running, to be written to.
pub(super) struct GuestMemoryMut<'shard> {
    slot: Slot,
    shard: PhantomData<&'shard mut CallState>,
}

impl<'shard> GuestMemoryMut<'shard> {
    /// Returns the memory in a slot, for as long as the state of its shard's store is borrowed.
    ///
    /// # Safety
    /// `slot` is the memory of an instance in the store whose state this is, and its arena is there as long as the store is.
    #[inline]
    pub(super) const unsafe fn new(slot: Slot, _: &'shard mut CallState) -> Self {
        Self { slot, shard: PhantomData }
    }

    /// Returns the bytes of the memory.
    #[inline]
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: as for reading; the borrow of the store's state is unique, and so is that of the memory.
        unsafe { core::slice::from_raw_parts_mut(self.slot.base(), self.slot.size()) }
    }

    /// Returns the exchange block's parts.
    ///
    /// # Safety
    /// The layout was checked against the initial memory of this instance: see [`ExchangeLayout::check`]. (Memories never get smaller.)
    #[inline]
    pub(super) const unsafe fn exchange<'layout>(
        self,
        layout: &'layout ExchangeLayout,
    ) -> ExchangeMut<'shard, 'layout> {
        ExchangeMut { memory: self, layout }
    }
}

/// Exchange block and outbox of an agent, to be read from its memory.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'shard, 'layout> {
    memory: GuestMemory<'shard>,
    layout: &'layout ExchangeLayout,
}

impl<'shard, 'layout> Exchange<'shard, 'layout> {
    /// Returns the exchange block's parts.
    ///
    /// # Safety
    /// As for [`GuestMemoryMut::exchange`].
    #[inline]
    pub(super) const unsafe fn new(memory: GuestMemory<'shard>, layout: &'layout ExchangeLayout) -> Self {
        Self { memory, layout }
    }

    /// Returns the frame's context, as the agent has left it.
    #[inline]
    pub(super) fn context(self) -> &'shard FrameContext {
        let at = self.layout.context as usize;
        // SAFETY: the layout was checked: the context lies inside the memory, and its address there is a multiple of 8, as is the slot's own.
        // Any bytes are a context. That nobody writes to it is said at `GuestMemory::bytes`.
        unsafe { &*self.memory.slot.base().add(at).cast::<FrameContext>() }
    }

    /// Returns the first bytes of the outbox area: as many as the agent says, or `None` where the area has fewer.
    #[inline]
    pub(super) fn outbox(self, bytes: u32) -> Option<&'shard [u8]> {
        if bytes > self.layout.outbox_bytes_max {
            return None;
        }
        let at = self.layout.outbox as usize;
        // SAFETY: the layout was checked: the outbox area lies inside the memory, and the length was compared with its own.
        Some(unsafe { core::slice::from_raw_parts(self.memory.slot.base().add(at), bytes as usize) })
    }
}

/// Exchange block and inbox of an agent, to be written to its memory.
pub(super) struct ExchangeMut<'shard, 'layout> {
    memory: GuestMemoryMut<'shard>,
    layout: &'layout ExchangeLayout,
}

impl<'shard> ExchangeMut<'shard, '_> {
    /// Returns the frame's context.
    #[inline]
    pub(super) fn context(self) -> &'shard mut FrameContext {
        let at = self.layout.context as usize;
        // SAFETY: as for reading; the borrow of the store's state is unique.
        unsafe { &mut *self.memory.slot.base().add(at).cast::<FrameContext>() }
    }

    /// Returns the inbox area, to be filled from its start on.
    #[inline]
    pub(super) fn inbox(&mut self) -> InboxArea<'_> {
        // Inside the slot: the layout was checked.
        let next = self.memory.slot.base().wrapping_add(self.layout.inbox as usize);
        InboxArea { next, left: self.layout.inbox_bytes_max, shard: PhantomData }
    }
}

/// Part of an agent's inbox area that isn't filled yet.
pub(super) struct InboxArea<'shard> {
    next: *mut u8,
    left: u32,
    shard: PhantomData<&'shard mut CallState>,
}

impl InboxArea<'_> {
    /// Appends a record.
    #[inline]
    pub(super) fn push(&mut self, record: &[u64]) {
        let bytes = size_of_val(record);
        // A promise of the systems (and, for parameters, of the load): see `InboxView::firsts`.
        assert!(bytes <= self.left as usize, "an inbox that doesn't fit the module's area");
        // SAFETY: `left` bytes from `next` on are the rest of the inbox area, inside the memory, and the record takes no more.
        unsafe {
            copy_record(record, self.next);
            self.next = self.next.add(bytes);
        }
        self.left -= bytes as u32;
    }
}

/// Copies a record. Most have payloads of a word, for which a call of `memcpy` would cost more than the copy.
///
/// # Safety
/// There is room for it at `to`, which doesn't overlap it.
#[inline]
unsafe fn copy_record(record: &[u64], to: *mut u8) {
    match <&[u64; 7]>::try_from(record) {
        // SAFETY: the caller's promise, of a fixed size.
        Ok(record) => unsafe { to.cast::<[u64; 7]>().write_unaligned(*record) },
        // SAFETY: the caller's promise.
        Err(_) => unsafe { copy_any(record, to) },
    }
}

/// Copies a record of any length. It is a function of its own, because the compiler would make one call of `memcpy` of both cases otherwise.
///
/// # Safety
/// As for [`copy_record`].
#[inline(never)]
unsafe fn copy_any(record: &[u64], to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { to.copy_from_nonoverlapping(record.as_ptr().cast(), size_of_val(record)) };
}

// These tests need no wasmtime, so that Miri can run them: `.ci/parts/miri`.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{SlotPlan, SlotRange};

    const PAGE: usize = 1 << 16;
    const LAYOUT: ExchangeLayout = ExchangeLayout {
        context: 1024,
        inbox: 2048,
        inbox_bytes_max: 96,
        outbox: 4096,
        outbox_bytes_max: 64,
        regions: 8192,
        regions_bytes_max: 0,
    };

    /// Runs `test` on the slots of two agents, each with a memory of one page.
    fn with_slots(test: impl FnOnce(Slot, Slot)) {
        let range = range(2);
        test(range.slot(0), range.slot(1));
    }

    /// Slots for agents, each with a memory of one page.
    fn range(agents: u32) -> SlotRange {
        let reserved = SlotRange::reserve(&[SlotPlan { agents, slot_bytes: PAGE as u64 }]);
        let range = reserved.unwrap_or_else(|error| panic!("{error}")).pop().expect("a range for each group");
        for at in 0..agents as usize {
            // SAFETY: the range holds the arena, and nobody has the bytes borrowed.
            unsafe { range.slot(at).set_size(PAGE) };
        }
        range
    }

    /// The memory in a slot, which the test has for itself.
    fn memory(slot: Slot, state: &mut CallState) -> GuestMemoryMut<'_> {
        // SAFETY: no store has the slot, and the test shows one state for both of them.
        unsafe { GuestMemoryMut::new(slot, state) }
    }

    fn exchange(slot: Slot, state: &mut CallState) -> ExchangeMut<'_, 'static> {
        // SAFETY: the areas lie in the page, at multiples of 8.
        unsafe { memory(slot, state).exchange(&LAYOUT) }
    }

    fn seen(slot: Slot, state: &CallState) -> GuestMemory<'_> {
        // SAFETY: as above.
        unsafe { GuestMemory::new(slot, state) }
    }

    #[test]
    fn what_is_written_to_a_memory_is_read_there_and_nowhere_else() {
        with_slots(|first, second| {
            let mut state = CallState::default();
            memory(first, &mut state).bytes()[PAGE - 1] = 7;
            memory(second, &mut state).bytes()[0] = 9;
            let (first, second) = (seen(first, &state), seen(second, &state));
            assert_eq!((first.bytes()[PAGE - 1], first.bytes()[0]), (7, 0));
            assert_eq!((second.bytes()[PAGE - 1], second.bytes()[0]), (0, 9));
            assert_eq!((first.bytes().len(), second.bytes().len()), (PAGE, PAGE));
        });
    }

    #[test]
    fn records_of_any_length_come_one_after_the_other_into_the_inbox_area() {
        with_slots(|slot, _| {
            let mut state = CallState::default();
            exchange(slot, &mut state).context().frame = 41;
            let mut exchange = exchange(slot, &mut state);
            let mut inbox = exchange.inbox();
            inbox.push(&[1, 2, 3, 4, 5, 6, 7]);
            inbox.push(&[]);
            inbox.push(&[8, 9, 10, 11, 12]);
            let bytes = &seen(slot, &state).bytes()[LAYOUT.inbox as usize..][..LAYOUT.inbox_bytes_max as usize];
            let words: Vec<u8> = bytes.iter().copied().step_by(8).collect();
            assert_eq!(words, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
            // SAFETY: as in `exchange`.
            let exchange = unsafe { Exchange::new(seen(slot, &state), &LAYOUT) };
            assert_eq!(exchange.context().frame, 41);
        });
    }

    #[test]
    #[should_panic(expected = "an inbox that doesn't fit the module's area")]
    fn a_record_that_does_not_fit_is_not_written() {
        with_slots(|slot, _| exchange(slot, &mut CallState::default()).inbox().push(&[0; 13]));
    }

    #[test]
    fn an_outbox_is_as_long_as_its_agent_says_and_no_longer_than_its_area() {
        with_slots(|slot, _| {
            let mut state = CallState::default();
            memory(slot, &mut state).bytes()[LAYOUT.outbox as usize + 63] = 5;
            // SAFETY: as in `exchange`.
            let exchange = unsafe { Exchange::new(seen(slot, &state), &LAYOUT) };
            assert_eq!(exchange.outbox(64).map(|bytes| (bytes.len(), bytes[63])), Some((64, 5)));
            assert_eq!(exchange.outbox(0), Some(&[][..]));
            assert_eq!(exchange.outbox(65), None);
        });
    }

    #[test]
    fn slots_that_are_split_off_are_the_first_ones_and_share_no_bytes_with_the_rest() {
        // Miri would take minutes for each byte of them.
        fn holds(bytes: &[u8], byte: u8) -> bool {
            [&bytes[..9], &bytes[PAGE - 9..]].concat().iter().all(|&found| found == byte)
        }
        let mut rest = range(3);
        let cut = rest.split_off_first(1);
        let mut state = CallState::default();
        for (slot, byte) in [(cut.slot(0), 1), (rest.slot(0), 2), (rest.slot(1), 3)] {
            assert!(holds(memory(slot, &mut state).bytes(), 0), "before {byte}");
            memory(slot, &mut state).bytes().fill(byte);
        }
        assert!(holds(seen(rest.slot(0), &state).bytes(), 2));
        // Each of them holds the arena.
        drop(rest);
        assert!(holds(seen(cut.slot(0), &state).bytes(), 1));
        assert!(std::panic::catch_unwind(|| cut.slot(1)).is_err(), "the second slot isn't among them any more");
    }

    #[test]
    fn a_cleared_slot_is_zeros() {
        let mut range = range(1);
        let slot = range.slot(0);
        let mut state = CallState::default();
        memory(slot, &mut state).bytes().fill(1);
        // SAFETY: nobody else has the slot.
        unsafe { range.clear(0) };
        assert!(seen(slot, &state).bytes().iter().all(|&byte| byte == 0));
    }
}
