//! A restart gives an agent that can't be told from a fresh one: memory, its size, globals.

use super::*;

/// Reports its memory's size in pages, what it finds in it, and its globals; then changes all of it.
fn wanderer() -> String {
    let step = "(local $seen i32)
      (local.set $seen (i32.add (i32.mul (memory.size) (i32.const 1000000))
        (i32.add (i32.mul (global.get $g) (i32.const 1000)) (i32.load8_u (i32.const 60000)))))
      (if (i32.gt_u (memory.size) (i32.const 1)) (then
        (local.set $seen (i32.add (local.get $seen) (i32.load (i32.const 131068))))
        (i32.store (i32.const 131068) (i32.const 7))))
      (drop (memory.grow (i32.const 1)))
      (memory.fill (i32.const 32768) (i32.const 255) (i32.const 32768))
      (i32.store8 (i32.const 60000) (i32.const 9))
      (global.set $g (i32.add (global.get $g) (i32.const 1)))
      (global.set $f (f64.add (global.get $f) (f64.const 1)))
      (global.set $v (v128.const i32x4 1 2 3 4))
      (local.get $seen)";
    let rest = "(global $g (mut i32) (i32.const 5)) (global $f (export \"f\") (mut f64) (f64.const 0.5))
      (global $v (mut v128) (v128.const i64x2 0 0)) (data (i32.const 60000) \"\\03\")
      (func $s (i32.store (i32.const 50000) (i32.const 77)) (global.set $g (i32.const 6))) (start $s)";
    agent(step, rest)
}

#[test]
fn a_restart_equals_a_fresh_instance_bit_for_bit() {
    let mut rig = Rig::of(&wanderer(), &group(1, 3));
    rig.frame(CallKind::Init, &[]);
    rig.frame = 0;
    let fresh = rig.memory_sum();
    assert_eq!(rig.step().detail, 1_006_003);
    assert_eq!(rig.step().detail, 2_007_009);
    // What the second step left in the third page.
    assert_eq!(rig.step().detail, 3_008_009 + 7);
    assert_ne!(rig.memory_sum(), 0);
    for _ in 0..3 {
        rig.frame = 0;
        rig.frame(CallKind::Init, &[]);
        assert_eq!(rig.memory_sum(), fresh);
        assert_eq!((rig.step().detail, rig.step().detail, rig.step().detail), (1_006_003, 2_007_009, 3_008_016));
    }
}

#[test]
fn a_restart_takes_the_grown_memory_away() {
    // Reaching for the page that was there before the restart is out of bounds, by bulk instructions, too.
    for touch in
        ["(i32.store (i32.const 65536) (i32.const 1))", "(memory.fill (i32.const 65530) (i32.const 1) (i32.const 8))"]
    {
        let step = format!("(drop (memory.grow (i32.const 3))) {touch} i32.const 0");
        let init = format!("(param i32) (result i32) {touch} i32.const 0)");
        let mut rig = Rig::new(&agent(&step, "").replace("(param i32) (result i32) i32.const 0)", &init));
        for _ in 0..3 {
            rig.frame(CallKind::Init, &[]);
            assert_eq!(rig.results.outcomes[0].fault, Some(FaultKind::MemoryOutOfBounds));
            assert_eq!(rig.fault(), (None, 0));
        }
    }
}

#[test]
fn thousands_of_restarts_leave_a_neighbour_alone() {
    let mut rig = Rig::of(&wanderer(), &group(1, 2));
    rig.frame(CallKind::Step, &[]);
    for _ in 0..2_000 {
        rig.frame_of(&[0], CallKind::Init, &[], false);
        rig.frame_of(&[0], CallKind::Step, &[], false);
        assert_eq!(rig.results.outcomes[0].detail, 1_006_003);
    }
    rig.frame_of(&[1], CallKind::Step, &[], false);
    assert_eq!(rig.results.outcomes[0].detail, 2_007_009);
}

#[test]
fn the_same_calls_give_the_same_memories() {
    let run = || {
        let mut rig = Rig::of(&wanderer(), &group(1, 4));
        for _ in 0..5 {
            rig.frame(CallKind::Step, &[]);
        }
        rig.memory_sum()
    };
    assert_eq!(run(), run());
}
