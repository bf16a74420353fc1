//! What a capture holds: the data that a snapshot keeps of the guests, and the memory that captures take turns with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use wasm_engine_components::{AgentSlot, Digest};

/// Pages that lie together in memory: 8 MiB.
pub const BLOCK_PAGES: usize = 2048;

/// The state of all guests, or what has changed of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestCapture {
    /// Whether it holds all pages that aren't zero. Otherwise it goes on from the capture before it.
    pub full: bool,
    /// Of all guests' memories, their sizes, globals and shown regions: of all pages, whether they are in this capture or not.
    pub digest: Digest,
    /// All instances.
    pub agents: InstanceColumns,
    /// Pages, in the order of slots and of page numbers: at most [`BLOCK_PAGES`] in each block, and of one shard.
    pub pages: Vec<PageBlock>,
    /// Slots and numbers of pages that were not zero at the capture before, and are now, or lie beyond the memory's end. In order.
    pub zeroed: Vec<(AgentSlot, u32)>,
}

/// What a capture holds of each instance that there is, in the order of the slots: a column for each thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceColumns {
    /// Its slot.
    pub slots: Vec<AgentSlot>,
    /// Whether it is no longer as it was made. If it is, it has no pages and no globals here.
    pub used: Vec<bool>,
    /// Size of its memory.
    pub memory_bytes: Vec<u64>,
    /// How many frames' shared regions it has been shown; 0 for none, and where it reads none.
    pub shown: Vec<u64>,
    /// How many words of `globals` are its own.
    pub words: Vec<u32>,
    /// Bits of the mutable globals, in the order of the module: a word each, of a `v128` the lower and the upper one.
    pub globals: Vec<u64>,
}

/// Pages of agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageBlock {
    /// The agent's slot, for each page.
    pub slots: Vec<AgentSlot>,
    /// The number of the page in its memory.
    pub pages: Vec<u32>,
    /// What they hold, [`PAGE_BYTES`](crate::PAGE_BYTES) each.
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
    /// How many pages it holds.
    pub fn page_count(&self) -> usize {
        self.pages.iter().map(|block| block.pages.len()).sum()
    }
}

/// Memory of earlier copies. A copy to memory that is new takes a page fault for each page, and several times as long.
#[derive(Clone, Debug, Default)]
pub struct SpareBlocks(Arc<Mutex<Blocks>>);

/// By their capacities.
type Blocks = BTreeMap<usize, Vec<Vec<u8>>>;

impl SpareBlocks {
    /// Takes back what a capture no longer needs.
    pub fn take_back(&self, capture: GuestCapture) {
        self.put(capture.pages);
    }

    pub(super) fn put(&self, blocks: impl IntoIterator<Item = PageBlock>) {
        let mut spare = self.lock();
        for PageBlock { bytes, .. } in blocks {
            spare.entry(bytes.capacity()).or_default().push(bytes);
        }
    }

    /// Number of spare blocks.
    #[cfg(all(test, feature = "cranelift"))]
    pub(super) fn blocks(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    pub(super) fn block(&self, bytes: usize) -> Vec<u8> {
        // The smallest that is large enough, and none that is much too large: so all of them are never much more than all copies.
        let mut spare = self.lock();
        let fits = spare.range_mut(bytes..=bytes.saturating_mul(2)).find_map(|(_, blocks)| blocks.pop());
        drop(spare);
        let mut block = fits.unwrap_or_else(|| Vec::with_capacity(bytes));
        block.clear();
        block
    }

    /// Gives all of it back to the system.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
