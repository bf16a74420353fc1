//! The messages of the agents in the postroom scenario, and the table that two of them keep.
//!
//! ```text
//! outside --SCAN--> topic desk-D --> readers --VOTE--> clerk D --VERDICT--> ledger
//! outside --LABEL-----------------------------------------------------------> ledger
//! ```
//!
//! The correlation of every message is the image's number.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod table;

pub use table::Table;

/// Kind of a scan. Its payload is [`PIXELS`] bytes of 0 (paper) to 16 (ink), row by row.
pub const SCAN: u32 = 1;
/// Kind of a label. Its payload is the digit that was meant, one byte.
pub const LABEL: u32 = 2;
/// Kind of a vote. Its payload is [`Vote::to_bytes`].
pub const VOTE: u32 = 3;
/// Kind of a verdict. Its payload is [`Verdict::to_bytes`].
pub const VERDICT: u32 = 4;

/// Number of pixels of a scan.
pub const PIXELS: usize = 64;
/// Number of different digits.
pub const DIGITS: usize = 10;
/// The value that stands for a digit if none could be read.
pub const UNREADABLE: u8 = 255;

/// The vote of one reader on a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// 0 to 9, or [`UNREADABLE`].
    pub digit: u8,
    /// Index of the reader among those of its desk, from 0.
    pub reader: u8,
}

impl Vote {
    /// Returns the payload that holds it.
    pub const fn to_bytes(self) -> [u8; 2] {
        [self.digit, self.reader]
    }

    /// Returns what a payload holds.
    pub const fn from_bytes([digit, reader]: [u8; 2]) -> Self {
        Self { digit, reader }
    }
}

/// The decision of a desk on a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// 0 to 9, or [`UNREADABLE`].
    pub digit: u8,
    /// Whether all readers read that digit.
    pub unanimous: bool,
}

impl Verdict {
    /// Returns the payload that holds it.
    pub const fn to_bytes(self) -> [u8; 2] {
        [self.digit, self.unanimous as u8]
    }

    /// Returns what a payload holds.
    pub const fn from_bytes([digit, unanimous]: [u8; 2]) -> Self {
        Self { digit, unanimous: unanimous != 0 }
    }
}
