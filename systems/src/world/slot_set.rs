//! Sets of agents, by their slots.

use wasm_engine_components::AgentSlot;

/// A set of slots, which are iterated in ascending order. It has a bit for each slot, and a bit for each word of those in a summary, so that a few
/// slots among many are found at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotSet {
    words: Vec<u64>,
    summary: Vec<u64>,
    len: usize,
}

/// Returns the word in which a bit lies, and the bit there.
const fn word_and_bit(number: usize) -> (usize, u64) {
    (number / 64, 1 << (number % 64))
}

impl SlotSet {
    /// Adds a slot. Returns `false` if it was there already.
    #[inline]
    pub(crate) fn insert(&mut self, slot: AgentSlot) -> bool {
        let (word, bit) = word_and_bit(slot.index());
        if word >= self.words.len() {
            self.words.resize((word + 1).next_power_of_two(), 0);
            self.summary.resize(self.words.len().div_ceil(64), 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        let (summary_word, bit) = word_and_bit(word);
        self.summary[summary_word] |= bit;
        self.len += usize::from(is_new);
        is_new
    }

    /// Removes a slot. Returns `false` if it wasn't there.
    pub(crate) fn remove(&mut self, slot: AgentSlot) -> bool {
        if !self.contains(slot) {
            return false;
        }
        let (word, bit) = word_and_bit(slot.index());
        self.words[word] &= !bit;
        if self.words[word] == 0 {
            let (summary_word, bit) = word_and_bit(word);
            self.summary[summary_word] &= !bit;
        }
        self.len -= 1;
        true
    }

    /// Returns whether a slot is in the set.
    #[inline]
    pub(crate) fn contains(&self, slot: AgentSlot) -> bool {
        let (word, bit) = word_and_bit(slot.index());
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Returns whether the set is empty.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the slots, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = AgentSlot> + '_ {
        let summary: &[u64] = if self.is_empty() { &[] } else { &self.summary };
        let words = summary.iter().zip(0..).flat_map(|(&bits, word)| bits_of(bits, word));
        words.flat_map(|word| bits_of(self.words[word], word)).map(AgentSlot::of)
    }

    /// Removes all slots, and returns them, ascending.
    pub(crate) fn drain(&mut self) -> Vec<AgentSlot> {
        let all: Vec<AgentSlot> = self.iter().collect();
        for slot in &all {
            let (word, _) = word_and_bit(slot.index());
            self.words[word] = 0;
            self.summary[word / 64] = 0;
        }
        self.len = 0;
        all
    }
}

/// Returns the numbers of the bits that are set in a word.
fn bits_of(mut bits: u64, word: usize) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(word * 64 + bit as usize)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set_in_order() {
        let (mut set, mut expected) = (SlotSet::default(), BTreeSet::new());
        let mut number = 1_u64;
        for turn in 0..20_000_u32 {
            number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let slot = AgentSlot((number >> 40) as u32 % if turn % 3 == 0 { 70 } else { 300_000 });
            if number >> 63 == 0 {
                assert_eq!(set.insert(slot), expected.insert(slot));
            } else {
                assert_eq!(set.remove(slot), expected.remove(&slot));
            }
            assert_eq!((set.len, set.contains(slot)), (expected.len(), expected.contains(&slot)));
        }
        assert!(set.iter().eq(expected.iter().copied()));
        assert_eq!(set.drain(), expected.into_iter().collect::<Vec<_>>());
        assert!(set.is_empty() && set.iter().next().is_none() && !set.contains(AgentSlot(u32::MAX)));
    }
}
