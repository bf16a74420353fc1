//! Shared regions in agents' memories: copied once for each version, and never outside the area that the module gives for them.

use wasm_engine_abi::{LayoutError, MAGIC, RegionReader, RegionView};
use wasm_engine_components::{RegionId, RegionOwner};

use super::*;
use crate::shard::shard_of;

/// Address of the regions area of [`reader`]s.
const AREA: u32 = 32_768;
/// What two regions of up to 8 bytes take: their views, the end of the table, their bytes.
const TWO: u32 = 3 * RegionView::BYTES + 16;

fn reader_with(area: (u32, u32), step: &str, rest: &str) -> String {
    agent(step, rest).replace(&good_header(), &header_with(MAGIC, 1, (128, 4096), (8192, 8192), area))
}

fn reader(step: &str) -> String {
    reader_with((AREA, TWO), step, "")
}

fn region(id: u64, bytes: u32, readers: &[u32]) -> RegionSpec {
    RegionSpec::new(format!("r{id}"), bytes, RegionOwner::Native).with(|region| {
        region.id = RegionId(id);
        region.readers = readers.iter().map(|&group| GroupId(group)).collect();
    })
}

/// Three regions: the group 1 reads 5 and 9, and not 7.
fn three() -> Vec<RegionSpec> {
    vec![region(5, 4, &[1]), region(7, 100, &[2]), region(9, 8, &[1, 2])]
}

fn load_with(text: &str, group: &GroupSpec, regions: Vec<RegionSpec>) -> Result<WasmRuntime, ModuleError> {
    let options = WasmOptions { regions, ..WasmOptions::default() };
    WasmRuntime::load(&options, &[source(text)], from_ref(group))
}

fn rig_of(text: &str, group: &GroupSpec, regions: Vec<RegionSpec>) -> Rig {
    // The order in which they are declared doesn't matter.
    let declared = regions.iter().rev().cloned().collect();
    let runtime = load_with(text, group, declared).unwrap_or_else(|error| panic!("{error}"));
    let agents = (0..group.agents).map(|ordinal| AgentId::new(group.id, ordinal)).collect();
    let mut rig = Rig::from(runtime, agents, 0);
    rig.regions = regions.into_iter().map(|region| (region.clone(), region.zeros())).collect();
    rig
}

fn rig(step: &str) -> Rig {
    rig_of(&reader(step), &group(1, 2), three())
}

/// Agents that do nothing, and read the region 1 of `bytes` bytes.
pub(super) fn reader_of(bytes: u32, agents: u32) -> Rig {
    let pages = (AREA + 2 * RegionView::BYTES + bytes).div_ceil(65_536);
    let text = reader_with((AREA, 2 * RegionView::BYTES + bytes), "i32.const 0", "");
    let mut large = group(1, agents);
    large.limits.memory_bytes_max = u64::from(pages) << 16;
    rig_of(&text.replace("\"memory\") 1)", &format!("\"memory\") {pages})")), &large, vec![region(1, bytes, &[1])])
}

impl Rig {
    /// Writes to a region in the frame that ran last.
    pub(super) fn write(&mut self, id: u64, start: u64, bytes: &[u8]) {
        let region = self.regions.iter_mut().find(|(region, _)| region.id.0 == id);
        region.unwrap().1.write(self.frame - 1, start, bytes);
    }

    /// The memory of an agent.
    fn memory(&self, slot: u32) -> &[u8] {
        let shards = &self.runtime.shards;
        let (shard, guest) = shard_of(shards, AgentSlot(slot)).unwrap();
        shards[shard].guests.memory(guest).bytes()
    }

    /// What an agent finds in its regions area.
    fn seen(&self, slot: u32, id: u64) -> Option<(u64, Vec<u8>)> {
        let area = &self.memory(slot)[AREA as usize..(AREA + TWO) as usize];
        RegionReader::new(area, AREA).find(id).map(|(version, bytes)| (version, bytes.to_vec()))
    }
}

