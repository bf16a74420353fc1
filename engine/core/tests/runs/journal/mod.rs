//! The journal of a run: what is written is read again, and whatever happens to the files, nothing else is.

mod damage;
mod golden;
mod random;
mod resume;

use std::collections::BTreeMap;
use std::path::Path;

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::{
    Action, AgentId, Digest, EventCounts, ExternalEvent, FrameInputs, GroupId, Lane, LifecycleAction, ModelId,
    ModelNotice, ModelNoticeKind, ModuleSwap, Recipient, Swap, TopicId,
};
use wasm_engine_core::journal::{Journal, JournalFrame, JournalOptions, JournalWriter};
use wasm_engine_core::problem::Problem;

use crate::folder_in_memory;

const RUN: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
/// The checksum of a summary that there isn't.
const SUMMARY: u128 = 0x5d << 120 | 9;

/// Frames in which everything that a frame may hold comes and goes. Digests follow from the number of the frame.
fn frames(count: u64) -> Vec<JournalFrame> {
    let digest = |salt: u64, frame: u64| {
        Digest(
            u128::from((salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ frame.wrapping_mul(0xd6e8_feb8_6659_fd93))
                << 61,
        )
    };
    (0..count)
        .map(|frame| {
            let mut one = JournalFrame { frame, digest: digest(0, frame), ..JournalFrame::default() };
            one.lanes[Lane::Inputs] = Digest(if frame % 5 == 3 { 7 } else { 0 });
            one.lanes[Lane::Agents] = digest(1, frame / 4);
            one.lanes[Lane::Outboxes] = digest(2, frame);
            one.lanes[Lane::Regions] = digest(3, frame / 2);
            if frame % 7 > 1 {
                // A component comes later, and one goes.
                let names = if frame % 7 > 4 { &["wind", "tide"][..] } else { &["wind"] };
                one.native = names.iter().map(|name| ((*name).to_owned(), digest(4, frame / 3))).collect();
            }
            if frame % 5 == 2 {
                one.inference.push(InferenceStatus::Ok, &[frame as u8; 9]);
                one.inference.push(InferenceStatus::Failed, &[]);
                let (model, kind) = (ModelId(frame << 40), ModelNoticeKind::ALL[(frame / 5 % 3) as usize]);
                one.inference.notices = vec![ModelNotice { model, kind, rows: 1, reason: "no reason".to_owned() }];
            }
            if frame % 5 == 3 {
                one.inputs = inputs(frame);
                one.inputs.counts = EventCounts { delivered: frame * 100, disabled: frame / 6 };
            }
            one
        })
        .collect()
}

fn inputs(frame: u64) -> FrameInputs {
    let agent = AgentId::of_generation(GroupId(2), 300, 2);
    let event = |to, payload: &[u8]| ExternalEvent { to, kind: 5, correlation: frame, payload: payload.to_vec() };
    FrameInputs {
        events: vec![
            event(Recipient::Agent(agent), b"hello"),
            event(Recipient::Topic(TopicId(1)), &[]),
            event(Recipient::Group(GroupId(0)), &[0xff; 20]),
        ],
        commands: vec![
            Action::Spawn { group: GroupId(1), kind: 1, payload: vec![1, 2] },
            Action::Agent(agent, LifecycleAction::Restart),
        ],
        swaps: vec![
            Swap::Module(ModuleSwap { group: GroupId(1), module: 3 }),
            Swap::Model { model: ModelId(0), with: ModelId(1) },
        ],
        ..FrameInputs::default()
    }
}

fn options(segment_bytes_max: u32) -> JournalOptions {
    JournalOptions { segment_bytes_max, ..JournalOptions::default() }
}

/// Writes a journal into a folder of its own below `folder`.
fn write(folder: &Path, frames: &[JournalFrame], segment_bytes_max: u32, ended: bool) {
    let first_frame = frames.first().map_or(0, |frame| frame.frame);
    let options = JournalOptions { first_frame, segment_bytes_max };
    let mut writer = JournalWriter::create_with(folder, RUN, options).unwrap();
    append(&mut writer, frames);
    if ended {
        writer.end(last_digest(frames), SUMMARY).unwrap();
    }
}

fn append(writer: &mut JournalWriter, frames: &[JournalFrame]) {
    for frame in frames {
        writer.append(frame).unwrap();
    }
}

fn last_digest(frames: &[JournalFrame]) -> Digest {
    frames.last().map_or(Digest(0), |frame| frame.digest)
}

fn read(journal: &Journal) -> Result<Vec<JournalFrame>, Problem> {
    journal.frames().collect()
}

/// Every file of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let file =
        |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
    std::fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap())).collect()
}

