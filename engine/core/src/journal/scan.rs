//! Reads a segment record by record, and searches for records behind a broken one.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use wasm_engine_components::limits::JOURNAL_RECORD_BYTES_MAX;

use super::damage;
use super::format::{
    HeaderFault, Place, RECORD_HEADER_BYTES, RECORD_OVERHEAD_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader,
    header_sum, record_sum, u64_at,
};
use crate::problem::Problem;
use wasm_engine_files::open_regular;

/// Size of the part of a file that is in memory during a search for records, in bytes.
const SEARCH_BYTES: usize = 1 << 20;

/// A segment that is being read.
pub(super) struct SegmentReader {
    path: PathBuf,
    file: BufReader<File>,
    place: Place,
    /// Size of the file when it was opened. What is added later isn't read.
    length: u64,
    /// Offset of the next record.
    offset: u64,
    /// Checksum to which the next record must link, if it is known.
    link: Option<u64>,
    /// The record that was read last: header, payload, checksum.
    record: Vec<u8>,
}

/// A whole record.
pub(super) struct Record<'a> {
    /// Kind of the payload.
    pub kind: u8,
    /// Offset of the record.
    pub offset: u64,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why there is no whole record.
pub(super) enum Broken {
    /// The bytes from an offset on are no whole record. A crash may leave such bytes.
    Torn {
        /// Offset of the first such byte.
        offset: u64,
        /// Why they are no whole record.
        why: &'static str,
    },
    /// Any other problem.
    Problem(Problem),
}

/// The header of a segment, or what is there instead.
pub(super) enum Opened {
    /// The file begins with a header.
    Whole(SegmentHeader),
    /// The header was never written, wholly or at all: the file is shorter, or zeros.
    Unwritten,
    /// The file begins with something else.
    Broken(HeaderFault),
}

impl SegmentReader {
    /// Opens a segment and reads its header.
    pub fn open(path: PathBuf, place: Place) -> Result<(Self, Opened), Problem> {
        let opened = open_regular(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|error| damage::unreadable(&path, error))?;
        let offset = SEGMENT_HEADER_BYTES as u64;
        let file = BufReader::with_capacity(64 << 10, file);
        let mut reader = Self { path, file, place, length, offset, link: None, record: Vec::new() };
        if length < offset {
            return Ok((reader, Opened::Unwritten));
        }
        let mut header = [0; SEGMENT_HEADER_BYTES];
        reader.file.read_exact(&mut header).map_err(|error| damage::unreadable(&reader.path, error))?;
        reader.link = Some(header_sum(&header));
        let opened = match SegmentHeader::decode(&header) {
            Ok(header) => Opened::Whole(header),
            Err(_) if header == [0; SEGMENT_HEADER_BYTES] => Opened::Unwritten,
            Err(fault) => Opened::Broken(fault),
        };
        Ok((reader, opened))
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of the file, in bytes.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Returns where the next record begins.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the checksum to which the next record links: after a record has been read, its checksum.
    pub const fn link(&self) -> u64 {
        match self.link {
            Some(link) => link,
            None => 0,
        }
    }

    /// Goes to an offset at which a record begins. Its link was checked when the journal was opened.
    pub fn seek(&mut self, offset: u64) -> Result<(), Problem> {
        self.file.seek(SeekFrom::Start(offset)).map_err(|error| damage::unreadable(&self.path, error))?;
        (self.offset, self.link) = (offset, None);
        Ok(())
    }

    /// Reads the next record. Returns `None` at the end of the file, if the record before ends there.
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Broken> {
        let (offset, left) = (self.offset, self.length.saturating_sub(self.offset));
        let torn = |why| Err(Broken::Torn { offset, why });
        if left == 0 {
            return Ok(None);
        }
        if left < RECORD_OVERHEAD_BYTES as u64 {
            return torn("the file ends in the middle of a record");
        }
        let mut header_bytes = [0; RECORD_HEADER_BYTES];
        self.fill(&mut header_bytes)?;
        let Some(header) = RecordHeader::decode(&header_bytes, self.place, offset) else {
            return torn("a record's header doesn't match its check");
        };
        let Some(whole) = fits(&header, left) else {
            return torn("a record goes on behind the end of the file");
        };
        self.record.clear();
        self.record.extend_from_slice(&header_bytes);
        self.record.resize(whole, 0);
        let mut record = std::mem::take(&mut self.record);
        let filled = self.fill(&mut record[RECORD_HEADER_BYTES..]);
        self.record = record;
        filled?;
        let Some(sum) = sum_of(&self.record) else {
            return torn("a record's content doesn't match its checksum");
        };
        if self.link.is_some_and(|link| link != header.link) {
            let why = "a record doesn't follow the one before it";
            return Err(Broken::Problem(damage::damaged(&self.path, offset, why)));
        }
        (self.offset, self.link) = (offset + whole as u64, Some(sum));
        let payload = &self.record[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + header.length as usize];
        Ok(Some(Record { kind: header.kind, offset, payload }))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Broken> {
        self.file.read_exact(bytes).map_err(|error| Broken::Problem(damage::unreadable(&self.path, error)))
    }

    /// Returns where the first whole record behind `from` begins, if there is one. What it links to doesn't matter: the record before
    /// it is the broken one.
    pub fn find(&mut self, from: u64) -> Result<Option<u64>, Problem> {
        let found = find(self.file.get_mut(), self.length, from, self.place);
        found.map_err(|error| damage::unreadable(&self.path, error))
    }
}

/// Returns the size of the whole record, if it fits into the rest of the file.
fn fits(header: &RecordHeader, left: u64) -> Option<usize> {
    let whole = u64::from(header.length) + RECORD_OVERHEAD_BYTES as u64;
    (header.length <= JOURNAL_RECORD_BYTES_MAX && whole <= left).then_some(whole as usize)
}

/// Returns the checksum of a record, if it equals the one at its end.
fn sum_of(record: &[u8]) -> Option<u64> {
    let payload_end = record.len().checked_sub(8)?;
    let sum = record_sum(&record[..payload_end]);
    (sum == u64_at(record, payload_end)).then_some(sum)
}

fn find(file: &mut File, length: u64, from: u64, place: Place) -> io::Result<Option<u64>> {
    let mut window = Vec::new();
    let mut start = from;
    while start < length {
        window.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(SEARCH_BYTES as u64).read_to_end(&mut window)?;
        for (n, bytes) in window.array_windows::<RECORD_HEADER_BYTES>().enumerate() {
            let offset = start + n as u64;
            // Most bytes of a torn tail are zeros, and no kind is 0.
            if bytes[4] == 0 {
                continue;
            }
            let whole = RecordHeader::decode(bytes, place, offset).and_then(|header| fits(&header, length - offset));
            if let Some(whole) = whole {
                let mut record = Vec::new();
                file.seek(SeekFrom::Start(offset))?;
                file.by_ref().take(whole as u64).read_to_end(&mut record)?;
                if record.len() == whole && sum_of(&record).is_some() {
                    return Ok(Some(offset));
                }
            }
        }
        // A header may lie across two windows.
        match window.len().checked_sub(RECORD_HEADER_BYTES - 1) {
            Some(seen) if seen > 0 => start += seen as u64,
            _ => break,
        }
    }
    Ok(None)
}
