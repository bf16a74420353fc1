//! A frame with another result than the recorded one: the differences of the two records, and what was
//! found out about them. `explain` does the latter.

use std::fmt;

use wasm_engine_components::{Digest, FrameRecord, Lane, ModelResults, RowAnswer};
use wasm_engine_systems::FrameStage;
use wasm_engine_systems::state::stage_of;

use super::compare::{Comparison, differing_lanes};
use crate::journal::JournalFrame;

/// Divergence of a replay from its recording.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// The first frame with another result.
    pub frame: u64,
    /// Its recorded digest.
    pub recorded: Digest,
    /// Its digest in the replay.
    pub found: Digest,
    /// The lanes that differ, in the order in which a frame comes to them.
    pub lanes: Vec<Lane>,
    /// The authors' components that differ.
    pub components: Vec<String>,
    /// The first result of a model that differs.
    pub inference: Option<RowDifference>,
    /// Values that the state was compared with.
    pub compared: Compared,
    /// Differences of the state.
    pub comparison: Comparison,
    /// Why less could be compared than usual.
    pub trouble: Option<String>,
}

/// The values that a divergence shows beside those of the replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compared {
    /// None: there was nothing to compare with.
    #[default]
    Nothing,
    /// Recorded values, of a snapshot right after the frame.
    Recorded,
    /// Values of a second execution of the frame.
    SecondExecution,
    /// Recorded values of a later frame: those of the snapshot before this frame.
    Later(u64),
}

/// A row of a model that isn't what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDifference {
    /// Its position among the rows that the frame dispatched.
    pub row: usize,
    /// The recorded result; `None` if the recording has fewer rows.
    pub recorded: Option<RowAnswer>,
    /// The result in the replay; `None` if the recording has more rows.
    pub found: Option<RowAnswer>,
}

impl RowDifference {
    /// Returns the first row in which results differ from the recorded ones, if there is one.
    pub(super) fn first(recorded: &ModelResults, found: &ModelResults) -> Option<Self> {
        let same = recorded.outputs().zip(found.outputs()).take_while(|(recorded, found)| recorded == found).count();
        let rows = [recorded, found].map(|results| results.rows.len());
        (rows != [same; 2]).then(|| Self { row: same, recorded: recorded.row(same), found: found.row(same) })
    }
}

impl Divergence {
    /// Compares the record of a frame with what was recorded of it. Returns `None` where they are the same.
    pub(super) fn between(recorded: &JournalFrame, found: &FrameRecord) -> Option<Self> {
        let inference = RowDifference::first(&recorded.inference, &found.inference);
        let is_same = recorded.digest == found.digest && inference.is_none();
        (!is_same).then(|| Self {
            components: differing_components(recorded, found),
            inference,
            ..Self::in_lanes(recorded.digest, found, differing_lanes(&recorded.lanes, &found.lanes))
        })
    }

    /// Returns the divergence of a frame whose record is as it was recorded, where the digest of all agents' memories, which was taken for a
    /// snapshot, isn't.
    pub(super) fn in_memories(found: &FrameRecord) -> Self {
        Self::in_lanes(found.digest, found, vec![Lane::Memories])
    }

    fn in_lanes(recorded: Digest, found: &FrameRecord, lanes: Vec<Lane>) -> Self {
        Self {
            frame: found.frame,
            recorded,
            found: found.digest,
            lanes,
            components: Vec::new(),
            inference: None,
            compared: Compared::Nothing,
            comparison: Comparison::default(),
            trouble: None,
        }
    }

    /// Returns the stage of the frame in which the two part, as far as lanes tell.
    pub fn stage(&self) -> Option<FrameStage> {
        self.lanes.first().map(|&lane| stage_of(lane))
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lanes: Vec<_> = self.lanes.iter().map(|lane| lane.name()).collect();
        write!(f, "frame {} doesn't come out as it was recorded: it differs in {}", self.frame, lanes.join(", "))
    }
}

