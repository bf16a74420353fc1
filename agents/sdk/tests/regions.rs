//! Shared regions as an agent sees them, and what it writes.

#![allow(clippy::unwrap_used, missing_docs)]

use wasm_engine_sdk::abi::{RegionReader, RegionView};
use wasm_engine_sdk::testing::{Harness, Output};
use wasm_engine_sdk::{Agent, Context, Failure, Name, OutboxFull, agent, region};

/// Calls a function in `step`.
struct Does<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Result<(), Failure>> Agent for Does<F> {
    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        self.0(ctx)
    }
}

#[test]
fn an_agent_sees_the_regions_of_its_group() {
    let mut frame = 0;
    let step = |ctx: &mut Context<'_>| {
        frame += 1;
        assert_eq!(ctx.region(region!("other")), None);
        if frame == 1 {
            assert_eq!((ctx.region(region!("map")), ctx.region(region!("sky"))), (None, None));
        } else {
            let map = ctx.region(region!("map")).unwrap();
            assert_eq!(map, (frame - 2, &[frame as u8; 5][..]));
            assert_eq!(ctx.region(Name::new("s").text("ky").region()), Some((0, &[0; 16][..])));
            // What was read stays while the agent writes.
            ctx.write_region(region!("log"), 4, map.1)?;
        }
        Ok(())
    };
    let mut harness = Harness::new(Does(step), 64, 64);
    assert_eq!(harness.step(0, &[]), Ok(vec![]));
    harness.set_region(region!("sky"), 0, &[0; 16]);
    for version in 0..3 {
        let bytes = vec![version as u8 + 2; 5];
        harness.set_region(region!("map"), version, &bytes);
        assert_eq!(harness.step(1, &[]), Ok(vec![Output::WriteRegion { region: region!("log"), start: 4, bytes }]));
    }
}

#[test]
fn a_write_that_has_no_room_leaves_no_trace() {
    let step = |ctx: &mut Context<'_>| {
        assert_eq!(ctx.write_region(region!("map"), u32::MAX, &[1; 8]), Ok(()));
        assert_eq!(ctx.write_region(region!("map"), 0, &[]), Err(OutboxFull));
        Ok(())
    };
    let written = Harness::new(Does(step), 64, 64).step(1, &[]).unwrap();
    let start = u64::from(u32::MAX);
    assert_eq!(written, [Output::WriteRegion { region: region!("map"), start, bytes: vec![1; 8] }]);
}

#[test]
fn whatever_the_area_holds_nothing_outside_of_it_is_read() {
    let find = |view: RegionView, more: &[u8]| {
        let mut area = bytemuck::bytes_of(&view).to_vec();
        area.extend_from_slice(more);
        RegionReader::new(&area, 1_000).find(7).map(|(_, bytes)| bytes.to_vec())
    };
    let view = RegionView { region: 7, version: 1, address: 1_024, bytes: 3 };
    assert_eq!(find(view, &[1, 2, 3]), Some(vec![1, 2, 3]));
    assert_eq!(find(view, &[1, 2]), None);
    for address in [0, 999, 1_025, u32::MAX] {
        assert_eq!(find(RegionView { address, ..view }, &[1, 2, 3]), None);
    }
    assert_eq!(find(RegionView { bytes: u32::MAX, ..view }, &[1, 2, 3]), None);
    assert_eq!(find(RegionView { bytes: 0, ..view }, &[1, 2, 3]), None);
    assert_eq!(find(RegionView { region: 8, ..view }, &[1; 23]), None);
    assert_eq!(RegionReader::new(&[], 0).find(7), None);
    assert_eq!(RegionView::area_bytes([]), 0);
    assert_eq!(RegionView::area_bytes([1, 8, 9]), 4 * 24 + 8 + 8 + 16);
}

#[derive(Default)]
struct Quiet;
impl Agent for Quiet {}

// Each form of the macro takes the option.
agent!(Quiet, inbox_bytes = 64, outbox_bytes = 64, regions_bytes = 8 + 64,);
agent!(Quiet, inbox_bytes = 64, outbox_bytes = 64, regions_bytes = 64, state = Quiet);
agent!(Quiet, inbox_bytes = 64, outbox_bytes = 64, regions_bytes = 64, receive_exported);
agent!(Quiet, inbox_bytes = 64, outbox_bytes = 64, regions_bytes = 64, state = Quiet, receive_exported);
