//! Why a recorded run can't be followed.

use std::fmt::Display;

use miette::{Diagnostic, LabeledSpan, SourceCode};

use super::divergence::Divergence;
use crate::problem::{ErrorKind, Problem, RunError};

/// Why a run didn't follow its recording to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// A file can't be read, or isn't what it was.
    #[error(transparent)]
    Error(#[from] RunError),
    /// A frame came out otherwise.
    #[error("{0}")]
    Diverged(Box<Divergence>),
}

impl FollowError {
    /// Returns whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Error(error) => error.kind(),
            Self::Diverged(_) => ErrorKind::Unmet,
        }
    }

    const fn run_error(&self) -> Option<&RunError> {
        match self {
            Self::Error(error) => Some(error),
            Self::Diverged(_) => None,
        }
    }
}

impl Diagnostic for FollowError {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(self.kind().code()))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.run_error()?.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.run_error()?.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.run_error()?.labels()
    }
}

impl From<Problem> for FollowError {
    fn from(problem: Problem) -> Self {
        Self::Error(RunError::from(problem))
    }
}
