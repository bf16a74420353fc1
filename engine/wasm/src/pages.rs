//! Pages of guests' memories in captures: 4 KiB each, identified by a hash of 128 bits, left out if they are zero.
//!
//! An incremental capture leaves out pages whose hash is that of the capture before. With 128 bits, a change is practically never
//! missed: after 10^18 changed pages, the odds are one in 10^20. xxh3 doesn't prevent a guest from forging two pages with one hash, but
//! such a guest only spoils what is saved of its own memory.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_128;

/// Size of a page in bytes. It is part of the format of snapshots.
pub const PAGE_BYTES: usize = 4096;

/// Number of copies that this process has made.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// Identifies one copy of a runtime's guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyMark(u64);

impl CopyMark {
    /// Returns a mark that no other copy of this process has.
    pub(super) fn next() -> Self {
        Self(COPIES.fetch_add(1, Ordering::Relaxed))
    }
}

/// The hashes of all guests' pages at the last capture, from which the next one knows what has changed. It takes some 20 bytes for each
/// page that isn't zero.
#[derive(Debug, Default)]
pub struct PageTracker {
    /// The copy that the last capture was made of; `None` before the first.
    pub(super) mark: Option<CopyMark>,
    /// Pages of each shard.
    pub(super) shards: Vec<ShardPages>,
}

/// The pages of a shard's instances that aren't zero.
#[derive(Debug, Default)]
pub(super) struct ShardPages {
    /// For each instance, the end of its pages in the other lists.
    pub ends: Vec<u32>,
    /// Numbers of the pages, ascending for each instance.
    pub pages: Vec<u32>,
    /// Hashes of the pages.
    pub hashes: Vec<u128>,
}

impl ShardPages {
    /// Returns the pages of the instance with number `at`, and their hashes.
    pub(super) fn of(&self, at: usize) -> (&[u32], &[u128]) {
        let end = |at: usize| self.ends.get(at).map_or(self.pages.len(), |&end| end as usize);
        let range = at.checked_sub(1).map_or(0, end)..end(at);
        (&self.pages[range.clone()], &self.hashes[range])
    }
}

/// Returns whether a page is all zeros.
pub(super) fn is_zero(page: &[u8; PAGE_BYTES]) -> bool {
    // Checked in parts, because most pages that aren't zero differ in the first one.
    let (parts, _) = page.as_chunks::<256>();
    parts.iter().all(|part| {
        let (words, _) = part.as_chunks::<8>();
        words.iter().fold(0, |seen, word| seen | u64::from_ne_bytes(*word)) == 0
    })
}

/// Returns the hash of a page.
pub(super) fn page_hash(page: &[u8; PAGE_BYTES]) -> u128 {
    xxh3_128(page)
}
