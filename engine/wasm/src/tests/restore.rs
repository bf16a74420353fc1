//! Captures that can't be right are refused with a sentence, and change nothing.

use std::collections::BTreeMap;

use wasm_engine_components::{AgentSlot, Digest};

use super::capture::{changeable, everything, growing};
use super::*;
use crate::{GuestCapture, GuestStateError, PAGE_BYTES};

/// A rig of four agents after some steps, and its capture.
fn captured() -> (Rig, GuestCapture) {
    let mut rig = Rig::of(&changeable(), &growing(4));
    rig.frame_of(&[0, 1, 2], CallKind::Init, &[], true);
    for _ in 0..3 {
        rig.frame_of(&[0, 1, 2], CallKind::Step, &[], true);
    }
    let capture = rig.runtime.capture();
    (rig, capture)
}

/// What a capture is refused with; the runtime that refused it goes on as before.
fn refusal(spoil: impl FnOnce(&mut GuestCapture)) -> GuestStateError {
    let (mut rig, mut capture) = captured();
    let before = everything(&mut rig);
    spoil(&mut capture);
    let error = rig.runtime.restore(&rig.agents, &BTreeMap::new(), &[capture]).unwrap_err();
    if !matches!(error, GuestStateError::Digest { .. }) {
        assert_eq!(everything(&mut rig), before, "{error}");
    }
    assert!(error.to_string().len() > 20);
    error
}

#[test]
fn sizes_that_a_memory_cannot_have() {
    let size = |bytes: u64| refusal(|capture| capture.agents.memory_bytes[1] = bytes);
    for bytes in [0, 65_535, 65_537, 9 << 16, 1 << 32, u64::MAX, u64::MAX << 16] {
        let expected = GuestStateError::Memory { slot: AgentSlot(1), bytes, bytes_min: 1 << 16, bytes_max: 8 << 16 };
        assert_eq!(size(bytes), expected);
    }
    // A size that it might have, but for the pages that it has.
    assert_eq!(size(1 << 16), GuestStateError::Page { slot: AgentSlot(1), page: 31 });
    assert!(matches!(size(8 << 16), GuestStateError::Digest { .. }));
    // The module's own maximum counts, too.
    let text = changeable().replace("\"memory\") 1)", "\"memory\") 1 2)");
    let mut runtime = load(&text, &growing(4)).unwrap();
    let (rig, mut capture) = captured();
    capture.agents.memory_bytes[0] = 3 << 16;
    let error = runtime.restore(&rig.agents, &BTreeMap::new(), &[capture]).unwrap_err();
    assert!(matches!(error, GuestStateError::Memory { slot: AgentSlot(0), bytes_max: 0x20000, .. }), "{error}");
}

#[test]
fn slots_that_there_are_not() {
    assert_eq!(refusal(|capture| capture.agents.slots[3] = AgentSlot(4)), GuestStateError::Slot { slot: AgentSlot(4) });
    assert_eq!(
        refusal(|capture| capture.agents.slots[3] = AgentSlot(u32::MAX)),
        GuestStateError::Slot { slot: AgentSlot(u32::MAX) }
    );
    assert_eq!(refusal(|capture| capture.agents.slots[1] = AgentSlot(0)), GuestStateError::Slot { slot: AgentSlot(0) });
    assert_eq!(refusal(|capture| capture.agents.slots.swap(0, 1)), GuestStateError::Slot { slot: AgentSlot(0) });
    assert_eq!(refusal(|capture| capture.zeroed.push((AgentSlot(4), 0))), GuestStateError::Slot { slot: AgentSlot(4) });
    let last = |capture: &mut GuestCapture| capture.pages[0].slots.last_mut().map(|slot| *slot = AgentSlot(900));
    assert_eq!(refusal(|capture| assert!(last(capture).is_some())), GuestStateError::Slot { slot: AgentSlot(900) });
}

#[test]
fn pages_that_a_memory_has_no_place_for() {
    let page = |page: u32| {
        refusal(|capture| {
            let block = &mut capture.pages[0];
            block.slots.push(AgentSlot(2));
            block.pages.push(page);
            block.bytes.extend_from_slice(&[1; PAGE_BYTES]);
        })
    };
    assert_eq!(page(32), GuestStateError::Page { slot: AgentSlot(2), page: 32 });
    assert_eq!(page(u32::MAX), GuestStateError::Page { slot: AgentSlot(2), page: u32::MAX });
    assert_eq!(page(31), GuestStateError::Order { slot: AgentSlot(2), page: 31 }, "it is there already");
    assert!(matches!(page(0), GuestStateError::Order { .. }));
    // Of an agent that is as it was made, and of one that there isn't.
    let unused = refusal(|capture| *capture.pages[0].slots.last_mut().unwrap() = AgentSlot(3));
    assert!(matches!(unused, GuestStateError::Page { slot: AgentSlot(3), .. }));
    let none = refusal(|capture| {
        let agents = &mut capture.agents;
        agents.slots.pop();
        agents.used.pop();
        agents.memory_bytes.pop();
        agents.shown.pop();
        agents.words.pop();
        *capture.pages[0].slots.last_mut().unwrap() = AgentSlot(3);
    });
    assert!(matches!(none, GuestStateError::Page { slot: AgentSlot(3), .. }));
    let twice = refusal(|capture| capture.zeroed.extend([(AgentSlot(1), 5); 2]));
    assert_eq!(twice, GuestStateError::Order { slot: AgentSlot(1), page: 5 });
}

