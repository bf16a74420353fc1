//! Exit statuses: the one place that says what each of them is. Every command returns a [`Status`]; that of an error follows from its
//! [`ErrorKind`], and `docs/CLI.md` has the table.

use std::process::ExitCode;

use wasm_engine_core::problem::ErrorKind;

/// Result of a command, from which its exit status follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It did what it was asked to.
    Done,
    /// It didn't, or not all of it, and this is at fault.
    Failed(ErrorKind),
    /// This signal ended it before it was done.
    Signal(u8),
}

impl Status {
    /// Returns the number. Bad input has the same as clap's own for a bad command line. That of a signal is 128 and the signal's number,
    /// which is 130 for SIGINT and 143 for SIGTERM.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed(ErrorKind::Unmet) => 1,
            Self::Failed(ErrorKind::Input) => 2,
            Self::Failed(ErrorKind::Machine) => 3,
            Self::Signal(number) => 128 + number % 128,
        }
    }
}

impl From<ErrorKind> for Status {
    fn from(kind: ErrorKind) -> Self {
        Self::Failed(kind)
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_core::problem::{Problem, RunError};
    use wasm_engine_core::time_travel::FollowError;

    #[test]
    fn each_way_to_end_has_its_status() {
        let input = RunError::from(Problem::new("x")).kind();
        let machine = FollowError::Error(RunError::of_machine(Problem::new("x"))).kind();
        let failed = [ErrorKind::Unmet, input, machine].map(Status::from);
        let all = [Status::Done, failed[0], failed[1], failed[2], Status::Signal(2), Status::Signal(15)];
        assert_eq!(all.map(Status::code), [0, 1, 2, 3, 130, 143]);
    }
}
