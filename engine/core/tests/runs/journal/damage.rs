//! Whatever happens to the files: an error that names file and place, or a torn tail behind frames that were written.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use wasm_engine_core::journal::{Journal, JournalFrame};

use super::{RUN, files, frames, options, put, read, write};
use crate::folder_in_memory;

const SEGMENT_BYTES: u32 = 900;

/// What became of a journal: an error's text, or how many frames there still are.
fn outcome(folder: &Path, all: &[JournalFrame], what: &str) -> Result<u64, String> {
    let journal = match Journal::open(folder, RUN) {
        Ok(journal) => journal,
        Err(problem) => {
            let text = format!("{problem:#}").replace(&format!("{}/", folder.display()), "");
            assert!(text.contains(".wej: ") && text.contains("; help: "), "{what}: {text}");
            return Err(text);
        }
    };
    let count = journal.frames_count();
    assert_eq!(read(&journal).unwrap(), all[..count as usize], "{what}");
    if let Some(torn) = journal.torn() {
        let text = journal.damage_of_torn_tail().unwrap().to_string();
        assert!(text.contains(&format!(".wej: is damaged at byte {}: ", torn.offset)), "{what}: {text}");
        assert!(journal.ended().is_err() && journal.end().is_none());
    }
    Ok(count)
}

#[test]
fn every_changed_byte_is_found() {
    let folder = folder_in_memory();
    let path = folder.path().join("journal");
    let all = frames(24);
    for ended in [false, true] {
        let _ = std::fs::remove_dir_all(&path);
        write(&path, &all, SEGMENT_BYTES, ended);
        let whole = files(&path);
        assert!(whole.len() >= 3);
        let last = whole.keys().next_back().unwrap();
        for (name, bytes) in &whole {
            // In place: some file systems take their time for a file that is written anew.
            let mut file = std::fs::File::options().write(true).open(path.join(name)).unwrap();
            let mut set = |at: usize, byte: u8| {
                file.seek(SeekFrom::Start(at as u64)).and_then(|_| file.write_all(&[byte])).unwrap();
            };
            for (at, &byte) in bytes.iter().enumerate() {
                for flip in [0x01, 0x80, 0xff] {
                    set(at, byte ^ flip);
                    let what = format!("{name}, byte {at}, flip {flip:#x}");
                    match outcome(&path, &all, &what) {
                        Err(text) => {
                            assert!(text.starts_with(name.as_str()), "{what}: {text}");
                            let place = text.split("at byte ").nth(1).expect("it names a byte");
                            let place: usize = place.split([':', ' ', ',', ')']).next().unwrap().parse().unwrap();
                            assert!(place <= at, "{what}: {text}");
                        }
                        // Only the last record can't be told from one that was torn.
                        Ok(count) => {
                            assert_eq!(name, last, "{what}");
                            assert!(count == 24 && ended || count == 23 && !ended, "{what}: {count} frames");
                            assert!(Journal::open(&path, RUN).unwrap().torn().is_some(), "{what}");
                        }
                    }
                }
                set(at, byte);
            }
        }
    }
}

#[test]
fn every_cut_is_found_but_in_the_last_segment() {
    let folder = folder_in_memory();
    let path = folder.path().join("journal");
    let all = frames(24);
    write(&path, &all, SEGMENT_BYTES, true);
    let whole = files(&path);
    let last = whole.keys().next_back().unwrap();
    for (name, bytes) in &whole {
        for length in 0..bytes.len() {
            std::fs::write(path.join(name), &bytes[..length]).unwrap();
            let what = format!("{name} cut at {length}");
            let outcome = outcome(&path, &all, &what);
            assert_eq!(outcome.is_ok(), name == last, "{what}: {outcome:?}");
            // The caller, who knows that the run has ended, finds that one, too.
            if outcome.is_ok() {
                let text = format!("{:#}", Journal::open(&path, RUN).unwrap().ended().unwrap_err());
                assert!(text.contains(&format!("{name}: is damaged at byte ")), "{what}: {text}");
            }
        }
        std::fs::write(path.join(name), bytes).unwrap();
    }
}

#[test]
fn bytes_that_are_moved_doubled_or_lost_are_found() {
    let folder = folder_in_memory();
    let path = folder.path().join("journal");
    let all = frames(24);
    write(&path, &all, SEGMENT_BYTES, false);
    let whole = files(&path);
    let names: Vec<_> = whole.keys().cloned().collect();
    let (first, last) = (&names[0], names.last().unwrap());
    let refused = |what: &str, change: &dyn Fn(&mut std::collections::BTreeMap<String, Vec<u8>>)| {
        let mut changed = whole.clone();
        change(&mut changed);
        put(&path, &changed);
        let text = outcome(&path, &all, what).expect_err(what);
        text.split("; help").next().unwrap().to_owned()
    };
    let missing = refused("a segment is missing", &|files| drop(files.remove(&names[1])));
    assert_eq!(missing, "000001.wej: is missing, but 000002.wej is there");
    let missing = refused("the first segment is missing", &|files| drop(files.remove(first)));
    assert_eq!(missing, "000000.wej: is missing, but 000001.wej is there");
    assert_eq!(refused("all are missing", &|files| files.clear()), "000000.wej: is missing");
    let swapped = refused("two segments are swapped", &|files| {
        let one = files.insert(names[1].clone(), whole[&names[2]].clone()).unwrap();
        files.insert(names[2].clone(), one);
    });
    assert_eq!(swapped, "000001.wej: is damaged at byte 12: it is segment 2, under the name of another");
    refused("a segment is there twice", &|files| drop(files.insert("000009.wej".to_owned(), whole[last].clone())));
    let zeros = refused("zeros in the middle", &|files| files.get_mut(last).unwrap()[60..100].fill(0));
    let told = ": is damaged at byte 56: a record's header doesn't match its check, and there is a whole record behind it, at byte ";
    assert!(zeros.contains(told), "{zeros}");
    let zeros = refused("zeros at the end of an earlier one", &|files| files.get_mut(first).unwrap().resize(2_000, 0));
    assert!(zeros.ends_with(": a record's header doesn't match its check"), "{zeros}");
    let doubled = refused("a segment's records come twice", &|files| {
        let bytes = files.get_mut(&names[1]).unwrap();
        bytes.extend_from_within(56..);
    });
    assert!(doubled.starts_with("000001.wej: is damaged at byte "), "{doubled}");
    let empty = refused("an earlier segment is empty", &|files| files.get_mut(&names[1]).unwrap().clear());
    assert_eq!(empty, "000001.wej: is damaged at byte 0: its header is missing");
    refused("the last segment has no header, but records", &|files| files.get_mut(last).unwrap()[..56].fill(0));
    // Bytes of the journal that were in a message are no records, though they are whole.
    let mut torn = whole.clone();
    let bytes = torn.get_mut(last).unwrap();
    bytes.truncate(bytes.len() - 1);
    bytes.extend_from_slice(&whole[first]);
    bytes.extend_from_slice(&whole[last]);
    put(&path, &torn);
    assert_eq!(outcome(&path, &all, "whole records at the wrong place"), Ok(23));
}

