//! The journal of a run: for each frame what came in, what models answered, and the digests, in files that survive a crash.
//!
//! Written by the recorder with a [`JournalWriter`], from a thread of its own; read by replay, resume, inspect and diff with a
//! [`Journal`]. The bytes are described in `docs/RUN_FORMAT.md`. In short:
//!
//! - The files are segments, `000000.wej` and so on. Each has a header and records; each can be read without those before it.
//! - A record is a header, a payload and a checksum (`format`). A record's header is bound to the run, the segment and the
//!   offset, so a record can be told from other bytes wherever one begins to read, and links to the record before it.
//! - A frame's payload says what differs from the frame before (`content`); every
//!   [`JOURNAL_KEYFRAME_FRAMES`](wasm_engine_components::limits::JOURNAL_KEYFRAME_FRAMES) frames and at the start of a segment
//!   it says all, so that any frame can be read without all those before.
//!
//! What a reader finds wrong is one of two things. A *torn tail* is what a crash leaves: the last segment ends in bytes that are
//! no whole record. Whole frames before it count, and the run goes on from there. Everything else is *damage*, and a
//! [`Problem`](crate::problem::Problem) that names the file and the byte: there is never a frame that wasn't written.

mod content;
mod contents;
mod damage;
mod format;
mod frames;
mod open;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};

use wasm_engine_components::limits::JOURNAL_SEGMENT_BYTES_MAX;
use wasm_engine_components::{Digest, FrameInputs, FrameRecord, Lanes, ModelResults};

pub use format::FORMAT_VERSION;
pub use frames::Frames;
pub use open::Journal;
pub use writer::JournalWriter;

/// Record of a frame, as the journal keeps it: what can't be derived from the frame before, and the digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalFrame {
    /// Number of the frame.
    pub frame: u64,
    /// Inputs of the frame, except for the answers of models.
    pub inputs: FrameInputs,
    /// Answers of models to the rows that were dispatched in this frame, in the order of the dispatch, and notices of models.
    pub inference: ModelResults,
    /// The digest at the frame's end.
    pub digest: Digest,
    /// Its lanes.
    pub lanes: Lanes,
    /// The digest of each registered component of authors, by name.
    pub native: Vec<(String, Digest)>,
}

/// Parts of a frame that a journal writes. Made from a record, or from what another journal has kept of one.
#[derive(Clone, Debug)]
pub struct FrameRef<'a> {
    frame: u64,
    inputs: &'a FrameInputs,
    inference: &'a ModelResults,
    digest: Digest,
    lanes: &'a Lanes,
    native: Vec<(&'a str, Digest)>,
}

impl<'a> From<&'a FrameRecord> for FrameRef<'a> {
    fn from(record: &'a FrameRecord) -> Self {
        let FrameRecord { frame, inputs, inference, digest, lanes, native, .. } = record;
        Self { frame: *frame, inputs, inference, digest: *digest, lanes, native: native.clone() }
    }
}

impl<'a> From<&'a JournalFrame> for FrameRef<'a> {
    fn from(frame: &'a JournalFrame) -> Self {
        let JournalFrame { frame, inputs, inference, digest, lanes, native } = frame;
        let native = native.iter().map(|(name, digest)| (name.as_str(), *digest)).collect();
        Self { frame: *frame, inputs, inference, digest: *digest, lanes, native }
    }
}

/// The orderly end of a run. Nothing follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Number of frames in the journal.
    pub frames: u64,
    /// The run's digest.
    pub digest: Digest,
    /// The XXH3 with 128 bits of the summary's file, which is written after this.
    pub summary: u128,
}

/// Bytes that a crash left behind the last whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// File of the last segment.
    pub file: PathBuf,
    /// Offset of the first byte that isn't part of a whole record.
    pub offset: u64,
    /// Number of bytes from there to the end of the file; may be 0 if the segment's header wasn't written.
    pub bytes: u64,
}

/// Options of a journal that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Number of the first frame: 0, except for a run that begins with another run's snapshot.
    pub first_frame: u64,
    /// Size at which the next segment begins, in bytes.
    pub segment_bytes_max: u32,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { first_frame: 0, segment_bytes_max: JOURNAL_SEGMENT_BYTES_MAX }
    }
}

/// Returns the path of a segment.
fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}.wej"))
}

/// Returns the number of the segment with a file name.
fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".wej")?;
    // Only the form that is written counts: not `+1`, not `01`.
    digits.parse().ok().filter(|number| format!("{number:06}") == digits)
}
