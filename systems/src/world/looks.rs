//! How much a frame looks at, counted where that is done, in the builds of the tests of costs alone.

use std::cell::Cell;

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// Counts so many looks at agents, members, runs of them or messages. A frame's systems run on one thread.
pub(crate) fn look(times: usize) {
    LOOKS.set(LOOKS.get() + times as u64);
}

/// How many looks were counted since the last call.
pub(crate) fn take() -> u64 {
    LOOKS.take()
}