#[test]
fn two_histories_are_not_mixed() {
    let folder = folder_in_memory();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let all = frames(24);
    let mut others = all.clone();
    // As long as the other one, and different in what it holds.
    others[1].digest.0 ^= 1;
    write(&one, &all, SEGMENT_BYTES, true);
    write(&other, &others, SEGMENT_BYTES, true);
    let (ours, theirs) = (files(&one), files(&other));
    std::fs::write(one.join("000000.wej"), &theirs["000000.wej"]).unwrap();
    let text = format!("{:#}", Journal::open(&one, RUN).unwrap_err());
    assert!(text.contains("000001.wej: is damaged at byte 40: it doesn't follow the segment before it"), "{text}");
    // Within a segment: blocks of the disk that were never written, so that what was there before is there still.
    let mut links = 0;
    for at in 56..ours["000000.wej"].len() {
        let mixed = [&theirs["000000.wej"][..at], &ours["000000.wej"][at..]].concat();
        if mixed != ours["000000.wej"] && mixed != theirs["000000.wej"] {
            std::fs::write(one.join("000000.wej"), &mixed).unwrap();
            let text = format!("{:#}", Journal::open(&one, RUN).unwrap_err());
            links += u32::from(text.contains("a record doesn't follow the one before it"));
        }
    }
    assert!(links > 0, "at the beginnings of records");
    let text = format!("{:#}", Journal::open(&other, RUN + 1).unwrap_err());
    let told = "000000.wej: belongs to another run (at byte 24): 0123456789abcdef0011223344556677, not ";
    assert!(text.contains(told), "{text}");
}

#[test]
fn a_hole_before_whole_records_is_cut_only_if_asked() {
    let folder = folder_in_memory();
    let all = frames(24);
    write(folder.path(), &all, 1 << 20, false);
    let path = folder.path().join("000000.wej");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_000..1_100].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    assert!(Journal::open(folder.path(), RUN).is_err());
    let journal = Journal::open_cut(folder.path(), RUN).unwrap();
    let count = journal.frames_count();
    assert!(count > 0 && count < 24);
    assert_eq!(read(&journal).unwrap(), all[..count as usize]);
    assert!(journal.torn().unwrap().offset <= 1_000);
}

#[test]
fn what_changes_after_the_journal_was_opened_is_found() {
    let folder = folder_in_memory();
    let all = frames(24);
    write(folder.path(), &all, SEGMENT_BYTES, true);
    let journal = Journal::open(folder.path(), RUN).unwrap();
    let path = folder.path().join("000001.wej");
    let bytes = std::fs::read(&path).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() - 1] ^= 1;
    for changed in [&changed[..], &bytes[..200], &[]] {
        std::fs::write(&path, changed).unwrap();
        let read: Vec<_> = journal.frames().collect();
        let (last, before) = read.split_last().unwrap();
        let text = format!("{:#}", last.as_ref().unwrap_err());
        assert!(text.contains("000001.wej: "), "{text}");
        for (frame, read) in before.iter().enumerate() {
            assert_eq!(read.as_ref().unwrap(), &all[frame]);
        }
    }
    std::fs::remove_file(&path).unwrap();
    assert!(journal.frames().any(|frame| frame.is_err()));
    assert!(wasm_engine_core::journal::JournalWriter::reopen_with(&journal, 24, options(SEGMENT_BYTES)).is_ok());
}

#[test]
fn random_bytes_are_no_journal() {
    let folder = folder_in_memory();
    let path = folder.path().join("000000.wej");
    let mut state = 1_u64;
    for length in (0..3_000).step_by(37) {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        std::fs::write(&path, &bytes).unwrap();
        let outcome = outcome(folder.path(), &[], "random bytes");
        assert_eq!(outcome.is_ok(), length < 56);
        std::fs::write(&path, vec![0; length]).unwrap();
        assert!(Journal::open(folder.path(), RUN).unwrap().torn().is_some(), "zeros");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let text = format!("{:#}", Journal::open(folder.path(), RUN).unwrap_err());
    assert!(text.contains("000000.wej: can't be read: it is a folder"), "{text}");
}
