//! The bytes around a record's content: a segment's header, a record's header, checksums. All numbers are little-endian.

use xxhash_rust::xxh3::xxh3_64;

/// The version of the journal's format.
pub const FORMAT_VERSION: u32 = 3;

/// The first bytes of every segment. Magic and version stay where they are in every version to come.
pub(super) const MAGIC: [u8; 8] = *b"WEJOURNL";
/// Size of a segment's header, in bytes.
pub(super) const SEGMENT_HEADER_BYTES: usize = 56;
/// Size of a record's header, in bytes.
pub(super) const RECORD_HEADER_BYTES: usize = 17;
/// Size of the checksum behind a record's payload, in bytes.
pub(super) const SUM_BYTES: usize = 8;
/// Size of a record without its payload, in bytes.
pub(super) const RECORD_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + SUM_BYTES;

/// Offsets of the fields of a segment's header, for errors.
pub(super) mod at {
    pub const VERSION: u64 = 8;
    pub const SEGMENT: u64 = 12;
    pub const FIRST_FRAME: u64 = 16;
    pub const RUN: u64 = 24;
    pub const LINK: u64 = 40;
}

/// The kind of a record that holds a frame.
pub(super) const KIND_FRAME: u8 = 1;
/// The kind of a record that ends the journal.
pub(super) const KIND_END: u8 = 2;
/// Size of the payload of such a record, in bytes.
pub(super) const END_BYTES: usize = 40;
/// Size of such a record, in bytes. A segment keeps room for one.
pub(super) const END_RECORD_BYTES: usize = RECORD_OVERHEAD_BYTES + END_BYTES;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Number of the segment.
    pub segment: u32,
    /// Number of its first frame.
    pub first_frame: u64,
    /// Id of the run.
    pub run_id: u128,
    /// The checksum of the last record of the segment before; 0 in the first.
    pub link: u64,
}

/// Why bytes aren't the header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// The magic isn't that of a journal.
    Magic,
    /// The version isn't supported.
    Version(u32),
    /// Its checksum is wrong.
    Sum,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&MAGIC);
        put(&FORMAT_VERSION.to_le_bytes());
        put(&self.segment.to_le_bytes());
        put(&self.first_frame.to_le_bytes());
        put(&self.run_id.to_le_bytes());
        put(&self.link.to_le_bytes());
        let sum = xxh3_64(&bytes[..SEGMENT_HEADER_BYTES - SUM_BYTES]);
        bytes[SEGMENT_HEADER_BYTES - SUM_BYTES..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, HeaderFault> {
        if bytes[..8] != MAGIC {
            return Err(HeaderFault::Magic);
        }
        // The version is checked before the checksum, because another version may have its checksum elsewhere.
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderFault::Version(version));
        }
        if xxh3_64(&bytes[..SEGMENT_HEADER_BYTES - SUM_BYTES]) != header_sum(bytes) {
            return Err(HeaderFault::Sum);
        }
        let run_id = u128::from(u64_at(bytes, 24)) | u128::from(u64_at(bytes, 32)) << 64;
        Ok(Self { segment: u32_at(bytes, 12), first_frame: u64_at(bytes, 16), run_id, link: u64_at(bytes, 40) })
    }
}

/// Returns the checksum in a segment's header. The first record links to it.
pub(super) fn header_sum(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> u64 {
    u64_at(bytes, SEGMENT_HEADER_BYTES - SUM_BYTES)
}

/// The place of a record. Its header is valid only there, so that bytes of a payload that look like a record aren't taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Id of the run.
    pub run_id: u128,
    /// Number of the segment.
    pub segment: u32,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Size of the payload, in bytes.
    pub length: u32,
    /// Kind of the payload.
    pub kind: u8,
    /// The checksum of the record before, or of the segment's header.
    pub link: u64,
}

impl RecordHeader {
    pub fn encode(&self, place: Place, offset: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5..13].copy_from_slice(&self.link.to_le_bytes());
        let check = check(&bytes, place, offset);
        bytes[13..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Decodes a header. Returns `None` if its check fails: it is damaged, or of another place.
    pub fn decode(bytes: &[u8; RECORD_HEADER_BYTES], place: Place, offset: u64) -> Option<Self> {
        let header = Self { length: u32_at(bytes, 0), kind: bytes[4], link: u64_at(bytes, 5) };
        (check(bytes, place, offset) == u32_at(bytes, 13)).then_some(header)
    }
}

/// Returns the check of a record's header. It covers the fields and the place.
fn check(header: &[u8; RECORD_HEADER_BYTES], place: Place, offset: u64) -> u32 {
    let mut bytes = [0; 13 + 28];
    bytes[..13].copy_from_slice(&header[..13]);
    bytes[13..29].copy_from_slice(&place.run_id.to_le_bytes());
    bytes[29..33].copy_from_slice(&place.segment.to_le_bytes());
    bytes[33..].copy_from_slice(&offset.to_le_bytes());
    (xxh3_64(&bytes) >> 32) as u32
}

/// Returns the checksum of a record. It covers the payload and the header, and with the header's link all records before.
pub(super) fn record_sum(header_and_payload: &[u8]) -> u64 {
    xxh3_64(header_and_payload)
}

/// Returns the number at an offset. Missing bytes count as 0; no caller lets any be missing.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.iter_mut().zip(bytes.iter().skip(at)).for_each(|(to, from)| *to = *from);
    u32::from_le_bytes(number)
}

/// Returns the 64-bit number at an offset.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_every_flipped_bit_shows() {
        let header = SegmentHeader { segment: 3, first_frame: 1 << 40, run_id: 5 << 100, link: 7 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        let (place, offset) = (Place { run_id: 1 << 70, segment: 9 }, 1 << 33);
        let record = RecordHeader { length: 300, kind: KIND_FRAME, link: u64::MAX - 1 };
        let record_bytes = record.encode(place, offset);
        assert_eq!(RecordHeader::decode(&record_bytes, place, offset), Some(record));
        for bit in 0..8 * SEGMENT_HEADER_BYTES {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
        for bit in 0..8 * RECORD_HEADER_BYTES {
            let mut flipped = record_bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&flipped, place, offset), None, "bit {bit}");
        }
        for (run_id, segment, offset) in [(1 << 71, 9, 1 << 33), (1 << 70, 8, 1 << 33), (1 << 70, 9, (1 << 33) + 1)] {
            assert_eq!(RecordHeader::decode(&record_bytes, Place { run_id, segment }, offset), None, "elsewhere");
        }
        assert_eq!(RecordHeader::decode(&[0; RECORD_HEADER_BYTES], place, offset), None);
    }
}
