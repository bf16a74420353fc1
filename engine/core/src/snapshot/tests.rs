//! Snapshot files: what was written comes back, and whatever is done to a file, it is refused by name and byte.
//! The golden files are in `tests/data/run_format/snapshots`; `BLESS=1` writes them anew.

use std::path::PathBuf;

use wasm_engine_components::text::shown_path;
use wasm_engine_components::{AgentSlot, Digest, Lane};
use wasm_engine_systems::state::{EntityKind, Section, WorldState};

use super::block::{BLOCK_HEADER_BYTES, BlockWriter, Kind, PIECE_BYTES};
use super::*;
use wasm_engine_wasm::{InstanceColumns, PAGE_BYTES, PageBlock};

fn world(frame: u64) -> WorldState {
    let mut clock = Section::new("FrameClock", Lane::Agents, EntityKind::World);
    clock.push(0, |bytes| bytes.extend_from_slice(&frame.to_le_bytes()));
    let mut agents = Section::new("Lifecycle", Lane::Agents, EntityKind::Agent);
    (0..3_u8).for_each(|id| agents.push(u64::from(id), |bytes| bytes.push(id)));
    WorldState { sections: vec![clock, agents] }
}

fn page(salt: u8) -> Vec<u8> {
    (0..PAGE_BYTES).map(|at| if at % 7 == 0 { salt.wrapping_add((at / 64) as u8) } else { 0 }).collect()
}

fn full() -> Snapshot {
    let agents = InstanceColumns {
        slots: vec![AgentSlot(0), AgentSlot(1), AgentSlot(256)],
        used: vec![true, false, true],
        memory_bytes: vec![65_536, 65_536, 131_072],
        shown: vec![0, 0, 5],
        words: vec![2, 0, 1],
        globals: vec![7, 0x7ff4_0000_0000_0123, u64::MAX],
    };
    let bytes = [page(1), page(2), page(3)].concat();
    let pages = vec![
        PageBlock { slots: vec![AgentSlot(0); 2], pages: vec![0, 15], bytes: bytes[..2 * PAGE_BYTES].to_vec() },
        PageBlock { slots: vec![AgentSlot(256)], pages: vec![31], bytes: bytes[2 * PAGE_BYTES..].to_vec() },
    ];
    let guests = GuestCapture { full: true, digest: Digest(0x1234 << 100), agents, pages, zeroed: Vec::new() };
    let extras = vec![("journal".to_owned(), vec![1, 2, 3]), (String::new(), Vec::new())];
    Snapshot { state: State { frame: 5, digest: Digest(u128::MAX / 3), world: world(5), guests }, base: None, extras }
}

fn incremental(base: SnapshotRef) -> Snapshot {
    let mut snapshot = full();
    (snapshot.state.frame, snapshot.base, snapshot.state.world) = (7, Some(base), world(7));
    snapshot.state.guests.full = false;
    snapshot.state.guests.pages.truncate(1);
    snapshot.state.guests.zeroed = vec![(AgentSlot(0), 3), (AgentSlot(256), 31)];
    snapshot.extras.clear();
    snapshot
}

/// In memory where the system has such a folder: these tests write thousands of small files, for which a disk takes most of their time.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Why the file of frame 5 can't be read with other bytes.
fn refusal(folder: &Path, bytes: &[u8]) -> String {
    let path = path(folder, 5);
    std::fs::write(&path, bytes).unwrap();
    let problem = format!("{:#}", read(folder, 5).expect_err("a damaged snapshot was read"));
    assert!(problem.starts_with(&shown_path(&path).to_string()), "{problem}");
    assert!(problem.contains("; help: "), "{problem}");
    problem
}

#[test]
fn a_chain_comes_back_as_it_was_written() {
    let folder = folder();
    let base = write(folder.path(), &full()).unwrap();
    let last = write(folder.path(), &incremental(base)).unwrap();
    assert_eq!(read(folder.path(), 5).unwrap(), (full(), base));
    assert_eq!(read(folder.path(), 7).unwrap(), (incremental(base), last));
    assert_eq!(read_chain(folder.path(), 7).unwrap(), [full(), incremental(base)]);
    assert_eq!(read_chain(folder.path(), 5).unwrap(), [full()]);
    assert_eq!(list(folder.path()).unwrap(), [5, 7]);
    // The same again gives the same bytes.
    let bytes = std::fs::read(path(folder.path(), 7)).unwrap();
    assert_eq!(write(folder.path(), &incremental(base)).unwrap(), last);
    assert_eq!(std::fs::read(path(folder.path(), 7)).unwrap(), bytes);
}

