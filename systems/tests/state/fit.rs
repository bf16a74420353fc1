//! States that don't fit, what two states differ in, what authors register, and payloads that many backlogs share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bevy_app::App;
use bevy_ecs::component::Component;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::system::Commands;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::{CallKind, Op};
use wasm_engine_components::{
    Backlog, GroupLimits, HeldMessage, Lane, Lifecycle, RegionState, Schedule, StableId, Trigger,
};
use wasm_engine_systems::state::{
    FieldValue, IncompleteState, Layouts, StateDifference, StateEntity, StateError, WorldState, check_components,
    load_state, save_state,
};
use wasm_engine_systems::testing::held_message;
use wasm_engine_systems::{AuthorSystems, Frame, FrameStage, Population, RegisterState};

use crate::common::busy::{self, Area, Height, MAP, Weather, Width, app, app_after, frames, id, population};
use crate::common::table;

fn busy_state(frames: u64) -> WorldState {
    let mut app = app();
    busy::frames(&mut app, frames);
    save_state(app.world_mut())
}

/// What loading a state of one of some frames into a world of a changed scenario says.
fn refusal(change: impl FnOnce(&mut Population)) -> String {
    let mut population = population();
    change(&mut population);
    let mut whole = app();
    let mut refused = (8..24).filter_map(|_| {
        frames(&mut whole, 1);
        let state = save_state(whole.world_mut());
        let mut app = app_after(population.clone(), 2, |_| {});
        load_state(app.world_mut(), &state).err()
    });
    refused.next().expect("it doesn't fit").to_string()
}

#[test]
fn a_state_that_does_not_fit_says_what_does_not() {
    let fit = "the saved state doesn't fit the scenario: ";
    let cases: [(&str, Box<dyn FnOnce(&mut Population)>); 9] = [
        (
            "`Places` of group 3: the scenario lacks the group, or it doesn't take part",
            Box::new(|all| drop(all.groups.remove(2))),
        ),
        (
            "`Places` of group 2: it began with 2 agents, and here with 1: that can't change later",
            Box::new(|all| all.groups[1].group.agents = 1),
        ),
        (
            "`Places` of group 5: it has used 3 slots, and `agents_max` is 2",
            Box::new(|all| all.groups[4].group.agents_max = 2),
        ),
        (
            "`Places` of group 6: it isn't in the saved state, and a group can't come in later",
            Box::new(|all| all.groups.push(table::group(6, 1))),
        ),
        ("`Members` of topic 0x000000000000001f: the scenario lacks the topic", Box::new(|all| all.topics.clear())),
        (
            "`RegionState` of region 0x0000000000000047: it had 16 bytes, and here has 17: a region's size can't change later",
            Box::new(|all| all.regions[0].bytes = 17),
        ),
        (
            "`RegionState` of region 0x0000000000000048: the scenario lacks the region",
            Box::new(|all| all.regions.truncate(1)),
        ),
        (
            "`TenantDebts` of tenant 0: the scenario lacks tenant `alba`",
            Box::new(|all| all.tenants[0].name = "gamma".into()),
        ),
        (
            "`ModelAnswers` of model 0x0000000000000029: the scenario lacks it, or the one that answers for it since a swap",
            Box::new(|all| all.models.truncate(1)),
        ),
    ];
    for (expected, change) in cases {
        assert_eq!(refusal(change), format!("{fit}{expected}"));
    }
    let smaller = refusal(|all| all.groups[2].group.limits.mailbox_messages_max = 1);
    assert!(smaller.contains("`Backlog` of agent 3/"), "{smaller}");
    assert!(smaller.ends_with(" bytes wait, which is more than the mailbox takes"), "{smaller}");
    // What a branch may change: more room, other limits, another order, more tenants.
    let mut branch = population();
    branch.groups[0].group.agents_max = 9;
    branch.groups[2].group.schedule = Schedule { trigger: Trigger::default(), priority: 9 };
    branch.groups[3].group.limits.fuel_per_frame_max = 7;
    branch.tenants.insert(0, wasm_engine_components::Tenant { name: "aaa".into(), ..branch.tenants[1].clone() });
    let mut app = app_after(branch, 2, |_| {});
    assert_eq!(load_state(app.world_mut(), &busy_state(9)), Ok(()));
    frames(&mut app, 5);
    assert_eq!(load_state(app.world_mut(), &busy_state(9)), Err(StateError::NotFresh));
}

