//! A small map of fixed size, by image number.

/// What is open about at most `N` images. The open ones are few, side by side, and searched from end to end.
pub struct Table<V, const N: usize> {
    /// `Some` up to `open`, `None` from there on.
    entries: [Option<(u64, V)>; N],
    open: usize,
}

impl<V: Copy, const N: usize> Table<V, N> {
    /// A table without entries.
    pub const NEW: Self = Self { entries: [None; N], open: 0 };

    fn find(&self, image: u64) -> Option<usize> {
        self.entries.iter().take(self.open).position(|entry| matches!(entry, Some((open, _)) if *open == image))
    }

    /// The entry of `image`, which is `new` if it wasn't there; `None` when the table is full.
    pub fn entry(&mut self, image: u64, new: V) -> Option<&mut V> {
        let at = self.find(image).unwrap_or(self.open);
        let entry = self.entries.get_mut(at)?;
        self.open = self.open.max(at + 1);
        Some(&mut entry.get_or_insert((image, new)).1)
    }

    /// Closes the entry of `image`.
    pub fn remove(&mut self, image: u64) {
        if let Some(at) = self.find(image) {
            self.open -= 1;
            // The last one takes its place.
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
