//! Limits of the time and the memory that a model may take. [`super::registry`] makes them, [`super::watchdog`] enforces the times.

use std::time::{Duration, Instant};

/// Limits of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelLimits {
    /// Time for everything that is done with it before the first frame.
    pub load: Deadline,
    /// Time for each run.
    pub run: Duration,
    /// Whether each run has all of that time, however long the runs of a frame take together.
    pub unhurried: bool,
    /// Most memory of the intermediate results of a run, in bytes.
    pub memory_bytes: u64,
}

/// A time by which something must be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    begun: Instant,
    limit: Duration,
    /// Time from its beginning after which work that was told to end is overdue.
    whole: Duration,
}

impl Deadline {
    /// Returns the deadline that is this long from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self::part(limit, limit)
    }

    /// Returns the deadline that is this long from now, for work that may take longer in all.
    pub(crate) fn part(limit: Duration, whole: Duration) -> Self {
        Self { begun: Instant::now(), limit, whole }
    }

    /// Returns the time of the deadline.
    pub(crate) fn at(self) -> Instant {
        self.begun + self.limit
    }

    /// Returns how long the work may take.
    pub(crate) const fn limit(self) -> Duration {
        self.limit
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn is_passed(self, now: Instant) -> bool {
        now > self.at()
    }

    /// Returns how long the work may take, if it is overdue, so that it may be left behind.
    pub(crate) fn overdue(self, now: Instant) -> Option<Duration> {
        (now > self.begun + self.whole).then_some(self.whole)
    }

    /// Returns the earlier of this deadline and the one that is `limit` from now.
    pub(crate) fn within(self, limit: Duration) -> Self {
        let sooner = Self::after(limit);
        if sooner.at() < self.at() { sooner } else { self }
    }
}
