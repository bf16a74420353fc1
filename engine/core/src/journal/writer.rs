//! Writes a journal, on a thread of its own. After an error nothing more is written.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use wasm_engine_components::Digest;
use wasm_engine_components::limits::{
    JOURNAL_BUFFER_BYTES_MAX, JOURNAL_KEYFRAME_FRAMES, JOURNAL_RECORD_BYTES_MAX, JOURNAL_SEGMENT_BYTES_MAX,
};

use super::content::{self, Before};
use super::format::{
    END_RECORD_BYTES, KIND_END, KIND_FRAME, Place, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SUM_BYTES,
    SegmentHeader, header_sum, record_sum,
};
use super::frames::Position;
use super::{FrameRef, Journal, JournalOptions, damage, segment_path};
use crate::problem::{Problem, counted};
use wasm_engine_files::unfinished::making;
use wasm_engine_files::{no_link, sync_folder};

/// A journal that is being written.
///
/// What was appended is in memory until [`flush`](Self::flush) gives it to the operating system, which happens by itself from
/// time to time, and may be lost with the machine's power until [`sync`](Self::sync) returns. A segment is synced before the
/// next one is begun: so after a loss of power, only the last one can be torn.
pub struct JournalWriter {
    folder: PathBuf,
    run_id: u128,
    segment_bytes_max: u64,
    segment: u32,
    path: PathBuf,
    file: File,
    /// Bytes that aren't in the file yet.
    buffer: Vec<u8>,
    /// Offset of the next record: the size of the segment, with what is buffered.
    offset: u64,
    /// The checksum of the last record.
    link: u64,
    before: Before,
    next_frame: u64,
    frames: u64,
    /// Whether the folder has an entry that may not be durable.
    folder_changed: bool,
    ended: bool,
    failed: Option<Problem>,
    /// The record that is being made; its memory is used again.
    record: Vec<u8>,
}

impl JournalWriter {
    /// Begins a journal in a folder, which is made if it isn't there. Its first segment is durable when this returns.
    ///
    /// # Errors
    /// Fails if it can't be written, or there is one.
    pub fn create(folder: &Path, run_id: u128) -> Result<Self, Problem> {
        Self::create_with(folder, run_id, JournalOptions::default())
    }

