//! Which pages of the arena were ever touched, as far as the system says. One that wasn't is zero; to find that out by reading it
//! costs a page fault and an entry in the page table, and most pages of most agents are such.
//!
//! Linux says it in `/proc/self/pagemap`: a word for each page, of which bit 63 is set where the page is in memory, and bit 62 where
//! it is swapped out. Where that can't be read, or says nonsense about a page that is known to be touched, all count as touched.

use std::fs::File;

/// Entries that are read at once.
const WINDOW: usize = 4096;
/// Bytes of an entry.
const ENTRY: usize = size_of::<u64>();
/// Bits of an entry: in memory, swapped out.
const TOUCHED: u64 = 0b11 << 62;

/// The page table of this process, to look at while no guest runs.
pub(super) struct Resident {
    file: Option<File>,
    page_bytes: usize,
}

/// Walks along the page table. It remembers the entries around the last page.
pub(super) struct Walk<'a> {
    file: Option<&'a File>,
    page_bytes: usize,
    /// The host's page that the first entry is about.
    first: usize,
    entries: Vec<u8>,
}

impl Resident {
    /// Opens it.
    pub(super) fn look() -> Self {
        let file = if cfg!(target_os = "linux") { File::open("/proc/self/pagemap").ok() } else { None };
        let mut resident = Self { file, page_bytes: super::arena::page_bytes() as usize };
        // On the stack, and written to: a table that doesn't say so isn't to be believed.
        let known = core::hint::black_box([1_u8; 64]);
        let mut walk = resident.walk();
        if walk.file.is_some()
            && !(walk.read(known.as_ptr().addr() / resident.page_bytes) && walk.is_touched(known.as_ptr().addr()))
        {
            resident.file = None;
        }
        resident
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { file: self.file.as_ref(), page_bytes: self.page_bytes, first: 0, entries: Vec::new() }
    }
}

impl Walk<'_> {
    /// Whether the page of the host at an address may hold anything but zeros: an address of private anonymous memory.
    #[inline]
    pub(super) fn is_touched(&mut self, address: usize) -> bool {
        if self.file.is_none() {
            return true;
        }
        let page = address / self.page_bytes;
        match self.entry(page) {
            Some(entry) => entry & TOUCHED != 0,
            None => !self.read(page) || self.entry(page).is_none_or(|entry| entry & TOUCHED != 0),
        }
    }

    #[inline]
    fn entry(&self, page: usize) -> Option<u64> {
        let at = page.checked_sub(self.first)?;
        let entry = self.entries.get(at * ENTRY..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*entry))
    }

    /// Reads the entries from a page on; whether there are any.
    #[cold]
    fn read(&mut self, page: usize) -> bool {
        self.first = page;
        self.entries.resize(WINDOW * ENTRY, 0);
        let read = self.file.map_or(0, |file| read_at(file, &mut self.entries, (page * ENTRY) as u64));
        self.entries.truncate(read);
        read >= ENTRY
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_pages_are_told_from_touched_ones() {
        let mut map = memmap2::MmapOptions::new().len(64 << 20).map_anon().unwrap();
        #[cfg(target_os = "linux")]
        map.advise(memmap2::Advice::NoHugePage).unwrap();
        let resident = Resident::look();
        let step = resident.page_bytes;
        for at in [0, 3, 511, 512, 4095, 4096, 9000] {
            map[at * step] = 1;
        }
        let base = map.as_ptr().addr();
        let mut walk = resident.walk();
        let touched: Vec<usize> = (0..map.len() / step).filter(|at| walk.is_touched(base + at * step)).collect();
        if resident.file.is_some() {
            assert_eq!(touched, [0, 3, 511, 512, 4095, 4096, 9000]);
            // Backwards, too.
            assert!(walk.is_touched(base + 3 * step + 5) && !walk.is_touched(base + 2 * step));
        } else {
            assert_eq!(touched.len(), map.len() / step);
        }
        // Without a table, all of them.
        let blind = Resident { file: None, page_bytes: step };
        assert!(blind.walk().is_touched(base + step));
    }
}
