//! Captures and restores: a runtime that was restored can't be told from the one that was captured, however that came about.

use std::collections::BTreeMap;

use wasm_engine_systems::ports::{SwapBatch, SwapRequest, SwapResults};

use super::*;
use crate::{GlobalBits, GuestCapture, GuestStateError, PAGE_BYTES, PageBlock, PageTracker};

/// An agent with globals of all types that grows, writes here and there, zeroes a page in every third step, and sends what it counts.
pub(super) fn changeable() -> String {
    let step = format!(
        "(local $at i32)
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (global.set $stack (i32.sub (global.get $stack) (i32.const 16)))
      (global.set $l (i64.add (global.get $l) (i64.const 0x100000001)))
      (global.set $v (i32x4.add (global.get $v) (v128.const i32x4 1 2 3 -4)))
      (if (i32.eq (i32.rem_u (global.get $n) (i32.const 4)) (i32.const 2)) (then (drop (memory.grow (i32.const 1)))))
      (local.set $at (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)))
      (i32.store (local.get $at) (i32.add (global.get $n) (i32.load offset=28 (local.get $ctx))))
      (i32.store (i32.const 40000) (global.get $n))
      (if (i32.eqz (i32.rem_u (global.get $n) (i32.const 3)))
        (then (memory.fill (i32.const 40000) (i32.const 0) (i32.const 4))))
      (i64.store (i32.const {OUTBOX}) (i64.load offset=16 (local.get $ctx)))
      (i64.store (i32.const {}) (i64.const 0)) (i64.store (i32.const {}) (i64.const 1))
      (i64.store (i32.const {}) (i64.const 8)) (i64.store (i32.const {}) (global.get $l))
      (i32.store offset=56 (local.get $ctx) (i32.const 1)) (i32.store offset=60 (local.get $ctx) (i32.const 40))
      (i32.add (global.get $n) (i32x4.extract_lane 3 (global.get $v)))",
        OUTBOX + 8,
        OUTBOX + 16,
        OUTBOX + 24,
        OUTBOX + 32
    );
    let rest = "(global $n (mut i32) (i32.const 0)) (global $stack (mut i32) (i32.const -70000))
      (global $fixed i64 (i64.const 7)) (global $l (mut i64) (i64.const -2)) (global $f (mut f32) (f32.const -nan:0x345678))
      (global $d (mut f64) (f64.const nan:0x4000000000123)) (global $v (mut v128) (v128.const i64x2 5 -6))
      (data (i32.const 30000) \"image\")";
    agent(&step, rest)
}

/// A group whose memories may grow to eight pages.
pub(super) fn growing(agents: u32) -> GroupSpec {
    let mut group = group(1, agents);
    group.limits.memory_bytes_max = 8 << 16;
    group
}

/// What shows of a frame: outcomes, outboxes, the digest of the memories.
fn view(rig: &Rig) -> (Vec<(u64, Option<FaultKind>, u32)>, Vec<Vec<u8>>, u128) {
    let outcomes = rig.results.outcomes.iter().map(|one| (one.fuel, one.fault, one.detail)).collect::<Vec<_>>();
    let sent = (0..outcomes.len()).map(|at| rig.outbox(at).iter().flat_map(|given| given.payload.to_vec()).collect());
    let sent = sent.collect();
    (outcomes, sent, rig.memory_sum())
}

/// All that is saved of a runtime's guests, read one by one.
pub(super) fn everything(rig: &mut Rig) -> Vec<Option<(bool, Vec<u8>, Vec<GlobalBits>)>> {
    let slots = (0..rig.runtime.slots()).map(AgentSlot);
    let one = |slot| {
        let globals = rig.runtime.globals(slot)?.into_iter().map(|global| global.value).collect();
        Some((rig.runtime.used(slot)?, rig.runtime.memory(slot)?, globals))
    };
    slots.map(one).collect()
}

