//! Exchange blocks that lie: each is refused at load, and none is followed.

use wasm_engine_abi::{LayoutError, MAGIC};

use super::*;

/// The problem with a block of this header at `address`.
fn layout(address: u32, header: &str) -> ModuleProblem {
    let text = agent("i32.const 0", "")
        .replace(&format!("(data (i32.const {BLOCK}) \"{}\")", good_header()), "")
        .replace(&format!("i32 (i32.const {BLOCK})"), &format!("i32 (i32.const {address})"));
    // At the end of the memory only a part of the header may fit.
    let room = if address < 65_536 { (65_536 - address) as usize } else { 0 };
    let fits = (header.len() / 3).min(room);
    let data = format!("(data (i32.const {}) \"{}\")", address.min(65_535), &header[..fits * 3]);
    problem(&text.replace("(global (export", &format!("{data} (global (export")))
}

#[test]
fn a_block_outside_of_the_memory_is_refused() {
    for address in [65_536, 65_528, 65_416, 1 << 31, u32::MAX - 7, u32::MAX, 1_025, 3] {
        assert_eq!(layout(address, &good_header()), ModuleProblem::Layout(LayoutError::Block { address }));
    }
    // The last address at which header and context fit: the areas don't.
    assert!(matches!(
        layout(65_408, &good_header()),
        ModuleProblem::Layout(LayoutError::Area { name: "inbox", offset: 128, bytes: 4096 })
    ));
    // A compiler's alignment may be less than a cache line, but not less than 8.
    assert_eq!(layout(1_028, &good_header()), ModuleProblem::Layout(LayoutError::Block { address: 1_028 }));
}

#[test]
fn another_version_and_another_magic_are_refused() {
    let of = |magic, version| layout(BLOCK, &header(magic, version, (128, 64), (256, 64)));
    assert_eq!(of(MAGIC, 2), ModuleProblem::Layout(LayoutError::Version { found: 2 }));
    assert_eq!(of(MAGIC, 0), ModuleProblem::Layout(LayoutError::Version { found: 0 }));
    assert_eq!(of(0, 1), ModuleProblem::Layout(LayoutError::Magic { found: 0 }));
    assert!(of(MAGIC, 2).to_string().contains("ABI version 2, and this engine has version 1"));
}

#[test]
fn areas_outside_overlapping_or_near_the_end_of_the_address_space_are_refused() {
    let bad = u32::MAX - 7;
    for (inbox, outbox) in [
        ((128, bad), (8192, 64)),
        ((bad, 64), (8192, 64)),
        ((bad, bad), (bad, bad)),
        ((128, 64), (8192, bad)),
        ((128, 64), (bad, 8)),
        ((128, 64), (1 << 31, 1 << 31)),
        ((128, 64), (64_512, 8)),
        ((128, 65_536), (8192, 64)),
        ((132, 64), (8192, 64)),
        ((128, 63), (8192, 64)),
        ((128, 64), (8196, 64)),
        ((128, 64), (8192, 4)),
    ] {
        let found = layout(BLOCK, &header(MAGIC, 1, inbox, outbox));
        assert!(matches!(found, ModuleProblem::Layout(LayoutError::Area { .. })), "{inbox:?} {outbox:?}: {found}");
    }
    for (inbox, outbox) in [
        ((128, 64), (184, 64)),
        ((128, 8192), (128, 64)),
        ((64, 64), (256, 64)),
        ((0, 8), (256, 64)),
        ((256, 64), (120, 8)),
    ] {
        assert_eq!(layout(BLOCK, &header(MAGIC, 1, inbox, outbox)), ModuleProblem::Layout(LayoutError::Overlap));
    }
}

#[test]
fn areas_up_to_the_last_byte_are_taken() {
    let text = agent("i32.const 0", "").replace(&good_header(), &header(MAGIC, 1, (128, 48), (176, 64_336)));
    let mut rig = Rig::new(&text);
    rig.frame(CallKind::Init, &[]);
    assert_eq!(rig.results.outcomes[0].fault, None);
}

#[test]
fn a_guest_that_writes_over_its_header_changes_nothing() {
    let step = format!("(memory.fill (i32.const {BLOCK}) (i32.const 255) (i32.const 64)) i32.const 0");
    let mut rig = Rig::new(&agent(&step, ""));
    for _ in 0..3 {
        rig.frame(CallKind::Step, &[mail(0, 1, b"hello")]);
        assert_eq!(rig.results.outcomes[0].fault, None);
    }
    // All of the context, too: the host doesn't believe what it wrote before.
    let step = "(memory.fill (i32.const 0) (i32.const 255) (i32.const 65536)) i32.const 0";
    let mut rig = Rig::new(&agent(step, ""));
    rig.frame(CallKind::Step, &[mail(0, 1, b"hello")]);
    assert_eq!(rig.results.outcomes[0].fault, Some(FaultKind::BadOutbox));
}

#[test]
fn an_outbox_area_that_cannot_be_collected_is_refused() {
    let text = agent("i32.const 0", "")
        .replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 256)")
        .replace(&good_header(), &header(MAGIC, 1, (128, 64), (192, (8 << 20) + 8)));
    let mut large = group(1, 1);
    large.limits.memory_bytes_max = 32 << 20;
    assert!(matches!(problem_of(source(&text), &large), ModuleProblem::OutboxTooLarge { bytes_max: 0x80_0000, .. }));
}
