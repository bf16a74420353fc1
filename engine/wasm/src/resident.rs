//! The pages of the arena that were ever touched, according to the system. Pages that weren't are zero. Most pages of most agents are, and finding
//! that out by reading a page would cost a page fault and an entry in the page table.
//!
//! On Linux, `/proc/self/pagemap` has it. From version 6.7 on it answers with ranges (the ioctl `PAGEMAP_SCAN`), before that with
//! a word for each page, in which bit 63 is set if the page is in memory, and bit 62 if it is swapped out. If neither works, or
//! the answer is wrong for a page that is known to be touched, all pages count as touched.

use core::ops::Range;
use std::fs::File;

use super::pages::PAGE_BYTES;

/// Bytes of the arena in one query.
const WINDOW: usize = 16 << 20;
/// Most ranges in one answer.
#[cfg(target_os = "linux")]
const RANGES_MAX: usize = 512;
/// Bytes of an entry of the page table.
const ENTRY: usize = size_of::<u64>();
/// Bits of an entry: in memory, swapped out.
const TOUCHED: u64 = 0b11 << 62;

/// Method by which the page table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// As ranges of touched pages.
    Scan,
    /// As one word for each page.
    Entries,
    /// It isn't read, and every page counts as touched.
    Blind,
}

/// The page table of this process, which is read while no guest runs.
pub(super) struct Resident {
    file: Option<File>,
    page_bytes: usize,
    method: Method,
}

/// A walk along the page table, which keeps the last answer.
pub(super) struct Walk<'a> {
    resident: &'a Resident,
    /// Addresses that `ranges` covers.
    seen: Range<usize>,
    /// Touched ranges among them, ascending.
    ranges: Vec<Range<usize>>,
    /// Index of the first range that ends behind the last address of a query.
    at: usize,
    words: Vec<u8>,
}

impl Resident {
    /// Opens the page table.
    pub(super) fn look() -> Self {
        let methods = [Method::Scan, Method::Entries, Method::Blind];
        let resident = methods.into_iter().map(Self::by).find(Self::is_sound);
        resident.unwrap_or_else(|| Self::by(Method::Blind))
    }

    fn by(method: Method) -> Self {
        let file = if cfg!(target_os = "linux") { File::open("/proc/self/pagemap").ok() } else { None };
        Self { file, page_bytes: super::arena::page_bytes() as usize, method }
    }

    /// Returns whether the page table can be read, and is right about a page that is known to be touched.
    fn is_sound(&self) -> bool {
        let known = core::hint::black_box([1_u8; 64]);
        let page = known.as_ptr().addr() / self.page_bytes * self.page_bytes;
        let mut walk = self.walk();
        walk.look(page).is_some() && walk.next_touched(page..page + self.page_bytes) == Some(page)
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { resident: self, seen: 0..0, ranges: Vec::new(), at: 0, words: Vec::new() }
    }

    /// Returns whether nothing is known, so that pages which count as touched may be zero.
    pub(super) fn is_blind(&self) -> bool {
        self.method == Method::Blind
    }
}

impl Walk<'_> {
    /// Returns the first of some addresses of private anonymous memory at which the memory may not be zero. The addresses begin at a page;
    /// the result is that address, or one at which a page of the host begins.
    #[inline]
    pub(super) fn next_touched(&mut self, addresses: Range<usize>) -> Option<usize> {
        let Range { start: mut from, end } = addresses;
        loop {
            if !self.seen.contains(&from) && self.look(from).is_none() {
                return (from < end).then_some(from);
            }
            // A query for lower addresses begins anew.
            if self.at.checked_sub(1).is_some_and(|before| self.ranges[before].end > from) {
                self.at = 0;
            }
            while self.ranges.get(self.at).is_some_and(|range| range.end <= from) {
                self.at += 1;
            }
            match self.ranges.get(self.at) {
                Some(range) if range.start < end => return Some(range.start.max(from)),
                _ if end <= self.seen.end => return None,
                _ => from = self.seen.end,
            }
        }
    }

    /// Returns how many pages of a capture's size among some addresses may not be zero.
    pub(super) fn touched_pages(&mut self, addresses: Range<usize>) -> usize {
        let (mut from, mut pages) = (addresses.start, 0);
        while let Some(at) = self.next_touched(from..addresses.end) {
            from = at + PAGE_BYTES;
            pages += 1;
        }
        pages
    }

    /// Queries the addresses from a given one on; `None` if there is no answer.
    #[cold]
    fn look(&mut self, from: usize) -> Option<()> {
        let from = from / self.resident.page_bytes * self.resident.page_bytes;
        self.ranges.clear();
        self.at = 0;
        let file = self.resident.file.as_ref()?;
        let end = match self.resident.method {
            Method::Scan => scan(file, from..from.saturating_add(WINDOW), &mut self.ranges)?,
            Method::Entries => self.read(file, from)?,
            Method::Blind => return None,
        };
        self.seen = from..end;
        (from < end).then_some(())
    }

    /// Reads the entries from a page on. Returns where they end.
    fn read(&mut self, file: &File, from: usize) -> Option<usize> {
        let page_bytes = self.resident.page_bytes;
        self.words.resize(WINDOW / page_bytes * ENTRY, 0);
        let read = read_at(file, &mut self.words, (from / page_bytes * ENTRY) as u64);
        let (entries, _) = self.words.get(..read)?.as_chunks::<ENTRY>();
        for (entry, at) in entries.iter().zip((from..).step_by(page_bytes)) {
            if u64::from_ne_bytes(*entry) & TOUCHED != 0 {
                add(&mut self.ranges, at..at + page_bytes);
            }
        }
        Some(from + entries.len() * page_bytes)
    }
}