#[test]
fn a_reader_finds_versions_and_bytes_in_its_own_memory() {
    // Reports version, size and last byte of its second region, which it finds by the table.
    let view = AREA + RegionView::BYTES;
    let step = format!(
        "(local $size i32) (local.set $size (i32.load offset=20 (i32.const {view})))
         (i32.add (i32.add
             (i32.mul (i32.wrap_i64 (i64.load offset=8 (i32.const {view}))) (i32.const 1000000))
             (i32.mul (local.get $size) (i32.const 1000)))
           (i32.load8_u (i32.sub (i32.add (i32.load offset=16 (i32.const {view}))
             (local.get $size)) (i32.const 1))))"
    );
    let mut rig = rig(&step);
    assert_eq!(rig.step().detail, 8_000);
    assert_eq!((rig.seen(0, 5), rig.seen(0, 9)), (Some((0, vec![0; 4])), Some((0, vec![0; 8]))));
    assert_eq!((rig.seen(0, 7), rig.seen(0, 0), rig.seen(1, 5)), (None, None, None));
    rig.write(9, 6, &[40, 41]);
    rig.write(7, 0, &[1; 100]);
    assert_eq!(rig.step().detail, 1_008_041);
    assert_eq!(rig.seen(0, 9), Some((1, vec![0, 0, 0, 0, 0, 0, 40, 41])));
    rig.write(9, 7, &[42]);
    rig.write(5, 0, &[1, 2, 3, 4]);
    assert_eq!(rig.step().detail, 2_008_042);
    assert_eq!(rig.seen(0, 5), Some((1, vec![1, 2, 3, 4])));
}

#[test]
fn an_unchanged_region_is_not_copied_again() {
    // The copy is the guest's own: what it makes of it stays until there is another version.
    let spoil = format!("(memory.fill (i32.const {AREA}) (i32.const 238) (i32.const {TWO})) i32.const 0");
    let mut rig = rig(&spoil);
    rig.frame(CallKind::Init, &[]);
    rig.write(5, 0, &[1; 4]);
    rig.write(9, 0, &[2; 8]);
    let area = |rig: &Rig| rig.memory(0)[AREA as usize..(AREA + TWO) as usize].to_vec();
    for _ in 0..3 {
        rig.step();
        assert_eq!(area(&rig), [238; TWO as usize]);
    }
    rig.write(9, 0, &[3]);
    // A call that traps at once leaves what the host wrote.
    let quiet = reader("unreachable");
    let mut trapping = rig_of(&quiet, &group(1, 1), three());
    trapping.regions.clone_from(&rig.regions);
    trapping.frame = rig.frame;
    trapping.step();
    assert_eq!(trapping.seen(0, 5), Some((1, vec![1; 4])), "of a fresh agent, nothing is left out");
    assert_eq!(trapping.seen(0, 9), Some((2, vec![3, 2, 2, 2, 2, 2, 2, 2])));
}

#[test]
fn only_what_changed_is_written_again() {
    // Spoils its area in the frame 1, and then no more.
    let step = format!(
        "(if (i64.eq (i64.load (local.get $ctx)) (i64.const 1))
           (then (memory.fill (i32.const {AREA}) (i32.const 238) (i32.const {TWO})))) i32.const 0"
    );
    let mut rig = rig(&step);
    rig.frame(CallKind::Init, &[]);
    rig.write(5, 0, &[1; 4]);
    rig.step();
    rig.step();
    rig.write(9, 7, &[5]);
    rig.step();
    let area = &rig.memory(0)[AREA as usize..(AREA + TWO) as usize];
    let view = RegionView { region: 9, version: 1, address: AREA + 80, bytes: 8 };
    let mut expected = vec![238; TWO as usize];
    expected[24..48].copy_from_slice(bytemuck::bytes_of(&view));
    expected[80..].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5]);
    assert_eq!(area, expected, "the region 5, the end of the table and the padding are as the guest left them");
}

#[test]
fn whoever_was_not_called_gets_the_last_version_only_and_late() {
    let mut rig = rig("i32.const 0");
    rig.frame(CallKind::Init, &[]);
    rig.write(5, 0, &[1; 4]);
    rig.frame_of(&[0], CallKind::Step, &[], false);
    rig.write(5, 0, &[2; 4]);
    assert_eq!((rig.seen(0, 5), rig.seen(1, 5)), (Some((1, vec![1; 4])), Some((0, vec![0; 4]))));
    rig.frame_of(&[], CallKind::Step, &[], false);
    rig.frame_of(&[1], CallKind::Step, &[], false);
    assert_eq!((rig.seen(0, 5), rig.seen(1, 5)), (Some((1, vec![1; 4])), Some((2, vec![2; 4]))));
    rig.frame_of(&[1, 0], CallKind::Step, &[], false);
    assert_eq!(rig.seen(0, 5), Some((2, vec![2; 4])));
    rig.frame_of(&[0, 1], CallKind::Shutdown, &[], false);
    assert_eq!((rig.seen(0, 5), rig.seen(1, 5)), (Some((2, vec![2; 4])), Some((2, vec![2; 4]))));
}

