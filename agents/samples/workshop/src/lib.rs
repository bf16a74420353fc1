//! The messages between foremen and workers, and the work that a task asks for.
//!
//! ```text
//! foreman --WELCOME, with the spawn--> worker
//! foreman --TASK, a request----------> worker --RESULT, its reply--> foreman
//!                                      worker --REPORT, its last---> foreman
//! ```
//!
//! The correlation of tasks and results is the task's number, from 1.
#![cfg_attr(target_arch = "wasm32", no_std)]

/// Kind of a new worker's first message. Its payload is one byte without a meaning, because a message without a payload isn't sent.
pub const WELCOME: u32 = 1;
/// Kind of a task. Its payload is the task's number, a u64.
pub const TASK: u32 = 2;
/// Kind of a result. Its payload is [`work`] of the task's number, a u64.
pub const RESULT: u32 = 3;
/// Kind of a worker's last message. Its payload is [`Report::to_bytes`].
pub const REPORT: u32 = 4;

/// The tasks of a worker since it was initialised, counted by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of tasks that it answered.
    pub done: u32,
    /// Number of tasks that it ignored.
    pub ignored: u32,
    /// Number of tasks that it had not yet answered when it ended.
    pub left: u32,
}

impl Report {
    /// Returns the payload that holds the report.
    pub const fn to_bytes(self) -> [u8; 12] {
        let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) =
            (self.done.to_le_bytes(), self.ignored.to_le_bytes(), self.left.to_le_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Returns the report that a payload holds.
    pub const fn from_bytes([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12]) -> Self {
        Self {
            done: u32::from_le_bytes([a, b, c, d]),
            ignored: u32::from_le_bytes([e, f, g, h]),
            left: u32::from_le_bytes([i, j, k, l]),
        }
    }
}

/// Returns the result of a task: a number that takes `rounds` steps to find.
pub const fn work(number: u64, rounds: u32) -> u64 {
    let mut result = number;
    let mut round = 0;
    while round < rounds {
        // Knuth's multiplier of MMIX, and a shift that mixes the upper bits into the lower.
        result = (result ^ result >> 29).wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        round += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_depends_on_number_and_rounds() {
        assert_eq!((work(7, 0), work(0, 1), work(0, 2)), (7, 1, 0x5851_f42d_4c95_7f2e));
        assert!(work(1, 100) != work(2, 100) && work(1, 100) != work(1, 101));
    }

    #[test]
    fn a_report_is_what_it_was() {
        let report = Report { done: 3, ignored: 1, left: 2 };
        assert_eq!(Report::from_bytes(report.to_bytes()), report);
    }
}
