//! Why a run ended early.

use std::io;

use super::kind::ErrorKind;
use super::one::Problem;

/// Why a run ended early. The two kinds have exit statuses of their own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub enum RunError {
    /// The input is bad: [`ErrorKind::Input`].
    Input(Problem),
    /// The machine failed: [`ErrorKind::Machine`].
    Failed(Problem),
}

impl RunError {
    /// Creates the error of a file that couldn't be made or opened. The system's error decides the kind, and becomes the problem's cause.
    pub fn of_io(problem: Problem, error: io::Error) -> Self {
        let kind = ErrorKind::of_io(&error);
        Self::of(kind, problem.caused_by(error))
    }

    /// Creates an error of a kind. If the input isn't at fault, the machine is.
    pub(crate) fn of(kind: ErrorKind, problem: Problem) -> Self {
        match kind {
            ErrorKind::Input => Self::Input(problem),
            ErrorKind::Machine | ErrorKind::Unmet => Self::Failed(problem),
        }
    }

    /// Returns whose fault it is.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Input(_) => ErrorKind::Input,
            Self::Failed(_) => ErrorKind::Machine,
        }
    }

    /// Returns what is wrong.
    pub const fn problem(&self) -> &Problem {
        match self {
            Self::Input(problem) | Self::Failed(problem) => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_told_from_bad_input() {
        let of = |raw: i32| RunError::of_io(Problem::new("x"), io::Error::from_raw_os_error(raw));
        // No space, too large, no memory, too many files; not there, not allowed, no folder.
        #[cfg(target_os = "linux")]
        for (raw, is_machine) in [(28, true), (27, true), (12, true), (24, true), (2, false), (13, false), (20, false)]
        {
            assert_eq!(matches!(of(raw), RunError::Failed(_)), is_machine, "{raw}");
        }
        assert!(matches!(of(2), RunError::Input(_)));
    }
}