/// Appends a range, or joins it with the last one.
fn add(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> usize {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset).unwrap_or(0)
}

#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> usize {
    0
}

/// `struct pm_scan_arg` of Linux.
#[cfg(target_os = "linux")]
#[repr(C)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    ranges: u64,
    ranges_max: u64,
    pages_max: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    returned: u64,
}
#[cfg(target_os = "linux")]
const _: () = assert!(size_of::<ScanArgument>() == 96);

/// `struct page_region` of Linux.
#[cfg(target_os = "linux")]
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}
#[cfg(target_os = "linux")]
const _: () = assert!(size_of::<PageRegion>() == 24);

/// Queries touched ranges. Returns up to where the answer goes; `None` if the system can't answer.
#[cfg(target_os = "linux")]
fn scan(file: &File, addresses: Range<usize>, ranges: &mut Vec<Range<usize>>) -> Option<usize> {
    use std::os::fd::AsRawFd as _;
    /// `_IOWR('f', 16, struct pm_scan_arg)`.
    const PAGEMAP_SCAN: u64 = 3 << 30 | (size_of::<ScanArgument>() as u64) << 16 | (b'f' as u64) << 8 | 16;
    const PRESENT: u64 = 1 << 3;
    const SWAPPED: u64 = 1 << 4;
    /// The system's page of zeros, which stands for all pages that were only read.
    const ZERO: u64 = 1 << 5;
    let mut found = [PageRegion::default(); RANGES_MAX];
    let mut argument = ScanArgument {
        size: size_of::<ScanArgument>() as u64,
        flags: 0,
        start: addresses.start as u64,
        end: addresses.end as u64,
        walk_end: 0,
        // The kernel writes to it by its address.
        ranges: found.as_mut_ptr().expose_provenance() as u64,
        ranges_max: RANGES_MAX as u64,
        pages_max: 0,
        inverted: ZERO,
        all_of: ZERO,
        any_of: PRESENT | SWAPPED,
        returned: PRESENT,
    };
    // SAFETY: the argument has the layout that the call takes, and the kernel writes no more than `RANGES_MAX` regions, to `found`.
    let count = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut argument) };
    let count = usize::try_from(count).ok()?;
    for region in found.get(..count)? {
        add(ranges, region.start as usize..region.end as usize);
    }
    Some(argument.walk_end as usize)
}

#[cfg(not(target_os = "linux"))]
fn scan(_: &File, _: Range<usize>, _: &mut Vec<Range<usize>>) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_pages_are_told_from_touched_ones() {
        let mut map = memmap2::MmapOptions::new().len(64 << 20).map_anon().unwrap();
        #[cfg(target_os = "linux")]
        map.advise(memmap2::Advice::NoHugePage).unwrap();
        let step = Resident::by(Method::Blind).page_bytes;
        let pages: Vec<usize> = (0..map.len() / step).collect();
        // Some places have more ranges than one answer holds.
        let is_some = |at: &usize| {
            [0, 3, 511, 512, 4095, 4096].contains(at)
                || at % 9 == 5
                || at.is_multiple_of(2) && (5_000..9_000).contains(at)
        };
        let some: Vec<usize> = pages.iter().copied().filter(is_some).collect();
        some.iter().for_each(|at| map[at * step] = 1);
        let (base, mut sound) = (map.as_ptr().addr(), 0);
        for method in [Method::Scan, Method::Entries, Method::Blind] {
            let resident = Resident::by(method);
            let expected = if resident.is_sound() { &some } else { &pages };
            sound += usize::from(resident.is_sound());
            let mut walk = resident.walk();
            let (mut touched, mut from) = (Vec::new(), base);
            while let Some(at) = walk.next_touched(from..base + map.len()) {
                touched.push((at - base) / step);
                from = at + step;
            }
            assert_eq!(&touched, expected, "{method:?}");
            // Page by page, and backwards.
            for &page in pages.iter().rev().step_by(7) {
                let at = base + page * step;
                let is_touched = walk.next_touched(at..at + step) == Some(at);
                assert_eq!(is_touched, expected.binary_search(&page).is_ok(), "{method:?}: {page}");
            }
            // Addresses inside of a page of the host, where its pages are larger than a capture's.
            assert_eq!(walk.next_touched(base + 3 * step..base + 4 * step), Some(base + 3 * step));
        }
        // On Linux, the table is there for every process, but for those in some sandboxes.
        let is_there = cfg!(target_os = "linux") && File::open("/proc/self/pagemap").is_ok();
        assert_eq!((sound > 0, Resident::look().is_blind()), (is_there, !is_there));
    }
}