#[test]
fn a_restart_begins_with_fresh_copies() {
    let spoil = format!("(memory.fill (i32.const {AREA}) (i32.const 238) (i32.const {TWO})) i32.const 0");
    let mut rig = rig(&spoil);
    rig.frame(CallKind::Init, &[]);
    rig.write(5, 0, &[1; 4]);
    for _ in 0..2 {
        rig.frame(CallKind::Step, &[]);
        assert_eq!(rig.memory(1)[AREA as usize], 238);
        rig.frame_of(&[1], CallKind::Init, &[], false);
        assert_eq!((rig.seen(1, 5), rig.seen(1, 9)), (Some((1, vec![1; 4])), Some((0, vec![0; 8]))));
        assert_eq!(rig.memory(0)[AREA as usize], 238, "the neighbour's are its own");
    }
}

#[test]
fn areas_that_lie_are_refused() {
    let of =
        |address, bytes| match load_with(&reader_with((address, bytes), "i32.const 0", ""), &group(1, 1), Vec::new()) {
            Err(ModuleError::Module { problem: ModuleProblem::Layout(error), .. }) => Some(error),
            Err(other) => panic!("{address} {bytes}: {other}"),
            Ok(_) => None,
        };
    let bad = u32::MAX - 7;
    for (address, bytes) in [
        (bad, 8),
        (AREA, bad),
        (bad, bad),
        (1 << 31, 1 << 31),
        (8, bad),
        (AREA, 65_536),
        (65_536, 8),
        (65_528, 16),
        (AREA + 4, 64),
        (AREA, 63),
    ] {
        assert_eq!(of(address, bytes), Some(LayoutError::Regions { address, bytes }));
    }
    let (inbox, outbox) = (INBOX, OUTBOX);
    for (address, bytes) in [
        (BLOCK, 8),
        (BLOCK - 8, 16),
        (CONTEXT + 56, 8),
        (inbox, 8),
        (inbox + 4_088, 16),
        (outbox - 8, 16),
        (outbox, 8_192),
        (outbox + 8_184, 64),
        (0, 65_536),
    ] {
        assert_eq!(of(address, bytes), Some(LayoutError::Overlap), "{address} {bytes}");
    }
    // Before the block, between the areas, after the last of them, up to the last byte of the memory; and none, wherever.
    let free = [(0, BLOCK), (inbox + 4_096, 3_968), (outbox + 8_192, 8), (AREA, 65_536 - AREA), (65_528, 8)];
    let none = [(0, 0), (1, 0), (BLOCK, 0), (u32::MAX, 0)];
    for (address, bytes) in free.into_iter().chain(none) {
        assert_eq!(of(address, bytes), None, "{address} {bytes}");
    }
    let data = format!("(data (i32.const {}) \"\\01\")", AREA + TWO - 1);
    let text = reader_with((AREA, TWO), "i32.const 0", &data);
    assert_eq!(problem(&text), ModuleProblem::Layout(LayoutError::RegionsNotZero));
    let start = format!("(func $s (i32.store8 (i32.const {AREA}) (i32.const 1))) (start $s)");
    let found = problem(&reader_with((AREA, TWO), "i32.const 0", &start));
    assert!(found.to_string().starts_with("the regions area isn't all zeros at the start"));
}

#[test]
fn regions_that_do_not_fit_are_refused_by_name() {
    let refused = |area, regions| match load_with(&reader_with(area, "i32.const 0", ""), &group(1, 1), regions) {
        Err(ModuleError::Module { problem: ModuleProblem::Regions { bytes, bytes_max, .. }, .. }) => {
            Some((bytes, bytes_max))
        }
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    };
    assert_eq!(refused((AREA, TWO), three()), None);
    assert_eq!(refused((AREA, TWO - 8), three()), Some((TWO.into(), TWO - 8)));
    assert_eq!(refused((0, 0), three()), Some((TWO.into(), 0)));
    assert_eq!(refused((0, 0), vec![region(7, 16 << 20, &[2])]), None, "others read it");
    let many = (1..=1_000).map(|id| region(id, 16 << 20, &[1])).collect();
    assert_eq!(refused((AREA, 8_192), many), Some((1_001 * 24 + 1_000 * (16 << 20), 8_192)));
    let Err(error) = load_with(&agent("i32.const 0", ""), &group(1, 1), three()) else { panic!("it was loaded") };
    assert_eq!(
        error.to_string(),
        "module `m` (agents/m.wasm): the shared regions that group `g1` reads take 88 bytes of its regions area, and it has 0"
    );
    let ModuleError::Module { problem, .. } = error else { panic!("it is of a module") };
    assert_eq!(
        problem.help(),
        "build the agent with a larger one (`regions_bytes` in the Rust SDK), or take the group off the regions' `readers`"
    );
    // An area counts as memory: it lies in what the module starts with.
    let large = reader_with((65_536, 65_536), "i32.const 0", "").replace("\"memory\") 1)", "\"memory\") 3)");
    let mut small = group(1, 1);
    small.limits.memory_bytes_max = 2 << 16;
    assert!(matches!(problem_of(source(&large), &small), ModuleProblem::Memory { bytes: 0x3_0000, .. }));
}