/// What a snapshot gets: a copy first, and then, of that, what has changed since the tracker's last one.
fn captured_since(rig: &mut Rig, tracker: &mut PageTracker, full: bool) -> GuestCapture {
    let since = tracker.mark.filter(|_| !full);
    rig.runtime.copy(since).capture(tracker).unwrap()
}

/// Restores a chain into a runtime, and gives a rig that goes on from there.
fn restored(runtime: WasmRuntime, of: &Rig, chain: &[GuestCapture]) -> Rig {
    let mut rig = Rig::from(runtime, of.agents.clone(), of.frame);
    rig.regions.clone_from(&of.regions);
    rig.runtime.restore(&of.agents, &BTreeMap::new(), chain).unwrap();
    rig
}

/// Both go through the same frames, and nothing tells one from the other.
fn go_on_alike(a: &mut Rig, b: &mut Rig) {
    assert_eq!(everything(a), everything(b));
    for _ in 0..4 {
        a.frame(CallKind::Step, &[]);
        b.frame(CallKind::Step, &[]);
        assert_eq!(view(a), view(b));
    }
    assert_eq!(everything(a), everything(b));
}

#[test]
fn a_restored_runtime_goes_on_as_if_nothing_had_happened() {
    let mut rig = Rig::of(&changeable(), &growing(300));
    rig.frame(CallKind::Init, &[]);
    for _ in 0..7 {
        rig.frame(CallKind::Step, &[]);
    }
    let mut tracker = PageTracker::default();
    let capture = captured_since(&mut rig, &mut tracker, false);
    assert!(capture.full && capture.zeroed.is_empty(), "the first is full");
    let mut other = restored(load(&changeable(), &growing(300)).unwrap(), &rig, std::slice::from_ref(&capture));
    // The floats' payloads, which no instruction has touched, and a sum that has overflown.
    let globals = rig.runtime.globals(AgentSlot(0)).unwrap();
    assert_eq!(globals.iter().map(|global| global.index).collect::<Vec<_>>(), [1, 2, 4, 5, 6, 7]);
    assert_eq!(globals[3].value, GlobalBits::F32(0xffb4_5678));
    assert_eq!(globals[4].value, GlobalBits::F64(0x7ff4_0000_0000_0123));
    assert!(matches!(globals[5].value, GlobalBits::V128(value) if value >> 96 == 0xffff_ffff - 7 * 4));
    go_on_alike(&mut rig, &mut other);
    assert_eq!(captured_since(&mut rig, &mut tracker, true), other.runtime.capture());
}

#[test]
fn a_chain_of_increments_equals_a_full_capture() {
    let mut rig = Rig::of(&changeable(), &growing(20));
    let mut tracker = PageTracker::default();
    let mut chain = vec![captured_since(&mut rig, &mut tracker, true)];
    assert_eq!(chain[0].page_count(), 0, "agents that are as they were made hold nothing");
    for frame in 0..12_u32 {
        let slots: Vec<u32> = (0..20).filter(|slot| frame > 6 || slot % 4 == frame % 4).collect();
        rig.frame_of(&slots, if frame == 9 { CallKind::Init } else { CallKind::Step }, &[], true);
        chain.push(captured_since(&mut rig, &mut tracker, false));
        let (last, full) = (chain.last().unwrap(), rig.runtime.capture());
        assert_eq!((last.digest, &last.agents), (full.digest, &full.agents));
        assert!(!last.full && last.page_count() <= full.page_count());
        let mut from_chain = restored(load(&changeable(), &growing(20)).unwrap(), &rig, &chain);
        assert_eq!(everything(&mut from_chain), everything(&mut rig));
        assert_eq!(from_chain.runtime.capture(), full);
        assert_eq!(rig.runtime.memory_digest(), full.digest);
    }
    assert!(chain.iter().any(|capture| capture.zeroed.iter().any(|&(_, page)| page == 40_000 / PAGE_BYTES as u32)));
    let idle = captured_since(&mut rig, &mut tracker, false);
    assert_eq!((idle.page_count(), idle.zeroed.len(), idle.digest), (0, 0, chain.last().unwrap().digest));
}

