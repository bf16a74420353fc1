//! Fields of saved values: what they are called, where they lie, and what they hold.

use std::fmt;
use std::ops::Range;

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// A number with a fraction: the shortest text that tells it from others.
    Float(String),
    /// Yes or no.
    Bool(bool),
    /// An agent, or another sender of a message.
    Agent(u64),
    /// The number of a topic's, region's or model's name.
    Name(u64),
    /// A word, or a text of an author's or a user's.
    Text(String),
    /// So many bytes.
    Bytes(usize),
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) | Self::Agent(number) | Self::Name(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Float(text) | Self::Text(text) => f.write_str(text),
            Self::Bool(value) => value.fmt(f),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number of so many bytes.
    Number(usize),
    Agent,
    /// The number of a name.
    Name,
    Lifecycle,
    /// The rest of the value.
    Text,
    Bytes,
}

/// A field at its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub name: String,
    pub range: Range<usize>,
    pub held: Held,
}

/// What is known of what a field holds.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// How its bytes are to be read.
    Kind(Kind),
    /// What it is, and whether each of its bytes has a number.
    Value { value: FieldValue, is_indexed: bool },
}
