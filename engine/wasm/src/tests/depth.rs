//! The call depth is bounded exactly, however the calls are made and left.

use wasm_engine_components::limits::CALL_DEPTH_MAX;

use super::*;

/// An agent that recurses `n` deep beyond its step, by `call`.
fn recursing(n: u32, call: &str) -> String {
    let table = "(type $t (func (param i32) (result i32))) (table 1 funcref) (elem (i32.const 0) $down)";
    agent(
        &format!("(drop (call $down (i32.const {n}))) i32.const 0"),
        &format!(
            "{table} (func $down (param i32) (result i32)
               (if (result i32) (local.get 0)
                 (then (i32.sub (local.get 0) (i32.const 1)) {call} (i32.const 1) i32.add)
                 (else i32.const 0)))"
        ),
    )
}

#[test]
fn the_limit_is_exact_for_calls_of_all_kinds() {
    for call in ["call $down", "i32.const 0 call_indirect (type $t)"] {
        // The step is the first, and `down(n)` is n + 1 more.
        assert_eq!(Rig::new(&recursing(CALL_DEPTH_MAX - 2, call)).fault(), (None, 0));
        let mut rig = Rig::new(&recursing(CALL_DEPTH_MAX - 1, call));
        // Every time: the counter is reset.
        for _ in 0..3 {
            assert_eq!(rig.fault(), (Some(FaultKind::CallDepth), 0));
        }
    }
}

#[test]
fn an_agents_own_unreachable_is_another_fault() {
    let deep = recursing(CALL_DEPTH_MAX - 2, "call $down").replace("(else i32.const 0)", "(else unreachable)");
    let mut rig = Rig::new(&deep);
    for _ in 0..3 {
        assert_eq!(rig.fault(), (Some(FaultKind::Unreachable), 0));
    }
}

#[test]
fn every_way_out_of_a_function_counts_down() {
    let ways = [
        "(return (i32.const 1))",
        "(block (block (if (i32.eqz (i32.eqz (local.get 0))) (then (return (i32.const 1)))))) i32.const 2",
        "(br 0 (i32.const 1))",
        "(block (br_if 1 (i32.const 1) (local.get 0)) drop) i32.const 2",
        "(loop (block (br_table 0 0 (i32.const 1)))) i32.const 3",
        "(loop (return (i32.const 4))) unreachable",
        "i32.const 1",
    ];
    for way in ways {
        let many = "(local $n i32) (local.set $n (i32.const 3000))
             (loop $l (drop (call $out (i32.const 1)))
               (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) i32.const 0";
        let out = format!("(func $leaf) (func $out (param i32) (result i32) (call $leaf) {way})");
        assert_eq!(Rig::new(&agent(many, &out)).fault(), (None, 0), "{way}");
    }
}

#[test]
fn results_of_all_shapes_pass_through() {
    let rest = "(func $leaf)
      (func $none (call $leaf) (return))
      (func $two (param i32) (result i32 i64) (call $leaf)
        (if (local.get 0) (then (return (i32.const 40) (i64.const 2)))) (i32.const 1) (i64.const 2))
      (func $float (result f64) (call $leaf) (f64.const 0.5))
      (func $vector (result v128) (call $leaf) (return (i32x4.splat (i32.const 3))))
      (func $three (result i32 v128 f32) (call $leaf) (i32.const 1) (v128.const i32x4 1 2 3 4) (f32.const 1))";
    let step = "(local $n i64) (call $none) (call $two (i32.const 1)) i32.wrap_i64 i32.add
      (call $two (i32.const 0)) i32.wrap_i64 i32.add i32.add (i32.trunc_f64_s (f64.mul (call $float) (f64.const 4))) i32.add
      (i32x4.extract_lane 2 (call $vector)) i32.add (call $three) drop drop i32.add";
    assert_eq!(Rig::new(&agent(step, rest)).fault(), (Some(FaultKind::Reported), 42 + 3 + 2 + 3 + 1));
}

#[test]
fn the_largest_frames_fit_the_native_stack_to_the_limit() {
    // 900 live values across the call, each made anew from memory.
    let slots = 900;
    let gets: String = (0..slots).map(|n| format!("(i64.load (i32.const {}))", n * 8)).collect();
    let xors = "i64.xor ".repeat(slots as usize);
    let rest = format!(
        "(func $down (param i32) (result i64)
           {gets}
           (if (result i64) (local.get 0)
             (then (call $down (i32.sub (local.get 0) (i32.const 1)))) (else (i64.const 0))) {xors})"
    );
    let step = |n: u32| format!("(i64.store (i32.const 60000) (call $down (i32.const {n}))) i32.const 0");
    let mut deep = group(1, 1);
    deep.limits.fuel_per_step_max = 1 << 30;
    assert_eq!(Rig::of(&agent(&step(CALL_DEPTH_MAX - 2), &rest), &deep).fault(), (None, 0));
    assert_eq!(Rig::of(&agent(&step(CALL_DEPTH_MAX - 1), &rest), &deep).fault(), (Some(FaultKind::CallDepth), 0));
}
