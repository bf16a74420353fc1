//! Contents of a capture: the data that a snapshot keeps of the guests, in memory that later captures use again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use wasm_engine_components::{AgentSlot, Digest};

/// Most pages of a block, which lie together in memory: 8 MiB.
pub const BLOCK_PAGES: usize = 2048;

/// The state of all guests, or what has changed of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestCapture {
    /// Whether it holds all pages that aren't zero. Otherwise it goes on from the capture before it.
    pub full: bool,
    /// Digest of all guests: their memories, sizes, globals and shown regions. It covers all pages, whether they are in this capture or not.
    pub digest: Digest,
    /// The instances.
    pub agents: InstanceColumns,
    /// Pages, in the order of slots and of page numbers: at most [`BLOCK_PAGES`] in each block, and of one shard.
    pub pages: Vec<PageBlock>,
    /// Slots and numbers of pages that were not zero at the capture before, and are now, or lie beyond the memory's end. In order.
    pub zeroed: Vec<(AgentSlot, u32)>,
}

/// Instances of a capture, in the order of the slots, as one column for each kind of data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceColumns {
    /// Slot of the instance.
    pub slots: Vec<AgentSlot>,
    /// Whether it has changed since it was made. One that hasn't has no pages and no globals here.
    pub used: Vec<bool>,
    /// Size of its memory.
    pub memory_bytes: Vec<u64>,
    /// Number of frames whose shared regions it has been shown; 0 for none, and where it reads none.
    pub shown: Vec<u64>,
    /// Number of its words in `globals`.
    pub words: Vec<u32>,
    /// Bits of the mutable globals, in the order of the module. Each has one word; a `v128` has its lower and its upper one.
    pub globals: Vec<u64>,
}

/// Some pages of agents' memories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageBlock {
    /// The agent's slot, for each page.
    pub slots: Vec<AgentSlot>,
    /// For each page, its number in the agent's memory.
    pub pages: Vec<u32>,
    /// The contents of the pages, [`PAGE_BYTES`](crate::PAGE_BYTES) each.
    pub bytes: Vec<u8>,
}

impl InstanceColumns {
    pub(super) fn append(&mut self, other: &mut Self) {
        self.slots.append(&mut other.slots);
        self.used.append(&mut other.used);
        self.memory_bytes.append(&mut other.memory_bytes);
        self.shown.append(&mut other.shown);
        self.words.append(&mut other.words);
        self.globals.append(&mut other.globals);
    }
}

impl GuestCapture {
    /// Returns the number of pages.
    pub fn page_count(&self) -> usize {
        self.pages.iter().map(|block| block.pages.len()).sum()
    }
}

/// Memory of earlier copies, to be used again. A copy to new memory takes several times as long, because of a page fault for each page.
#[derive(Clone, Debug, Default)]
pub struct SpareBlocks(Arc<Mutex<Blocks>>);

/// Blocks by their capacities.
type Blocks = BTreeMap<usize, Vec<Vec<u8>>>;

impl SpareBlocks {
    /// Takes back the memory of a capture that isn't needed any more.
    pub fn take_back(&self, capture: GuestCapture) {
        self.put(capture.pages);
    }

    pub(super) fn put(&self, blocks: impl IntoIterator<Item = PageBlock>) {
        let mut spare = self.lock();
        for PageBlock { bytes, .. } in blocks {
            spare.entry(bytes.capacity()).or_default().push(bytes);
        }
    }

    /// Returns the number of spare blocks.
    #[cfg(all(test, feature = "cranelift"))]
    pub(super) fn blocks(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    pub(super) fn block(&self, bytes: usize) -> Vec<u8> {
        // The smallest block that is large enough, and none that is much too large, so that all blocks together never take much more than the copies
        // need.
        let mut spare = self.lock();
        let fits = spare.range_mut(bytes..=bytes.saturating_mul(2)).find_map(|(_, blocks)| blocks.pop());
        drop(spare);
        let mut block = fits.unwrap_or_else(|| Vec::with_capacity(bytes));
        block.clear();
        block
    }

    /// Gives all spare memory back to the system.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
