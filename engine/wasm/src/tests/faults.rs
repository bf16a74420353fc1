//! Each thing that an agent can do wrong is a fault of its kind, with an empty outbox, and is charged what it used.

use wasm_engine_abi::{Capability, OutboxError};

use super::*;

fn check(step: &str, rest: &str, kind: FaultKind, detail: u32) {
    let mut rig = Rig::of(&agent(step, rest), &group(1, 2));
    for _ in 0..2 {
        assert_eq!(rig.fault(), (Some(kind), detail), "{step}");
        let fuel = rig.results.outcomes[0].fuel;
        match kind {
            FaultKind::OutOfFuel => assert_eq!(fuel, GroupLimits::DEFAULT.fuel_per_step_max),
            _ => assert!(fuel < 100, "{step} is charged {fuel}"),
        }
    }
}

/// What a step is charged that first runs a loop of a thousand rounds, and then ends in `end`.
fn charged_after_a_loop(end: &str, rest: &str) -> u64 {
    let turns = "(local $n i32) (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 1000))))";
    let mut rig = Rig::of(&agent(&format!("{turns} {end}"), rest), &group(1, 1));
    rig.frame(CallKind::Step, &[]);
    rig.results.outcomes[0].fuel
}

#[test]
fn a_fault_is_charged_what_ran() {
    let whole = charged_after_a_loop("i32.const 0", "");
    assert!((5_000..20_000).contains(&whole), "{whole}");
    // A returned status costs what a return costs.
    assert_eq!(charged_after_a_loop("i32.const 7", ""), whole);
    // Instead of a constant and the return, an instruction that never returns.
    assert!(charged_after_a_loop("unreachable", "").abs_diff(whole) <= 2);
    let outbox = charged_after_a_loop(&outbox_claims(1, 8_193), "");
    assert!((whole + 1..whole + 20).contains(&outbox), "{outbox} for a bad outbox, {whole} without one");
    // Calls that nest too deep, and a null entry of a table: the counter is written down before each call.
    let deep = charged_after_a_loop("(call $r) i32.const 0", "(func $r (call $r))");
    assert!((whole + 1_000..whole + 50_000).contains(&deep), "{deep}");
    let null = charged_after_a_loop("(call_indirect (i32.const 0)) i32.const 0", "(table 1 funcref)");
    assert!((whole..whole + 20).contains(&null), "{null}");
}

#[test]
fn a_trap_of_a_plain_instruction_is_charged_what_was_last_written_down() {
    let whole = charged_after_a_loop("i32.const 0", "");
    let trap = "(drop (i32.load (i32.const -1))) i32.const 0";
    // Nothing was called: only the entry is known.
    assert!(charged_after_a_loop(trap, "") <= 2);
    // A call on the way: all up to it is known.
    let after_call = charged_after_a_loop(&format!("(call $f) {trap}"), "(func $f)");
    assert!((whole..whole + 20).contains(&after_call), "{after_call}");
}

#[test]
fn traps_have_their_kinds() {
    use FaultKind::*;
    let table = "(type $t (func)) (type $u (func (param i32))) (table 4 funcref) (elem (i32.const 0) $f) (func $f)";
    check("unreachable", "", Unreachable, 0);
    check("(i32.load (i32.const 65536))", "", MemoryOutOfBounds, 0);
    check("(i32.load (i32.const -1))", "", MemoryOutOfBounds, 0);
    check("(i64.store offset=4294967295 (i32.const -1) (i64.const 1)) i32.const 0", "", MemoryOutOfBounds, 0);
    check("(i32.store (i32.const 65533) (i32.const 1)) i32.const 0", "", MemoryOutOfBounds, 0);
    check("(memory.fill (i32.const 65000) (i32.const 1) (i32.const 1000)) i32.const 0", "", MemoryOutOfBounds, 0);
    check("(memory.copy (i32.const 65530) (i32.const 1) (i32.const 100)) i32.const 0", "", MemoryOutOfBounds, 0);
    check("(call_indirect (type $t) (i32.const 4)) i32.const 0", table, TableOutOfBounds, 0);
    check("(drop (table.get 0 (i32.const 4))) i32.const 0", table, TableOutOfBounds, 0);
    check("(call_indirect (type $t) (i32.const 1)) i32.const 0", table, BadIndirectCall, 0);
    check("(call_indirect (type $u) (i32.const 0) (i32.const 0)) i32.const 0", table, BadIndirectCall, 0);
    check("(i32.div_u (i32.const 1) (i32.load (i32.const 0)))", "", Arithmetic, 0);
    check("(i32.div_s (i32.const -2147483648) (i32.sub (i32.load (i32.const 0)) (i32.const 1)))", "", Arithmetic, 0);
    check("(i32.trunc_f32_s (f32.const 1e20))", "", Arithmetic, 0);
    check("(i32.trunc_f32_s (f32.div (f32.const 0) (f32.const 0)))", "", Arithmetic, 0);
    check("(loop $l (br $l)) i32.const 0", "", OutOfFuel, 0);
    check("i32.const 7", "", Reported, 7);
    check("i32.const -1", "", Reported, u32::MAX);
}

