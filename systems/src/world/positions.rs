//! Sets of positions in the dense tables.

/// A set of positions: a bit for each, and a bit for each word of those, so that few among many are found at once. Goes through
/// them in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PositionSet {
    words: Vec<u64>,
    summary: Vec<u64>,
    len: usize,
}

/// The word of a position, and its bit there.
const fn place(position: u32) -> (usize, u64) {
    (position as usize / 64, 1 << (position % 64))
}

impl PositionSet {
    /// Adds a position; `false` if it was there.
    #[inline]
    pub(crate) fn insert(&mut self, position: u32) -> bool {
        let (word, bit) = place(position);
        if word >= self.words.len() {
            self.words.resize((word + 1).next_power_of_two(), 0);
            self.summary.resize(self.words.len().div_ceil(64), 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        // A word's place among the words is far below 2^32.
        let (at, bit) = place(word as u32);
        self.summary[at] |= bit;
        self.len += usize::from(is_new);
        is_new
    }

    /// Removes a position; `false` if it wasn't there.
    pub(crate) fn remove(&mut self, position: u32) -> bool {
        if !self.contains(position) {
            return false;
        }
        let (word, bit) = place(position);
        self.words[word] &= !bit;
        if self.words[word] == 0 {
            let (at, bit) = place(word as u32);
            self.summary[at] &= !bit;
        }
        self.len -= 1;
        true
    }

    /// Whether a position is there.
    #[inline]
    pub(crate) fn contains(&self, position: u32) -> bool {
        let (word, bit) = place(position);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether it holds none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The positions, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let summary: &[u64] = if self.is_empty() { &[] } else { &self.summary };
        let words = summary.iter().zip(0_u32..).flat_map(|(&bits, at)| bits_of(bits, at));
        words.flat_map(|at| bits_of(self.words[at as usize], at))
    }

    /// Takes out all positions, ascending.
    pub(crate) fn drain(&mut self) -> Vec<u32> {
        let all: Vec<u32> = self.iter().collect();
        for &position in &all {
            let (word, _) = place(position);
            self.words[word] = 0;
            self.summary[word / 64] = 0;
        }
        self.len = 0;
        all
    }
}

/// The numbers of the bits that are set in the word `at`.
fn bits_of(mut bits: u64, at: u32) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(at * 64 + bit)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set_in_order() {
        let (mut set, mut expected) = (PositionSet::default(), BTreeSet::new());
        let mut number = 1_u64;
        for turn in 0..20_000_u32 {
            number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let position = (number >> 40) as u32 % if turn % 3 == 0 { 70 } else { 300_000 };
            if number >> 63 == 0 {
                assert_eq!(set.insert(position), expected.insert(position));
            } else {
                assert_eq!(set.remove(position), expected.remove(&position));
            }
            assert_eq!((set.len, set.contains(position)), (expected.len(), expected.contains(&position)));
        }
        assert!(set.iter().eq(expected.iter().copied()));
        assert_eq!(set.drain(), expected.into_iter().collect::<Vec<_>>());
        assert!(set.is_empty() && set.iter().next().is_none() && !set.contains(u32::MAX));
    }
}