#[test]
fn an_area_at_the_end_of_the_memory_and_a_growth_of_it() {
    let end = 65_536 - TWO;
    let step = format!(
        "(drop (memory.grow (i32.const 1)))
         (memory.fill (i32.const {BLOCK}) (i32.const 255) (i32.const 64))
         (i32.load8_u (i32.const 65535))"
    );
    let mut rig = rig_of(&reader_with((end, TWO), &step, ""), &group(1, 2), three());
    rig.frame(CallKind::Init, &[]);
    for value in 1..4 {
        rig.write(9, 7, &[value]);
        assert_eq!(rig.step().detail, u32::from(value), "what the guest makes of its header isn't looked at");
        assert_eq!(rig.memory(0).len(), 65_536 * (1 + usize::from(value)));
        assert!(rig.memory(0)[65_536..].iter().all(|&byte| byte == 0), "nothing is written after the area");
    }
    assert_eq!(rig.memory(1)[65_535], 0);
    rig.frame_of(&[0], CallKind::Init, &[], false);
    assert_eq!((rig.memory(0).len(), rig.memory(0)[65_535]), (65_536, 3));
}

#[test]
fn a_group_that_reads_nothing_is_given_nothing() {
    let mut rig = rig_of(&reader("i32.const 0"), &group(3, 2), three());
    rig.frame(CallKind::Init, &[]);
    rig.write(5, 0, &[1; 4]);
    rig.frame(CallKind::Step, &[]);
    assert!(rig.memory(0)[AREA as usize..(AREA + TWO) as usize].iter().all(|&byte| byte == 0));
    assert_eq!(rig.seen(0, 5), None);
}

#[test]
fn threads_and_the_order_of_the_requests_change_nothing() {
    // Adds up what it sees, and spoils some of its copies.
    let step = format!(
        "(global.set $sum (i32.add (i32.mul (global.get $sum) (i32.const 31)) (i32.load8_u (i32.const {}))))
         (if (i32.eqz (i32.rem_u (i32.load offset=28 (local.get $ctx)) (i32.const 3)))
           (then (i32.store8 (i32.const {}) (i32.const 99))))
         (i32.store (i32.const 60000) (global.get $sum)) i32.const 0",
        AREA + 80,
        AREA + 80
    );
    let text = reader_with((AREA, TWO), &step, "(global $sum (mut i32) (i32.const 0))");
    let run = |threads: usize, stride: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(32 << 20).build().unwrap();
        pool.install(|| {
            let mut rig = rig_of(&text, &group(1, 700), three());
            let mut sums = Vec::new();
            for frame in 0..9_u8 {
                let due: Vec<u32> = (0..700).filter(|slot| (slot + u32::from(frame)) % 5 != 0).collect();
                let order: Vec<u32> = (0..due.len()).map(|at| due[at * stride % due.len()]).collect();
                rig.frame_of(&order, if frame == 0 { CallKind::Init } else { CallKind::Step }, &[], true);
                sums.push(rig.memory_sum());
                if frame % 2 == 1 {
                    rig.write(9, 0, &[frame, frame]);
                }
            }
            sums
        })
    };
    let reference = run(1, 1);
    for (threads, stride) in [(1, 1), (2, 1), (4, 1), (1, 181), (4, 181)] {
        assert_eq!(reference, run(threads, stride));
    }
}

#[test]
fn a_restored_reader_knows_what_it_was_shown() {
    // Copies that the guest spoiled, and that no restore may repair: the region has no newer version.
    let spoil = format!("(memory.fill (i32.const {AREA}) (i32.const 238) (i32.const {TWO})) i32.const 0");
    let mut one = rig(&spoil);
    one.frame(CallKind::Init, &[]);
    one.write(9, 0, &[2; 8]);
    one.frame_of(&[0], CallKind::Step, &[], true);
    let capture = one.runtime.capture();
    assert_eq!(capture.agents.shown, [2, 1]);
    let mut other = rig(&spoil);
    (other.frame, other.regions) = (one.frame, one.regions.clone());
    other.runtime.restore(&one.agents, &std::collections::BTreeMap::new(), &[capture]).unwrap();
    for write in [false, true, false] {
        for rig in [&mut one, &mut other] {
            rig.frame(CallKind::Step, &[]);
            if write {
                rig.write(5, 0, &[1]);
            }
        }
        assert_eq!(one.memory_sum(), other.memory_sum());
        assert!((0..2).all(|slot| one.memory(slot) == other.memory(slot)));
    }
}
