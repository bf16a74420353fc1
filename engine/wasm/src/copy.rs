//! A copy of all guests at one moment. It is all that a run is stopped for when a snapshot is taken: which pages have changed and what the
//! digest is, is found out afterwards, on another thread (`capture`).

use core::ops::Range;

use rayon::prelude::*;

use super::{
    WasmRuntime,
    captured::{BLOCK_PAGES, InstanceColumns, PageBlock, SpareBlocks},
    pages::{CopyMark, PAGE_BYTES, is_zero},
    resident::{Resident, Walk},
    shard::Shard,
};

/// All guests as they were between two frames, or those that were called since an earlier copy.
#[derive(Clone, Debug)]
pub struct GuestCopy {
    pub(super) mark: CopyMark,
    /// The copy that holds the pages of those that weren't called since. `None` where all pages are here.
    pub(super) since: Option<CopyMark>,
    pub(super) shards: Vec<ShardCopy>,
    pub(super) spare: SpareBlocks,
}

impl GuestCopy {
    /// Where its memory may go once it isn't needed.
    pub fn spare(&self) -> SpareBlocks {
        self.spare.clone()
    }

    /// What the next copy can go on from.
    pub const fn mark(&self) -> CopyMark {
        self.mark
    }

    /// How many pages it holds.
    pub fn page_count(&self) -> usize {
        self.shards.iter().flat_map(|shard| &shard.blocks).map(|block| block.pages.len()).sum()
    }
}

/// Gets memory for a first copy, which there is no earlier one's for: on another thread, while frames go on.
#[derive(Clone, Debug)]
pub struct CopyPreparation {
    /// Where the shards' memories lie.
    shards: Vec<Range<usize>>,
    spare: SpareBlocks,
}

impl CopyPreparation {
    /// Has the system give as much memory as a copy of all would take now, and an eighth more, for what is touched until then.
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
                // Written to, or the system would only promise it.
                let bytes = vec![1; of_block * PAGE_BYTES];
                self.spare.put([PageBlock { bytes, ..PageBlock::default() }]);
            }
        }
    }
}

/// A shard's instances.
#[derive(Clone, Debug, Default)]
pub(super) struct ShardCopy {
    pub agents: InstanceColumns,
    /// For each instance, whether its pages are here: all that aren't zero, and some that are. If not, they are what they were.
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
            (0..shard.guests.len()).for_each(|at| shard.guests.marks_mut(at).changed = false);
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

    /// What makes the first copy as fast as later ones. It looks at the page table alone, and never at what guests have written.
    pub fn prepare_copy(&self) -> CopyPreparation {
        CopyPreparation {
            shards: self.shards.iter().filter_map(|shard| shard.guests.addresses()).collect(),
            spare: self.spare.clone(),
        }
    }

    /// What `work` makes of each shard, in their order.
    pub(super) fn copy_shards<T: Send>(&mut self, work: impl Fn(&mut Shard, &Resident) -> T + Sync) -> Vec<T> {
        let resident = Resident::look();
        self.shards.par_iter_mut().map(|shard| work(shard, &resident)).collect()
    }
}

impl Shard {
    /// Copies its instances; where `only_changed`, the pages of those only that were called since the last copy.
    pub(super) fn copy(&mut self, resident: &Resident, only_changed: bool, spare: &SpareBlocks) -> ShardCopy {
        let mut copy = ShardCopy::default();
        let mut walk = resident.walk();
        // Known before they are copied, so that each block is allocated once.
        let mut pages = Vec::new();
        for at in 0..self.guests.len() {
            let marks = self.guests.marks(at);
            let memory = self.guests.memory(at).bytes();
            let memory_bytes = memory.len() as u64;
            let copied = marks.used && (!only_changed || marks.changed);
            if copied {
                let (all, _) = memory.as_chunks::<PAGE_BYTES>();
                // Where it isn't known which ones are zero, they are looked at: there are too many to be copied.
                let is_copied = |&page: &u32| !resident.is_blind() || !is_zero(&all[page as usize]);
                pages.extend(touched(&mut walk, memory).filter(is_copied).map(|page| (at as u32, page)));
            }
            copy.copied.push(copied);
            let columns = &mut copy.agents;
            columns.slots.push(self.first_slot + at as u32);
            columns.used.push(marks.used);
            columns.memory_bytes.push(memory_bytes);
            columns.shown.push(self.shown.get(at).copied().unwrap_or(0));
            let words = columns.globals.len();
            if marks.used {
                self.guests.read_globals(at, &mut columns.globals);
            }
            columns.words.push((columns.globals.len() - words) as u32);
        }
        copy.blocks = pages.chunks(BLOCK_PAGES).map(|pages| self.block(pages, spare)).collect();
        copy
    }

    fn block(&self, pages: &[(u32, u32)], spare: &SpareBlocks) -> PageBlock {
        let mut bytes = spare.block(pages.len() * PAGE_BYTES);
        for &(at, page) in pages {
            let memory = self.guests.memory(at as usize).bytes();
            bytes.extend_from_slice(&memory[page as usize * PAGE_BYTES..][..PAGE_BYTES]);
        }
        PageBlock {
            slots: pages.iter().map(|&(at, _)| self.first_slot + at).collect(),
            pages: pages.iter().map(|&(_, page)| page).collect(),
            bytes,
        }
    }
}

/// The numbers of a memory's pages that may hold anything but zeros.
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
