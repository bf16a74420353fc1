//! The arena: one reservation of address space that holds the linear memories of all agents, as slots in the order of the agents.
//!
//! So a million agents cost one map, and the host reaches an agent's memory by an addition, without its store. A slot's memory
//! starts at its module's size and grows in place, up to the slot's end; nothing is resident before it is touched.
//!
//! A slot is a raw pointer, and says where a memory lies. What keeps reaching it sound: a slot belongs to one agent of one shard, a shard is
//! stepped by one thread at a time, the host reads and writes through `memory`, which has the shard borrowed, and each shard holds the
//! arena, so that it outlives its stores.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::sync::Arc;

use memmap2::{MmapMut, MmapOptions};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::error::ModuleError;

/// Slots of one group: how many, and how large.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotPlan {
    /// Agents of the group.
    pub agents: u32,
    /// Largest size of a memory, a multiple of the WebAssembly page.
    pub slot_bytes: u64,
}

/// The slots of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotRange {
    /// Where the first slot starts in the arena.
    offset: usize,
    /// Bytes from slot to slot.
    stride: usize,
    /// Bytes of a slot that its memory may have.
    capacity: usize,
    /// Position of the first slot's size.
    first: usize,
    /// How many slots there are.
    agents: usize,
}

impl SlotRange {
    /// Bytes of a slot that its memory may have.
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }
}

/// The reservation. Neither it nor a slot ever moves.
pub(super) struct Arena {
    map: MmapMut,
    base: *mut u8,
    /// Current size of each slot's memory. Written by the thread that steps the slot's shard.
    sizes: Box<[AtomicUsize]>,
}

// SAFETY: the pointer is to the map, which the arena owns; who may follow it is said above.
unsafe impl Send for Arena {}
// SAFETY: as above; a shared arena gives slots, and reaching into one is unsafe.
unsafe impl Sync for Arena {}

/// One agent's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    base: *mut u8,
    size: *const AtomicUsize,
    capacity: usize,
}

// SAFETY: the pointers lead into an arena, which outlives the slot; who may follow them is said above.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Arena {
    /// Reserves slots for all groups.
    pub(super) fn reserve(plans: &[SlotPlan]) -> Result<(Arc<Self>, Vec<SlotRange>), ModuleError> {
        let agents: u64 = plans.iter().map(|plan| u64::from(plan.agents)).sum();
        let page = page_bytes();
        let mut ranges = Vec::with_capacity(plans.len());
        let (mut end, mut first) = (0_u64, 0_usize);
        for plan in plans {
            // One page more than the memory: with a power of two from slot to slot, the same lines of all agents would share a
            // few sets of the caches and the TLB.
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
        // Miri knows neither this nor advice.
        #[cfg(not(miri))]
        options.no_reserve_swap();
        let mut map = options.len(bytes.max(1)).map_anon().map_err(refused)?;
        // Huge pages would make all of each slot resident. Where the advice is unknown there are none.
        #[cfg(all(target_os = "linux", not(miri)))]
        let _ = map.advise(memmap2::Advice::NoHugePage);
        let base = map.as_mut_ptr();
        let sizes = (0..first).map(|_| AtomicUsize::new(0)).collect();
        // In range: all of them lie below `bytes`.
        let ranges = ranges.into_iter().map(|(offset, stride, plan, first)| SlotRange {
            offset: offset as usize,
            stride: stride as usize,
            capacity: plan.slot_bytes as usize,
            first,
            agents: plan.agents as usize,
        });
        let ranges = ranges.collect();
        Ok((Arc::new(Self { map, base, sizes }), ranges))
    }

    /// The slot with number `at` of a group.
    #[inline]
    pub(super) fn slot(&self, range: &SlotRange, at: usize) -> Slot {
        assert!(at < range.agents, "a slot outside of its group");
        // SAFETY: `reserve` laid the slots of the range inside the map.
        let base = unsafe { self.base.add(range.offset + at * range.stride) };
        Slot { base, size: &raw const self.sizes[range.first + at], capacity: range.capacity }
    }

    /// Makes all of a slot zero, and gives its pages back.
    ///
    /// # Safety
    /// No guest and nobody else uses the slot meanwhile.
    pub(super) unsafe fn clear(&self, slot: Slot) {
        let bytes = slot.size();
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            let offset = slot.base.addr() - self.base.addr();
            // SAFETY: the caller has the slot for itself; anonymous private pages read as zeros afterwards, on Linux.
            let given = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, bytes) };
            if given.is_ok() {
                return;
            }
        }
        let _ = &self.map;
        // SAFETY: the slot's first `bytes` bytes are in the map, and the caller has them for itself.
        unsafe { slot.base.write_bytes(0, bytes) };
    }
}

impl Slot {
    /// Where the memory starts.
    #[inline]
    pub(super) const fn base(&self) -> *mut u8 {
        self.base
    }

    /// The memory's current size in bytes.
    #[inline]
    pub(super) fn size(&self) -> usize {
        // SAFETY: the arena, which holds the size, outlives the slot.
        unsafe { &*self.size }.load(Ordering::Relaxed)
    }

    /// Sets the memory's size. It doesn't reach the compiled code's own copy: see [`super::image::Image::restore`].
    pub(super) fn set_size(&self, bytes: usize) {
        assert!(bytes <= self.capacity, "a memory larger than its slot");
        // SAFETY: the arena, which holds the size, outlives the slot.
        unsafe { &*self.size }.store(bytes, Ordering::Relaxed);
    }
}

/// Bytes of a page of this machine.
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
pub(super) fn with_slot<R>(slot: Slot, make: impl FnOnce() -> R) -> R {
    NEXT.set(Some(slot));
    let made = make();
    NEXT.set(None);
    made
}

// SAFETY: each call gives another slot, of zeros, which nothing moves or frees while a store lives. There are no guards, and
// the configuration says so, so that compiled code checks every access.
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
        slot.set_size(minimum);
        Ok(Box::new(SlotMemory(slot)))
    }
}

struct SlotMemory(Slot);

// SAFETY: base and capacity never change, and the size stays within the capacity.
unsafe impl LinearMemory for SlotMemory {
    fn byte_size(&self) -> usize {
        self.0.size()
    }

    fn byte_capacity(&self) -> usize {
        self.0.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.0.capacity {
            return Err(wasmtime::Error::msg("the slot is full"));
        }
        self.0.set_size(new_size);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.base
    }
}
