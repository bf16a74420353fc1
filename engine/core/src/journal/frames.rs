//! Reads the frames of an opened journal, one after the other.

use std::sync::Arc;

use super::content::{self, Before};
use super::contents::Contents;
use super::format::{KIND_FRAME, Place};
use super::scan::{Broken, Opened, SegmentReader};
use super::{JournalFrame, damage, segment_path};
use crate::problem::Problem;

/// Frames in their order. Made by [`Journal::frames`](super::Journal::frames). After an error there is nothing more.
///
/// It holds one file open and one record in memory, and needs nothing of the journal that it came from.
pub struct Frames {
    contents: Arc<Contents>,
    /// The frame that is given next.
    next: u64,
    /// The frame after the last one.
    end: u64,
    reader: Option<SegmentReader>,
    segment: u32,
    before: Before,
}

/// Position at which a writer continues after a frame.
pub(super) struct Position {
    pub segment: u32,
    pub offset: u64,
    pub link: u64,
    pub before: Before,
}

impl Frames {
    pub(super) fn new(contents: Arc<Contents>, frame: u64) -> Self {
        let end = contents.next_frame();
        let next = frame.max(contents.first_frame.unwrap_or(0)).min(end);
        Self { contents, next, end, reader: None, segment: 0, before: Before::default() }
    }

    /// Returns where the frame that was read last ends; `None` if none was read.
    pub(super) fn position(self) -> Option<Position> {
        let reader = self.reader?;
        Some(Position { segment: self.segment, offset: reader.offset(), link: reader.link(), before: self.before })
    }

    /// Opens a segment.
    fn open(&self, segment: u32) -> Result<SegmentReader, Problem> {
        let path = segment_path(&self.contents.folder, segment);
        let (reader, opened) = SegmentReader::open(path, Place { run_id: self.contents.run_id, segment })?;
        match opened {
            Opened::Whole(_) => Ok(reader),
            Opened::Broken(fault) => Err(damage::header(reader.path(), fault)),
            Opened::Unwritten => Err(changed(&reader, 0)),
        }
    }

    /// Goes to the last keyframe at or before the next frame.
    fn start(&mut self) -> Result<SegmentReader, Problem> {
        let after = self.contents.keyframes.partition_point(|keyframe| keyframe.frame <= self.next);
        // The first frame of every segment is one.
        let keyframe = after.checked_sub(1).and_then(|n| self.contents.keyframes.get(n)).copied();
        let keyframe = keyframe.ok_or_else(|| Problem::new("holds no frames").file(&self.contents.folder))?;
        let mut reader = self.open(keyframe.segment)?;
        reader.seek(keyframe.offset)?;
        self.segment = keyframe.segment;
        Ok(reader)
    }

    /// Reads one frame: the next one, or an earlier one that is needed to decode it.
    fn read(&mut self) -> Result<JournalFrame, Problem> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.start()?,
        };
        loop {
            let offset = reader.offset();
            match reader.next() {
                Ok(Some(record)) if record.kind == KIND_FRAME => {
                    let frame = content::decode(record.payload, &mut self.before);
                    let (frame, _) = frame.map_err(|_| changed(&reader, offset))?;
                    self.reader = Some(reader);
                    return Ok(frame);
                }
                Ok(None) if self.segment + 1 < self.contents.segments => {
                    self.segment += 1;
                    reader = self.open(self.segment)?;
                }
                Err(Broken::Problem(problem)) => return Err(problem),
                Ok(_) | Err(Broken::Torn { .. }) => return Err(changed(&reader, offset)),
            }
        }
    }
}

impl Iterator for Frames {
    type Item = Result<JournalFrame, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut last = None;
        while self.next < self.end {
            let frame = match self.read() {
                Ok(frame) => frame,
                Err(problem) => {
                    self.end = self.next;
                    return Some(Err(problem));
                }
            };
            // The number grows by one from frame to frame. Before the first frame that is asked for, it only must not be beyond that.
            if frame.frame == self.next {
                self.next += 1;
                return Some(Ok(frame));
            }
            if frame.frame > self.next || last.is_some_and(|last| frame.frame != last + 1) {
                self.end = self.next;
                return Some(Err(Problem::new("was changed while it was read").file(&self.contents.folder)));
            }
            last = Some(frame.frame);
        }
        None
    }
}

/// Returns the problem that the file isn't as it was when the journal was opened.
fn changed(reader: &SegmentReader, offset: u64) -> Problem {
    damage::damaged(reader.path(), offset, "it has changed since it was opened")
}
