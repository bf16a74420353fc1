//! The form in which a model's rows share runs. It is fixed when the model is loaded and never depends on the number of jobs.
//! It follows from the model's graph, and holds wherever its rows are run.
//!
//! The contract: **the result of a row is that of the row in its model's canonical form, for this library and kind of CPU, on one
//! thread.** The canonical form of a row is the smallest run that its model's form allows, with the row in the first slot.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Number of rows with which every vector loop runs a whole number of times, however many elements it takes at one time.
const CANONICAL: u32 = 16;

/// Form of a model: how many rows each of its runs may have. From top to bottom, the forms are ever more restrictive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchForm {
    /// Any number of rows share a run. A row's result is what ONNX Runtime gives for it alone.
    Any,
    /// The number of rows in a run is always a multiple of this one; what is missing is filled with copies of a row. A row's result
    /// doesn't depend on its company, but isn't always what ONNX Runtime gives for a batch of one.
    Multiple(u32),
    /// A run has the model's own number of rows; what is missing is filled with copies of a row. 1 where the model has no batch.
    Fixed(u32),
    /// Each row is a run of its own.
    Alone,
}

impl BatchForm {
    /// Returns the more restrictive one of two forms.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        match (self, other) {
            (Self::Multiple(rows), Self::Multiple(others)) => Self::Multiple(rows.max(others)),
            _ if self.rank() >= other.rank() => self,
            _ => other,
        }
    }

    /// Returns the form to try next for a model for which this one doesn't hold; `None` if there is none.
    #[must_use]
    pub const fn safer(self) -> Option<Self> {
        match self {
            Self::Any => Some(Self::Multiple(CANONICAL)),
            Self::Multiple(rows) if rows < CANONICAL => Some(Self::Multiple(CANONICAL)),
            Self::Multiple(_) | Self::Fixed(2..) => Some(Self::Alone),
            Self::Fixed(_) | Self::Alone => None,
        }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Multiple(_) => 1,
            Self::Fixed(_) => 2,
            Self::Alone => 3,
        }
    }

    /// Returns the numbers of rows that a run may have, ascending, for batches of at most `rows_max` rows: few enough to be probed one by
    /// one. The first is the canonical form.
    pub fn sizes(self, rows_max: u32) -> Vec<u32> {
        let powers = |unit: u32| {
            let doubled = std::iter::successors(Some(unit), |size| size.checked_mul(2));
            doubled.take_while(|&size| size == unit || size <= rows_max).collect()
        };
        match self {
            Self::Any => powers(1),
            Self::Multiple(rows) => powers(rows.max(1)),
            Self::Fixed(rows) => vec![rows.max(1)],
            Self::Alone => vec![1],
        }
    }

    /// Returns the form with a name from a manifest, if it is one that a model can have. The manifest may have been written by anybody.
    pub fn of_name(name: &str) -> Option<Self> {
        let number = |rest: &str| rest.parse().ok().filter(|&rows| rows > 0);
        match name {
            "any" => Some(Self::Any),
            "alone" => Some(Self::Alone),
            _ => match name.strip_prefix("multiple of ") {
                Some(rest) => number(rest).filter(|&rows| rows <= CANONICAL).map(Self::Multiple),
                None => number(name.strip_prefix("fixed ")?).map(Self::Fixed),
            },
        }
    }

    /// Returns its name in manifests and reports: `any`, `multiple of 4`, `fixed 8`, `alone`.
    pub fn name(self) -> String {
        match self {
            Self::Any => "any".into(),
            Self::Multiple(rows) => format!("multiple of {rows}"),
            Self::Fixed(rows) => format!("fixed {rows}"),
            Self::Alone => "alone".into(),
        }
    }
}

impl fmt::Display for BatchForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => write!(f, "any number of rows share a run"),
            Self::Multiple(rows) => write!(f, "a multiple of {rows} rows share a run"),
            Self::Fixed(1) => write!(f, "it has no batch, so each row is a run of its own"),
            Self::Fixed(rows) => write!(f, "{rows} rows share a run"),
            Self::Alone => write!(f, "each row is a run of its own"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BatchForm::{Alone, Any, Fixed, Multiple};

    #[test]
    fn sizes_double_from_the_canonical_one_and_never_leave_the_form() {
        assert_eq!(Any.sizes(1), [1]);
        assert_eq!(Any.sizes(100), [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(Any.sizes(0), [1]);
        assert_eq!(Any.sizes(u32::MAX).len(), 32);
        assert_eq!(Multiple(4).sizes(64), [4, 8, 16, 32, 64]);
        assert_eq!(Multiple(16).sizes(100), [16, 32, 64]);
        assert_eq!(Multiple(16).sizes(3), [16], "the form holds though the scenario allows fewer rows");
        assert_eq!((Fixed(24).sizes(8), Alone.sizes(64)), (vec![24], vec![1]));
    }

    #[test]
    fn a_form_has_a_name_that_is_read_again() {
        for form in [Any, Multiple(4), Multiple(16), Fixed(1), Fixed(24), Alone] {
            assert_eq!(super::BatchForm::of_name(&form.name()), Some(form));
        }
        for other in [
            "",
            "multiple of 0",
            "multiple of 17",
            "multiple of 4294967295",
            "multiple of",
            "fixed -1",
            "fixed x",
            "all",
        ] {
            assert_eq!(super::BatchForm::of_name(other), None, "{other}");
        }
    }

    #[test]
    fn each_form_but_the_last_has_a_safer_one() {
        let forms = std::iter::successors(Some(Any), |form| form.safer());
        assert_eq!(forms.collect::<Vec<_>>(), [Any, Multiple(16), Alone]);
        assert_eq!((Multiple(4).safer(), Multiple(32).safer()), (Some(Multiple(16)), Some(Alone)));
        assert_eq!((Fixed(8).safer(), Fixed(1).safer()), (Some(Alone), None));
    }

    #[test]
    fn the_most_restrictive_node_decides() {
        assert_eq!(Any.strictest(Multiple(4)), Multiple(4));
        assert_eq!(Multiple(4).strictest(Multiple(16)), Multiple(16));
        assert_eq!(Multiple(16).strictest(Multiple(4)), Multiple(16));
        assert_eq!(Alone.strictest(Multiple(4)), Alone);
        assert_eq!(Any.strictest(Alone), Alone);
    }
}
