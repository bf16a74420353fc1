//! Random choices with the ABI's Philox, so that a seed gives the same on every machine and with every version of every crate.

use std::ops::RangeInclusive;

use wasm_engine_abi::random_u64;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    stream: u32,
    drawn: u64,
}

impl Random {
    /// Returns the stream with a number under a seed.
    pub const fn new(seed: u64, stream: u32) -> Self {
        Self { seed, stream, drawn: 0 }
    }

    /// Returns the next number.
    pub const fn number(&mut self) -> u64 {
        self.drawn += 1;
        random_u64(self.seed, self.drawn, self.stream, 0)
    }

    /// Returns a number of a range. Some are a little more likely than others, which doesn't matter here.
    pub fn of(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = (range.end() - range.start()).saturating_add(1);
        range.start() + self.number() % span
    }

    /// Returns `true` in one of `times` calls on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.number().is_multiple_of(times)
    }

    /// Returns one of several.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        assert!(!from.is_empty(), "there is something to pick from");
        &from[self.index(from.len())]
    }

    /// Returns an index below `length`, which isn't 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.number() % length as u64).unwrap_or(0)
    }

    /// Shuffles a list.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for end in (1..of.len()).rev() {
            let other = self.index(end + 1);
            of.swap(end, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_stream_give_the_same_numbers() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [(); 4].map(|()| random.number())
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert!(draw(7, 1) != draw(7, 2) && draw(7, 1) != draw(8, 1));
    }

    #[test]
    fn choices_stay_within_their_bounds() {
        let mut random = Random::new(1, 1);
        let mut seen = [false; 4];
        for _ in 0..200 {
            let number = random.of(3..=6);
            seen[usize::try_from(number - 3).unwrap()] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert!((0..99).contains(&random.of(0..=u64::MAX).min(98)));
        let mut order = [1, 2, 3, 4, 5, 6, 7, 8];
        random.shuffle(&mut order);
        assert_ne!(order, [1, 2, 3, 4, 5, 6, 7, 8]);
        order.sort_unstable();
        assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
