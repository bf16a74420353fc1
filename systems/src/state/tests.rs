//! What it takes to add a kind of state: its form, where a world has it, and a line of the table of parts. All that is said of it elsewhere
//! follows from these.

use std::collections::BTreeMap;

use bevy_app::App;
use bevy_ecs::resource::Resource;
use wasm_engine_components::{FrameInputs, FrameRecord, Lane};

use super::part::{StatePart, Target};
use super::pass::{Loading, Saving};
use super::{
    FieldDifference, FieldValue, Layouts, Section, StateEntity, StateError, WorldState, lane, load_state, save_state,
};
use crate::codec::{EntityKind, Fields, Reader, Sink, StateCodec};
use crate::costs::table::{app, group};
use crate::frame::FrameStage;
use crate::{Population, run_frame};

/// A made-up kind of state: heights by tenants. It is in the table of parts in the builds of these tests alone.
#[derive(Resource, Clone, Debug, PartialEq, Eq)]
pub(super) struct Tides(BTreeMap<u64, u32>);

impl StateCodec for Tides {
    const NAME: &'static str = "Tides";
    const LANE: Lane = Lane::Requests;
    const STAGE: FrameStage = FrameStage::Infer;
    const OF: EntityKind = EntityKind::Tenant;
    const FIELDS: Fields = Fields::once(&[("height", crate::codec::U32)]);

    type Value<'a> = u32;
    type Decoded<'a> = u32;

    fn encode(height: u32, to: &mut impl Sink) {
        to.u32(height);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<u32> {
        from.u32()
    }
}

impl StatePart for Tides {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let tides = saving.world.get_resource::<Self>();
        for (id, height) in tides.into_iter().flat_map(|tides| &tides.0) {
            to.put(*id, *height);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let heights = section.items().map(|entry| Ok((entry.id, entry.decode::<Self>()?)));
        let heights = heights.collect::<Result<BTreeMap<_, _>, StateError>>()?;
        if !heights.is_empty() {
            loading.world.insert_resource(Self(heights));
        }
        Ok(())
    }
}

fn world_with(tides: &[(u64, u32)]) -> App {
    let population = Population { groups: vec![group(1, 3)], ..Population::default() };
    let mut app = app(population, |_| {});
    if !tides.is_empty() {
        app.insert_resource(Tides(tides.iter().copied().collect()));
    }
    app
}

fn frame(app: &mut App) -> FrameRecord {
    run_frame(app.world_mut(), FrameInputs::default())
}

fn save(app: &mut App) -> WorldState {
    save_state(app.world_mut())
}

#[test]
fn a_new_kind_of_state_is_saved_loaded_digested_blamed_and_shown() {
    let (mut without, mut low, mut high) = (world_with(&[]), world_with(&[(3, 7)]), world_with(&[(3, 9), (4, 1)]));
    let records = [&mut without, &mut low, &mut high].map(frame);
    let states = [&mut without, &mut low, &mut high].map(save);
    // It is digested in its lane and in no other, and its digest is that of what is saved.
    for (record, state) in records.iter().zip(&states) {
        assert_eq!(record.lanes[Lane::Requests], lane(state, Lane::Requests));
    }
    let [none, one, two] = &records;
    assert!(none.lanes[Lane::Requests] != one.lanes[Lane::Requests]);
    assert!(one.digest != two.digest && none.digest != one.digest);
    let others = |record: &FrameRecord| Lane::ALL.map(|lane| (lane != Lane::Requests).then(|| record.lanes[lane]));
    assert_eq!(others(one), others(two));
    // It is saved and loaded, and goes on as it was.
    assert_eq!(states[2].section("Tides").unwrap().entries().count(), 2);
    let mut restored = world_with(&[]);
    assert_eq!(load_state(restored.world_mut(), &states[2]), Ok(()));
    assert_eq!(restored.world().get_resource::<Tides>(), high.world().get_resource::<Tides>());
    assert_eq!(frame(&mut restored), frame(&mut high));
    // What differs in it is told with its stage, its entity and its field.
    let found = states[1].differences(&states[2], &Layouts::default(), 9);
    let tides: Vec<_> = found.iter().filter(|one| one.component == "Tides").collect();
    assert_eq!(
        tides.iter().map(|one| one.entity).collect::<Vec<_>>(),
        [3, 4].map(|id| StateEntity::Tenant(wasm_engine_components::TenantId(id)))
    );
    assert_eq!(
        (tides[0].lane, tides[0].stage, tides[0].field.as_deref()),
        (Lane::Requests, FrameStage::Infer, Some("height"))
    );
    let (left, right) = (Some(FieldValue::Number(7)), Some(FieldValue::Number(9)));
    assert_eq!(tides[0].fields, [FieldDifference { name: "height".to_owned(), offset: 0, left, right }]);
    // A state without it is no state, and its name is nobody else's.
    let mut missing = states[2].clone();
    missing.sections.retain(|section| section.component != "Tides");
    let error = load_state(world_with(&[]).world_mut(), &missing);
    assert_eq!(error, Err(StateError::Missing { component: "Tides".to_owned() }));
}

#[test]
fn names_of_parts_are_their_own_and_what_carries_their_sums_is_there() {
    use super::part::Coverage;
    use super::parts::{PARTS, find};

    let mut names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), PARTS.len());
    for part in PARTS {
        let Some(carrier) = part.coverage.carrier() else { continue };
        let carrier = find(carrier).unwrap();
        assert!(matches!(carrier.coverage, Coverage::Carried(_)), "{}", part.name);
        assert_eq!(carrier.lane, part.lane, "{}", part.name);
    }
}
