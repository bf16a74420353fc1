//! A journal that is gone on with, wherever it stopped, is the one that would have been written without the stop.

use std::path::Path;

use wasm_engine_core::journal::{Journal, JournalWriter};

use super::{RUN, SUMMARY, append, files, frames, last_digest, options, put, read, write};
use crate::folder_in_memory;

const SEGMENT_BYTES: u32 = 900;

/// Goes on with the journal in `folder` and ends it.
fn go_on(folder: &Path, journal: &Journal, keep: u64, all: &[wasm_engine_core::journal::JournalFrame]) {
    let mut writer = JournalWriter::reopen_with(journal, keep, options(SEGMENT_BYTES)).unwrap();
    assert_eq!((writer.frames_count(), writer.next_frame()), (keep, keep));
    append(&mut writer, &all[keep as usize..]);
    writer.end(last_digest(all), SUMMARY).unwrap();
    assert_eq!(read(&Journal::open(folder, RUN).unwrap()).unwrap(), all);
}

#[test]
fn a_journal_cut_anywhere_goes_on_to_the_same_bytes() {
    let folder = folder_in_memory();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let all = frames(20);
    write(&whole, &all, SEGMENT_BYTES, true);
    let expected = files(&whole);
    assert!(expected.len() >= 3);
    std::fs::create_dir(&cut).unwrap();
    let names: Vec<_> = expected.keys().cloned().collect();
    for (n, name) in names.iter().enumerate() {
        for length in 0..=expected[name].len() {
            // A crash: the later segments were never begun, and of this one only so much was written, or zeros behind it. A
            // header is in one block of the disk: it is written or it isn't.
            for zeros in [0, 70] {
                if zeros > 0 && (1..56).contains(&length) {
                    continue;
                }
                let mut left = expected.clone();
                names[n + 1..].iter().for_each(|later| drop(left.remove(later)));
                let bytes = left.get_mut(name).unwrap();
                bytes.truncate(length);
                bytes.resize(length + zeros, 0);
                if length + zeros < expected[name].len() || n + 1 < names.len() {
                    put(&cut, &left);
                    let journal = Journal::open(&cut, RUN).unwrap();
                    let kept = journal.frames_count();
                    assert_eq!(read(&journal).unwrap(), all[..kept as usize], "{name} cut at {length}");
                    if let Some(torn) = journal.torn() {
                        assert_eq!(torn.file, cut.join(name));
                        assert_eq!(torn.bytes, (length + zeros) as u64 - torn.offset);
                    }
                    // Each one takes as long as a disk takes to sync.
                    if length % 17 == 0 {
                        go_on(&cut, &journal, kept, &all);
                        assert_eq!(files(&cut), expected, "{name} cut at {length}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_journal_can_be_cut_after_any_frame() {
    let folder = folder_in_memory();
    let path = folder.path().join("journal");
    let all = frames(20);
    write(&path, &all, SEGMENT_BYTES, true);
    let expected = files(&path);
    for keep in 0..=20 {
        let journal = Journal::open(&path, RUN).unwrap();
        go_on(&path, &journal, keep, &all);
        assert_eq!(files(&path), expected, "{keep} frames kept");
    }
    let journal = Journal::open(&path, RUN).unwrap();
    let text = format!("{:#}", JournalWriter::reopen_with(&journal, 21, options(SEGMENT_BYTES)).err().unwrap());
    assert!(text.ends_with("journal: holds 20 frames, 21 are needed"), "{text}");
}

#[test]
fn an_end_is_taken_back_when_the_run_goes_on() {
    let folder = folder_in_memory();
    let (once, twice) = (folder.path().join("once"), folder.path().join("twice"));
    let all = frames(9);
    write(&once, &all, 1 << 20, true);
    write(&twice, &all[..4], 1 << 20, true);
    let journal = Journal::open(&twice, RUN).unwrap();
    assert_eq!(journal.end().unwrap().frames, 4);
    let mut writer = JournalWriter::reopen(&journal).unwrap();
    // A crash right after that is a journal without an end.
    let opened = Journal::open(&twice, RUN).unwrap();
    assert_eq!((opened.frames_count(), opened.end(), opened.torn()), (4, None, None));
    append(&mut writer, &all[4..]);
    writer.end(last_digest(&all), SUMMARY).unwrap();
    assert_eq!(files(&once), files(&twice));
}
