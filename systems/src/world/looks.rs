//! Counts how much a frame looks at: agents, members of topics, runs of them, messages. The tests of costs read the count; in builds without them,
//! [`look`] does nothing.

#[cfg(test)]
pub(crate) use counter::{look, take};

/// Counts that many looks.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn look(_: usize) {}

#[cfg(test)]
mod counter {
    use std::cell::Cell;

    thread_local! {
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts that many looks. A frame's systems run on one thread.
    pub(crate) fn look(times: usize) {
        LOOKS.set(LOOKS.get() + times as u64);
    }

    /// Returns the number of looks since the last call.
    pub(crate) fn take() -> u64 {
        LOOKS.take()
    }
}
