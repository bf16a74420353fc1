//! What a call gives to an agent, and what it takes from it.

use wasm_engine_abi::{FrameContext, MessageHeader, agent_key, kind, random_u64};
use wasm_engine_components::{TableBudget, Unkept};

use super::*;

#[test]
fn an_echo_sends_its_messages_back() {
    let mut rig = Rig::of(&echo(), &group(1, 3));
    rig.frame(CallKind::Init, &[]);
    rig.frame(CallKind::Step, &[mail(0, 5, b"hello"), mail(2, 6, b""), mail(0, 7, b"12345678")]);
    let first = rig.outbox(0);
    assert_eq!(first.len(), 2);
    assert_eq!((first[0].payload, first[0].header.kind, first[0].header.correlation), (&b"hello"[..], 5, 9));
    assert_eq!((first[1].payload, first[1].header.kind, first[1].header.correlation), (&b"12345678"[..], 7, 9));
    assert!(rig.outbox(1).is_empty());
    assert_eq!(rig.outbox(2)[0].header.kind, 6);
    assert_ne!(rig.results.chunks[0].outbox_sum, 0);
    assert!(rig.results.outcomes.iter().all(|outcome| outcome.fuel > 0 && outcome.fault.is_none()));
}

/// Copies `bytes` from `from` into a record of kind `Publish`, so that the test sees them.
fn showing(from: u32, bytes: u32) -> String {
    format!(
        "(memory.copy (i32.const {}) (i32.const {from}) (i32.const {bytes}))
         (i32.store (i32.const {}) (i32.const 2)) (i32.store (i32.const {}) (i32.const {bytes})) {}",
        OUTBOX + 32,
        OUTBOX + 16,
        OUTBOX + 24,
        outbox_claims(1, 32 + bytes)
    )
}

#[test]
fn the_context_says_who_when_and_what() {
    let group = group(3, 300);
    let options = WasmOptions { seed: 11, frame_period_us: 2_000, ..WasmOptions::default() };
    let source = source(&agent(&showing(CONTEXT, 64), ""));
    let runtime = WasmRuntime::load(&options, &[source], &[group]).unwrap();
    assert_eq!((runtime.inbox_bytes_max(GroupId(3)), runtime.inbox_bytes_max(GroupId(1))), (4096, 0));
    let agents = (0..300).map(|ordinal| AgentId::new(GroupId(3), ordinal)).collect();
    let mut rig = Rig::from(runtime, agents, 40);
    rig.frame(CallKind::Step, &[mail(299, 1, b"x")]);
    let context: FrameContext = bytemuck::pod_read_unaligned(rig.outbox(299)[0].payload);
    let agent = AgentId::new(GroupId(3), 299).0;
    let expected = FrameContext {
        frame: 40,
        agent,
        random_key: agent_key(11, agent),
        group: 3,
        ordinal: 299,
        inbox_records: 1,
        inbox_bytes: 56,
        call: 2,
        frame_period_us: 2_000,
        credits: u32::MAX,
        ..FrameContext::default()
    };
    assert_eq!(context, expected);
}

#[test]
fn the_inbox_is_packed_and_padded_with_zeros() {
    let mut rig = Rig::new(&agent(&showing(INBOX, 112), ""));
    rig.frame(CallKind::Step, &[mail(0, 1, &[0xff; 16])]);
    rig.frame(CallKind::Step, &[mail(0, 5, b"abc"), mail(0, 6, b"12345678")]);
    let shown = rig.outbox(0)[0].payload;
    let first: MessageHeader = bytemuck::pod_read_unaligned(&shown[..48]);
    let second: MessageHeader = bytemuck::pod_read_unaligned(&shown[56..104]);
    assert_eq!((first.kind, first.payload_bytes, &shown[48..56]), (5, 3, &b"abc\0\0\0\0\0"[..]));
    assert_eq!((second.kind, &shown[104..112]), (6, &b"12345678"[..]));
}

/// An agent whose `agent_init` shows its inbox, through an outbox that the test reads.
fn with_init() -> String {
    agent("i32.const 0", "").replace(
        "(param i32) (result i32) i32.const 0)",
        &format!("(param $ctx i32) (result i32) {})", showing(INBOX, 56)),
    )
}

#[test]
fn init_finds_the_parameters_in_its_inbox() {
    let group = group(1, 2).with(|group| group.params = b"{a=1}".to_vec());
    let runtime = WasmRuntime::load(&WasmOptions::default(), &[source(&with_init())], &[group]).unwrap();
    let agents = vec![AgentId::new(GroupId(1), 0), AgentId::new(GroupId(1), 1)];
    let mut rig = Rig::from(runtime, agents, 5);
    rig.frame(CallKind::Init, &[]);
    let shown = rig.outbox(1)[0].payload;
    let header: MessageHeader = bytemuck::pod_read_unaligned(&shown[..48]);
    let expected = MessageHeader { frame: 5, kind: kind::PARAMS, payload_bytes: 5, ..MessageHeader::default() };
    assert_eq!((header, &shown[48..53]), (expected, &b"{a=1}"[..]));
}

