//! Exit statuses: the one place that says what each of them is. Every command returns a [`Status`], and `docs/CLI.md` has the table.

use std::process::ExitCode;

use wasm_engine_core::problem::RunError;
use wasm_engine_core::time_travel::FollowError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It did what it was asked to: 0.
    Done,
    /// Something that the scenario expects doesn't hold, or two runs aren't the same: 1.
    Unmet,
    /// What it was given is bad: 2. The same as clap's own for a bad command line.
    Input,
    /// The machine failed: a disk, memory, threads, a library that can't be had: 3.
    Machine,
    /// This signal ended it before it was done: 128 and the signal's number, which is 130 for SIGINT and 143 for SIGTERM.
    Signal(u8),
}

impl Status {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unmet => 1,
            Self::Input => 2,
            Self::Machine => 3,
            Self::Signal(number) => 128 + number % 128,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

impl From<&RunError> for Status {
    fn from(error: &RunError) -> Self {
        match error {
            RunError::Input(_) => Self::Input,
            RunError::Failed(_) => Self::Machine,
        }
    }
}

impl From<&FollowError> for Status {
    fn from(stop: &FollowError) -> Self {
        match stop {
            FollowError::Error(error) => error.into(),
            FollowError::Diverged(_) => Self::Unmet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_core::problem::Problem;

    #[test]
    fn each_way_to_end_has_its_status() {
        let input = Status::from(&RunError::Input(Problem::new("x")));
        let machine = Status::from(&FollowError::Error(RunError::Failed(Problem::new("x"))));
        let all = [Status::Done, Status::Unmet, input, machine, Status::Signal(2), Status::Signal(15)];
        assert_eq!(all.map(Status::code), [0, 1, 2, 3, 130, 143]);
    }
}