    /// Like [`create`](Self::create), with options.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn create_with(folder: &Path, run_id: u128, options: JournalOptions) -> Result<Self, Problem> {
        making(|| std::fs::create_dir_all(folder)).map_err(|error| damage::unwritable(folder, error))?;
        let header = SegmentHeader { segment: 0, first_frame: options.first_frame, run_id, link: 0 };
        let (path, file) = open(folder, 0, OpenOptions::new().write(true).create_new(true))?;
        let mut writer = Self::new(folder, &header, (path, file), options);
        writer.begin_segment(&header)?;
        writer.sync()?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent).map_err(|error| damage::unwritable(parent, error))?;
        }
        Ok(writer)
    }

    /// Goes on with a journal where its last whole frame ends: a torn tail is cut off, and the record of the end is removed. What is
    /// then written is, byte by byte, what would have been written without the stop.
    ///
    /// # Errors
    /// Fails if it can't be written, or was damaged since it was opened.
    pub fn reopen(journal: &Journal) -> Result<Self, Problem> {
        Self::reopen_with(journal, journal.frames_count(), JournalOptions::default())
    }

    /// Like [`reopen`](Self::reopen), but only the first `frames` frames are kept. The option `first_frame` is used only if a crash has left
    /// nothing of the journal that says it.
    ///
    /// # Errors
    /// As for [`reopen`](Self::reopen), and if the journal holds less than `frames`.
    pub fn reopen_with(journal: &Journal, frames: u64, options: JournalOptions) -> Result<Self, Problem> {
        let contents = journal.contents();
        let folder = &contents.folder;
        if frames > contents.frames {
            let what = format!("holds {}, {frames} are needed", counted(contents.frames, "frame"));
            return Err(Problem::new(what).file(folder));
        }
        let first_frame = contents.first_frame.unwrap_or(options.first_frame);
        let header = SegmentHeader { segment: 0, first_frame, run_id: contents.run_id, link: 0 };
        let position = match frames.checked_sub(1) {
            Some(before) => {
                let mut last = journal.frames_from(first_frame + before);
                last.next().transpose()?;
                last.position()
            }
            None => None,
        };
        let kept = position.as_ref().map_or(0, |position| position.segment);
        // From the last one backwards, each for good: whenever this stops, no number is missing.
        for segment in (kept + 1..contents.segments).rev() {
            let path = segment_path(folder, segment);
            let removed = std::fs::remove_file(&path).and_then(|()| sync_folder(folder));
            removed.map_err(|error| damage::unwritable(&path, error))?;
        }
        let (path, file) = open(folder, kept, OpenOptions::new().write(true))?;
        let options = JournalOptions { first_frame: first_frame + frames, ..options };
        let mut writer = Self::new(folder, &header, (path, file), options);
        writer.frames = frames;
        writer.cut(position, &header)?;
        Ok(writer)
    }

    fn new(folder: &Path, header: &SegmentHeader, file: (PathBuf, File), options: JournalOptions) -> Self {
        let (path, file) = file;
        Self {
            folder: folder.to_path_buf(),
            run_id: header.run_id,
            segment_bytes_max: u64::from(options.segment_bytes_max.min(JOURNAL_SEGMENT_BYTES_MAX)),
            segment: header.segment,
            path,
            file,
            buffer: Vec::new(),
            offset: 0,
            link: 0,
            before: Before::default(),
            next_frame: options.first_frame,
            frames: 0,
            folder_changed: true,
            ended: false,
            failed: None,
            record: Vec::new(),
        }
    }

    /// Cuts the open segment where a writer goes on, or begins the first one anew if it keeps no frame.
    fn cut(&mut self, position: Option<Position>, header: &SegmentHeader) -> Result<(), Problem> {
        let length = position.as_ref().map_or(0, |position| position.offset);
        // For good, before anything is written where the old bytes were. A new size isn't data, so syncing that isn't enough.
        let cut = self.file.set_len(length).and_then(|()| self.file.sync_all());
        let cut = cut.and_then(|()| self.file.seek(SeekFrom::Start(length)));
        self.done(cut)?;
        match position {
            Some(position) => {
                self.segment = position.segment;
                self.offset = position.offset;
                self.link = position.link;
                self.before = position.before;
            }
            None => self.begin_segment(header)?,
        }
        self.sync()
    }

    /// Appends a frame. Returns the number of bytes that it takes.
    ///
    /// # Errors
    /// Fails if it can't be written, now or earlier; it isn't the next frame; it is larger than a record may be.
    pub fn append<'a>(&mut self, frame: impl Into<FrameRef<'a>>) -> Result<u64, Problem> {
        let frame = &frame.into();
        self.usable()?;
        if frame.frame != self.next_frame {
            let what = format!("frame {} can't be written: frame {} comes next", frame.frame, self.next_frame);
            return Err(Problem::new(what).file(&self.path));
        }
        let mut length = self.encode(frame)?;
        let first = self.offset == SEGMENT_HEADER_BYTES as u64;
        // There is always room for the record of the end, so that it is in the segment of the last frame.
        if !first && self.offset + length + END_RECORD_BYTES as u64 > self.segment_bytes_max {
            self.next_segment()?;
            length = self.encode(frame)?;
        }
        self.put(KIND_FRAME)?;
        self.before.set(frame);
        self.next_frame += 1;
        self.frames += 1;
        Ok(length)
    }

    /// Makes the record of a frame, without what depends on its place. Returns its size.
    fn encode(&mut self, frame: &FrameRef<'_>) -> Result<u64, Problem> {
        let first = self.offset == SEGMENT_HEADER_BYTES as u64;
        let key = first || frame.frame.is_multiple_of(JOURNAL_KEYFRAME_FRAMES);
        self.record.clear();
        self.record.resize(RECORD_HEADER_BYTES, 0);
        let made = content::encode(frame, &self.before, key, &mut self.record);
        let payload = self.record.len().saturating_sub(RECORD_HEADER_BYTES) as u64;
        if made.is_err() || payload > u64::from(JOURNAL_RECORD_BYTES_MAX) {
            let what =
                format!("frame {} can't be written: it takes more than {JOURNAL_RECORD_BYTES_MAX} bytes", frame.frame);
            let help = "give the run fewer or smaller events in one frame";
            return Err(Problem::new(what).file(&self.path).help(help));
        }
        Ok((self.record.len() + SUM_BYTES) as u64)
    }

    /// Appends the record that was made.
    fn put(&mut self, kind: u8) -> Result<(), Problem> {
        let place = Place { run_id: self.run_id, segment: self.segment };
        let length = (self.record.len() - RECORD_HEADER_BYTES) as u32;
        let header = RecordHeader { length, kind, link: self.link }.encode(place, self.offset);
        self.record[..RECORD_HEADER_BYTES].copy_from_slice(&header);
        self.link = record_sum(&self.record);
        self.record.extend_from_slice(&self.link.to_le_bytes());
        self.buffer.extend_from_slice(&self.record);
        self.offset += self.record.len() as u64;
        if self.buffer.len() > JOURNAL_BUFFER_BYTES_MAX {
            self.flush()?;
        }
        if self.record.capacity() > JOURNAL_BUFFER_BYTES_MAX {
            // A frame with many inputs is seldom followed by another.
            self.record = Vec::new();
        }
        Ok(())
    }

    fn begin_segment(&mut self, header: &SegmentHeader) -> Result<(), Problem> {
        let bytes = header.encode();
        self.buffer.extend_from_slice(&bytes);
        self.link = header_sum(&bytes);
        self.offset = bytes.len() as u64;
        // The header is in the file at once, so that a folder that is looked at shows no empty segment.
        self.flush()
    }

    /// Ends the segment, for good, and begins the next.
    fn next_segment(&mut self) -> Result<(), Problem> {
        self.sync()?;
        self.tell_sealed();
        let segment = self.segment + 1;
        let opened = open(&self.folder, segment, OpenOptions::new().write(true).create_new(true));
        (self.path, self.file) = opened.inspect_err(|problem| self.failed = Some(problem.clone()))?;
        self.segment = segment;
        self.folder_changed = true;
        self.begin_segment(&SegmentHeader {
            segment,
            first_frame: self.next_frame,
            run_id: self.run_id,
            link: self.link,
        })
    }

    /// Gives what was appended to the operating system: it outlives this process.
    ///
    /// # Errors
    /// Fails if it can't be written.
    pub fn flush(&mut self) -> Result<(), Problem> {
        self.unfailed()?;
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        self.buffer.shrink_to(JOURNAL_BUFFER_BYTES_MAX);
        self.done(written)
    }

    /// Makes what was appended durable: it outlives a loss of power.
    ///
    /// # Errors
    /// Fails if it can't be written. It isn't known then which part of it was written.
    pub fn sync(&mut self) -> Result<(), Problem> {
        self.flush()?;
        let synced = self.file.sync_data();
        self.done(synced)?;
        if self.folder_changed {
            let synced = sync_folder(&self.folder);
            self.done(synced)?;
            self.folder_changed = false;
        }
        Ok(())
    }

    /// Writes the orderly end, durably. Nothing can be appended after it.
    ///
    /// # Errors
    /// Fails if it can't be written.
    pub fn end(&mut self, digest: Digest, summary: u128) -> Result<(), Problem> {
        self.usable()?;
        self.record.clear();
        self.record.resize(RECORD_HEADER_BYTES, 0);
        self.record.extend_from_slice(&self.frames.to_le_bytes());
        self.record.extend_from_slice(&digest.0.to_le_bytes());
        self.record.extend_from_slice(&summary.to_le_bytes());
        self.put(KIND_END)?;
        self.ended = true;
        self.sync()?;
        self.tell_sealed();
        Ok(())
    }

    /// Says that nothing is added to the segment any more.
    fn tell_sealed(&self) {
        let (segment, bytes, next_frame) = (self.segment, self.offset, self.next_frame);
        tracing::info!(segment, bytes, next_frame, "a segment of the journal is sealed");
    }

    /// Returns the number of the frame that must be appended next.
    pub const fn next_frame(&self) -> u64 {
        self.next_frame
    }

    /// Returns the number of frames in the journal.
    pub const fn frames_count(&self) -> u64 {
        self.frames
    }

    fn usable(&self) -> Result<(), Problem> {
        self.unfailed()?;
        match self.ended {
            true => Err(Problem::new("can't be written: the journal has ended").file(&self.path)),
            false => Ok(()),
        }
    }

    /// Returns the error of an earlier write, if one failed. A part of it may be in the file, so that writing more after it would be damage.
    fn unfailed(&self) -> Result<(), Problem> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Keeps an error, which each further call returns again.
    fn done<T>(&mut self, result: io::Result<T>) -> Result<(), Problem> {
        match result {
            Ok(_) => Ok(()),
            Err(error) => {
                let problem = damage::unwritable(&self.path, error);
                self.failed = Some(problem.clone());
                Err(problem)
            }
        }
    }
}

