//! State, saved and loaded: whoever goes on from it goes on as if nothing had happened. Bytes that are no state, or don't fit, are
//! errors. The kernel's random programs do the same in `systems/tests/kernel_model`.

use bevy_app::App;
use bevy_ecs::component::Component;
use bevy_ecs::world::World;
use wasm_engine_components::{AgentId, FaultHistory, FrameRecord, Lane, LaneKind, MailboxCounters};
use wasm_engine_systems::state::{Layouts, Section, StateError, WorldState, load_state, save_state};
use wasm_engine_systems::{RegisterState, testing};

use crate::common::busy::{self, app, app_after, frames, population};

/// A frame in which something of every kind is under way.
const BUSY: u64 = 9;

fn save(app: &mut App) -> WorldState {
    save_state(app.world_mut())
}

fn load(mut app: App, state: &WorldState) -> App {
    load_state(app.world_mut(), state).expect("it fits");
    app
}

fn busy_state() -> WorldState {
    let mut app = app();
    frames(&mut app, BUSY);
    save(&mut app)
}

/// A state with one section changed: of its entries, what `keep` makes of them.
fn changed(
    state: &WorldState,
    component: &str,
    keep: impl Fn(usize, u64, &[u8]) -> Option<(u64, Vec<u8>)>,
) -> WorldState {
    let mut state = state.clone();
    let section = state.sections.iter_mut().find(|section| section.component == component).unwrap();
    let mut other = Section::new(section.component.clone(), section.lane, section.of);
    for (at, (id, value)) in section.entries().enumerate() {
        if let Some((id, value)) = keep(at, id, value) {
            other.push(id, |bytes| bytes.extend_from_slice(&value));
        }
    }
    *section = other;
    state
}

#[test]
fn a_world_goes_on_from_any_frame_as_if_nothing_had_happened() {
    let mut whole = app();
    for cut in 0..16 {
        let state = save(&mut whole);
        assert_eq!(state.frame(), Some(cut));
        assert_eq!(save(&mut whole), state, "frame {cut}: saving changes nothing");
        let mut restored = load(app(), &state);
        assert_eq!(save(&mut restored), state, "frame {cut}: what was loaded is what was saved");
        let bytes = postcard::to_allocvec(&state).unwrap();
        assert_eq!(postcard::from_bytes::<WorldState>(&bytes).unwrap(), state);
        let next = frames(&mut whole, 1);
        assert_eq!(frames(&mut restored, 1), next, "frame {cut}");
        assert_eq!(save(&mut restored), save(&mut whole), "after frame {cut}");
    }
    let all = frames(&mut app(), 30);
    for cut in [0, 1, 2, 3, BUSY, 14] {
        let mut before = app();
        frames(&mut before, cut);
        let mut restored = load(app(), &save(&mut before));
        assert_eq!(frames(&mut restored, 30 - cut), all[cut as usize..], "from frame {cut} on");
    }
}

/// The lanes of state that aren't the sums of the hashes of what is saved of them.
fn other_lanes(record: &FrameRecord, state: &WorldState) -> Vec<Lane> {
    let lanes = Lane::ALL.into_iter().filter(|lane| lane.kind() == LaneKind::State);
    lanes.filter(|&lane| testing::lane(state, lane) != record.lanes[lane]).collect()
}

#[test]
fn each_lane_of_state_is_the_sum_of_what_is_saved_of_it() {
    let mut app = app();
    let mut moved = Vec::new();
    let mut before: Option<FrameRecord> = None;
    for frame in 0..30 {
        let record = frames(&mut app, 1).remove(0);
        let state = save(&mut app);
        assert_eq!(other_lanes(&record, &state), [], "frame {frame}");
        // Going on from it, sums that are carried were made anew, and are the same.
        let mut restored = load(busy::app(), &state);
        let next = frames(&mut restored, 1).remove(0);
        assert_eq!(other_lanes(&next, &save(&mut restored)), [], "the frame after {frame}");
        moved.extend(
            before
                .iter()
                .flat_map(|before| Lane::ALL.into_iter().filter(|&lane| before.lanes[lane] != record.lanes[lane])),
        );
        before = Some(record);
    }
    let still: Vec<_> = Lane::ALL.into_iter().filter(|lane| !moved.contains(lane)).collect();
    assert!(still.iter().all(|lane| lane.kind() == LaneKind::Frame), "nothing happens in {still:?}");
}

/// A canary: the test above would find a system that writes state and doesn't tell the carried sum.
#[test]
fn what_is_written_behind_a_carried_sum_shows() {
    let changed = |change: &dyn Fn(&mut World)| {
        let mut app = app();
        frames(&mut app, BUSY);
        change(app.world_mut());
        let record = frames(&mut app, 1).remove(0);
        other_lanes(&record, &save(&mut app))
    };
    assert_eq!(changed(&|_| {}), []);
    let histories = changed(&|world| {
        world.query::<&mut FaultHistory>().iter_mut(world).for_each(|mut history| history.restarts += 1);
    });
    assert_eq!(histories, [Lane::Agents]);
    let dropped = changed(&|world| {
        world.query::<&mut MailboxCounters>().iter_mut(world).for_each(|mut counters| counters.dropped += 1);
    });
    assert_eq!(dropped, [Lane::Mailboxes]);
}

#[test]
fn what_waits_is_what_its_mailbox_says() {
    let state = busy_state();
    let damaged = |state: &WorldState| load_state(app().world_mut(), state);
    let other = changed(&state, "HeldMessages", |at, id, value| {
        let mut value = value.to_vec();
        // Its correlation.
        value[16] ^= u8::from(at == 0);
        Some((id, value))
    });
    let error = damaged(&other).unwrap_err();
    assert!(matches!(&error, StateError::Damaged { component, .. } if component == "MailboxState"), "{error}");
    let without = changed(&state, "MailboxState", |_, _, _| None);
    assert_eq!(damaged(&without), Err(StateError::Damaged { component: "MailboxState".to_owned(), entity: None }));
}

