//! Captures: what a snapshot holds of the guests, which is the memory and the mutable globals of each instance, and what the host knows of it
//! besides. Validation makes sure that nothing else of an instance can change.
//!
//! ```text
//! instance as it was made     nothing: its module says what it holds
//! any other                   size, globals, shown regions, and the pages that aren't zero
//! incremental                 only those pages that differ from the last capture, and the numbers of those that became zero
//! ```
//!
//! A capture is made from a copy (`copy`): the run stops only while the copy is made. It is in the order of the slots, whichever thread copied
//! which shard. Its digest covers all guests, and is the same for a full capture, an incremental one, and after a restore.

use wasm_engine_components::{AgentSlot, Digest};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::{
    WasmRuntime,
    captured::{GuestCapture, InstanceColumns, PageBlock, SpareBlocks},
    copy::{GuestCopy, ShardCopy, touched},
    guest_error::GuestStateError,
    pages::{PAGE_BYTES, PageTracker, ShardPages, is_zero, page_hash},
    resident::Resident,
    shard::Shard,
};

/// The part of a capture that comes from one shard.
#[derive(Default)]
struct ShardCapture {
    agents: InstanceColumns,
    blocks: Vec<PageBlock>,
    zeroed: Vec<(AgentSlot, u32)>,
    /// Sum of the agents' digests.
    sum: u128,
    tracked: ShardPages,
}

impl GuestCopy {
    /// Makes a capture of the copy, on this thread. `tracker` knows the pages of the copy before this one, and afterwards those of this one.
    ///
    /// # Errors
    /// The copy goes on from another copy than the last one that the tracker has seen.
    pub fn capture(self, tracker: &mut PageTracker) -> Result<GuestCapture, GuestStateError> {
        let Self { mark, since, shards, spare } = self;
        let full = since.is_none();
        if !full && since != tracker.mark {
            return Err(GuestStateError::Chain);
        }
        let mut before = core::mem::take(&mut tracker.shards);
        before.resize_with(shards.len(), ShardPages::default);
        let parts = shards.into_iter().zip(&before).map(|(shard, before)| shard.capture(before, full)).collect();
        let (capture, shards) = joined(parts, full, &spare);
        *tracker = PageTracker { mark: Some(mark), shards };
        Ok(capture)
    }
}

impl WasmRuntime {
    /// Captures all guests at once, on the threads of the current pool. To be called between frames.
    pub fn capture(&mut self) -> GuestCapture {
        let (nothing, spare) = <(ShardPages, SpareBlocks)>::default();
        let parts = self.copy_shards(|shard, resident| shard.copy(resident, false, &spare).capture(&nothing, true));
        joined(parts, true, &spare).0
    }

    /// Returns the digest that a capture would have.
    pub fn memory_digest(&mut self) -> Digest {
        digest(self.copy_shards(|shard, resident| shard.digest(resident)))
    }
}

/// Joins the parts of all shards. Blocks that have no pages left go to `spare`.
fn joined(parts: Vec<ShardCapture>, full: bool, spare: &SpareBlocks) -> (GuestCapture, Vec<ShardPages>) {
    let mut capture = GuestCapture { full, ..GuestCapture::default() };
    capture.digest = digest(parts.iter().map(|part| part.sum));
    let mut tracked = Vec::with_capacity(parts.len());
    for mut part in parts {
        capture.agents.append(&mut part.agents);
        spare.put(part.blocks.extract_if(.., |block| block.pages.is_empty()));
        capture.pages.append(&mut part.blocks);
        capture.zeroed.append(&mut part.zeroed);
        tracked.push(part.tracked);
    }
    (capture, tracked)
}

fn digest(sums: impl IntoIterator<Item = u128>) -> Digest {
    let sum = sums.into_iter().fold(0_u128, u128::wrapping_add);
    Digest(xxh3_128_with_seed(&sum.to_le_bytes(), xxh3_64(b"wasm-engine guests")))
}

