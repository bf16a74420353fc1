//! Forty modules of strangers, as text: each is an agent that tries one thing that no agent should get away with.

/// Address of the exchange block.
const BLOCK: u32 = 1024;
/// Size of the inbox area, which follows the header and the context.
const INBOX_BYTES: u32 = 16 << 10;
/// Offset of the outbox area in the block.
const OUTBOX: u32 = 64 << 10;
/// Size of the outbox area.
const OUTBOX_BYTES: u32 = 256 << 10;

/// A stranger: its name, the body of its step, and what else its module has.
pub struct Stranger {
    /// Names the module and the group.
    pub name: &'static str,
    /// The text of the module.
    pub text: String,
    /// Whether what it does is a fault in each step.
    pub faults: bool,
}

/// What all modules have: the exchange block, and a function that puts a record into the outbox.
fn module(imports: &str, init: &str, step: &str, rest: &str) -> String {
    let words = [0x5447_4157, 1, 128, INBOX_BYTES, OUTBOX, OUTBOX_BYTES, 0, 0];
    let header: String =
        words.iter().flat_map(|word: &u32| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
    let (start, context) = (BLOCK + OUTBOX, BLOCK + 64);
    format!(
        r#"(module {imports}
  (memory (export "memory") 8)
  (global (export "agent_exchange") i32 (i32.const {BLOCK}))
  (global $n (mut i32) (i32.const 0))
  (data (i32.const {BLOCK}) "{header}")
  (data (i32.const 512) "\1b[2J\1b[31mPWNED\1b]0;title\07\e2\80\ae\r\nrow\00")
  (func $emit (param $target i64) (param $correlation i64) (param $op i32) (param $kind i32) (param $from i32) (param $bytes i32) (param $deadline i32)
    (local $at i32)
    (local.set $at (i32.add (i32.const {start}) (i32.load (i32.const {bytes_at}))))
    (if (i32.gt_u (i32.add (i32.load (i32.const {bytes_at})) (i32.add (i32.const 40) (local.get $bytes))) (i32.const {OUTBOX_BYTES})) (then return))
    (i64.store (local.get $at) (local.get $target))
    (i64.store offset=8 (local.get $at) (local.get $correlation))
    (i32.store offset=16 (local.get $at) (local.get $op))
    (i32.store offset=20 (local.get $at) (local.get $kind))
    (i32.store offset=24 (local.get $at) (local.get $bytes))
    (i32.store offset=28 (local.get $at) (local.get $deadline))
    (memory.fill (i32.add (local.get $at) (i32.const 32)) (i32.const 0) (i32.and (i32.add (local.get $bytes) (i32.const 7)) (i32.const -8)))
    (memory.copy (i32.add (local.get $at) (i32.const 32)) (local.get $from) (local.get $bytes))
    (i32.store (i32.const {records_at}) (i32.add (i32.load (i32.const {records_at})) (i32.const 1)))
    (i32.store (i32.const {bytes_at}) (i32.add (i32.load (i32.const {bytes_at}))
      (i32.add (i32.const 32) (i32.and (i32.add (local.get $bytes) (i32.const 7)) (i32.const -8))))))
  (func (export "agent_init") (param $ctx i32) (result i32) {init} (i32.const 0))
  (func (export "agent_step") (param $ctx i32) (result i32) (local $i i32) {step} (i32.const 0))
  {rest})"#,
        records_at = context + 56,
        bytes_at = context + 60,
    )
}

