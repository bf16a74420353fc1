//! The arena: one reservation of address space that holds the linear memories of all agents, as slots in the order of the agents.
//!
//! A million agents cost one map, and the host reaches an agent's memory by an addition, without its store. A slot's memory
//! starts at its module's size and grows in place, up to the slot's end; nothing is resident before it is touched.
//!
//! A slot is a raw pointer, and says where a memory lies. What keeps reaching it sound: whoever has a [`SlotRange`] has its slots for itself, and
//! holds the arena; a shard's guests have one, give each slot to one instance, and let the host read and write through [`super::memory`] alone,
//! which has the guests borrowed ([`super::guests`]).

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::sync::Arc;

use memmap2::{MmapMut, MmapOptions};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::error::ModuleError;

/// Number and size of the slots of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotPlan {
    /// Number of agents.
    pub agents: u32,
    /// Largest size of a memory, a multiple of the WebAssembly page.
    pub slot_bytes: u64,
}

/// The slots of one group, or of some of its agents, side by side. There is no second range with one of them.
pub(super) struct SlotRange {
    arena: Arc<Arena>,
    /// Offset of the first slot in the arena.
    offset: usize,
    /// Bytes from slot to slot.
    stride: usize,
    /// Most bytes that a memory in a slot may have.
    capacity: usize,
    /// Index of the first slot's size.
    first: usize,
    /// Number of slots.
    agents: usize,
}

/// The reservation. Neither it nor a slot ever moves.
struct Arena {
    map: MmapMut,
    base: *mut u8,
    /// Current size of each slot's memory. Written by the thread that steps the slot's shard.
    sizes: Box<[AtomicUsize]>,
}

// SAFETY: the pointer is to the map, which the arena owns; who may follow it is said above.
unsafe impl Send for Arena {}
// SAFETY: as above; nothing of a shared arena can be reached but through slots, and that is unsafe.
unsafe impl Sync for Arena {}

/// One agent's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    base: *mut u8,
    size: *const AtomicUsize,
    capacity: usize,
}

// SAFETY: the pointers lead into an arena, and following them is unsafe.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl SlotRange {
    /// Reserves slots for all groups, and returns the range of each.
    pub(super) fn reserve(plans: &[SlotPlan]) -> Result<Vec<Self>, ModuleError> {
        let agents: u64 = plans.iter().map(|plan| u64::from(plan.agents)).sum();
        let page = page_bytes();
        let mut ranges = Vec::with_capacity(plans.len());
        let (mut end, mut first) = (0_u64, 0_usize);
        for plan in plans {
            // One page more than the memory. If the stride were a power of two, the same lines of all agents would share a few sets
            // of the caches and the TLB.
            let stride = plan.slot_bytes + page;
            ranges.push((end, stride, plan, first));
            end = end.saturating_add(stride.saturating_mul(u64::from(plan.agents)));
            first += plan.agents as usize;
        }
        let refused = |error: io::Error| ModuleError::AddressSpace { bytes: end, agents, error };
        let bytes = usize::try_from(end).ok().filter(|&bytes| bytes <= isize::MAX.cast_unsigned());
        let bytes = bytes.ok_or_else(|| {
            refused(io::Error::new(io::ErrorKind::OutOfMemory, "it is more than an address can name"))
        })?;
        let mut options = MmapOptions::new();
        // Miri knows neither this option nor advice.
        #[cfg(not(miri))]
        options.no_reserve_swap();
        let mut map = options.len(bytes.max(1)).map_anon().map_err(refused)?;
        // Huge pages would make all of each slot resident. A system that doesn't know the advice has none.
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = map.advise(memmap2::Advice::NoHugePage);
        let base = map.as_mut_ptr();
        let sizes = (0..first).map(|_| AtomicUsize::new(0)).collect();
        let arena = Arc::new(Arena { map, base, sizes });
        // In range: all of them lie below `bytes`.
        let ranges = ranges.into_iter().map(|(offset, stride, plan, first)| Self {
            arena: Arc::clone(&arena),
            offset: offset as usize,
            stride: stride as usize,
            capacity: plan.slot_bytes as usize,
            first,
            agents: plan.agents as usize,
        });
        Ok(ranges.collect())
    }

    /// Splits the first `agents` slots off, and returns them.
    pub(super) fn split_off_first(&mut self, agents: usize) -> Self {
        assert!(agents <= self.agents, "more slots than the group has");
        let cut = Self { arena: Arc::clone(&self.arena), agents, ..*self };
        self.offset += agents * self.stride;
        self.first += agents;
        self.agents -= agents;
        cut
    }

    /// Returns the most bytes that a memory in a slot may have.
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the slot with number `at` of the range.
    #[inline]
    pub(super) fn slot(&self, at: usize) -> Slot {
        assert!(at < self.agents, "a slot outside of its range");
        // SAFETY: `reserve` laid the slots of the range inside the map.
        let base = unsafe { self.arena.base.add(self.offset + at * self.stride) };
        Slot { base, size: &raw const self.arena.sizes[self.first + at], capacity: self.capacity }
    }

    /// Makes all of the slot with number `at` zero, and gives its pages back.
    ///
    /// # Safety
    /// No guest runs on the slot, and nobody has its bytes borrowed.
    pub(super) unsafe fn clear(&mut self, at: usize) {
        let slot = self.slot(at);
        // SAFETY: the range holds the arena.
        let bytes = unsafe { slot.size() };
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            let (arena, offset) = (&self.arena, self.offset + at * self.stride);
            // SAFETY: the caller has the slot for itself; anonymous private pages read as zeros afterwards, on Linux.
            let given = unsafe { arena.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, bytes) };
            if given.is_ok() {
                return;
            }
        }
        let _ = &self.arena.map;
        // SAFETY: the slot's first `bytes` bytes are in the map, and the caller has them for itself.
        unsafe { slot.base.write_bytes(0, bytes) };
    }
}

