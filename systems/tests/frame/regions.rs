//! Shared regions with a table for agents: who writes, in which order, who sees it when, and what is a fault.

use std::sync::{Arc, Mutex};

use bevy_app::App;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::system::Res;
use wasm_engine_abi::{CallKind, Op, name_id};
use wasm_engine_components::{
    AgentId, Digest, FaultKind, FaultPolicy, FrameInputs, FrameRecord, GroupId, Lane, RegionId, RegionOwner, RegionSpec,
};
use wasm_engine_systems::{
    AuthorSystems, BadRegionWrite, Frame, FrameClock, Population, RegionWriter, Regions, run_frame,
};

use crate::common::table::{Call, app, app_with, group};

fn id(name: &str) -> RegionId {
    RegionId(name_id(name))
}

fn region(name: &str, bytes: u32, writer: RegionOwner) -> RegionSpec {
    RegionSpec::new(name, bytes, writer).with(|region| region.readers = vec![GroupId(2)])
}

/// A region `map` that group 1 writes, a region `sky` that native systems write, and the groups 1 and 2.
fn population(agents: u32) -> Population {
    Population {
        groups: vec![group(1, agents), group(2, agents)],
        regions: vec![region("map", 8, RegionOwner::Group(GroupId(1))), region("sky", 4, RegionOwner::Native)],
        ..Population::default()
    }
}

fn frames(app: &mut App, n: usize) -> Vec<FrameRecord> {
    (0..n).map(|_| run_frame(app.world_mut(), FrameInputs::default())).collect()
}

/// What was seen: frame, version, bytes.
type Seen = Arc<Mutex<Vec<(u64, u64, Vec<u8>)>>>;

/// What an agent is shown of a region.
fn shown(call: &Call<'_>, name: &str) -> (u64, u64, Vec<u8>) {
    let shared = call.regions.iter().find(|shared| shared.region.id == id(name)).unwrap();
    (call.frame, shared.state.version, shared.state.bytes.clone())
}

fn write(call: &mut Call<'_>, name: &str, start: u64, bytes: &[u8]) {
    call.out.push(Op::WriteRegion, name_id(name), 0, start, bytes);
}

#[test]
fn a_frames_writes_are_one_version_that_is_seen_in_the_next() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut app = app(population(3), move |mut call| {
        assert!(call.regions.is_sorted_by_key(|shared| shared.region.id));
        let ordinal = call.agent.ordinal() as u8;
        if call.agent == AgentId::new(GroupId(2), 1) {
            noted.lock().unwrap().push(shown(&call, "map"));
        } else if call.agent.group() == GroupId(1) && (call.frame == 1 || call.frame == 3) {
            // All write byte 0, so the last agent's last write stays; byte 1 + ordinal is each agent's own.
            write(&mut call, "map", 0, &[10 + ordinal]);
            write(&mut call, "map", 1 + u64::from(ordinal), &[ordinal]);
            let last = 20 + ordinal + call.frame as u8;
            write(&mut call, "map", 0, &[last]);
        }
    });
    let records = frames(&mut app, 6);
    let first = vec![23, 0, 1, 2, 0, 0, 0, 0];
    let second = vec![25, 0, 1, 2, 0, 0, 0, 0];
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (0, 0, vec![0; 8]),
            (1, 0, vec![0; 8]),
            (2, 1, first.clone()),
            (3, 1, first),
            (4, 2, second.clone()),
            (5, 2, second)
        ]
    );
    let lanes: Vec<Digest> = records.iter().map(|record| record.lanes[Lane::Regions]).collect();
    assert!(lanes[0] != Digest(0) && lanes[0] != lanes[1] && lanes[2] != lanes[3], "a version changes the lane");
    assert!(lanes[1] == lanes[2] && lanes[3] == lanes[4] && lanes[4] == lanes[5], "and nothing else does");
    assert!(records.iter().all(|record| record.faults.is_empty()));
}