/// Returns the authors' components whose digests differ, by name.
fn differing_components(recorded: &JournalFrame, found: &FrameRecord) -> Vec<String> {
    let before = |name: &str| recorded.native.iter().find(|(known, _)| known == name).map(|(_, digest)| *digest);
    let now = |name: &str| found.native.iter().find(|(known, _)| *known == name).map(|(_, digest)| *digest);
    let names = recorded.native.iter().map(|(name, _)| name.as_str());
    let names = names.chain(found.native.iter().map(|(name, _)| *name));
    let mut components: Vec<String> = names.map(str::to_owned).collect();
    components.sort();
    components.dedup();
    components.retain(|name| before(name) != now(name));
    components
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_abi::InferenceStatus;

    fn record() -> FrameRecord {
        let mut record = FrameRecord { frame: 3, digest: Digest(1), ..FrameRecord::default() };
        record.native = vec![("warmth", Digest(5)), ("wind", Digest(6))];
        record.inference.push(InferenceStatus::Ok, b"a");
        record.inference.push(InferenceStatus::Ok, b"b");
        record
    }

    fn recorded() -> JournalFrame {
        let FrameRecord { frame, inference, digest, lanes, native, .. } = record();
        let native = native.into_iter().map(|(name, digest)| (name.to_owned(), digest)).collect();
        JournalFrame { frame, inference, digest, lanes, native, ..JournalFrame::default() }
    }

    fn row(status: InferenceStatus, output: &[u8]) -> Option<RowAnswer> {
        Some(RowAnswer { status, output: output.to_vec() })
    }

    #[test]
    fn a_record_is_the_recorded_one_or_says_where_it_differs() {
        assert!(Divergence::between(&recorded(), &record()).is_none());
        let mut other = record();
        (other.digest, other.native[1].1) = (Digest(2), Digest(7));
        other.lanes[Lane::Native] = Digest(7);
        let divergence = Divergence::between(&recorded(), &other).unwrap();
        assert_eq!((divergence.frame, divergence.recorded, divergence.found), (3, Digest(1), Digest(2)));
        assert_eq!(
            (divergence.lanes.as_slice(), divergence.components.as_slice()),
            (&[Lane::Native][..], &["wind".to_owned()][..])
        );
        assert_eq!(divergence.inference, None);
        assert_eq!(divergence.to_string(), "frame 3 doesn't come out as it was recorded: it differs in native");
        let memories = Divergence::in_memories(&record());
        assert_eq!((memories.recorded, memories.found, memories.lanes), (Digest(1), Digest(1), vec![Lane::Memories]));
    }

    #[test]
    fn the_first_row_that_differs_or_is_missing_is_named() {
        let difference = |change: &dyn Fn(&mut ModelResults)| {
            let mut found = record();
            change(&mut found.inference);
            Divergence::between(&recorded(), &found).and_then(|divergence| divergence.inference)
        };
        assert_eq!(difference(&|_| ()), None);
        let differs =
            RowDifference { row: 1, recorded: row(InferenceStatus::Ok, b"b"), found: row(InferenceStatus::Ok, b"c") };
        assert_eq!(difference(&|found| found.bytes[1] = b'c'), Some(differs));
        let missing = RowDifference { row: 1, recorded: row(InferenceStatus::Ok, b"b"), found: None };
        assert_eq!(difference(&|found| found.rows.truncate(1)), Some(missing));
        let more = RowDifference { row: 2, recorded: None, found: row(InferenceStatus::Failed, b"") };
        assert_eq!(difference(&|found| found.push(InferenceStatus::Failed, &[])), Some(more));
        let none = RowDifference { row: 0, recorded: row(InferenceStatus::Ok, b"a"), found: None };
        assert_eq!(
            difference(&|found| *found = ModelResults::default()),
            Some(none),
            "a frame that dispatched nothing"
        );
    }
}
