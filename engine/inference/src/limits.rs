//! How much time and memory work on a model may take. Made by [`super::registry`]; what is done then is up to [`super::watchdog`].

use std::time::{Duration, Instant};

/// What a model may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelLimits {
    /// For all that is done with it before the first frame.
    pub load: Deadline,
    /// For each run.
    pub run: Duration,
    /// Whether each run has all of that, however long those of a frame take together.
    pub unhurried: bool,
    /// Most memory of the intermediate results of a run, in bytes.
    pub memory_bytes: u64,
}

/// A time by which something must be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    begun: Instant,
    limit: Duration,
    /// How long it may take to notice that it is to end, from its beginning. What is overdue then is left behind.
    whole: Duration,
}

impl Deadline {
    /// From now on, this long.
    pub(crate) fn after(limit: Duration) -> Self {
        Self::part(limit, limit)
    }

    /// From now on, this long, which is a part of the time that such work may take.
    pub(crate) fn part(limit: Duration, whole: Duration) -> Self {
        Self { begun: Instant::now(), limit, whole }
    }

    /// When it is.
    pub(crate) fn at(self) -> Instant {
        self.begun + self.limit
    }

    /// How long it was from its beginning.
    pub(crate) const fn limit(self) -> Duration {
        self.limit
    }

    /// Whether it is passed.
    pub(crate) fn is_passed(self, now: Instant) -> bool {
        now > self.at()
    }

    /// How long the work may take, if it has taken longer, so that from now on nobody has to wait for it.
    pub(crate) fn overdue(self, now: Instant) -> Option<Duration> {
        (now > self.begun + self.whole).then_some(self.whole)
    }

    /// The earlier one of this and `limit` from now on.
    pub(crate) fn within(self, limit: Duration) -> Self {
        let sooner = Self::after(limit);
        if sooner.at() < self.at() { sooner } else { self }
    }
}
