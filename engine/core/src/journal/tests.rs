//! Segments with right checksums and wrong records, as if another program had written them.

use proptest::prelude::*;
use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::{Action, Digest, EventCounts, GroupId, Lane, ModelId, ModelNotice, ModelNoticeKind};

use super::content::{self, Before};
use super::format::{
    KIND_END, KIND_FRAME, Place, RECORD_HEADER_BYTES, RecordHeader, SegmentHeader, header_sum, record_sum,
};
use super::*;

#[test]
fn a_segments_name_is_its_number() {
    for number in [0, 1, 999_999, 1_000_000, u32::MAX] {
        let path = segment_path(Path::new("a"), number);
        assert_eq!(segment_number(path.file_name().unwrap().to_str().unwrap()), Some(number));
    }
    for other in ["1.wej", "0000001.wej", "+00001.wej", "000001.wes", "000001.wej.tmp", "99999999999.wej", ".wej", ""] {
        assert_eq!(segment_number(other), None, "{other}");
    }
}

/// Returns a segment of run 1 with the given records.
fn segment(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let header = SegmentHeader { segment: 0, first_frame: 0, run_id: 1, link: 0 }.encode();
    let (mut bytes, mut link) = (header.to_vec(), header_sum(&header));
    for (kind, payload) in records {
        let start = bytes.len();
        let header = RecordHeader { length: payload.len() as u32, kind: *kind, link };
        bytes.extend_from_slice(&header.encode(Place { run_id: 1, segment: 0 }, start as u64));
        bytes.extend_from_slice(payload);
        link = record_sum(&bytes[start..]);
        bytes.extend_from_slice(&link.to_le_bytes());
    }
    bytes
}

fn payload(frame: u64, key: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = JournalFrame { frame, ..JournalFrame::default() };
    content::encode(&(&frame).into(), &Before::default(), key, &mut bytes).unwrap();
    bytes
}

fn end(frames: u64) -> (u8, Vec<u8>) {
    (KIND_END, [&frames.to_le_bytes()[..], &[0; 32]].concat())
}

#[test]
fn records_that_nobody_writes_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let frame = |number, key| (KIND_FRAME, payload(number, key));
    let with = |at: usize, byte: u8| {
        let mut bytes = payload(0, true);
        bytes[at] = byte;
        (KIND_FRAME, bytes)
    };
    let other_end = (KIND_END, [&1_u64.to_le_bytes()[..], &[7; 32]].concat());
    let second = 56 + 25 + payload(0, true).len();
    let cases = [
        (vec![(9, vec![])], 56, "has a record of kind 9 at byte 56, which this engine doesn't know"),
        (vec![(0, vec![1])], 56, "has a record of kind 0"),
        (vec![frame(0, false)], 56, "the segment's first frame needs the one before"),
        (vec![frame(0, true), frame(0, false)], second, "it holds frame 0, but frame 1 comes next"),
        (vec![frame(0, true), frame(2, false)], second, "it holds frame 2, but frame 1 comes next"),
        (vec![frame(0, true), end(2)], second, "it ends after 2 frames, but 1 are there"),
        (vec![frame(0, true), (KIND_END, vec![0; 39])], second, "the record of the end has a wrong size"),
        (vec![end(0), frame(0, true)], 56 + 65, "there is a record behind the journal's end"),
        (vec![frame(0, true), other_end], second, "it ends with another digest than that of its last frame"),
        (vec![end(0), end(0)], 56 + 65, "there is a record behind the journal's end"),
        (vec![(KIND_FRAME, vec![])], 56, "a record ends in the middle of its frame"),
        (vec![(KIND_FRAME, vec![0xff; 30])], 56, "a record has a number of more than 64 bits"),
        (vec![with(1, 0x81)], 56, "a record has a flag that isn't known"),
        (vec![with(18, 0x7f)], 56, "a record ends in the middle of its frame"),
        (vec![(KIND_FRAME, [payload(0, true), vec![0]].concat())], 56, "a record goes on behind the end of its frame"),
    ];
    for (records, offset, told) in cases {
        let path = folder.path().join("000000.wej");
        std::fs::write(&path, segment(&records)).unwrap();
        for journal in [Journal::open(folder.path(), 1), Journal::open_cut(folder.path(), 1)] {
            let text = format!("{:#}", journal.unwrap_err());
            let damage = format!("000000.wej: is damaged at byte {offset}: {told}; help");
            assert!(text.contains(&damage) || told.starts_with("has") && text.contains(told), "{text}, not {damage}");
        }
    }
    let whole = segment(&[frame(0, true), end(1)]);
    for tail in [&[0][..], &[0; 30], &[0xff; 30]] {
        std::fs::write(folder.path().join("000000.wej"), [&whole, tail].concat()).unwrap();
        let text = format!("{:#}", Journal::open(folder.path(), 1).unwrap_err());
        assert!(text.contains(&format!("000000.wej: is damaged at byte {}: ", whole.len())), "{text}");
    }
}

#[test]
fn a_length_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    for length in [u32::MAX, 1 << 30, 100] {
        let mut bytes = segment(&[(KIND_FRAME, payload(0, true))]);
        let header = RecordHeader { length, kind: KIND_FRAME, link: 0 };
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(&header.encode(Place { run_id: 1, segment: 0 }, offset));
        bytes.resize(bytes.len() + 99, 7);
        std::fs::write(folder.path().join("000000.wej"), &bytes).unwrap();
        let journal = Journal::open(folder.path(), 1).unwrap();
        assert_eq!(
            journal.torn().map(|torn| (torn.offset, torn.bytes)),
            Some((offset, RECORD_HEADER_BYTES as u64 + 99))
        );
    }
}

fn full() -> JournalFrame {
    let mut frame = JournalFrame { frame: 300, digest: Digest(u128::MAX), ..JournalFrame::default() };
    frame.lanes[Lane::Regions] = Digest(9);
    frame.native = (0..9).map(|n| (format!("component {n}"), Digest(n))).collect();
    frame.inputs.counts = EventCounts { delivered: 300, disabled: 1 };
    frame.inference.push(InferenceStatus::Failed, &[1; 200]);
    let kind = ModelNoticeKind::AuditFailed;
    frame.inference.notices = vec![ModelNotice { model: ModelId(u64::MAX), kind, rows: 300, reason: "why".into() }];
    frame.inputs.commands = vec![Action::Spawn { group: GroupId(1), kind: 2, payload: vec![3; 40] }];
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_payload_is_a_frame_or_a_misfit(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = Vec::new();
        content::encode(&(&full()).into(), &Before::default(), true, &mut bytes).unwrap();
        let whole = content::decode(&bytes, &mut Before::default());
        prop_assert_eq!(whole, Ok((full(), true)));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut before = Before::default();
        let _ = content::decode(&bytes[..=length.index(bytes.len())], &mut before);
        let _ = content::decode(&bytes, &mut before);
        let _ = content::decode(&noise, &mut before);
    }
}
