//! Why a run ended early.

use super::kind::ErrorKind;
use super::one::Problem;

/// Why a run ended early. Whose fault it is, is said by its problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct RunError(#[from] Problem);

impl RunError {
    /// Creates the error of something that only the machine can fail at, such as a write to a file that is open, whatever the cause is.
    pub fn of_machine(problem: Problem) -> Self {
        Self(problem.of_kind(ErrorKind::Machine))
    }

    /// Returns whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// Returns what is wrong.
    pub const fn problem(&self) -> &Problem {
        &self.0
    }

    /// Returns what is wrong, to be passed on.
    pub fn into_problem(self) -> Problem {
        self.0
    }
}