impl Drop for JournalWriter {
    /// Writes what was appended, even if the run has failed. An error is ignored, because nobody can be told of it any more.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

fn open(folder: &Path, segment: u32, options: &OpenOptions) -> Result<(PathBuf, File), Problem> {
    let path = segment_path(folder, segment);
    match making(|| no_link(&mut options.clone()).open(&path)) {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(damage::unwritable(&path, error)),
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use wasm_engine_components::text::shown_path;

    use super::*;
    use crate::journal::JournalFrame;

    const fn assert_send<T: Send>() {}
    const _: () = assert_send::<JournalWriter>();

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::create(folder.path(), 1).unwrap();
        writer.append(&JournalFrame::default()).unwrap();
        writer.flush().unwrap();
        writer.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        writer.append(&JournalFrame { frame: 1, ..JournalFrame::default() }).unwrap();
        let text = format!("{:#}", writer.sync().unwrap_err());
        let path = folder.path().join("000000.wej");
        assert!(
            text.starts_with(&format!("{}: can't be written: No space left on device", shown_path(&path))),
            "{text}"
        );
        assert!(text.contains("; help: make room, then `resume` the run"), "{text}");
        // There is room again, but nobody knows how much of the frame was written.
        writer.file = OpenOptions::new().append(true).open(&path).unwrap();
        let frame = JournalFrame { frame: 2, ..JournalFrame::default() };
        let errors = [writer.append(&frame).map(drop), writer.flush(), writer.sync(), writer.end(Digest(0), 0)];
        assert!(
            errors.iter().all(|error| error.as_ref().is_err_and(|problem| format!("{problem:#}") == text)),
            "{errors:?}"
        );
        drop(writer);
        let journal = Journal::open(folder.path(), 1).unwrap();
        assert_eq!((journal.frames_count(), journal.end(), journal.torn()), (1, None, None));
    }

    #[test]
    fn what_waits_in_memory_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::create(folder.path(), 1).unwrap();
        for frame in 0..3 {
            let output = vec![7; 2 * JOURNAL_BUFFER_BYTES_MAX];
            let mut recorded = JournalFrame { frame, ..JournalFrame::default() };
            recorded.inference.push(wasm_engine_abi::InferenceStatus::Ok, &output);
            writer.append(&recorded).unwrap();
            assert!(writer.buffer.capacity() <= JOURNAL_BUFFER_BYTES_MAX && writer.buffer.is_empty());
            assert!(writer.record.capacity() <= JOURNAL_BUFFER_BYTES_MAX);
        }
    }
}
