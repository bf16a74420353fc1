//! Messages to whole groups: whom they reach, and what becomes of those that reach nobody.

use wasm_engine_abi::message::{sender, status};
use wasm_engine_abi::{BounceReason, Op};
use wasm_engine_components::{ExternalEvent, FrameInputs, GroupId, Recipient};

use crate::common::logged::{bounces, frames, groups, id, run};
use crate::common::table::group;

#[test]
fn a_broadcast_to_a_group_without_slots_reaches_nobody() {
    let mut later = group(1, 1);
    later.group.after = vec![GroupId(2)];
    let (mut app, _) = run(groups(vec![later, group(2, 1), group(3, 0)]), |call| {
        call.out.push(Op::Broadcast, 3, 0, 0, &[]);
    });
    assert_eq!(frames(&mut app, 3)[2].counts.dropped, 0);
}

#[test]
fn a_broadcast_that_a_group_does_not_take_bounces() {
    let mut deaf = group(2, 2);
    deaf.group.accepts = Some(Vec::new());
    let (mut app, log) = run(groups(vec![group(1, 1), deaf]), |call| {
        if call.frame == 1 && call.agent == id(1, 0) {
            call.out.push(Op::Broadcast, 2, 0, 4, &[]);
        }
    });
    assert_eq!(frames(&mut app, 3)[1].counts.dropped, 1);
    assert_eq!(bounces(&log, id(1, 0)), [(2, 4, BounceReason::Refused as u32)]);
}

#[test]
fn the_outside_tells_whole_groups() {
    let (mut app, log) = run(groups(vec![group(1, 3)]), |_| {});
    frames(&mut app, 1);
    let event =
        |group| ExternalEvent { to: Recipient::Group(GroupId(group)), kind: 4, correlation: 5, payload: vec![6] };
    let inputs = FrameInputs { events: vec![event(1), event(9)], ..FrameInputs::default() };
    let record = wasm_engine_systems::run_frame(app.world_mut(), inputs);
    assert_eq!((record.counts.delivered, record.counts.dropped), (3, 1));
    for (_, _, _, inbox) in log.lock().unwrap().iter().filter(|call| call.0 == 1) {
        let (header, payload) = &inbox[0];
        assert_eq!((header.sender, header.kind, header.status), (sender::EXTERNAL, 4, status::BROADCAST));
        assert_eq!(*payload, [6]);
    }
}
