//! The time that a model has in a frame, and the part of each of its rows, for [`super::batch`].
//!
//! The time of runs is added up over all threads, so a row's part doesn't depend on their number, nor on other models.
//!
//! If recorded rows are computed again, none of this applies, because the record says which of them have a result.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::limits::Deadline;
use super::watchdog::Halt;

/// Time of all runs of a model in a frame, as a multiple of the limit of one run.
const FRAME_RUNS: u32 = 10;
/// The part of that multiple that is for the first run of each row. The rest is for rows that weren't done in it.
const FIRST_RUNS: u32 = 5;

/// Run of a row: the first one, or one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chance {
    /// The first run, which has at least this time, whatever other rows took.
    First {
        /// The time.
        least: Duration,
    },
    /// One more, after the first runs of all others.
    Second {
        /// The time that the first run had.
        had: Duration,
    },
}

/// The time that a model has in a frame: ten times the limit of a run. First, the rows share half of it: each has an equal part of what is left,
/// at most the limit, and at least what its caller says. Rows that weren't done in that share the rest, after all others,
/// as long as each can have twice what it had. So a slow row takes no time from quick ones, whoever asked first.
pub(crate) struct Patience {
    limit: Duration,
    /// Whether each run has the whole limit, whatever the others take.
    unhurried: bool,
    spent_ns: AtomicU64,
    rows_left: AtomicUsize,
}

impl Patience {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit, unhurried: false, spent_ns: AtomicU64::new(0), rows_left: AtomicUsize::new(0) }
    }

    /// Returns unbounded time for the frame: each run has the whole limit.
    pub(crate) const fn unhurried(limit: Duration) -> Self {
        Self { unhurried: true, ..Self::new(limit) }
    }

    /// Adds rows that will be run.
    pub(crate) fn expect(&self, rows: usize) {
        self.rows_left.fetch_add(rows, Ordering::Relaxed);
    }

    /// Notes that `rows` rows have a result, or won't get one for now.
    pub(crate) fn done(&self, rows: usize) {
        self.rows_left.fetch_sub(rows, Ordering::Relaxed);
    }

    /// Does a run of `rows` rows, if there is time.
    pub(crate) fn spend(
        &self,
        rows: usize,
        chance: Chance,
        run: impl FnOnce(Deadline) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let part = match chance {
            _ if self.unhurried => self.limit,
            Chance::First { least } => self.part(rows, FIRST_RUNS).max(least).min(self.limit),
            Chance::Second { had } => {
                let part = self.part(rows, FRAME_RUNS).min(self.limit);
                if part < (had * 2).min(self.limit) {
                    return Err(Halt::TimedOut(had));
                }
                part
            }
        };
        let started = Instant::now();
        let ran = run(Deadline::part(part, self.limit));
        // A run that is ended late, because the process was stopped or the machine is busy, takes no other's time.
        let took = if matches!(ran, Err(Halt::TimedOut(_))) { part } else { started.elapsed().min(part) };
        self.spent_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        ran
    }

    /// Returns the part of `rows` rows in what is left of a multiple of the limit.
    fn part(&self, rows: usize, runs: u32) -> Duration {
        let spent = Duration::from_nanos(self.spent_ns.load(Ordering::Relaxed));
        // At most all of it: a row may be counted as done while another thread still asks.
        let parts = self.rows_left.load(Ordering::Relaxed).max(rows).max(1);
        (self.limit * runs).saturating_sub(spent).mul_f64(rows as f64 / parts as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);
    const FIRST: Chance = Chance::First { least: Duration::ZERO };

    /// A run that takes all of its time. Returns that.
    fn endless(patience: &Patience, chance: Chance) -> Duration {
        let mut had = Duration::ZERO;
        let run = |deadline: Deadline| {
            had = deadline.limit();
            Err(Halt::TimedOut(had))
        };
        let ran = patience.spend(1, chance, run);
        patience.done(1);
        assert!(matches!(ran, Err(Halt::TimedOut(_))));
        had
    }

    /// A run that takes no time. Returns what it had.
    fn quick(patience: &Patience, chance: Chance) -> Duration {
        let mut had = Duration::ZERO;
        let ran = patience.spend(1, chance, |deadline| {
            had = deadline.limit();
            Ok(())
        });
        patience.done(1);
        assert_eq!(ran, Ok(()));
        had
    }

    #[test]
    fn few_rows_have_the_limit_each() {
        let patience = Patience::new(LIMIT);
        patience.expect(5);
        assert_eq!([FIRST; 5].map(|chance| endless(&patience, chance)), [LIMIT; 5]);
    }

    /// Whoever asked first: rows that never end leave the others their parts.
    #[test]
    fn slow_rows_take_no_time_from_quick_ones() {
        let patience = Patience::new(LIMIT);
        patience.expect(1_000);
        let equal = LIMIT * 5 / 1_000;
        let same = |had: Duration| (had.as_secs_f64() / equal.as_secs_f64() - 1.0).abs() < 0.01;
        assert!((0..400).all(|_| same(endless(&patience, FIRST))));
        assert!(same(quick(&patience, FIRST)));
        // What quick ones don't need is there for those after them.
        let quickly: Duration = (0..400).map(|_| quick(&patience, FIRST)).sum();
        assert!(quickly > equal * 400);
        assert!(quick(&patience, FIRST) > equal * 2);
    }

    #[test]
    fn a_frame_has_an_end_and_each_row_its_least_time() {
        let patience = Patience::new(LIMIT);
        let rows = 1_000;
        patience.expect(rows);
        let had: Vec<Duration> = (0..rows).map(|_| endless(&patience, FIRST)).collect();
        assert!(had.iter().sum::<Duration>() <= LIMIT * 5);
        patience.expect(rows);
        let again = had.iter().map(|&had| endless(&patience, Chance::Second { had }));
        let again: Duration = again.sum();
        assert!(again > LIMIT && again <= LIMIT * 5, "{again:?}");
        // Nothing is left, but for who has a least time.
        patience.expect(3);
        assert!(endless(&patience, FIRST) < LIMIT / 100);
        let least = Duration::from_secs(3);
        assert_eq!(quick(&patience, Chance::First { least }), least);
        assert_eq!(quick(&patience, Chance::First { least: LIMIT * 2 }), LIMIT);
    }

    /// Rows that were recorded as done have a result, however many they are and whatever the others take.
    #[test]
    fn who_is_unhurried_has_the_limit_each_time() {
        let patience = Patience::unhurried(LIMIT);
        patience.expect(1_000);
        assert!((0..500).all(|_| endless(&patience, FIRST) == LIMIT && quick(&patience, FIRST) == LIMIT));
        patience.expect(1);
        assert_eq!(quick(&patience, Chance::Second { had: LIMIT }), LIMIT);
    }

    /// A row that is slow, and ends, is done beside quick ones.
    #[test]
    fn who_was_not_done_has_another_chance_with_more_time() {
        let patience = Patience::new(LIMIT);
        patience.expect(100);
        let had = endless(&patience, FIRST);
        assert!(had < LIMIT / 10);
        assert!((0..99).all(|_| quick(&patience, FIRST) >= had));
        patience.expect(1);
        assert_eq!(quick(&patience, Chance::Second { had }), LIMIT);
        let stopped = patience.spend(1, FIRST, |_| Err(Halt::Failed("why".into())));
        assert_eq!(stopped, Err(Halt::Failed("why".into())));
    }
}