#[test]
fn an_outbox_that_lies_is_a_fault() {
    let truncated = OutboxError::Truncated as u32;
    // The area has 8,192 bytes.
    for (records, bytes) in
        [(1, 8_193), (1, 8_200), (1, u32::MAX), (0, u32::MAX - 7), (1, 0), (0, 32), (1, 31), (1, 33), (1, 4), (2, 32)]
    {
        let op = format!("(i32.store (i32.const {}) (i32.const 1))", OUTBOX + 16);
        check(&format!("{op} {}", outbox_claims(records, bytes)), "", FaultKind::BadOutbox, truncated);
    }
    check(&outbox_claims(1, 32), "", FaultKind::BadOutbox, OutboxError::UnknownOp as u32);
    check(&outbox_claims(200, 64), "", FaultKind::BadOutbox, OutboxError::UnknownOp as u32);
    check(&outbox_claims(257, 8_192), "", FaultKind::OverLimit, 1);
    let long = |bytes: u32| {
        format!(
            "(i32.store (i32.const {}) (i32.const 1)) (i32.store (i32.const {}) (i32.const {})) {}",
            OUTBOX + 16,
            OUTBOX + 24,
            bytes.cast_signed(),
            outbox_claims(1, 8_192)
        )
    };
    for bytes in [8_161, u32::MAX, u32::MAX - 7, 1 << 31, 8_192] {
        check(&long(bytes), "", FaultKind::BadOutbox, truncated);
    }
}

#[test]
fn what_was_not_granted_is_denied() {
    let send = format!("(i32.store (i32.const {}) (i32.const 1)) {}", OUTBOX + 16, outbox_claims(1, 32));
    let mut bound = group(1, 1);
    bound.capabilities = Capabilities::NONE.with(Capability::Publish);
    let mut rig = Rig::of(&agent(&send, ""), &bound);
    assert_eq!(rig.fault(), (Some(FaultKind::Denied), Capability::Send as u32));
}

#[test]
fn a_fault_leaves_its_neighbours_alone() {
    // The agent with an odd ordinal traps after it has written an outbox.
    let step = format!(
        "(i32.store (i32.const {}) (i32.const 1))
         (i32.store offset=56 (local.get $ctx) (i32.const 1)) (i32.store offset=60 (local.get $ctx) (i32.const 32))
         (if (i32.and (i32.load offset=28 (local.get $ctx)) (i32.const 1)) (then unreachable)) i32.const 0",
        OUTBOX + 16
    );
    let mut rig = Rig::of(&agent(&step, ""), &group(1, 600));
    rig.frame(CallKind::Step, &[]);
    for (at, outcome) in rig.results.outcomes.iter().enumerate() {
        let expected = (at % 2 == 1).then_some(FaultKind::Unreachable);
        assert_eq!(outcome.fault, expected);
        assert_eq!(rig.outbox(at).len(), usize::from(at % 2 == 0));
    }
    assert_eq!(rig.records(), 300);
}

#[test]
fn memory_grows_to_the_limit_and_no_further() {
    let grow = "(i32.add (i32.mul (memory.grow (i32.const 2)) (i32.const 100)) (memory.size))";
    let mut three = group(1, 1);
    three.limits.memory_bytes_max = (3 << 16) + 100;
    let mut rig = Rig::of(&agent(grow, ""), &three);
    assert_eq!(rig.fault(), (Some(FaultKind::Reported), 103));
    assert_eq!(rig.fault(), (Some(FaultKind::Reported), (3_i32 - 100).cast_unsigned()));
    // The new page is there, and what comes after it isn't.
    let touch =
        |at: u32| format!("(drop (memory.grow (i32.const 2))) (i32.store (i32.const {at}) (i32.const 1)) i32.const 0");
    assert_eq!(Rig::of(&agent(&touch((3 << 16) - 4), ""), &three).fault(), (None, 0));
    assert_eq!(Rig::of(&agent(&touch(3 << 16), ""), &three).fault(), (Some(FaultKind::MemoryOutOfBounds), 0));
}