/// A step that does something `times` times; `$i` counts down to 1.
fn repeat(times: u32, what: &str) -> String {
    format!(
        "(local.set $i (i32.const {times})) (loop $again {what}
           (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
    )
}

/// A call that puts a record with no deadline into the outbox.
fn emit(target: &str, correlation: &str, op: u32, kind: &str, from: &str, bytes: &str) -> String {
    format!("(call $emit {target} {correlation} (i32.const {op}) {kind} {from} {bytes} (i32.const 0))")
}

const LOG: &str = r#"(import "wasm_engine" "log" (func $log (param i32 i32 i32)))"#;
const RANDOM: &str = r#"(import "wasm_engine" "random" (func $random (param i32 i32) (result i64)))"#;
const ZERO: &str = "(i64.const 0)";
const NUMBER: &str = "(i64.extend_i32_u (local.get $i))";
const NONE: &str = "(i32.const 0)";
const ESCAPES: &str = "(i32.const 512)";
/// A number that was never there before, as a name of four bytes.
const FRESH: &str = "(global.set $n (i32.add (global.get $n) (i32.const 1)))
    (i32.store (i32.const 600) (i32.or (i32.const 0x61616161) (i32.add (i32.and (global.get $n) (i32.const 15))
      (i32.shl (i32.and (i32.shr_u (global.get $n) (i32.const 4)) (i32.const 15)) (i32.const 8)))))";

/// The agent itself.
const SELF: &str = "(i64.load offset=8 (local.get $ctx))";
/// The number of the topic `ticks`: FNV-1a.
fn ticks() -> String {
    let hash = "ticks"
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("(i64.const {})", hash.cast_signed())
}

/// The strangers that trap, and those whose outbox is refused.
fn faulty() -> Vec<Stranger> {
    let of = |name, text| Stranger { name, text, faults: true };
    let step = |name, body: &str| of(name, module("", "", body, ""));
    vec![
        step("spin", "(loop $l (br $l))"),
        of("spin-init", module("", "(loop $l (br $l))", "", "")),
        of(
            "spin-receive",
            module(
                "",
                "",
                &emit(SELF, ZERO, 1, NONE, NONE, NONE),
                r#"(func (export "agent_receive") (param i32) (result i32) (loop $l (br $l)) (i32.const 0))"#,
            ),
        ),
        of(
            "deep",
            module(
                "",
                "",
                "(call $deep (i32.const 0))",
                "(func $deep (param i32) (call $deep (i32.add (local.get 0) (i32.const 1))))",
            ),
        ),
        of(
            "deep-indirect",
            module(
                "",
                "",
                "(call_indirect (type $t) (i32.const 0))",
                "(type $t (func)) (table 1 funcref) (elem (i32.const 0) $again) (func $again (call_indirect (type $t) (i32.const 0)))",
            ),
        ),
        step("grow-for-ever", "(loop $l (drop (memory.grow (i32.const 0))) (br $l))"),
        step("read-outside", "(drop (i64.load (i32.const -7)))"),
        step("write-outside", "(i32.store (i32.mul (memory.size) (i32.const 65536)) (i32.const 1))"),
        step("divide", "(drop (i32.div_u (i32.const 1) (local.get $i)))"),
        step("overflow", "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (local.get $i) (i32.const 1))))"),
        step("not-a-number", "(drop (i32.trunc_f64_s (f64.div (f64.const 0) (f64.const 0))))"),
        of(
            "no-such-entry",
            module("", "", "(call_indirect (type $t) (i32.const 9))", "(type $t (func)) (table 1 funcref)"),
        ),
        of(
            "no-function",
            module("", "", "(call_indirect (type $t) (i32.const 0))", "(type $t (func)) (table 1 funcref)"),
        ),
        step("trap", "unreachable"),
        step("reports", "(return (i32.const 7))"),
        step(
            "outbox-bytes",
            "(i32.store offset=60 (local.get $ctx) (i32.const -1)) (i32.store offset=56 (local.get $ctx) (i32.const 1))",
        ),
        step("outbox-records", "(i32.store offset=56 (local.get $ctx) (i32.const -1))"),
        step("unknown-operation", &emit(SELF, ZERO, 99, NONE, NONE, NONE)),
        step("too-many-records", &repeat(300, &emit(SELF, ZERO, 1, NONE, NONE, NONE))),
        of(
            "breaks-the-block",
            module(
                "",
                "",
                "(memory.fill (i32.const 1024) (i32.const 255) (i32.const 128)) (i32.store offset=56 (local.get $ctx) (i32.const 1))",
                "",
            ),
        ),
        step("fill-for-ever", "(loop $l (memory.fill (i32.const 400000) (i32.const 1) (i32.const 100000)) (br $l))"),
    ]
}

/// The strangers that do what agents may do, and far too much of it.
fn greedy() -> Vec<Stranger> {
    let of = |name, text| Stranger { name, text, faults: false };
    let step = |name, body: &str| of(name, module("", "", body, ""));
    let many = |name, record: &str| step(name, &repeat(250, record));
    let fresh_output =
        format!("{FRESH} {}", emit(NUMBER, ZERO, 7, "(i32.const 1)", "(i32.const 600)", "(i32.const 4)"));
    vec![
        step("grow", "(drop (memory.grow (i32.const 1))) (drop (memory.grow (i32.const 65535)))"),
        many("mail-itself", &emit(SELF, NUMBER, 1, NONE, NONE, "(i32.const 900)")),
        many(
            "mail-the-good",
            &emit("(i64.const 0x100000000)", NUMBER, 1, "(i32.const 0x7fffffff)", ESCAPES, "(i32.const 16)"),
        ),
        many(
            "broadcast",
            &emit(
                "(i64.rem_u (i64.extend_i32_u (local.get $i)) (i64.const 45))",
                ZERO,
                16,
                NONE,
                ESCAPES,
                "(i32.const 8)",
            ),
        ),
        many("publish", &emit(&ticks(), NUMBER, 2, NONE, ESCAPES, "(i32.const 8)")),
        many(
            "join-and-leave",
            &emit(&ticks(), ZERO, 3, NONE, NONE, NONE)
                .replace("(i32.const 3)", "(i32.add (i32.const 3) (i32.and (local.get $i) (i32.const 1)))"),
        ),
        step("ask-no-model", &repeat(16, &emit("(i64.const 77)", NUMBER, 5, NONE, NONE, "(i32.const 64)"))),
        step("log", &repeat(16, &emit(ZERO, ZERO, 6, "(i32.const 1)", ESCAPES, "(i32.const 33)"))),
        of(
            "log-import",
            module(LOG, "", &repeat(16, "(call $log (i32.const 1) (i32.const 2048) (i32.const 65000))"), ""),
        ),
        many("name-outputs", &fresh_output),
        step("escape-outputs", &emit("(i64.const 33)", ZERO, 7, "(i32.const 3)", ESCAPES, "(i32.const 33)")),
        step(
            "large-outputs",
            &repeat(4, &emit("(i64.const 4)", ZERO, 7, "(i32.const 4)", "(i32.const 600)", "(i32.const 60000)"))
                .replacen("(local.set $i", "(i32.store (i32.const 600) (i32.const 0x61616161)) (local.set $i", 1),
        ),
        many("spawn", &emit("(i64.extend_i32_u (i32.load offset=24 (local.get $ctx)))", NUMBER, 8, NONE, NONE, NONE)),
        many("end-the-good", &emit("(i64.const 0x100000000)", NUMBER, 11, NONE, NONE, NONE)),
        many(
            "request",
            "(call $emit (i64.const 0x100000000) (i64.extend_i32_u (local.get $i)) (i32.const 14) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))",
        ),
        many("reply", &emit("(i64.const 0x100000000)", NUMBER, 15, NONE, NONE, NONE)),
        step("restart-itself", &emit(SELF, ZERO, 12, NONE, NONE, NONE)),
        of("draw", module(RANDOM, "", &repeat(5000, "(drop (call $random (i32.const 1) (local.get $i)))"), "")),
        step(
            "not-numbers",
            &emit("(i64.const 0xfff4deadbeef0000)", ZERO, 7, "(i32.const 2)", ESCAPES, "(i32.const 3)").replacen(
                "(call",
                "(i32.store8 (i32.const 512) (i32.const 97)) (call",
                1,
            ),
        ),
    ]
}

/// All of them: forty.
pub fn strangers() -> Vec<Stranger> {
    let mut all = faulty();
    all.extend(greedy());
    all
}
