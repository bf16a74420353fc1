//! Why a recorded run can't be followed.

use std::fmt;

use super::divergence::Divergence;
use crate::problem::{Problem, RunError};

/// Why a run didn't follow its recording to the end.
#[derive(Debug)]
pub enum FollowError {
    /// Something can't be read, or isn't what it was.
    Error(RunError),
    /// A frame came out otherwise.
    Diverged(Box<Divergence>),
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Diverged(divergence) => divergence.fmt(f),
        }
    }
}

impl std::error::Error for FollowError {}

impl From<RunError> for FollowError {
    fn from(error: RunError) -> Self {
        Self::Error(error)
    }
}

impl From<Problem> for FollowError {
    fn from(problem: Problem) -> Self {
        Self::Error(RunError::Input(problem))
    }
}