impl Shard {
    /// Returns the sum of the agents' digests. Nothing is copied.
    fn digest(&mut self, resident: &Resident) -> u128 {
        let mut walk = resident.walk();
        let (mut words, mut numbers, mut hashes) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
        let mut sum = 0_u128;
        for guest in self.guests.indexes() {
            if !self.guests.marks(guest).used {
                continue;
            }
            words.clear();
            numbers.clear();
            hashes.clear();
            self.guests.read_globals(guest, &mut words);
            let memory = self.guests.memory(guest).bytes();
            let (pages, _) = memory.as_chunks::<PAGE_BYTES>();
            for number in touched(&mut walk, memory) {
                let page = &pages[number as usize];
                if !is_zero(page) {
                    numbers.push(number);
                    hashes.push(page_hash(page));
                }
            }
            let shown = self.shown.get(guest.index()).copied().unwrap_or(0);
            let slot = self.first_slot + guest;
            sum = sum.wrapping_add(agent_digest(slot, memory.len() as u64, shown, &words, (&numbers, &hashes)));
        }
        sum
    }
}

impl ShardCopy {
    /// Keeps the pages that have changed since `before`, or, if `full`, all pages that aren't zero.
    fn capture(self, before: &ShardPages, full: bool) -> ShardCapture {
        let Self { agents, copied, mut blocks } = self;
        let hashes: Vec<_> = blocks.iter().flat_map(PageBlock::page_hashes).collect();
        let numbers = blocks.iter().flat_map(|block| block.slots.iter().zip(&block.pages));
        let mut pages = numbers.zip(&hashes).peekable();
        let mut kept = Vec::with_capacity(hashes.len());
        let (mut tracked, mut zeroed, mut sum) = (ShardPages::default(), Vec::new(), 0_u128);
        let mut words = agents.globals.as_slice();
        for (at, &slot) in agents.slots.iter().enumerate() {
            let (old, old_hashes) = before.of(at);
            let first = tracked.pages.len();
            if copied[at] {
                let mut old = old.iter().zip(old_hashes).peekable();
                while let Some(((_, &number), &hash)) = pages.next_if(|((of, _), _)| **of == slot) {
                    while old.next_if(|&(&old, _)| old < number).is_some() {}
                    let before = old.next_if(|&(&old, _)| old == number).map(|(_, &hash)| hash);
                    kept.push(hash.is_some() && (full || hash != before));
                    if let Some(hash) = hash {
                        tracked.pages.push(number);
                        tracked.hashes.push(hash);
                    }
                }
            } else if agents.used[at] {
                tracked.pages.extend_from_slice(old);
                tracked.hashes.extend_from_slice(old_hashes);
            }
            tracked.ends.push(tracked.pages.len() as u32);
            let now = &tracked.pages[first..];
            let gone = old.iter().filter(|number| now.binary_search(number).is_err());
            zeroed.extend(gone.map(|&number| (slot, number)));
            let (own, rest) = words.split_at(agents.words[at] as usize);
            words = rest;
            if agents.used[at] {
                let pages = (now, &tracked.hashes[first..]);
                sum = sum.wrapping_add(agent_digest(slot, agents.memory_bytes[at], agents.shown[at], own, pages));
            }
        }
        if full {
            zeroed.clear();
        }
        let mut kept = kept.into_iter();
        blocks.iter_mut().for_each(|block| block.retain(|| kept.next().unwrap_or(true)));
        ShardCapture { agents, blocks, zeroed, sum, tracked }
    }
}

impl PageBlock {
    /// Returns the hash of each page; `None` for a page that is zero.
    fn page_hashes(&self) -> impl Iterator<Item = Option<u128>> {
        self.bytes.as_chunks::<PAGE_BYTES>().0.iter().map(|page| (!is_zero(page)).then(|| page_hash(page)))
    }

    /// Keeps the pages for which `keeps` returns `true`. It is called once for each page, in their order.
    fn retain(&mut self, mut keeps: impl FnMut() -> bool) {
        let mut kept = 0;
        for at in 0..self.pages.len() {
            if !keeps() {
                continue;
            }
            if kept < at {
                (self.slots[kept], self.pages[kept]) = (self.slots[at], self.pages[at]);
                self.bytes.copy_within(at * PAGE_BYTES..(at + 1) * PAGE_BYTES, kept * PAGE_BYTES);
            }
            kept += 1;
        }
        self.slots.truncate(kept);
        self.pages.truncate(kept);
        self.bytes.truncate(kept * PAGE_BYTES);
    }
}

/// Returns the digest of an agent that has changed since it was made. An agent that hasn't contributes nothing, so that creating it only when it is
/// needed doesn't change the digest.
fn agent_digest(slot: AgentSlot, memory_bytes: u64, shown: u64, globals: &[u64], pages: (&[u32], &[u128])) -> u128 {
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
    // The slot is in the seed, so that the digest changes if two agents swap their memories.
    xxh3_128_with_seed(&bytes, u64::from(slot.0).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
