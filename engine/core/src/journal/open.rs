//! Opens a journal: reads every segment once, from the first byte to the last, and checks everything.

use std::path::Path;
use std::sync::Arc;

use wasm_engine_components::Digest;

use super::content::{self, Before};
use super::contents::{Contents, Keyframe};
use super::format::{END_BYTES, KIND_END, KIND_FRAME, Place, SEGMENT_HEADER_BYTES, SegmentHeader, at, u64_at};
use super::scan::{Broken, Opened, Record, SegmentReader};
use super::{End, Frames, JournalFrame, TornTail, damage, segment_number, segment_path};
use crate::problem::{Problem, counted};

/// A journal that was checked as a whole. Clones share what is known of it. Frames are read from the files when they are asked
/// for.
#[derive(Clone, Debug)]
pub struct Journal {
    contents: Arc<Contents>,
}

impl Journal {
    /// Reads and checks the journal in a folder.
    ///
    /// # Errors
    /// Fails if it is damaged, of another run or of an unknown version, or it can't be read. A torn tail is no error.
    pub fn open(folder: &Path, run_id: u128) -> Result<Self, Problem> {
        Self::read(folder, run_id, true)
    }

    /// Like [`open`](Self::open), but takes everything after the first broken record of the last segment for a torn tail, even if there are whole
    /// records in it: on some file systems, a machine that loses its power may leave a hole before them. Only data that was never synced can
    /// be lost like this; the caller must know that this is so.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_cut(folder: &Path, run_id: u128) -> Result<Self, Problem> {
        Self::read(folder, run_id, false)
    }

    fn read(folder: &Path, run_id: u128, strict: bool) -> Result<Self, Problem> {
        let segments = segments(folder)?;
        let contents = Contents { folder: folder.to_path_buf(), run_id, segments, ..Contents::default() };
        let mut opening = Opening { contents, link: 0, last: None, strict };
        for segment in 0..segments {
            opening.segment(segment, segment + 1 == segments)?;
        }
        Ok(Self { contents: Arc::new(opening.contents) })
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.contents.folder
    }

    /// Returns the number of whole frames.
    pub fn frames_count(&self) -> u64 {
        self.contents.frames
    }

    /// Returns the number of the first frame.
    pub fn first_frame(&self) -> u64 {
        self.contents.first_frame.unwrap_or(0)
    }

    /// Returns the number of the frame after the last whole one.
    pub fn next_frame(&self) -> u64 {
        self.contents.next_frame()
    }

    /// Returns the orderly end, if there is one.
    pub fn end(&self) -> Option<End> {
        self.contents.end
    }

    /// Returns what a crash left behind the last whole frame.
    pub fn torn(&self) -> Option<&TornTail> {
        self.contents.torn.as_ref()
    }

    /// Returns the torn tail as damage, for a run that is known to have ended orderly.
    pub fn damage_of_torn_tail(&self) -> Option<Problem> {
        self.contents.torn.as_ref().map(damage::torn)
    }

    /// Returns the end of a run that is known to have ended orderly.
    ///
    /// # Errors
    /// Fails if the journal has no end: something is missing.
    pub fn ended(&self) -> Result<End, Problem> {
        if let Some(problem) = self.damage_of_torn_tail() {
            return Err(problem);
        }
        let contents = &self.contents;
        contents.end.ok_or_else(|| {
            let file = segment_path(&contents.folder, contents.segments.saturating_sub(1));
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let why = format!("frames from {} on are missing, although the run ended orderly", contents.next_frame());
            damage::damaged(&file, length, &why)
        })
    }

    /// Returns all frames.
    pub fn frames(&self) -> Frames {
        self.frames_from(self.first_frame())
    }

    /// Returns the frames from number `frame` on: none if the journal doesn't reach so far, all if it begins later.
    pub fn frames_from(&self, frame: u64) -> Frames {
        Frames::new(Arc::clone(&self.contents), frame)
    }

    /// Returns one frame; `None` if the journal doesn't hold it.
    ///
    /// # Errors
    /// Fails if the journal was damaged since it was opened, or can't be read.
    pub fn frame(&self, frame: u64) -> Result<Option<JournalFrame>, Problem> {
        if !(self.first_frame()..self.next_frame()).contains(&frame) {
            return Ok(None);
        }
        self.frames_from(frame).next().transpose()
    }

    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }
}

/// Returns the number of segments in a folder. Their numbers have no gap.
fn segments(folder: &Path) -> Result<u32, Problem> {
    let unreadable = |error| damage::unreadable(folder, error);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        numbers.extend(entry.map_err(unreadable)?.file_name().to_str().and_then(segment_number));
    }
    numbers.sort_unstable();
    let mut next = 0;
    for number in numbers {
        if number != next {
            let (missing, later) = (segment_path(folder, next), segment_path(folder, number));
            return Err(damage::missing(&missing, Some(&later)));
        }
        next += 1;
    }
    if next == 0 { Err(damage::missing(&segment_path(folder, 0), None)) } else { Ok(next) }
}

/// A journal that is being opened.
struct Opening {
    contents: Contents,
    /// Checksum of the last record so far.
    link: u64,
    /// Digest of the last frame so far.
    last: Option<Digest>,
    /// Whether whole records behind a broken one are damage.
    strict: bool,
}