#[test]
fn the_golden_files_are_read_and_written_the_same() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/run_format/snapshots");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(&golden).unwrap();
        let base = write(&golden, &full()).unwrap();
        write(&golden, &incremental(base)).unwrap();
    }
    let folder = folder();
    let base = write(folder.path(), &full()).unwrap();
    write(folder.path(), &incremental(base)).unwrap();
    assert_eq!(read_chain(&golden, 7).unwrap(), [full(), incremental(base)]);
    for frame in [5, 7] {
        let written = std::fs::read(path(folder.path(), frame)).unwrap();
        assert!(written == std::fs::read(path(&golden, frame)).unwrap(), "{frame}: run with BLESS=1 if this is meant");
    }
}

#[test]
fn a_snapshot_of_an_older_format_is_refused() {
    for version in [2, 3] {
        let old = format!("tests/data/run_format/snapshots-v{version}");
        let problem = format!("{:#}", read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(old), 5).unwrap_err());
        let told = "of the format, at byte 8, and this engine reads version 4: use the engine that wrote it";
        assert!(problem.contains(&format!("version {version} {told}")), "{problem}");
    }
}

#[test]
fn no_bit_can_be_flipped() {
    let folder = folder();
    write(folder.path(), &full()).unwrap();
    let whole = std::fs::read(path(folder.path(), 5)).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let problem =
                content::decode(bytes.as_slice(), bytes.len() as u64).expect_err("a damaged snapshot was read");
            assert!(problem.what.contains("byte") && problem.cause.is_none(), "{}", problem.what);
        }
        let mut bytes = whole.clone();
        bytes[at] = !bytes[at];
        refusal(folder.path(), &bytes);
    }
    std::fs::write(path(folder.path(), 5), &whole).unwrap();
    assert!(read(folder.path(), 5).is_ok());
}

#[test]
fn nothing_can_be_cut_off_or_added() {
    let folder = folder();
    write(folder.path(), &full()).unwrap();
    let whole = std::fs::read(path(folder.path(), 5)).unwrap();
    for length in 0..whole.len() {
        let problem = refusal(folder.path(), &whole[..length]);
        assert!(problem.contains(&format!("it ends at byte {length}")), "{problem}");
    }
    for more in [&[0_u8][..], &whole] {
        let problem = refusal(folder.path(), &[&whole, more].concat());
        assert!(problem.contains(&format!("goes on after its end, at byte {}", whole.len())), "{problem}");
    }
}

#[test]
fn the_place_of_the_damage_is_said() {
    let folder = folder();
    write(folder.path(), &full()).unwrap();
    let whole = std::fs::read(path(folder.path(), 5)).unwrap();
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        refusal(folder.path(), &bytes)
    };
    assert!(flip(0).contains("it isn't a snapshot"));
    let (flipped, ours) = (VERSION ^ 1, VERSION);
    let refused = format!("version {flipped} of the format, at byte 8, and this engine reads version {ours}");
    assert!(flip(8).contains(&refused), "{}", flip(8));
    assert!(flip(20).contains("its header, at byte 0"));
    assert!(flip(80 + 17).contains("block 0, at byte 80, doesn't have its checksum"), "{}", flip(97));
    assert!(flip(80 + BLOCK_HEADER_BYTES).contains("block 0, at byte 80, doesn't have its checksum"));
    let trailer = whole.len() - 16;
    assert!(flip(trailer).contains(&format!("the checksum of the whole file, at byte {trailer}")));
}

#[test]
fn lengths_that_are_written_are_not_believed() {
    // Blocks of 4 GiB, and one that says that it unpacks to 64 MiB: neither is allocated before the checksum is right.
    let folder = folder();
    write(folder.path(), &full()).unwrap();
    let whole = std::fs::read(path(folder.path(), 5)).unwrap();
    for (offset, number) in [(8, u32::MAX), (12, u32::MAX), (8, 64 << 20), (8, (64 << 20) + 1), (12, 1 << 20), (4, 1)] {
        let mut bytes = whole.clone();
        bytes[80 + offset..84 + offset].copy_from_slice(&number.to_le_bytes());
        refusal(folder.path(), &bytes);
    }
}

/// A file whose checksums are right, with content of another program's making.
fn forged(folder: &Path, blocks: &[(Kind, &[u8])]) -> String {
    write(folder, &full()).unwrap();
    let header = std::fs::read(path(folder, 5)).unwrap()[..80].to_vec();
    let mut writer = BlockWriter::new(Vec::new(), &header).unwrap();
    blocks.iter().for_each(|(kind, content)| writer.block(*kind, content).unwrap());
    refusal(folder, &writer.end().unwrap().0)
}