#[test]
fn a_difference_is_named_with_lane_stage_component_entity_and_byte() {
    let state = busy_state(9);
    assert_eq!(state.differences(&state, &Layouts::default(), 10), []);
    let differ = |change: &dyn Fn(&mut App)| {
        let mut app = app();
        frames(&mut app, 9);
        change(&mut app);
        let changed = save_state(app.world_mut());
        state.differences(&changed, &Layouts::of(app.world()), 10)
    };
    let found = differ(&|app| {
        let world = app.world_mut();
        world.query::<&mut RegionState>().iter_mut(world).for_each(|mut state| state.bytes[5] ^= 0x80);
    });
    let region = &found[0];
    assert_eq!((found.len(), region.lane, region.stage), (2, Lane::Regions, FrameStage::Commit));
    assert_eq!((region.component.as_str(), region.entity), ("RegionState", StateEntity::Region(MAP)));
    assert_eq!((region.bytes.offset, region.bytes.count, region.field.as_deref()), (16 + 5, 1, Some("bytes[5]")));
    let [left, right] = [&region.bytes.left, &region.bytes.right].map(|side| side.as_ref().unwrap());
    let at = region.bytes.offset - left.start;
    assert_eq!((left.bytes[at], right.bytes[at]), (0, 0x80));
    let found = differ(&|app| {
        let world = app.world_mut();
        for mut backlog in world.query::<&mut Backlog>().iter_mut(world) {
            let mut is_changed = false;
            let changed = |held: &Arc<HeldMessage>| {
                if is_changed || held.payload.len() != 300 {
                    return Arc::clone(held);
                }
                is_changed = true;
                let mut bytes = held.payload.clone();
                bytes[299] = 77;
                Arc::new(held_message(held.header, bytes))
            };
            *backlog = backlog.iter().map(changed).collect();
        }
    });
    let first = &found[0];
    assert_eq!(
        (first.entity, first.component.as_str(), first.lane),
        (StateEntity::Agent(id(3, 0)), "Backlog", Lane::Mailboxes)
    );
    assert_eq!(
        (first.bytes.offset, first.bytes.right.as_ref().unwrap().bytes.last(), first.field.as_deref()),
        (48 + 299, Some(&77), Some("payload[299]")),
        "with its payload, not where that lies"
    );
    let shown: Vec<_> = found.iter().map(|one| (one.component.as_str(), one.field.as_deref().unwrap_or("?"))).collect();
    let messages = ("Backlog", "payload[299]");
    assert_eq!(shown[..2], [messages; 2], "of which only what differs is shown");
    assert!(shown[2..].iter().all(|one| *one == ("MailboxState", "digest")) && shown.len() == 4, "{shown:?}");
    let found = differ(&|app| app.world_mut().resource_mut::<Weather>().0 = 0);
    let shown: Vec<_> = found.iter().map(|one| (one.component.as_str(), one.entity, one.bytes.offset)).collect();
    assert_eq!(shown, [("weather", StateEntity::World, 0)]);
    assert_eq!((found[0].field.as_deref(), found[0].fields.len()), (Some("value"), 1));
    assert_eq!(found[0].fields[0].right, Some(FieldValue::Number(0)));
    let found = differ(&|app| {
        let world = app.world_mut();
        world
            .query::<&mut Width>()
            .iter_mut(world)
            .for_each(|mut width| width.0.iter_mut().skip(1).take(1).for_each(|width| *width = 300));
    });
    let [width, ..] = &found[..] else { panic!("{found:?}") };
    let [one] = &width.fields[..] else { panic!("{width:?}") };
    assert_eq!((width.field.as_deref(), one.name.as_str()), (Some("[1]"), "[1]"));
    assert_eq!((&one.left, &one.right), (&Some(FieldValue::Number(2)), &Some(FieldValue::Number(300))));
    let gone = differ(&|app| {
        let world = app.world_mut();
        let entity =
            world.query::<(bevy_ecs::entity::Entity, &StableId)>().iter(world).find(|(_, id)| id.0 == 2).unwrap().0;
        world.despawn(entity);
    });
    assert_eq!((gone.len(), gone[0].entity, gone[0].bytes.right.as_ref()), (1, StateEntity::Native(StableId(2)), None));
}

