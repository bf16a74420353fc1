//! A copy of all guests at one moment. When a snapshot is taken, the run stops only while the copy is made. Which pages have changed, and the digest,
//! are found out afterwards on another thread (`capture`).

use core::ops::Range;

use rayon::prelude::*;

use super::{
    WasmRuntime,
    captured::{BLOCK_PAGES, InstanceColumns, PageBlock, SpareBlocks},
    guest_index::GuestIndex,
    pages::{CopyMark, PAGE_BYTES, is_zero},
    resident::{Resident, Walk},
    shard::Shard,
};

/// All guests as they were between two frames, or those that were called since an earlier copy.
#[derive(Clone, Debug)]
pub struct GuestCopy {
    pub(super) mark: CopyMark,
    /// The copy that has the pages of the guests that weren't called since. `None` if this copy has all pages.
    pub(super) since: Option<CopyMark>,
    pub(super) shards: Vec<ShardCopy>,
    pub(super) spare: SpareBlocks,
}

impl GuestCopy {
    /// Returns where the memory of the copy can be given back once it isn't needed.
    pub fn spare(&self) -> SpareBlocks {
        self.spare.clone()
    }

    /// Returns the mark from which the next copy can go on.
    pub const fn mark(&self) -> CopyMark {
        self.mark
    }

    /// Returns the number of pages.
    pub fn page_count(&self) -> usize {
        self.shards.iter().flat_map(|shard| &shard.blocks).map(|block| block.pages.len()).sum()
    }
}

/// Allocates memory for the first copy, which can't use that of an earlier one. It runs on another thread, while frames go on.
#[derive(Clone, Debug)]
pub struct CopyPreparation {
    /// Ranges of the shards' memories.
    shards: Vec<Range<usize>>,
    spare: SpareBlocks,
}

impl CopyPreparation {
    /// Allocates as much memory as a copy of all guests would take now, and an eighth more for pages that are touched until then.
    pub fn run(self) {
        let resident = Resident::look();
        if resident.is_blind() {
            return;
        }
        let mut walk = resident.walk();
        for shard in self.shards {
            let mut pages = walk.touched_pages(shard);
            pages += pages / 8;
            while pages > 0 {
                let of_block = pages.min(BLOCK_PAGES);
                pages -= of_block;
                // It is written to, because the system would only promise it otherwise.
                let bytes = vec![1; of_block * PAGE_BYTES];
                self.spare.put([PageBlock { bytes, ..PageBlock::default() }]);
            }
        }
    }
}

/// A copy of the instances of one shard.
#[derive(Clone, Debug, Default)]
pub(super) struct ShardCopy {
    pub agents: InstanceColumns,
    /// For each instance, whether its pages are here: all pages that aren't zero, and some that are. Otherwise, they haven't changed.
    pub copied: Vec<bool>,
    pub blocks: Vec<PageBlock>,
}

impl WasmRuntime {
    /// Copies the guests, on the threads of the current pool: all of them, or, where `since` is the last copy that was made, the
    /// pages of those that were called after it. To be called between frames.
    pub fn copy(&mut self, since: Option<CopyMark>) -> GuestCopy {
        let since = since.filter(|&since| self.copied == Some(since));
        let spare = self.spare.clone();
        let shards = self.copy_shards(|shard, resident| {
            let copy = shard.copy(resident, since.is_some(), &spare);
            shard.guests.indexes().for_each(|guest| shard.guests.marks_mut(guest).changed = false);
            copy
        });
        let mark = CopyMark::next();
        self.copied = Some(mark);
        if since.is_none() {
            // More than all guests take is more than any copy needs.
            spare.clear();
        }
        GuestCopy { mark, since, shards, spare }
    }

    /// Returns a task that makes the first copy as fast as later ones. It looks only at the page table, and never at what guests have written.
    pub fn prepare_copy(&self) -> CopyPreparation {
        CopyPreparation {
            shards: self.shards.iter().filter_map(|shard| shard.guests.addresses()).collect(),
            spare: self.spare.clone(),
        }
    }

    /// Calls `work` for each shard, and returns the results in the order of the shards.
    pub(super) fn copy_shards<T: Send>(&mut self, work: impl Fn(&mut Shard, &Resident) -> T + Sync) -> Vec<T> {
        let resident = Resident::look();
        self.shards.par_iter_mut().map(|shard| work(shard, &resident)).collect()
    }
}

impl Shard {
    /// Copies the instances; if `only_changed`, only the pages of those that were called since the last copy.
    pub(super) fn copy(&mut self, resident: &Resident, only_changed: bool, spare: &SpareBlocks) -> ShardCopy {
        let mut copy = ShardCopy::default();
        let mut walk = resident.walk();
        // The pages are listed before they are copied, so that each block is allocated once.
        let mut pages = Vec::new();
        for guest in self.guests.indexes() {
            let marks = self.guests.marks(guest);
            let memory = self.guests.memory(guest).bytes();
            let memory_bytes = memory.len() as u64;
            let copied = marks.used && (!only_changed || marks.changed);
            if copied {
                let (all, _) = memory.as_chunks::<PAGE_BYTES>();
                // If the system doesn't say which pages are zero, they are looked at, because there are too many to copy them all.
                let is_copied = |&page: &u32| !resident.is_blind() || !is_zero(&all[page as usize]);
                pages.extend(touched(&mut walk, memory).filter(is_copied).map(|page| (guest, page)));
            }
            copy.copied.push(copied);
            let columns = &mut copy.agents;
            columns.slots.push(self.first_slot + guest);
            columns.used.push(marks.used);
            columns.memory_bytes.push(memory_bytes);
            columns.shown.push(self.shown.get(guest.index()).copied().unwrap_or(0));
            let words = columns.globals.len();
            if marks.used {
                self.guests.read_globals(guest, &mut columns.globals);
            }
            columns.words.push((columns.globals.len() - words) as u32);
        }
        copy.blocks = pages.chunks(BLOCK_PAGES).map(|pages| self.block(pages, spare)).collect();
        copy
    }

    fn block(&self, pages: &[(GuestIndex, u32)], spare: &SpareBlocks) -> PageBlock {
        let mut bytes = spare.block(pages.len() * PAGE_BYTES);
        for &(guest, page) in pages {
            let memory = self.guests.memory(guest).bytes();
            bytes.extend_from_slice(&memory[page as usize * PAGE_BYTES..][..PAGE_BYTES]);
        }
        PageBlock {
            slots: pages.iter().map(|&(guest, _)| self.first_slot + guest).collect(),
            pages: pages.iter().map(|&(_, page)| page).collect(),
            bytes,
        }
    }
}

/// Returns the numbers of the pages of a memory that may hold something else than zeros.
pub(super) fn touched(walk: &mut Walk<'_>, memory: &[u8]) -> impl Iterator<Item = u32> {
    // A memory's size is a multiple of 64 KiB.
    let addresses = memory.as_ptr_range();
    let (base, end) = (addresses.start.addr(), addresses.end.addr());
    let mut from = base;
    std::iter::from_fn(move || {
        let at = walk.next_touched(from..end)?;
        from = at + PAGE_BYTES;
        Some(((at - base) / PAGE_BYTES) as u32)
    })
}
