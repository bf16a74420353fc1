//! A small map of fixed size, by image number.

/// What is open about at most `N` images. Searched from end to end: the open ones are few.
pub struct Table<V, const N: usize> {
    entries: [Option<(u64, V)>; N],
}

impl<V: Copy, const N: usize> Table<V, N> {
    /// A table without entries.
    pub const NEW: Self = Self { entries: [None; N] };

    /// The entry of `image`, which is `new` if it wasn't there; `None` when the table is full.
    pub fn entry(&mut self, image: u64, new: V) -> Option<&mut V> {
        let is_open = |entry: &Option<(u64, V)>| matches!(entry, Some((open, _)) if *open == image);
        let at = self.entries.iter().position(is_open).or_else(|| self.entries.iter().position(Option::is_none))?;
        Some(&mut self.entries.get_mut(at)?.get_or_insert((image, new)).1)
    }

    /// Closes the entry of `image`.
    pub fn remove(&mut self, image: u64) {
        for entry in &mut self.entries {
            if matches!(entry, Some((open, _)) if *open == image) {
                *entry = None;
            }
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
        assert_eq!(table.entry(7, 3), Some(&mut 3));
        assert_eq!(table.entry(9, 3), Some(&mut 1));
    }
}