/// Puts files into a folder, and nothing else.
fn put(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
fn what_is_written_is_read_from_any_frame_on() {
    let folder = folder_in_memory();
    let path = folder.path().join("journal");
    let frames = frames(300);
    write(&path, &frames, 8_000, true);
    let journal = Journal::open(&path, RUN).unwrap();
    assert!(files(&path).len() > 2 && files(&path).values().all(|bytes| bytes.len() <= 8_000));
    assert_eq!((journal.frames_count(), journal.first_frame(), journal.next_frame()), (300, 0, 300));
    let end = journal.ended().unwrap();
    assert_eq!((end.frames, end.digest), (300, frames[299].digest));
    assert_eq!(read(&journal).unwrap(), frames);
    for from in [0, 1, 63, 64, 65, 127, 150, 299] {
        let rest: Vec<_> = journal.frames_from(from).collect::<Result<_, _>>().unwrap();
        assert_eq!(rest, frames[from as usize..], "from {from}");
        assert_eq!(journal.frame(from).unwrap().as_ref(), frames.get(from as usize));
    }
    assert_eq!(journal.frame(300).unwrap(), None);
    assert_eq!(journal.frames_from(u64::MAX).count(), 0);
}

#[test]
fn a_journal_may_begin_with_any_frame() {
    let folder = folder_in_memory();
    let frames = &frames(100)[37..];
    write(folder.path(), frames, 2_000, true);
    let journal = Journal::open(folder.path(), RUN).unwrap();
    assert_eq!((journal.first_frame(), journal.frames_count(), journal.next_frame()), (37, 63, 100));
    assert_eq!(read(&journal).unwrap(), frames);
    assert_eq!(journal.frame(36).unwrap(), None);
    assert_eq!(journal.frame(40).unwrap().as_ref(), Some(&frames[3]));
    // Those that are asked for and aren't there are left out.
    assert_eq!(journal.frames_from(0).count(), 63);
}

#[test]
fn a_writer_takes_the_next_frame_alone_and_nothing_after_the_end() {
    let folder = folder_in_memory();
    let frames = frames(3);
    let mut writer = JournalWriter::create(folder.path(), RUN).unwrap();
    let text = format!("{:#}", writer.append(&frames[1]).unwrap_err());
    assert!(text.ends_with("000000.wej: frame 1 can't be written: frame 0 comes next"), "{text}");
    let mut bytes = writer.append(&frames[0]).unwrap();
    bytes += writer.append(&frames[1]).unwrap();
    writer.flush().unwrap();
    assert_eq!(files(folder.path())["000000.wej"].len() as u64, 56 + bytes);
    writer.end(Digest(1), SUMMARY).unwrap();
    assert!(writer.append(&frames[2]).unwrap_err().to_string().contains("the journal has ended"));
    assert!(writer.end(Digest(1), SUMMARY).is_err());
    let text = format!("{:#}", JournalWriter::create(folder.path(), RUN).err().unwrap());
    assert!(text.contains("000000.wej: can't be written: File exists"), "{text}");
    assert!(text.ends_with("help: name another folder with --out; a run never overwrites another"), "{text}");
}

#[test]
fn what_is_as_before_costs_nothing() {
    let folder = folder_in_memory();
    let mut writer = JournalWriter::create(folder.path(), RUN).unwrap();
    let mut bytes = Vec::new();
    for frame in 0..200 {
        let mut one = JournalFrame { frame, digest: Digest(u128::from(frame) << 9), ..JournalFrame::default() };
        one.lanes.0.fill(Digest(3));
        one.native = (0..9).map(|n| (format!("a component with a long name, {n}"), Digest(n))).collect();
        for lane in [Lane::Outboxes, Lane::Mailboxes, Lane::Groups] {
            one.lanes[lane] = one.digest;
        }
        bytes.push(writer.append(&one).unwrap());
    }
    // Header and checksum, number, flags, mask of lanes, mask of components, then the digest and three lanes.
    assert_eq!(bytes[1], 25 + 1 + 1 + 2 + 2 + 4 * 16);
    assert_eq!(bytes[199], bytes[1] + 1);
    assert!(bytes[64] > bytes[1] && bytes[128] > bytes[1], "written whole");
    assert!(bytes.iter().sum::<u64>() / 200 < 120, "{bytes:?}");
}