/// Layouts are held against a world in which everything is under way: all that is saved has names for its bytes, authors' components among it.
#[test]
fn each_value_that_is_saved_has_names_for_its_bytes() {
    let mut app = app();
    frames(&mut app, 9);
    let state = save_state(app.world_mut());
    let authors = Layouts::of(app.world());
    // These are shown in the place of another.
    let without = ["HeldMessages"];
    let mut named = std::collections::BTreeSet::new();
    for section in &state.sections {
        let mut one = WorldState { sections: vec![section.clone()] };
        // What a message that waits has in the place of a payload is found there.
        one.sections.extend(state.section("HeldMessages").filter(|_| section.component == "Backlog").cloned());
        for found in one.differences(&WorldState::default(), &authors, 1_000) {
            let is_named = found.field.is_some() && !found.fields.is_empty();
            assert!(is_named != without.contains(&found.component.as_str()) || found.bytes.count == 0, "{found:?}");
            if is_named {
                named.insert(found.component);
            }
        }
    }
    let serde = ["NativeCommands", "RequestedSwaps", "height", "width", "weather"];
    assert!(named.len() > 12 && serde.iter().all(|name| named.contains(*name)), "{named:?}");
}

#[test]
fn differences_are_bounded_and_each_component_has_its_share() {
    let (one, other) = (busy_state(9), busy_state(10));
    let none = Layouts::default();
    let all = one.differences(&other, &none, 10_000);
    assert!(all.is_sorted_by_key(|one| (one.component == "DigestChain", one.stage)));
    let components =
        |of: &[StateDifference]| of.iter().map(|one| one.component.clone()).collect::<std::collections::BTreeSet<_>>();
    assert!(components(&all).len() > 20);
    for max in [0, 1, 40] {
        let some = one.differences(&other, &none, max);
        assert_eq!(some.len(), max);
        assert_eq!(components(&some).len(), max.min(components(&all).len()));
    }
    let mirrored = other.differences(&one, &none, 10_000);
    assert!(mirrored.iter().zip(&all).all(|(a, b)| {
        (&a.bytes.left, &a.bytes.right, a.bytes.offset) == (&b.bytes.right, &b.bytes.left, b.bytes.offset)
    }));
    let message = all.iter().find(|one| matches!(one.entity, StateEntity::Message { .. })).unwrap();
    assert_eq!((message.lane, message.stage), (Lane::Outboxes, FrameStage::Step));
}

#[test]
fn authors_entities_come_back_with_exactly_what_they_had() {
    let state = busy_state(9);
    let mut app = app();
    let world = app.world_mut();
    // One that isn't in the state, one that has lost a component and got another, one that is still to get one.
    world.spawn((StableId(77), Height(1)));
    world.spawn((StableId(105), Area));
    let ours = world.query::<(bevy_ecs::entity::Entity, &StableId)>().iter(world).find(|(_, id)| id.0 == 2).unwrap().0;
    world.entity_mut(ours).remove::<Width>().insert((Height(3), Area));
    assert_eq!(load_state(world, &state), Ok(()));
    assert_eq!(save_state(world), state);
    assert_eq!(world.get::<Height>(ours), None);
    assert_eq!(world.get::<Width>(ours), Some(&Width(vec![1, 2, 3])), "it is the same entity");
    assert!(world.get::<Area>(ours).is_some(), "what is transient stays");
    let both: Vec<u64> = world.query::<(&StableId, &Height, &Width)>().iter(world).map(|(id, ..)| id.0).collect();
    assert!(both.contains(&1) && both.contains(&105) && !both.contains(&77), "{both:?}");
    assert_eq!(world.query::<&StableId>().iter(world).filter(|id| id.0 == 77).count(), 0);
    let weather = world.remove_resource::<Weather>();
    assert!(weather.is_some() && save_state(world) != state);
}

#[test]
fn each_registered_component_has_its_digest_in_the_record() {
    let mut app = app();
    let records = frames(&mut app, 3);
    let names: Vec<_> = records[2].native.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["height", "weather", "width"]);
    for record in &records {
        let sum = record.native.iter().fold(0_u128, |sum, (_, digest)| sum.wrapping_add(digest.0));
        assert_eq!(record.lanes[Lane::Native].0, sum);
    }
}

#[derive(Component, Clone, Serialize, Deserialize)]
struct Depth(u8);

