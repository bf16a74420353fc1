//! Pages of guests' memories, as captures see them: 4 KiB each, known by a hash of 128 bits, left out where they are zero.
//!
//! An incremental capture leaves out the pages whose hash is the one of the capture before. 128 bits put it out of the question
//! that a change goes unseen: after 10^18 changed pages, the odds are one in 10^20. A guest that forges two pages with one hash, as
//! xxh3 isn't made to prevent, spoils what is saved of its own memory, and nobody else's.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_128;

/// Bytes of a page: what captures compare and hold. A part of the format of snapshots.
pub const PAGE_BYTES: usize = 4096;

/// How many copies were made by this process.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// Names one copy of a runtime's guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyMark(u64);

impl CopyMark {
    /// Names a copy that no other one of this process is named.
    pub(super) fn next() -> Self {
        Self(COPIES.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the pages of all guests were at the last capture: how the next one knows what has changed. Some 20 bytes for each page
/// that isn't zero.
#[derive(Debug, Default)]
pub struct PageTracker {
    /// The copy that the last capture was made of; `None` before the first.
    pub(super) mark: Option<CopyMark>,
    /// One for each shard.
    pub(super) shards: Vec<ShardPages>,
}

/// The pages of a shard's instances that aren't zero.
#[derive(Debug, Default)]
pub(super) struct ShardPages {
    /// For each instance, where its pages end.
    pub ends: Vec<u32>,
    /// Their numbers, ascending for each instance.
    pub pages: Vec<u32>,
    /// Their hashes.
    pub hashes: Vec<u128>,
}

impl ShardPages {
    /// The pages of the instance with number `at`, and their hashes.
    pub(super) fn of(&self, at: usize) -> (&[u32], &[u128]) {
        let end = |at: usize| self.ends.get(at).map_or(self.pages.len(), |&end| end as usize);
        let range = at.checked_sub(1).map_or(0, end)..end(at);
        (&self.pages[range.clone()], &self.hashes[range])
    }
}

/// Whether a page holds nothing but zeros.
pub(super) fn is_zero(page: &[u8; PAGE_BYTES]) -> bool {
    // By parts: most pages that aren't zero show it at once.
    let (parts, _) = page.as_chunks::<256>();
    parts.iter().all(|part| {
        let (words, _) = part.as_chunks::<8>();
        words.iter().fold(0, |seen, word| seen | u64::from_ne_bytes(*word)) == 0
    })
}

/// The hash of a page.
pub(super) fn page_hash(page: &[u8; PAGE_BYTES]) -> u128 {
    xxh3_128(page)
}
