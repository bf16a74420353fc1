//! A small map of fixed size, keyed by the number of an image.

/// The entries of at most `N` open images. They are few and lie side by side, so a search goes through all of them.
pub struct Table<V, const N: usize> {
    /// The entries: `Some` below the index `open`, `None` from there on.
    entries: [Option<(u64, V)>; N],
    open: usize,
}

impl<V: Copy, const N: usize> Table<V, N> {
    /// The table without entries.
    pub const NEW: Self = Self { entries: [None; N], open: 0 };

    fn find(&self, image: u64) -> Option<usize> {
        self.entries.iter().take(self.open).position(|entry| matches!(entry, Some((open, _)) if *open == image))
    }

    /// Returns the entry of `image`, which becomes `new` if there was none; `None` if the table is full.
    pub fn entry(&mut self, image: u64, new: V) -> Option<&mut V> {
        let at = self.find(image).unwrap_or(self.open);
        let entry = self.entries.get_mut(at)?;
        self.open = self.open.max(at + 1);
        Some(&mut entry.get_or_insert((image, new)).1)
    }

    /// Removes the entry of `image`, if there is one.
    pub fn remove(&mut self, image: u64) {
        if let Some(at) = self.find(image) {
            self.open -= 1;
            // The last entry takes its place.
            self.entries[at] = self.entries[self.open];
            self.entries[self.open] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kept_until_they_are_removed() {
        let mut table = Table::<u8, 2>::NEW;
        *table.entry(0, 5).expect("room") += 1;
        assert_eq!(table.entry(0, 5), Some(&mut 6));
        assert_eq!(table.entry(9, 1), Some(&mut 1));
        assert_eq!(table.entry(7, 1), None);
        table.remove(0);
        table.remove(0);
        assert_eq!(table.entry(9, 3), Some(&mut 1));
        assert_eq!(table.entry(7, 3), Some(&mut 3));
        table.remove(7);
        table.remove(9);
        assert_eq!(table.entry(9, 4), Some(&mut 4));
    }
}