#[test]
fn what_is_not_registered_stops_the_build_with_its_name() {
    let check = |build: &dyn Fn(&mut App)| {
        let mut app = app();
        build(&mut app);
        check_components(app.world_mut())
    };
    assert_eq!(check(&|_| {}), Ok(()));
    let error = check(&|app| _ = app.world_mut().spawn((StableId(9), Depth(1)))).unwrap_err();
    let expected = "`state::fit::Depth` of the entity with StableId 9 is neither registered as state nor as transient: \
        call `app.register_state::<Depth>(\"a name\")` if what a simulation does depends on it, \
        `app.register_transient::<Depth>()` if it is made anew from state";
    assert_eq!(error.to_string(), expected);
    let on_agent = |app: &mut App| {
        let world = app.world_mut();
        let agent =
            world.query_filtered::<bevy_ecs::entity::Entity, bevy_ecs::query::With<Lifecycle>>().iter(world).next();
        world.entity_mut(agent.unwrap()).insert(Depth(1));
    };
    let unregistered = |error: &IncompleteState, of: &str| matches!(error, IncompleteState::Unregistered { entity, .. } if entity == of);
    assert!(unregistered(&check(&on_agent).unwrap_err(), "agent 1/0"));
    let as_state = |app: &mut App| on_agent(app.register_state::<Depth>("depth"));
    assert!(unregistered(&check(&as_state).unwrap_err(), "agent 1/0"), "an agent's entity is the engine's");
    assert_eq!(check(&|app| on_agent(app.register_transient::<Depth>())), Ok(()));
    let error = check(&|app| _ = app.world_mut().spawn(Height(1))).unwrap_err();
    assert!(matches!(error, IncompleteState::WithoutId { component, .. } if component == "height"));
    let shared = check(&|app| _ = app.world_mut().spawn((StableId(1), Area))).unwrap_err();
    assert_eq!(shared.to_string(), "two entities share StableId 1: give each one of its own");
    assert_eq!(check(&|app| _ = app.world_mut().spawn(Depth(1))), Ok(()), "it is no entity of the simulation");
}

#[test]
fn what_is_not_registered_stops_the_frame_that_makes_it() {
    let mut app = app();
    frames(&mut app, 1);
    app.add_systems(
        Frame,
        (|mut commands: Commands| _ = commands.spawn((StableId(900), Depth(1)))).in_set(AuthorSystems::Sense),
    );
    let panic = catch_unwind(AssertUnwindSafe(|| frames(&mut app, 1))).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("`state::fit::Depth` of the entity with StableId 900"));
}

#[test]
fn a_name_is_one_components() {
    let panics = |register: &dyn Fn(&mut App)| {
        let mut app = app();
        let panic = catch_unwind(AssertUnwindSafe(|| register(&mut app))).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    let twice = panics(&|app| _ = app.register_state::<Depth>("height"));
    assert_eq!(twice, "two components are registered as state under the name `height`");
    let again = panics(&|app| _ = app.register_state::<Height>("altitude"));
    assert_eq!(again, "`altitude` is registered as state already, as `height`");
    let own = panics(&|app| _ = app.register_state::<Depth>("Backlog"));
    assert_eq!(own, "`Backlog` can't be registered as state: the engine's own state has that name");
}

#[test]
fn ten_thousand_backlogs_with_one_payload_hold_it_once() {
    let population = || {
        let mut sleepers = table::group(2, 10_000);
        sleepers.group.schedule = Schedule { trigger: Trigger::Timer, priority: 0 };
        sleepers.inbox_bytes_max = 1 << 20;
        sleepers.group.limits.mailbox_bytes_max = 1 << 20;
        let mut writers = table::group(1, 1);
        // Each recipient of 64 KiB counts 513 times.
        writers.group.limits.deliveries_per_step_max = GroupLimits::UNBOUNDED;
        writers.group.limits.deliveries_per_frame_max = GroupLimits::UNBOUNDED;
        Population { groups: vec![writers, sleepers], ..Population::default() }
    };
    let step = |call: table::Call<'_>| {
        if call.agent == id(1, 0) && call.call == CallKind::Step && call.frame == 1 {
            call.out.push(Op::Broadcast, 2, 0, 0, &[5; 65_536]);
        }
    };
    let mut app = table::app(population(), step);
    frames(&mut app, 4);
    let state = save_state(app.world_mut());
    assert_eq!(state.section("Backlog").unwrap().len(), 10_000);
    assert!(state.bytes() < 2_000_000, "{} bytes", state.bytes());
    let mut restored = table::app(population(), step);
    load_state(restored.world_mut(), &state).unwrap();
    let world = restored.world_mut();
    let mut backlogs = world.query::<&Backlog>();
    let held = backlogs.iter(world).filter_map(|backlog| backlog.iter().next()).map(|held| Arc::as_ptr(held).addr());
    assert_eq!(held.collect::<std::collections::BTreeSet<_>>().len(), 1);
    // What is shared in memory is no state.
    for mut backlog in world.query::<&mut Backlog>().iter_mut(world) {
        *backlog = backlog.iter().map(|held| Arc::new(HeldMessage::clone(held))).collect();
    }
    assert_eq!(save_state(world), state);
}
