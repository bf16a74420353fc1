//! The canary: a native system that isn't deterministic. Its run is recorded, and its replay must diverge and name what does.
//! A replay that can't fail would prove nothing.

use crate::common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};
use wasm_engine::events;
use wasm_engine::frame_loop;
use wasm_engine::run_dir::{Access, Inference, OpenRun, OutputDir, Recording, RunDir, RunOptions};
use wasm_engine::scenario::{LoadOptions, load};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine::summary::{Collector, RunFacts};
use wasm_engine::time_travel::{Compared, Divergence, ReplayOptions, RunReplayer, replay};
use wasm_engine_components::{DigestScope, Lane, StableId};
use wasm_engine_systems::state::StateEntity;
use wasm_engine_systems::{AuthorSystems, Frame, FrameClock, FrameStage, RegisterState};

/// How warm it is: it grows by one in each frame, as it should.
#[derive(Component, Serialize, Deserialize)]
struct Warmth(u64);

/// How windy it is: from frame 7 on, by a number that no world has.
#[derive(Component, Serialize, Deserialize)]
struct Wind(u64);

/// Outside of every world: what no system may look at.
static IMPURE: AtomicU64 = AtomicU64::new(0);

struct Weather;

impl Plugin for Weather {
    fn build(&self, app: &mut App) {
        app.register_state::<Warmth>("warmth")
            .register_state::<Wind>("wind")
            .add_systems(Frame, (warm, blow).chain().in_set(AuthorSystems::Simulate));
        for id in 1..=3 {
            app.world_mut().spawn((StableId(id), Warmth(0), Wind(0)));
        }
    }
}

fn warm(mut warmth: Query<&mut Warmth>) {
    warmth.iter_mut().for_each(|mut warmth| warmth.0 += 1);
}

fn blow(clock: Res<FrameClock>, mut winds: Query<(&StableId, &mut Wind)>) {
    for (id, mut wind) in &mut winds {
        if clock.frame >= 7 && id.0 == 2 {
            wind.0 = IMPURE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn plugins(app: &mut App) {
    app.add_plugins(Weather);
}

/// Records ten frames of the counter with weather.
fn record(out: &Path, every: u64) {
    let path = common::root().join("agents/scenarios/counter.toml");
    let scenario = load(&path, &LoadOptions::default()).unwrap();
    let options = SimulationOptions::default();
    let mut simulation = Simulation::with_plugins(&scenario, &options, plugins).unwrap();
    let run_options =
        RunOptions { record: true, snapshot_every: Some(every), ..RunOptions::new(&simulation, DigestScope::Frame) };
    let run_dir = RunDir::create(&OutputDir::new(Some(out), "weather"), &scenario, &run_options).unwrap();
    let mut recording = Recording::new(run_dir, &simulation, Some(Some(every)), Collector::default());
    let mut source = events::open(&scenario, Arc::default()).unwrap();
    frame_loop::run(&mut simulation, &mut source, &mut recording).unwrap();
    let summary = recording.collector().summary(&scenario, &RunFacts::default());
    recording.finish(&mut simulation, &summary).unwrap();
}

fn diverges(out: &Path) -> Box<Divergence> {
    let run = OpenRun::open(out, Access::Read).unwrap();
    let replayer = RunReplayer {
        run: &run,
        options: SimulationOptions::default(),
        inference: Inference::Recorded,
        author: &plugins,
    };
    let replayed = replay(&replayer, ReplayOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(replayed.checked, 7, "frames 0 to 6 are as they were");
    replayed.divergence.expect("an impure system makes another run of it")
}

#[test]
fn an_impure_system_is_found_by_its_component() {
    let folder = tempfile::tempdir().unwrap();
    for (every, compared) in [(1, Compared::Recorded), (100, Compared::SecondExecution), (4, Compared::Recorded)] {
        let out = folder.path().join(every.to_string());
        record(&out, every);
        let divergence = diverges(&out);
        assert_eq!((divergence.frame, &divergence.lanes[..]), (7, &[Lane::Native][..]), "every {every}");
        assert_eq!(divergence.stage(), Some(FrameStage::Commit));
        assert_eq!(divergence.components, ["wind"]);
        assert_eq!(divergence.compared, compared, "every {every}");
        let [difference] = &divergence.comparison.state[..] else { panic!("{:?}", divergence.comparison) };
        assert_eq!(difference.component, "wind");
        assert_eq!(difference.entity, StateEntity::Native(StableId(2)));
        assert_ne!(difference.bytes.left, difference.bytes.right);
        // It has one number and no names: its field is the value.
        let [field] = &difference.fields[..] else { panic!("{difference:?}") };
        assert_eq!((difference.field.as_deref(), field.name.as_str()), (Some("value"), "value"));
        assert_ne!(field.left, field.right);
    }
}
