//! A number of a summary: what agents recorded, and sums of it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::problem::thousands;

/// A number that stays an integer as long as it can.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer. Wider than what agents record, so that a sum of them never overflows.
    Whole(i128),
    /// A float.
    Float(f64),
}

impl Number {
    /// Returns the nearest float.
    #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is meant")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// Returns the sum: an integer if both are integers.
    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Self::Whole(a.saturating_add(b)),
            (a, b) => Self::Float(a.as_f64() + b.as_f64()),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            // Beyond 64 bits JSON readers would take a float anyway.
            Self::Whole(value) => match i64::try_from(value) {
                Ok(value) => serializer.serialize_i64(value),
                Err(_) => serializer.serialize_f64(self.as_f64()),
            },
            Self::Float(value) => serializer.serialize_f64(value),
        }
    }
}

/// Formats integers with thousands separators, and floats with a readable number of digits.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => f.write_str(&thousands(value)),
            Self::Float(value) => {
                let text = value.to_string();
                match text.split_once('.') {
                    Some((whole, fraction)) => write!(f, "{}.{fraction}", thousands(whole)),
                    None => f.write_str(&thousands(text)),
                }
            }
        }
    }
}
