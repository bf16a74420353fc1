//! What the agents of the postroom scenario say to each other, and the table that two of them keep.
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

/// Kind of a scan: [`PIXELS`] bytes of 0 (paper) to 16 (ink), row by row.
pub const SCAN: u32 = 1;
/// Kind of a label: the digit that was meant, one byte.
pub const LABEL: u32 = 2;
/// Kind of a vote: [`Vote::to_bytes`].
pub const VOTE: u32 = 3;
/// Kind of a verdict: [`Verdict::to_bytes`].
pub const VERDICT: u32 = 4;

/// Pixels of a scan.
pub const PIXELS: usize = 64;
/// Digits there are.
pub const DIGITS: usize = 10;
/// Stands for a digit where none could be read.
pub const UNREADABLE: u8 = 255;

/// What one reader saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// 0 to 9, or [`UNREADABLE`].
    pub digit: u8,
    /// Which of the desk's readers it is, from 0.
    pub reader: u8,
}

impl Vote {
    /// As a payload.
    pub const fn to_bytes(self) -> [u8; 2] {
        [self.digit, self.reader]
    }

    /// From a payload.
    pub const fn from_bytes([digit, reader]: [u8; 2]) -> Self {
        Self { digit, reader }
    }
}

/// What a desk decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// 0 to 9, or [`UNREADABLE`].
    pub digit: u8,
    /// Whether all readers read that digit.
    pub unanimous: bool,
}

impl Verdict {
    /// As a payload.
    pub const fn to_bytes(self) -> [u8; 2] {
        [self.digit, self.unanimous as u8]
    }

    /// From a payload.
    pub const fn from_bytes([digit, unanimous]: [u8; 2]) -> Self {
        Self { digit, unanimous: unanimous != 0 }
    }
}