#[test]
fn the_same_bytes_again_and_no_bytes_are_versions() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut app = app(population(1), move |mut call| {
        noted.lock().unwrap().push(shown(&call, "map"));
        if call.agent.group() == GroupId(1) && call.frame > 0 {
            let bytes = if call.frame == 3 { &[][..] } else { &[7; 8] };
            let start = if call.frame == 3 { 8 } else { 0 };
            write(&mut call, "map", start, bytes);
        }
    });
    frames(&mut app, 5);
    let versions: Vec<u64> = seen.lock().unwrap().iter().step_by(2).map(|seen| seen.1).collect();
    assert_eq!(versions, [0, 0, 1, 2, 3]);
}

#[test]
fn a_bad_write_is_a_fault_and_nothing_of_its_outbox_stays() {
    type Bad = (u32, &'static str, u64, &'static [u8], BadRegionWrite);
    let bad: [Bad; 7] = [
        (1, "moon", 0, &[1], BadRegionWrite::UnknownRegion),
        (2, "map", 0, &[1], BadRegionWrite::NotOwner),
        (1, "sky", 0, &[1], BadRegionWrite::NotOwner),
        (1, "map", 8, &[1], BadRegionWrite::OutOfBounds),
        (1, "map", 0, &[1; 9], BadRegionWrite::OutOfBounds),
        (1, "map", 9, &[], BadRegionWrite::OutOfBounds),
        (1, "map", u64::MAX, &[1], BadRegionWrite::OutOfBounds),
    ];
    for (writer, name, start, bytes, rule) in bad {
        let seen = Seen::default();
        let noted = seen.clone();
        let mut app = app(population(1), move |mut call| {
            noted.lock().unwrap().push(shown(&call, "map"));
            let own = call.agent.group() == GroupId(1);
            if call.agent.group() == GroupId(writer) && call.frame == 1 {
                if own {
                    write(&mut call, "map", 0, &[9; 8]);
                }
                call.out.send(AgentId::new(GroupId(2), 0), 1, &[]);
                write(&mut call, name, start, bytes);
            }
        });
        let records = frames(&mut app, 3);
        let [fault] = records[1].faults[..] else { panic!("one fault") };
        assert_eq!((fault.agent, fault.kind), (AgentId::new(GroupId(writer), 0), FaultKind::BadRegionWrite));
        assert_eq!(fault.detail, rule as u32, "{name} {start}");
        assert_eq!((records[1].counts.messages, records[2].counts.delivered), (0, 0));
        assert!(seen.lock().unwrap().iter().all(|seen| seen.1 == 0 && seen.2 == [0; 8]));
        assert_eq!(records[0].lanes[Lane::Regions], records[2].lanes[Lane::Regions]);
    }
}

#[test]
fn native_systems_write_their_own_regions_and_read_all() {
    let (seen, sensed, simulated) = (Seen::default(), Seen::default(), Seen::default());
    let noted = seen.clone();
    let mut app = app(population(1), move |mut call| {
        if call.agent.group() == GroupId(2) {
            noted.lock().unwrap().push(shown(&call, "sky"));
        } else if call.frame > 0 {
            let frame = call.frame as u8;
            write(&mut call, "map", 7, &[frame]);
        }
    });
    let noted = sensed.clone();
    let sense = move |clock: Res<FrameClock>, regions: Regions| {
        let (version, bytes) = regions.read(id("map")).unwrap();
        noted.lock().unwrap().push((clock.frame, version, bytes.to_vec()));
        assert_eq!(regions.read(id("moon")), None);
    };
    let noted = simulated.clone();
    let simulate = move |clock: Res<FrameClock>, regions: Regions, mut writer: RegionWriter| {
        let (version, bytes) = regions.read(id("sky")).unwrap();
        noted.lock().unwrap().push((clock.frame, version, bytes.to_vec()));
        assert_eq!(writer.write(id("moon"), 0, &[1]), Err(BadRegionWrite::UnknownRegion));
        assert_eq!(writer.write(id("map"), 0, &[1]), Err(BadRegionWrite::NotOwner));
        assert_eq!(writer.write(id("sky"), 4, &[1]), Err(BadRegionWrite::OutOfBounds));
        assert_eq!(writer.write(id("sky"), u32::MAX, &[1]), Err(BadRegionWrite::OutOfBounds));
        if clock.frame == 1 {
            assert_eq!(writer.write(id("sky"), 0, &[5; 4]), Ok(()));
            assert_eq!(writer.write(id("sky"), 3, &[6]), Ok(()));
        }
    };
    app.add_systems(Frame, sense.in_set(AuthorSystems::Sense));
    app.add_systems(Frame, simulate.in_set(AuthorSystems::Simulate));
    let records = frames(&mut app, 4);
    // What is written in a frame is seen in the next, whoever writes and whoever reads.
    let sky = [(0, 0, vec![0; 4]), (1, 0, vec![0; 4]), (2, 1, vec![5, 5, 5, 6]), (3, 1, vec![5, 5, 5, 6])];
    assert_eq!(*seen.lock().unwrap(), sky);
    assert_eq!(*simulated.lock().unwrap(), sky);
    let map = |frame, version| (frame, version, vec![0, 0, 0, 0, 0, 0, 0, version as u8]);
    assert_eq!(*sensed.lock().unwrap(), [map(0, 0), map(1, 0), map(2, 1), map(3, 2)]);
    assert!(records.iter().all(|record| record.faults.is_empty()));
}