#[test]
fn a_copy_holds_the_pages_of_those_that_were_called() {
    let mut rig = Rig::of(&changeable(), &growing(300));
    rig.frame(CallKind::Init, &[]);
    let first = rig.runtime.copy(None);
    let pages_of_one = first.page_count() / 300;
    assert!(pages_of_one > 0 && first.page_count() == 300 * pages_of_one);
    rig.frame_of(&[7, 290], CallKind::Step, &[], true);
    let second = rig.runtime.copy(Some(first.mark()));
    let pages_of_two = second.page_count();
    assert!((2 * pages_of_one..=2 * pages_of_one + 8).contains(&pages_of_two), "{pages_of_two}");
    // What others look at in between changes none of it.
    let now = rig.runtime.capture();
    let third = rig.runtime.copy(Some(second.mark()));
    assert_eq!(third.page_count(), 0);
    // One that goes on from an earlier copy than the last has to hold all.
    let whole = rig.runtime.copy(Some(first.mark()));
    assert!(whole.page_count() >= first.page_count());
    let mut tracker = PageTracker::default();
    assert!(matches!(second.clone().capture(&mut tracker), Err(GuestStateError::Chain)), "its pages are in the first");
    assert!(first.capture(&mut tracker).unwrap().full);
    let increment = second.capture(&mut tracker).unwrap();
    assert!(!increment.full && (1..=pages_of_two).contains(&increment.page_count()));
    assert_eq!((increment.digest, &increment.agents), (now.digest, &now.agents));
    let nothing = third.capture(&mut tracker).unwrap();
    assert_eq!((nothing.page_count(), nothing.zeroed.len(), nothing.digest), (0, 0, now.digest));
    assert_eq!(whole.capture(&mut tracker).unwrap(), now);
    // Nor does a copy go on from what was there before a restore.
    let before = rig.runtime.copy(None).mark();
    rig.runtime.restore(&rig.agents, &BTreeMap::new(), std::slice::from_ref(&now)).unwrap();
    assert_eq!(rig.runtime.copy(Some(before)).capture(&mut tracker).unwrap(), now);
}

#[test]
fn memory_that_was_prepared_is_what_a_first_copy_takes() {
    let mut rig = Rig::of(&changeable(), &growing(600));
    for call in [CallKind::Init, CallKind::Step, CallKind::Step] {
        rig.frame(call, &[]);
    }
    let preparation = rig.runtime.prepare_copy();
    std::thread::spawn(|| preparation.run()).join().unwrap();
    let prepared = rig.runtime.spare.blocks();
    let copy = rig.runtime.copy(None);
    if prepared > 0 {
        assert!(prepared >= 3, "three shards: {prepared}");
        // What isn't needed is given back.
        assert_eq!(rig.runtime.spare.blocks(), 0);
        let is_prepared = |block: &PageBlock| block.bytes.capacity() > block.bytes.len();
        assert!(copy.shards.iter().flat_map(|shard| &shard.blocks).all(is_prepared));
    }
    assert_eq!(copy.capture(&mut PageTracker::default()).unwrap(), rig.runtime.capture());
}

#[test]
fn a_used_runtime_can_be_restored_too() {
    let mut rig = Rig::of(&changeable(), &growing(10));
    rig.frame_of(&[0, 1, 2], CallKind::Init, &[], true);
    let early = rig.runtime.capture();
    let before = everything(&mut rig);
    for _ in 0..9 {
        rig.frame(CallKind::Step, &[]);
    }
    rig.runtime.restore(&rig.agents, &BTreeMap::new(), &[early]).unwrap();
    assert_eq!(everything(&mut rig), before);
}

#[test]
fn threads_change_no_capture() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(32 << 20).build().unwrap();
        pool.install(|| {
            let mut rig = Rig::of(&changeable(), &growing(1_000));
            let mut tracker = PageTracker::default();
            let chain: Vec<_> = (0..3)
                .map(|_| {
                    rig.frame(CallKind::Step, &[]);
                    captured_since(&mut rig, &mut tracker, false)
                })
                .collect();
            let mut other = restored(load(&changeable(), &growing(1_000)).unwrap(), &rig, &chain);
            assert_eq!(other.runtime.capture().digest, chain[2].digest);
            chain
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(4));
}