/// A component that says nothing, and puts entities into other tables.
#[derive(Component)]
struct Marker;

#[test]
fn how_entities_came_into_a_restored_world_is_no_state() {
    let state = busy_state();
    let mut reference = load(app(), &state);
    let expected: Vec<FrameRecord> = frames(&mut reference, 12);
    for seed in 1..6_usize {
        let mut restored = app_after(population(), seed, |app| {
            app.register_transient::<Marker>();
            let dummies: Vec<_> = (0..50 * seed).map(|_| app.world_mut().spawn_empty().id()).collect();
            for (dummy, at) in dummies.into_iter().zip(0..) {
                if (at * 7 + seed) % 3 > 0 {
                    app.world_mut().despawn(dummy);
                }
            }
        });
        // Some agents lie in another table than the rest.
        let world = restored.world_mut();
        let agents: Vec<_> =
            world.query::<(bevy_ecs::entity::Entity, &AgentId)>().iter(world).map(|(e, _)| e).collect();
        for entity in agents.into_iter().rev().step_by(1 + seed) {
            world.entity_mut(entity).insert(Marker);
        }
        let mut restored = load(restored, &state);
        assert_eq!(save(&mut restored), state, "seed {seed}");
        assert_eq!(frames(&mut restored, 12), expected, "seed {seed}");
        assert_eq!(save(&mut restored), save(&mut reference));
    }
}

/// All that is saved, the author's three at the end. Who adds a section shows here that it is saved and loaded.
const SECTIONS: [&str; 31] = [
    "FrameClock",
    "Places",
    "Lifecycle",
    "FaultHistory",
    "GroupCounters",
    "CurrentModules",
    "ModelAnswers",
    "ModelsAlone",
    "NextJob",
    "InferenceJob",
    "Members",
    "RegionState",
    "HeldMessages",
    "Backlog",
    "MailboxState",
    "Messages",
    "Bounces",
    "NativeMessages",
    "Timers",
    "Deferred",
    "Cursor",
    "GroupDebts",
    "TenantDebts",
    "Requests",
    "AgentCommands",
    "NativeCommands",
    "RequestedSwaps",
    "DigestChain",
    "height",
    "weather",
    "width",
];

#[test]
fn each_section_is_there_and_each_of_its_values_comes_back() {
    let mut app = app();
    let states: Vec<WorldState> = (0..24)
        .map(|_| {
            frames(&mut app, 1);
            save(&mut app)
        })
        .collect();
    let comes_back = |other: &WorldState| {
        let mut app = busy::app();
        load_state(app.world_mut(), other).map(|()| save(&mut app))
    };
    for name in SECTIONS {
        let is_under_way = |state: &&WorldState| state.section(name).is_some_and(|section| !section.is_empty());
        let state = states.iter().find(is_under_way).unwrap_or_else(|| panic!("nothing of `{name}` is ever under way"));
        let names: Vec<&str> = state.sections.iter().map(|section| section.component.as_str()).collect();
        assert_eq!(names, SECTIONS);
        let section = state.section(name).unwrap();
        // Without its entries it isn't the same world, or none.
        let without = comes_back(&changed(state, name, |_, _, _| None));
        assert_ne!(without.as_ref(), Ok(state), "`{name}` isn't loaded");
        // Each entry for itself, with its last byte changed.
        for lost in 0..section.len() {
            // A group that has room for more agents than it began with may be given some, whatever the state says.
            if name == "Places" && section.entry(lost).1.ends_with(&[1]) {
                continue;
            }
            let keep = |at, id, value: &[u8]| {
                let mut value = value.to_vec();
                if let Some(last) = value.last_mut().filter(|_| at == lost) {
                    *last ^= 1;
                }
                Some((id, value))
            };
            let other = changed(state, name, keep);
            let result = comes_back(&other);
            assert!(
                result.is_err() || result.as_ref() == Ok(&other),
                "entry {lost} of `{name}` is loaded as something else"
            );
        }
        let mut missing = state.clone();
        missing.sections.retain(|section| section.component != name);
        assert_eq!(comes_back(&missing), Err(StateError::Missing { component: name.to_owned() }));
        let mut twice = state.clone();
        twice.sections.push(section.clone());
        assert_eq!(comes_back(&twice), Err(StateError::Unknown { component: name.to_owned() }));
    }
    let mut foreign = busy_state();
    foreign.sections.last_mut().unwrap().component = "depth".into();
    assert!(matches!(comes_back(&foreign), Err(StateError::Unknown { component }) if component == "depth"));
}

#[test]
fn bytes_that_were_changed_are_a_state_or_an_error_and_never_a_panic() {
    let good = busy_state();
    let bytes = postcard::to_allocvec(&good).unwrap();
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 33) as usize % below
    };
    let (mut refused, mut loaded) = (0, 0);
    for _ in 0..1_500 {
        let mut bytes = bytes.clone();
        for _ in 0..1 + next(3) {
            let at = next(bytes.len());
            bytes[at] ^= 1 << next(8);
        }
        if next(10) == 0 {
            bytes.truncate(next(bytes.len()));
        }
        let Ok(state) = postcard::from_bytes::<WorldState>(&bytes) else { continue };
        assert!(state.differences(&good, &Layouts::default(), 10).len() <= 10);
        let mut app = app();
        match load_state(app.world_mut(), &state) {
            Ok(()) => loaded += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && loaded > 100, "{refused} were refused, {loaded} loaded");
}