#[test]
fn two_native_writers_without_an_order_are_refused() {
    let mut app = app(population(1), |_| {});
    let one = |mut writer: RegionWriter| assert_eq!(writer.write(id("sky"), 0, &[1]), Ok(()));
    let two = |mut writer: RegionWriter| assert_eq!(writer.write(id("sky"), 0, &[2]), Ok(()));
    app.add_systems(Frame, (one, two).in_set(AuthorSystems::Simulate));
    let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| frames(&mut app, 1)));
    assert!(built.is_err());
}

/// Agents whose writes depend on all that they see, and who fault now and then.
fn busy(mut call: Call<'_>) {
    let (_, version, bytes) = shown(&call, "map");
    let ordinal = call.agent.ordinal();
    if call.call == CallKind::Init {
        return;
    }
    if call.agent.group() == GroupId(1) {
        let sum = bytes.iter().fold(version as u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
        if !(call.frame + u64::from(ordinal)).is_multiple_of(3) {
            write(&mut call, "map", u64::from(ordinal % 8), &[sum]);
            write(&mut call, "map", 0, &[sum ^ ordinal as u8]);
        }
        if ordinal == 4 && call.frame % 5 == 4 {
            write(&mut call, "map", 8, &[1]);
        }
    } else {
        call.out.send(AgentId::new(GroupId(2), (ordinal + 1) % 7), 1, &bytes);
    }
}

fn busy_app(chunk_agents: usize) -> App {
    let mut population = population(7);
    population.groups[0].group.on_fault = FaultPolicy::Restart { restarts_max: 100, backoff_frames: 1 };
    app_with(population, chunk_agents, busy)
}

#[test]
fn digests_do_not_depend_on_how_the_runtime_spreads_its_agents() {
    let digests = |chunk_agents| {
        let records = frames(&mut busy_app(chunk_agents), 20);
        assert!(records.iter().any(|record| !record.faults.is_empty()));
        records.into_iter().map(|record| (record.digest, record.lanes, record.groups)).collect::<Vec<_>>()
    };
    let reference = digests(1);
    for chunk_agents in [1, 2, 3, 1_000] {
        assert_eq!(reference, digests(chunk_agents));
    }
}

#[test]
fn the_lane_is_the_sum_of_the_regions_own() {
    let run = |names: &'static [&'static str]| {
        let regions = names.iter().map(|&name| region(name, 8, RegionOwner::Group(GroupId(1)))).collect();
        let population = Population { groups: vec![group(1, 1)], regions, ..Population::default() };
        let mut app = app(population, move |mut call| {
            for (name, period) in [("a", 2), ("b", 3)] {
                if names.contains(&name) && call.frame.is_multiple_of(period) {
                    let frame = call.frame as u8;
                    write(&mut call, name, 0, &[frame]);
                }
            }
        });
        let records = frames(&mut app, 8);
        records.into_iter().map(|record| record.lanes[Lane::Regions].0).collect::<Vec<_>>()
    };
    let (both, a, b) = (run(&["b", "a"]), run(&["a"]), run(&["b"]));
    for frame in 0..8 {
        assert_eq!(both[frame], a[frame].wrapping_add(b[frame]));
        assert_ne!(a[frame], b[frame]);
    }
    assert_eq!(run(&[]), [0; 8], "a run without regions has nothing in the lane");
}