#[test]
fn right_checksums_do_not_make_a_snapshot() {
    let folder = folder();
    let world = postcard::to_allocvec(&world(5)).unwrap();
    let none = [0_u8; 32];
    let cases: [&[(Kind, &[u8])]; 9] = [
        &[],
        &[(Kind::World, &world)],
        &[(Kind::World, &[255; 64]), (Kind::Instances, &none)],
        &[(Kind::World, &world), (Kind::Instances, &[255; 32])],
        &[(Kind::World, &world), (Kind::Instances, &[0; 33])],
        &[(Kind::World, &world), (Kind::Instances, &none), (Kind::Zeroed, &[1; 12])],
        &[(Kind::World, &world), (Kind::Instances, &none), (Kind::Pages, &[1; 12])],
        &[(Kind::World, &world), (Kind::Instances, &none), (Kind::Pages, &[0xff; 400])],
        &[(Kind::World, &world), (Kind::Instances, &none), (Kind::Extras, &[9; 40])],
    ];
    for blocks in cases {
        let problem = forged(folder.path(), blocks);
        assert!(problem.contains("malformed: the "), "{problem}");
    }
    let order = forged(folder.path(), &[(Kind::Instances, &none), (Kind::World, &world)]);
    assert!(order.contains("block 1, at byte") && order.contains("a kind that it can't have there"), "{order}");
    let end = forged(folder.path(), &[(Kind::World, &world), (Kind::End, &[1])]);
    assert!(end.contains("is the last one, and isn't empty"), "{end}");
}

#[test]
fn a_base_must_be_there_and_be_the_same() {
    let folder = folder();
    let base = write(folder.path(), &full()).unwrap();
    write(folder.path(), &incremental(base)).unwrap();
    let mut other = full();
    other.extras.clear();
    write(folder.path(), &other).unwrap();
    let problem = format!("{:#}", read_chain(folder.path(), 7).unwrap_err());
    assert!(
        problem.contains("0000000005.wes: it isn't the one that the snapshot of frame 7 goes on from"),
        "{problem}"
    );
    std::fs::remove_file(path(folder.path(), 5)).unwrap();
    let problem = format!("{:#}", read_chain(folder.path(), 7).unwrap_err());
    assert!(problem.contains("0000000005.wes: it is missing, and the snapshot of frame 7"), "{problem}");
    let problem = format!("{:#}", read_chain(folder.path(), 6).unwrap_err());
    assert!(problem.contains("the snapshot of frame 6 can't be opened"), "{problem}");
    // A file under another frame's name.
    std::fs::rename(path(folder.path(), 7), path(folder.path(), 6)).unwrap();
    let problem = format!("{:#}", read_chain(folder.path(), 6).unwrap_err());
    assert!(problem.contains("holds frame 7, at byte 16, and its name says 6"), "{problem}");
}

#[test]
fn what_is_half_written_is_ignored_and_cleaned_up() {
    let folder = folder();
    write(folder.path(), &full()).unwrap();
    for name in
        [".0000000009.wes.tmp", "0000000009.wes.tmp", "9.wes", "00000000009.wes", "a.wes", "+000000009.wes", "notes"]
    {
        std::fs::write(folder.path().join(name), b"x").unwrap();
    }
    assert_eq!(list(folder.path()).unwrap(), [5]);
    clean(folder.path()).unwrap();
    assert!(!folder.path().join(".0000000009.wes.tmp").exists());
    assert!(folder.path().join("notes").exists() && path(folder.path(), 5).exists());
    assert_eq!(path(Path::new(""), 1 << 48), Path::new("281474976710656.wes"));
    // A write that fails leaves nothing.
    let mut invalid = full();
    invalid.state.guests.full = false;
    assert!(write(folder.path(), &invalid).is_err());
    std::fs::create_dir(path(folder.path(), 8)).unwrap();
    assert!(write(folder.path(), &Snapshot { state: State { frame: 8, ..full().state }, ..full() }).is_err());
    assert!(!folder.path().join(".0000000008.wes.tmp").exists());
    assert!(read(folder.path(), 8).unwrap_err().head().contains("it is a folder"));
    assert!(write(&folder.path().join("none"), &full()).is_err());
}

#[test]
fn long_contents_are_cut_into_blocks() {
    let folder = folder();
    let mut snapshot = full();
    // One that doesn't pack, and one that packs to nothing.
    let mut number = 1_u64;
    let noise = std::iter::repeat_with(|| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 56) as u8
    });
    snapshot.extras = vec![
        ("noise".to_owned(), noise.take(PIECE_BYTES + 5).collect()),
        ("zeros".to_owned(), vec![0; 3 * PIECE_BYTES]),
    ];
    let written = write(folder.path(), &snapshot).unwrap();
    assert_eq!(read(folder.path(), 5).unwrap(), (snapshot, written));
    let length = std::fs::metadata(path(folder.path(), 5)).unwrap().len();
    assert!(length < PIECE_BYTES as u64 + 100_000, "{length}");
}

#[test]
fn a_thread_beside_the_frames_may_have_it() {
    fn sendable<T: Send + 'static>() {}
    sendable::<Snapshot>();
}