#[test]
fn instances_that_were_made_late_are_made_again() {
    let mut group = growing(3);
    group.agents_max = 600;
    let mut rig = Rig::of(&changeable(), &group);
    rig.agents = (0..600).map(|ordinal| AgentId::new(group.id, ordinal)).collect();
    rig.frame_of(&[1, 5, 300], CallKind::Init, &[], true);
    let used = |slot| rig.runtime.used(AgentSlot(slot));
    assert_eq!([5, 4, 6].map(used), [Some(true), Some(false), None]);
    assert_eq!([255, 256, 301].map(used), [None, Some(false), None]);
    let capture = rig.runtime.capture();
    assert_eq!(capture.agents.slots.len(), 6 + 45);
    let mut other = restored(load(&changeable(), &group).unwrap(), &rig, &[capture]);
    assert_eq!(everything(&mut rig), everything(&mut other));
    go_on_alike(&mut rig, &mut other);
}

#[test]
fn an_agent_that_took_a_slot_over_keeps_its_own_key() {
    let random = "(import \"wasm_engine\" \"random\" (func $random (param i32 i32) (result i64)))";
    let step = "(i32.and (i32.wrap_i64 (call $random (i32.const 1) (i32.const 2))) (i32.const 0xffff))";
    let mut group = group(1, 2);
    group.capabilities = Capabilities::ALL;
    let mut rig = Rig::of(&agent_with(random, step, ""), &group);
    rig.frame(CallKind::Init, &[]);
    rig.agents[1] = AgentId::of_generation(group.id, 1, 3);
    rig.frame_of(&[1], CallKind::Init, &[], true);
    let capture = rig.runtime.capture();
    let mut other = restored(load(&agent_with(random, step, ""), &group).unwrap(), &rig, &[capture]);
    go_on_alike(&mut rig, &mut other);
}

/// Loads two modules for one group, which begins with the first.
fn swappable(group: &GroupSpec) -> WasmRuntime {
    let other = changeable().replace("(i32.const -70000)", "(i32.const -1)").replace("\"image\"", "\"other\"");
    let sources = [source(&changeable()), source(&other)];
    let swaps = [0, 1].map(|module| ModuleSwap { group: group.id, module });
    WasmRuntime::load_with_swaps(&WasmOptions::default(), &sources, from_ref(group), &swaps).unwrap()
}

#[test]
fn a_swapped_module_is_in_place_again() {
    let group = growing(300);
    let agents: Vec<_> = (0..300).map(|ordinal| AgentId::new(group.id, ordinal)).collect();
    let mut rig = Rig::from(swappable(&group), agents, 0);
    rig.frame(CallKind::Init, &[]);
    let mut tracker = PageTracker::default();
    let mut chain = vec![captured_since(&mut rig, &mut tracker, true)];
    let requests = [SwapRequest { agent: rig.agents[7], slot: AgentSlot(7), init: true }];
    let batch = SwapBatch { frame: 1, digest_memories: false, group: group.id, module: 1, requests: &requests };
    rig.runtime.swap(&batch, &mut SwapResults::default());
    chain.push(captured_since(&mut rig, &mut tracker, false));
    assert_eq!(chain[1].agents.used.iter().filter(|&&used| used).count(), 1);
    assert!(!chain[1].zeroed.is_empty());

    let modules = BTreeMap::from([(group.id, 1)]);
    let mut other = Rig::from(swappable(&group), rig.agents.clone(), rig.frame);
    other.runtime.restore(&rig.agents, &modules, &chain).unwrap();
    go_on_alike(&mut rig, &mut other);
    // And back, to what the group began with.
    other.runtime.restore(&rig.agents, &BTreeMap::new(), &chain[..1]).unwrap();
    assert_eq!(other.runtime.capture(), chain[0]);
}