#[test]
fn columns_that_do_not_fit_together() {
    let spoils: [fn(&mut GuestCapture); 9] = [
        |capture| capture.agents.slots.push(AgentSlot(4)),
        |capture| capture.agents.used.push(true),
        |capture| capture.agents.memory_bytes.clear(),
        |capture| capture.agents.shown.push(0),
        |capture| capture.agents.words[2] = u32::MAX,
        |capture| capture.agents.globals.push(0),
        |capture| capture.pages[0].bytes.push(0),
        |capture| capture.pages[0].bytes.truncate(PAGE_BYTES),
        |capture| capture.pages[0].pages.push(9),
    ];
    for (at, spoil) in spoils.into_iter().enumerate() {
        assert!(matches!(refusal(spoil), GuestStateError::Columns { .. }), "case {at}");
    }
}

#[test]
fn globals_that_the_module_does_not_have() {
    // The words are moved from one instance to the next, so that their sum is right.
    let moved = refusal(|capture| {
        capture.agents.words[0] += 1;
        capture.agents.words[1] -= 1;
    });
    assert_eq!(moved, GuestStateError::Globals { slot: AgentSlot(0), words: 8, expected: 7 });
    // The upper half of an i32.
    assert_eq!(
        refusal(|capture| capture.agents.globals[7] |= 1 << 32),
        GuestStateError::Global { slot: AgentSlot(1), index: 1 }
    );
    assert_eq!(
        refusal(|capture| capture.agents.globals[3] |= 1 << 63),
        GuestStateError::Global { slot: AgentSlot(0), index: 5 }
    );
    assert!(matches!(refusal(|capture| capture.agents.globals[2] ^= 1 << 63), GuestStateError::Digest { .. }));
    assert_eq!(refusal(|capture| capture.agents.shown[2] = 1), GuestStateError::Shown { slot: AgentSlot(2) });
}

#[test]
fn what_is_consistent_and_wrong_shows_in_the_digest() {
    let wrong = |spoil: fn(&mut GuestCapture)| assert!(matches!(refusal(spoil), GuestStateError::Digest { .. }));
    wrong(|capture| capture.pages[0].bytes[0] ^= 1);
    wrong(|capture| capture.digest = Digest(capture.digest.0 ^ 1));
    wrong(|capture| {
        let block = &mut capture.pages[0];
        block.slots.pop();
        block.pages.pop();
        block.bytes.truncate(block.bytes.len() - PAGE_BYTES);
    });
    wrong(|capture| capture.agents.memory_bytes[0] += 1 << 16);
}

#[test]
fn chains_and_ids_that_are_none() {
    let (mut rig, capture) = captured();
    let modules = BTreeMap::new();
    let part = GuestCapture { full: false, ..capture.clone() };
    for chain in [vec![], vec![part.clone()], vec![part, capture.clone()], vec![capture.clone(); 2]] {
        assert_eq!(rig.runtime.restore(&rig.agents, &modules, &chain).unwrap_err(), GuestStateError::Chain);
    }
    let chain = [capture];
    let other = AgentId::of_generation(GroupId(2), 1, 0);
    for ids in
        [vec![], vec![rig.agents[0]], vec![rig.agents[0], rig.agents[2], rig.agents[1]], vec![rig.agents[0], other]]
    {
        let error = rig.runtime.restore(&ids, &modules, &chain).unwrap_err();
        assert!(matches!(error, GuestStateError::Id { .. }), "{error}");
    }
    let unknown = BTreeMap::from([(GroupId(9), 0)]);
    let error = rig.runtime.restore(&rig.agents, &unknown, &chain).unwrap_err();
    assert_eq!(error, GuestStateError::Group { group: GroupId(9) });
    let unknown = BTreeMap::from([(GroupId(1), 3)]);
    let error = rig.runtime.restore(&rig.agents, &unknown, &chain).unwrap_err();
    assert_eq!(error, GuestStateError::Module { group: GroupId(1), module: 3 });
    // The one that an agent without state has doesn't matter.
    assert!(rig.runtime.restore(&rig.agents[..3], &modules, &chain).is_ok());
}
