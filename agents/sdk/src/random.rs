//! Counter-based random numbers, and the counts of those that a frame's calls have drawn.

use core::cell::Cell;
use core::marker::PhantomData;

/// An endless sequence of random numbers. The n-th number is a function of key, counter, stream and n, so it doesn't matter
/// what else was drawn, by whom, and when. [`crate::Context::random`] and [`crate::Context::random_of`] make one.
#[derive(Debug)]
pub struct Random<'a> {
    key: u64,
    counter: u64,
    stream: u32,
    next: Next<'a>,
}

/// The place of the index of a sequence's next number.
#[derive(Debug)]
enum Next<'a> {
    /// In the sequence itself: each sequence begins at index 0.
    Own(u32),
    /// In the frame's cursors: all sequences of the stream share the index.
    Shared(&'a Cell<u32>),
}

impl Random<'static> {
    /// Returns the sequence of a key (the agent's), a counter (the frame, or any subject) and a stream, from its start.
    pub const fn new(key: u64, counter: u64, stream: u32) -> Self {
        Self { key, counter, stream, next: Next::Own(0) }
    }
}

impl<'a> Random<'a> {
    /// Returns the rest of a stream's sequence: the numbers that `cursors` doesn't count as drawn.
    pub(crate) fn after(cursors: &'a Cursors, key: u64, frame: u64, stream: u32) -> Self {
        Self { key, counter: frame, stream, next: Next::Shared(cursors.of(frame, stream)) }
    }

    /// Returns the next number, all 64 bits of which are random. The sequence repeats after 2^32 numbers.
    pub fn next_u64(&mut self) -> u64 {
        let index = match &mut self.next {
            Next::Own(next) => core::mem::replace(next, next.wrapping_add(1)),
            Next::Shared(next) => next.replace(next.get().wrapping_add(1)),
        };
        wasm_engine_abi::random_u64(self.key, self.counter, self.stream, index)
    }

    /// Returns the next number as a multiple of 2^-53 that is at least 0 and below 1.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Returns a number below `bound`, each equally likely; 0 if `bound` is 0. In rare cases, it draws more than once.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a 128-bit product are taken apart")]
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire, "Fast random integer generation in an interval" (2019).
        loop {
            let product = self.next_u64() as u128 * bound as u128;
            let low = product as u64;
            if low >= bound || low >= bound.wrapping_neg() % if bound == 0 { 1 } else { bound } {
                return (product >> 64) as u64;
            }
        }
    }

    /// Returns true once in `n` times on average; never if `n` is 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }
}

impl Iterator for Random<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        Some(self.next_u64())
    }
}

/// Number of streams that have a cursor of their own in a frame.
pub(crate) const STREAMS: usize = 16;

/// Counts of the numbers that the calls of one frame have drawn from each stream, so that no number is drawn twice. They lie in the
/// agent's memory, so that snapshots and restarts treat them as any other state of the agent.
#[derive(Debug)]
pub(crate) struct Cursors {
    /// The frame to which the counts belong. In another frame, all of them are 0.
    frame: Cell<u64>,
    /// Number of `streams` that are in use.
    used: Cell<usize>,
    /// Streams from which numbers were drawn, in the order of their first draws.
    streams: [Cell<u32>; STREAMS],
    /// Number of draws from each of them.
    drawn: [Cell<u32>; STREAMS],
    /// Number of draws from all further streams together. Their numbers don't repeat, but depend on each other's draws.
    rest: Cell<u32>,
}

impl Cursors {
    /// Returns the cursors of an agent that has drawn nothing yet.
    pub(crate) const fn new() -> Self {
        Self {
            frame: Cell::new(0),
            used: Cell::new(0),
            streams: [const { Cell::new(0) }; STREAMS],
            drawn: [const { Cell::new(0) }; STREAMS],
            rest: Cell::new(0),
        }
    }

    /// Returns the cursor of a stream in a frame. All counts begin anew if it isn't the frame of the counts.
    fn of(&self, frame: u64, stream: u32) -> &Cell<u32> {
        if self.frame.replace(frame) != frame {
            self.used.set(0);
            self.rest.set(0);
        }
        let used = self.used.get();
        for (known, drawn) in self.streams.iter().zip(&self.drawn).take(used) {
            if known.get() == stream {
                return drawn;
            }
        }
        let (Some(known), Some(drawn)) = (self.streams.get(used), self.drawn.get(used)) else { return &self.rest };
        known.set(stream);
        drawn.set(0);
        self.used.set(used + 1);
        drawn
    }
}

/// The place of an agent's cursors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CursorsPlace<'a> {
    /// In a static of the module, which has only one agent, so that no pointer to them is needed.
    Module(PhantomData<&'a Cursors>),
    /// In the harness of a test.
    #[cfg(not(target_arch = "wasm32"))]
    Harness(&'a Cursors),
}

impl<'a> CursorsPlace<'a> {
    /// The place of the cursors in a module.
    pub(crate) const MODULE: Self = Self::Module(PhantomData);

    #[inline(always)]
    pub(crate) const fn find(self) -> &'a Cursors {
        match self {
            Self::Module(_) => &MODULE.0,
            #[cfg(not(target_arch = "wasm32"))]
            Self::Harness(cursors) => cursors,
        }
    }
}

static MODULE: ModuleCursors = ModuleCursors(Cursors::new());

struct ModuleCursors(Cursors);

// SAFETY: a module has one thread. Natively, nothing reaches the static: only the exports use it, and nothing calls them.
unsafe impl Sync for ModuleCursors {}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    /// Draws one number.
    fn draw(cursors: &Cursors, frame: u64, stream: u32) -> u64 {
        Random::after(cursors, 7, frame, stream).next_u64()
    }

    #[test]
    fn a_stream_goes_on_and_no_other_is_moved_by_it() {
        let cursors = Cursors::new();
        let number = |frame, stream, index| wasm_engine_abi::random_u64(7, frame, stream, index);
        for frame in [0, 3, 4] {
            for index in 0..3 {
                assert_eq!(draw(&cursors, frame, 1), number(frame, 1, index));
            }
            assert_eq!(draw(&cursors, frame, 0), number(frame, 0, 0));
            assert_eq!(draw(&cursors, frame, 1), number(frame, 1, 3));
        }
    }

    #[test]
    fn sequences_of_one_stream_that_live_at_the_same_time_share_its_numbers() {
        let cursors = Cursors::new();
        let (mut first, mut second) = (Random::after(&cursors, 7, 1, 2), Random::after(&cursors, 7, 1, 2));
        let drawn = [first.next_u64(), second.next_u64(), first.next_u64()];
        let mut all = Random::new(7, 1, 2);
        assert_eq!(drawn, [all.next_u64(), all.next_u64(), all.next_u64()]);
    }

    #[test]
    fn no_number_of_a_frame_comes_twice_however_many_streams_there_are() {
        let (cursors, mut seen) = (Cursors::new(), BTreeSet::new());
        for round in 0..5 {
            for stream in 0..100 {
                assert!(seen.insert(draw(&cursors, 9, stream)), "round {round}, stream {stream}");
            }
        }
        let first = wasm_engine_abi::random_u64(7, 10, 99, 0);
        assert_eq!(draw(&cursors, 10, 99), first, "the next frame begins anew");
    }

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
