//! Counter-based random numbers.

/// An endless sequence of random numbers: the n-th is a function of key, counter, stream and n, so that it doesn't matter
/// what else was drawn, by whom, and when. [`crate::Context::random`] makes one.
#[derive(Clone, Debug)]
pub struct Random {
    key: u64,
    counter: u64,
    stream: u32,
    index: u32,
}

impl Random {
    /// The sequence of a key (the agent's), a counter (the frame, or any subject) and a stream.
    pub const fn new(key: u64, counter: u64, stream: u32) -> Self {
        Self { key, counter, stream, index: 0 }
    }

    /// The next number, all 64 bits of it random. The sequence repeats after 2^32 numbers.
    pub const fn next_u64(&mut self) -> u64 {
        let number = wasm_engine_abi::random_u64(self.key, self.counter, self.stream, self.index);
        self.index = self.index.wrapping_add(1);
        number
    }

    /// The next number, at least 0 and below 1, a multiple of 2^-53.
    pub const fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// The next number below `bound`, each equally likely; 0 where `bound` is 0. Draws more than once in rare cases.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a 128-bit product are taken apart")]
    pub const fn below(&mut self, bound: u64) -> u64 {
        // Lemire, "Fast random integer generation in an interval" (2019).
        loop {
            let product = self.next_u64() as u128 * bound as u128;
            let low = product as u64;
            if low >= bound || low >= bound.wrapping_neg() % if bound == 0 { 1 } else { bound } {
                return (product >> 64) as u64;
            }
        }
    }

    /// True once in `n` times on average; never where `n` is 0.
    pub const fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }
}

impl Iterator for Random {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        Some(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_abi_s() {
        let mut random = Random::new(7, 3, 1);
        for index in 0..4 {
            assert_eq!(random.next_u64(), wasm_engine_abi::random_u64(7, 3, 1, index));
        }
    }

    #[test]
    fn bounds_hold_and_every_value_occurs() {
        let mut random = Random::new(1, 2, 3);
        let mut seen = [0_u32; 6];
        for _ in 0..6_000 {
            seen[usize::try_from(random.below(6)).expect("below 6")] += 1;
            let number = random.next_f64();
            assert!((0.0..1.0).contains(&number));
        }
        assert!(seen.iter().all(|&count| (850..1_150).contains(&count)), "{seen:?}");
        assert_eq!((random.below(0), random.below(1)), (0, 0));
        assert!(random.one_in(1) && !random.one_in(0));
    }
}
