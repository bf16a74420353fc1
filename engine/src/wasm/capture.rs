//! What a snapshot holds of the guests: of each instance its memory, its mutable globals, and what the host knows of it besides.
//! Nothing else of an instance can change: validation sees to it.
//!
//! ```text
//! instance as it was made     nothing: its module says what it holds
//! any other                   size, globals, shown regions, and the pages that aren't zero
//! incremental                 of the pages those that the last capture didn't have like this, and which ones became zero
//! ```
//!
//! A capture is split by shards and stands in the order of the slots, whoever did which. Its digest covers all guests, and is the
//! same for a full one, an incremental one, and after a restore.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use wasm_engine_components::Digest;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::{
    WasmRuntime,
    pages::{PAGE_BYTES, PageTracker, ShardPages, is_zero, page_hash},
    resident::{Resident, Walk},
    shard::Shard,
};

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
    pub zeroed: Vec<(u32, u32)>,
}

/// What a capture holds of each instance that there is, in the order of the slots: a column for each thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceColumns {
    /// Its slot.
    pub slots: Vec<u32>,
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
    pub slots: Vec<u32>,
    /// The number of the page in its memory.
    pub pages: Vec<u32>,
    /// What they hold, [`PAGE_BYTES`] each.
    pub bytes: Vec<u8>,
}

impl InstanceColumns {
    fn append(&mut self, other: &mut Self) {
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

/// What a shard gives to a capture.
#[derive(Default)]
pub(super) struct ShardCapture {
    agents: InstanceColumns,
    blocks: Vec<PageBlock>,
    zeroed: Vec<(u32, u32)>,
    /// Sum of the agents' digests.
    sum: u128,
    tracked: ShardPages,
}

/// Of which pages a scan keeps the contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    Changed,
    None,
}

impl WasmRuntime {
    /// Captures the guests, on the threads of the current pool. To be called between frames.
    ///
    /// The first capture with a tracker is a full one, whether or not `full` asks for it. A tracker is for one runtime, until
    /// that is restored.
    pub fn capture(&mut self, tracker: &mut PageTracker, full: bool) -> GuestCapture {
        let before = tracker.shards.take().filter(|shards| shards.len() == self.shards.len());
        let full = full || before.is_none();
        let (capture, tracked) = self.scan(before, if full { Keep::All } else { Keep::Changed });
        tracker.shards = Some(tracked);
        GuestCapture { full, ..capture }
    }