impl Slot {
    /// Returns where the memory starts.
    #[inline]
    pub(super) const fn base(&self) -> *mut u8 {
        self.base
    }

    /// Returns the memory's current size in bytes.
    ///
    /// # Safety
    /// The arena is still there.
    #[inline]
    pub(super) unsafe fn size(&self) -> usize {
        // SAFETY: the arena holds the size.
        unsafe { &*self.size }.load(Ordering::Relaxed)
    }

    /// Sets the memory's size. It doesn't reach the compiled code's own copy: see [`super::image::Image::restore`].
    ///
    /// # Safety
    /// The arena is still there, and nobody has bytes of the slot borrowed.
    pub(super) unsafe fn set_size(&self, bytes: usize) {
        assert!(bytes <= self.capacity, "a memory larger than its slot");
        // SAFETY: the arena holds the size.
        unsafe { &*self.size }.store(bytes, Ordering::Relaxed);
    }
}

/// Returns the size of a page of this machine, in bytes.
pub(super) fn page_bytes() -> u64 {
    #[cfg(unix)]
    {
        // SAFETY: it only reads a constant of the system.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        u64::try_from(bytes).unwrap_or(4096)
    }
    #[cfg(not(unix))]
    4096
}

thread_local! {
    /// The slot of the instance that this thread is about to make.
    static NEXT: Cell<Option<Slot>> = const { Cell::new(None) };
}

/// Gives wasmtime the slot that [`with_slot`] names.
pub(super) struct SlotCreator;

/// Runs `make`, which makes one instance with its memory in `slot`.
///
/// # Safety
/// No instance that is ever called again has the slot, and its arena outlives the store in which this one is made.
pub(super) unsafe fn with_slot<R>(slot: Slot, make: impl FnOnce() -> R) -> R {
    NEXT.set(Some(slot));
    let made = make();
    NEXT.set(None);
    made
}

// SAFETY: each call gives another slot, which nothing moves or frees while the store lives: who chose it with `with_slot` saw to that. There are
// no guards, and the configuration says so, so that compiled code checks every access.
unsafe impl MemoryCreator for SlotCreator {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        _reserved: Option<usize>,
        _guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let slot = NEXT.take().ok_or("no slot was chosen for this memory")?;
        if minimum > slot.capacity {
            return Err(format!("a memory of {minimum} bytes doesn't fit its slot of {}", slot.capacity));
        }
        // SAFETY: the arena outlives the store, which is about to get the slot.
        unsafe { slot.set_size(minimum) };
        Ok(Box::new(SlotMemory(slot)))
    }
}

/// A slot that a store has got: its arena outlives the store.
struct SlotMemory(Slot);

// SAFETY: base and capacity never change, and the size stays within the capacity.
unsafe impl LinearMemory for SlotMemory {
    fn byte_size(&self) -> usize {
        // SAFETY: the store is still there, and so is the arena.
        unsafe { self.0.size() }
    }

    fn byte_capacity(&self) -> usize {
        self.0.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.0.capacity {
            return Err(wasmtime::Error::msg("the slot is full"));
        }
        // SAFETY: the store is still there, and so is the arena. A guest is running, or the host that has it borrowed uniquely asks for it.
        unsafe { self.0.set_size(new_size) };
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.base
    }
}