impl Opening {
    fn segment(&mut self, segment: u32, last: bool) -> Result<(), Problem> {
        let path = segment_path(&self.contents.folder, segment);
        if self.contents.end.is_some() {
            return Err(damage::damaged(&path, 0, "the journal has ended in the segment before this one"));
        }
        let place = Place { run_id: self.contents.run_id, segment };
        let (mut reader, opened) = SegmentReader::open(path.clone(), place)?;
        match opened {
            Opened::Whole(header) => self.header(&header, segment, &path)?,
            Opened::Unwritten if last => return self.torn(&mut reader, 0, "its header was never written"),
            Opened::Unwritten => return Err(damage::damaged(&path, 0, "its header is missing")),
            Opened::Broken(fault) => return Err(damage::header(&path, fault)),
        }
        let mut before = Before::default();
        loop {
            match reader.next() {
                Ok(Some(record)) => self.record(&record, segment, &mut before, &path)?,
                Ok(None) => break,
                Err(Broken::Problem(problem)) => return Err(problem),
                Err(Broken::Torn { offset, why }) if last && self.contents.end.is_none() => {
                    return self.torn(&mut reader, offset, why);
                }
                Err(Broken::Torn { offset, why }) => return Err(damage::damaged(&path, offset, why)),
            }
        }
        self.link = reader.link();
        Ok(())
    }

    /// Checks that the segment is the next one.
    fn header(&mut self, header: &SegmentHeader, segment: u32, path: &Path) -> Result<(), Problem> {
        if header.run_id != self.contents.run_id {
            return Err(damage::other_run(path, header.run_id, self.contents.run_id));
        }
        if header.segment != segment {
            let why = format!("it is segment {}, under the name of another", header.segment);
            return Err(damage::damaged(path, at::SEGMENT, &why));
        }
        let first_frame = *self.contents.first_frame.get_or_insert(header.first_frame);
        let next_frame = first_frame.saturating_add(self.contents.frames);
        if header.first_frame != next_frame {
            let why = format!("it begins with frame {}, but frame {next_frame} comes next", header.first_frame);
            return Err(damage::damaged(path, at::FIRST_FRAME, &why));
        }
        if header.link != self.link {
            return Err(damage::damaged(path, at::LINK, "it doesn't follow the segment before it"));
        }
        Ok(())
    }

    fn record(&mut self, record: &Record, segment: u32, before: &mut Before, path: &Path) -> Result<(), Problem> {
        let damaged = |why: &str| Err(damage::damaged(path, record.offset, why));
        if self.contents.end.is_some() {
            return damaged("there is a record behind the journal's end");
        }
        match record.kind {
            KIND_FRAME => {
                let first = record.offset == SEGMENT_HEADER_BYTES as u64;
                match content::decode(record.payload, before) {
                    Ok((frame, key)) => {
                        self.frame(&frame, key, first, (segment, record.offset)).or_else(|why| damaged(&why))
                    }
                    Err(misfit) => damaged(&format!("a record {misfit}")),
                }
            }
            KIND_END => {
                if record.payload.len() != END_BYTES {
                    return damaged("the record of the end has a wrong size");
                }
                let u128_at = |at: usize| {
                    u128::from(u64_at(record.payload, at)) | u128::from(u64_at(record.payload, at + 8)) << 64
                };
                let (frames, digest, summary) = (u64_at(record.payload, 0), Digest(u128_at(8)), u128_at(24));
                let end = End { frames, digest, summary };
                if end.frames != self.contents.frames {
                    return damaged(&format!(
                        "it ends after {}, but {} are there",
                        counted(end.frames, "frame"),
                        self.contents.frames
                    ));
                }
                if self.last.is_some_and(|last| last != end.digest) {
                    return damaged("it ends with another digest than that of its last frame");
                }
                self.contents.end = Some(end);
                Ok(())
            }
            kind => Err(damage::unknown_kind(path, record.offset, kind)),
        }
    }

    fn frame(&mut self, frame: &JournalFrame, key: bool, first: bool, at: (u32, u64)) -> Result<(), String> {
        let next = self.contents.next_frame();
        if frame.frame != next {
            return Err(format!("it holds frame {}, but frame {next} comes next", frame.frame));
        }
        if first && !key {
            return Err("the segment's first frame needs the one before".to_owned());
        }
        let (segment, offset) = at;
        if key {
            self.contents.keyframes.push(Keyframe { frame: frame.frame, offset, segment });
        }
        self.contents.frames += 1;
        self.last = Some(frame.digest);
        Ok(())
    }

    /// Takes what follows `offset` in the last segment for a torn tail, unless a whole record comes behind it.
    fn torn(&mut self, reader: &mut SegmentReader, offset: u64, why: &str) -> Result<(), Problem> {
        if self.strict
            && let Some(found) = reader.find(offset + 1)?
        {
            let why = format!(
                "{why}, and there is a whole record behind it, at byte {found}, so it isn't what a crash leaves"
            );
            return Err(damage::damaged(reader.path(), offset, &why));
        }
        let bytes = reader.length() - offset;
        self.contents.torn = Some(TornTail { file: reader.path().to_path_buf(), offset, bytes });
        Ok(())
    }
}