    /// Reads all guests. What isn't to be kept is hashed all the same.
    pub(super) fn scan(&mut self, before: Option<Vec<ShardPages>>, keep: Keep) -> (GuestCapture, Vec<ShardPages>) {
        let mut before = before.unwrap_or_default();
        before.resize_with(self.shards.len(), ShardPages::default);
        let resident = Resident::look();
        let shards = self.shards.par_iter_mut().zip(&before);
        let parts: Vec<_> = shards.map(|(shard, before)| shard.scan(&resident, before, keep)).collect();
        let mut capture = GuestCapture::default();
        let mut tracked = Vec::with_capacity(parts.len());
        let mut sum = 0_u128;
        for mut part in parts {
            capture.agents.append(&mut part.agents);
            capture.pages.append(&mut part.blocks);
            capture.zeroed.append(&mut part.zeroed);
            sum = sum.wrapping_add(part.sum);
            tracked.push(part.tracked);
        }
        capture.digest = Digest(xxh3_128_with_seed(&sum.to_le_bytes(), xxh3_64(b"wasm-engine guests")));
        (capture, tracked)
    }
}

impl Shard {
    fn scan(&mut self, resident: &Resident, before: &ShardPages, keep: Keep) -> ShardCapture {
        let mut part = ShardCapture::default();
        part.tracked.pages.reserve(before.pages.len());
        part.tracked.hashes.reserve(before.hashes.len());
        let mut walk = resident.walk();
        let mut words = Vec::new();
        for at in 0..self.hot.len() {
            let slot = self.first_slot + at as u32;
            let used = self.hot[at].used;
            let shown = self.shown.get(at).copied().unwrap_or(0);
            // SAFETY: the shard is borrowed and runs nothing; the slice ends with this turn.
            let memory = unsafe { self.hot[at].slot.bytes() };
            words.clear();
            let first = part.tracked.pages.len();
            if used {
                self.program.recipe.state.read_globals(&mut self.store, self.cold[at].instance, &mut words);
                part.pages(&mut walk, slot, memory, before.of(at), keep);
                let own = (&part.tracked.pages[first..], &part.tracked.hashes[first..]);
                part.sum = part.sum.wrapping_add(agent_digest(slot, memory.len() as u64, shown, &words, own));
            }
            part.tracked.ends.push(part.tracked.pages.len() as u32);
            if keep == Keep::Changed {
                part.zeroed(slot, before.of(at).0, first);
            }
            part.agents.slots.push(slot);
            part.agents.used.push(used);
            part.agents.memory_bytes.push(memory.len() as u64);
            part.agents.shown.push(shown);
            part.agents.words.push(words.len() as u32);
            part.agents.globals.extend_from_slice(&words);
        }
        part
    }
}

impl ShardCapture {
    /// Goes through a memory, given what its pages were before.
    fn pages(&mut self, walk: &mut Walk<'_>, slot: u32, memory: &[u8], before: (&[u32], &[u128]), keep: Keep) {
        // A memory's size is a multiple of 64 KiB.
        let (pages, _) = memory.as_chunks::<PAGE_BYTES>();
        let mut old = before.0.iter().zip(before.1).peekable();
        for (page, number) in pages.iter().zip(0_u32..) {
            if !walk.is_touched(page.as_ptr().addr()) || is_zero(page) {
                continue;
            }
            let hash = page_hash(page);
            self.tracked.pages.push(number);
            self.tracked.hashes.push(hash);
            while old.next_if(|&(&old, _)| old < number).is_some() {}
            let same = old.next_if(|&(&old, _)| old == number).is_some_and(|(_, &old)| old == hash);
            if keep == Keep::All || keep == Keep::Changed && !same {
                self.keep(slot, number, page);
            }
        }
    }

    fn keep(&mut self, slot: u32, number: u32, page: &[u8; PAGE_BYTES]) {
        if self.blocks.last().is_none_or(|block| block.pages.len() == BLOCK_PAGES) {
            self.blocks.push(PageBlock::default());
        }
        if let Some(block) = self.blocks.last_mut() {
            block.slots.push(slot);
            block.pages.push(number);
            block.bytes.extend_from_slice(page);
        }
    }

    /// Notes which pages of an agent are no longer among those that aren't zero, which begin at `first`.
    fn zeroed(&mut self, slot: u32, before: &[u32], first: usize) {
        let now = &self.tracked.pages[first..];
        let gone = before.iter().filter(|number| now.binary_search(number).is_err());
        self.zeroed.extend(gone.map(|&number| (slot, number)));
    }
}

/// The digest of an agent that isn't as it was made. Those that are have none: it makes no difference whether they exist.
fn agent_digest(slot: u32, memory_bytes: u64, shown: u64, globals: &[u64], pages: (&[u32], &[u128])) -> u128 {
    let mut bytes = Vec::with_capacity(24 + 8 * globals.len() + 20 * pages.0.len());
    bytes.extend_from_slice(&memory_bytes.to_le_bytes());
    bytes.extend_from_slice(&shown.to_le_bytes());
    bytes.extend_from_slice(&(globals.len() as u64).to_le_bytes());
    for word in globals {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for (number, hash) in pages.0.iter().zip(pages.1) {
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&hash.to_le_bytes());
    }
    // Slots have domains of their own: two agents that swap their memories are another state.
    xxh3_128_with_seed(&bytes, u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
