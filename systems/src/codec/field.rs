//! Fields of saved values: their names, where they lie, and what they hold.

use std::fmt;
use std::ops::Range;

/// Value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// A number with a fraction: the shortest text that tells it from others.
    Float(String),
    /// A truth value.
    Bool(bool),
    /// An agent, or another sender of a message.
    Agent(u64),
    /// The number of a topic's, region's or model's name.
    Name(u64),
    /// A word of the engine, or a text of an author or a user.
    Text(String),
    /// Bytes, of which only the number is kept.
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

/// Encoding of a field's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A number of that many bytes.
    Number(usize),
    /// The id of an agent.
    Agent,
    /// The number of a name.
    Name,
    /// A byte that stands for a word.
    Word(fn(u8) -> &'static str),
    /// A digest of 128 bits.
    Digest,
    /// A text: the rest of the value.
    Text,
    /// Bytes: the rest of the value.
    Bytes,
}

pub(crate) const U8: Kind = Kind::Number(1);
pub(crate) const U32: Kind = Kind::Number(4);
pub(crate) const U64: Kind = Kind::Number(8);

/// A field by its name, and how it is read.
pub(crate) type Field = (&'static str, Kind);

/// A list that has a number for each kind of fault, whose names are those of the kinds.
pub(crate) const LIST_BY_FAULT: &str = "faults";

/// The fields of the values of one kind of state.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fields {
    /// They are at fixed offsets: some that come once, and then those of a list, which come again and again until the value's end.
    Fixed {
        /// The fields that come once.
        once: &'static [Field],
        /// The fields of the list.
        again: &'static [Field],
    },
    /// The value is in its serde form, and is walked through.
    Serde(Walk),
}

impl Fields {
    /// Fields that come once each.
    pub(crate) const fn once(once: &'static [Field]) -> Self {
        Self::Fixed { once, again: &[] }
    }
}

/// Finds the fields of a value in its serde form, from those on that have a given byte.
pub(crate) type Walk = fn(&[u8], usize) -> Vec<Placed>;

/// A field at its place.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub name: String,
    pub range: Range<usize>,
    pub held: Held,
}

/// Value of a field, or how to find it.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// Encoding of its bytes, which aren't read yet.
    Kind(Kind),
    /// Its value, and whether each of its bytes has a number.
    Value { value: FieldValue, is_indexed: bool },
}
