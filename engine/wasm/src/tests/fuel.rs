//! What asks the host, and what takes as long as a length says, costs fuel accordingly.

use wasm_engine_components::limits::{IMPORT_FUEL, MEMORY_GROW_FUEL, REF_FUNC_FUEL};

use super::calls::{LOG, RANDOM};
use super::*;

/// Fuel of a step that does something once and so many times more, beyond that of one that does it once.
fn fuel_of(imports: &str, what: &str, times: usize) -> u64 {
    let fuel = |times: usize| {
        let mut rig = Rig::new(&agent_with(imports, &format!("{} i32.const 0", what.repeat(times)), ""));
        assert_eq!(rig.fault(), (None, 0));
        rig.results.outcomes[0].fuel
    };
    fuel(1 + times) - fuel(1)
}

#[test]
fn a_growth_costs_hundreds_of_instructions_whether_it_is_granted_or_refused() {
    for pages in [0, 1, 60_000, -1] {
        let grow = format!("(drop (memory.grow (i32.const {pages})))");
        assert_eq!(fuel_of("", &grow, 7), 7 * (1 + u64::from(MEMORY_GROW_FUEL)), "{pages}");
    }
}

#[test]
fn a_reference_to_a_function_costs_what_asking_the_host_does() {
    const DECLARED: &str = "(elem declare func $declared) (func $declared)";
    let reference = "(drop (ref.func $declared))";
    assert_eq!(fuel_of(DECLARED, reference, 7), 7 * u64::from(REF_FUNC_FUEL));
}

#[test]
fn a_call_of_an_import_costs_dozens_and_a_log_line_each_byte() {
    let random = "(drop (call $random (i32.const 1) (i32.const 2)))";
    assert_eq!(fuel_of(RANDOM, random, 9), 9 * (3 + IMPORT_FUEL));
    let log = |length: u32| format!("(call $log (i32.const 1) (i32.const 20000) (i32.const {length}))");
    assert_eq!(fuel_of(LOG, &log(0), 9), 9 * (4 + IMPORT_FUEL));
    assert_eq!(fuel_of(LOG, &log(100), 9), 9 * (4 + IMPORT_FUEL + 100));
    // What is too long to be kept isn't looked at.
    assert_eq!(fuel_of(LOG, &log(40_000), 9), 9 * (4 + IMPORT_FUEL));
}

#[test]
fn filling_and_copying_cost_a_unit_for_each_byte() {
    for length in [0, 1, 100, 20_000] {
        let known = format!("(i32.const {length})");
        let unknown = format!("(i32.add (i32.load (i32.const 0)) (i32.const {length}))");
        for (length_of, more) in [(known, 0), (unknown, 3)] {
            let fill = format!("(memory.fill (i32.const 30000) (i32.const 7) {length_of})");
            assert_eq!(fuel_of("", &fill, 3), 3 * (4 + more + length), "{fill}");
            let copy = format!("(memory.copy (i32.const 30000) (i32.const 30100) {length_of})");
            assert_eq!(fuel_of("", &copy, 3), 3 * (4 + more + length), "{copy}");
        }
    }
}

#[test]
fn what_costs_more_than_is_left_ends_the_call_before_it_is_done() {
    let mut small = group(1, 1);
    small.limits.fuel_per_step_max = 1_000;
    let ended = |imports: &str, what: &str| {
        let mut rig = Rig::of(&agent_with(imports, &format!("{what} i32.const 0"), ""), &small);
        assert_eq!(rig.fault(), (Some(FaultKind::OutOfFuel), 0), "{what}");
        assert_eq!(rig.results.outcomes[0].fuel, 1_000, "{what}");
        rig
    };
    ended("", "(loop $l (drop (memory.grow (i32.const 0))) (br $l))");
    ended("", "(loop $l (drop (memory.grow (i32.const -1))) (br $l))");
    ended("", "(memory.fill (i32.const 0) (i32.const 7) (i32.const 2000))");
    ended("", "(memory.copy (i32.const 0) (i32.const 7) (i32.add (i32.load (i32.const 0)) (i32.const 2000)))");
    ended(RANDOM, &"(drop (call $random (i32.const 1) (i32.const 2)))".repeat(50));
    ended(RANDOM, "(loop $l (drop (call $random (i32.const 1) (i32.const 2))) (br $l))");
    let rig = ended(LOG, "(call $log (i32.const 1) (i32.const 0) (i32.const 2000))");
    assert_eq!(rig.results.chunks[0].log_lines, []);
}