#[test]
fn receive_is_called_for_each_record_before_step_and_shares_its_fuel() {
    let receive = "(global $sum (mut i32) (i32.const 0))
        (func (export \"agent_receive\") (param $at i32) (result i32)
          (global.set $sum (i32.add (i32.mul (global.get $sum) (i32.const 10)) (i32.load offset=36 (local.get $at))))
          i32.const 0)";
    let text = agent("(i32.mul (global.get $sum) (i32.const 1))", receive);
    let mut rig = Rig::new(&text);
    rig.frame(CallKind::Step, &[mail(0, 4, b"abc"), mail(0, 2, b"")]);
    let outcome = rig.results.outcomes[0];
    assert_eq!((outcome.fault, outcome.detail), (Some(FaultKind::Reported), 42));

    let spin = "(func (export \"agent_receive\") (param i32) (result i32) (local $n i32)
        (local.set $n (i32.const 1000))
        (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) i32.const 0)";
    let mut small = group(1, 1);
    small.limits.fuel_per_step_max = 9_000;
    let mut rig = Rig::of(&agent("i32.const 0", spin), &small);
    rig.frame(CallKind::Step, &[mail(0, 1, b"")]);
    let one = rig.results.outcomes[0];
    assert!(one.fault.is_none() && one.fuel > 3_000);
    rig.frame(CallKind::Step, &[mail(0, 1, b""), mail(0, 1, b""), mail(0, 1, b"")]);
    assert_eq!(rig.results.outcomes[0].fault, Some(FaultKind::OutOfFuel));
}

#[test]
fn shutdown_is_optional() {
    let mut rig = Rig::new(&agent("i32.const 0", ""));
    rig.frame(CallKind::Shutdown, &[]);
    assert_eq!(rig.results.outcomes[0].fault, None);
    let with = "(func (export \"agent_shutdown\") (param i32) (result i32) i32.const 3)";
    let mut rig = Rig::new(&agent("i32.const 0", with));
    rig.frame(CallKind::Shutdown, &[]);
    assert_eq!((rig.results.outcomes[0].fault, rig.results.outcomes[0].detail), (Some(FaultKind::Reported), 3));
}

pub const LOG: &str = "(import \"wasm_engine\" \"log\" (func $log (param i32 i32 i32)))";
pub const RANDOM: &str = "(import \"wasm_engine\" \"random\" (func $random (param i32 i32) (result i64)))";

#[test]
fn log_lines_survive_a_trap() {
    let step = "(call $log (i32.const 2) (i32.const 20) (i32.const 5))
        (call $log (i32.const 3) (i32.const 0) (i32.const 0)) unreachable";
    let mut rig = Rig::new(&agent_with(LOG, step, "(data (i32.const 20) \"he\\ffy!\")"));
    assert_eq!(rig.fault(), (Some(FaultKind::Unreachable), 0));
    let lines = &rig.results.chunks[0].log_lines;
    let seen: Vec<_> = lines.iter().map(|line| (line.level, line.text.as_str())).collect();
    assert_eq!(seen, [(2, "he\u{fffd}y!"), (3, "")]);
    rig.step();
    assert_eq!(rig.results.chunks[0].log_lines.len(), 2);
}

#[test]
fn log_is_bounded_in_lines_and_bytes() {
    // Letters from 20,000 on, and a row counts for 64 bytes more: so three lines of 5,000 have room in 16 KiB, and then shorter ones.
    let letters = format!("(data (i32.const 20000) \"{}\")", "x".repeat(5_000));
    let of = |length: u32| format!("(call $log (i32.const 1) (i32.const 20000) (i32.const {length}))");
    let step = format!("{} {} i32.const 0", of(5_000).repeat(4), of(1_000).repeat(2));
    let mut rig = Rig::new(&agent_with(LOG, &step, &letters));
    assert_eq!(rig.fault(), (None, 0));
    let lengths = |rig: &Rig| rig.results.chunks[0].log_lines.iter().map(|line| line.text.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&rig), [5_000, 5_000, 5_000, 1_000]);
    let unkept = |rows, bytes| Unkept { rows, bytes, budget: Some(TableBudget::Step) };
    assert_eq!(rig.results.chunks[0].excess.logs, unkept(2, 5_064 + 1_064));
    rig.step();
    assert_eq!(rig.results.chunks[0].excess.logs, unkept(2, 5_064 + 1_064), "of one step");

    // Zeros take six bytes each as JSON, and what can't fit at all isn't looked at.
    let spin =
        format!("(loop $l {} (br $l)) i32.const 0", "(call $log (i32.const 1) (i32.const 40000) (i32.const 20000))");
    let mut rig = Rig::new(&agent_with(LOG, &spin, ""));
    assert_eq!(rig.fault(), (Some(FaultKind::OverLimit), 3));
    assert_eq!(rig.results.chunks[0].log_lines, []);
    assert_eq!(rig.results.chunks[0].excess.logs, unkept(16, 16 * 20_064));
    for (address, length) in [(65_530, 7), (u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
        let step = format!(
            "(call $log (i32.const 1) (i32.const {}) (i32.const {})) i32.const 0",
            address.cast_signed(),
            length.cast_signed()
        );
        let mut rig = Rig::new(&agent_with(LOG, &step, ""));
        assert_eq!(rig.fault(), (Some(FaultKind::MemoryOutOfBounds), 0));
    }
}

#[test]
fn random_numbers_are_those_of_the_abi() {
    let step = format!("(i64.store (i32.const 0) (call $random (i32.const 3) (i32.const 4))) {}", showing(0, 8));
    let mut rig = Rig::of(&agent_with(RANDOM, &step, ""), &group(1, 2));
    rig.frame = 77;
    rig.frame(CallKind::Step, &[]);
    for at in 0..2 {
        let drawn: u64 = bytemuck::pod_read_unaligned(rig.outbox(at)[0].payload);
        assert_eq!(drawn, random_u64(agent_key(0, rig.agents[at].0), 77, 3, 4));
    }
}
