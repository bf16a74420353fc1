//! A native system beside WebAssembly agents: a tower with a bell, in the world of `counter.toml`.
//!
//! The bell is an entity of ours. It swings by a random amount in each frame, and when it has swung far enough, it rings: a
//! tick that the agents count like any other. An ear listens to the ticks of all.

use std::error::Error;
use std::path::Path;

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};
use wasm_engine::scenario::{LoadOptions, load};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine_abi::name_id;
use wasm_engine_components::{FrameInputs, Lane, StableId, TopicId};
use wasm_engine_systems::{AuthorSystems, Frame, FrameClock, MailReader, MailWriter, RegisterState, RunSeed};

const TICKS: TopicId = TopicId(name_id("ticks"));

/// How far the bell has swung since it last rang, in degrees. State.
#[derive(Component, Serialize, Deserialize)]
struct Bell {
    swing_degrees: u64,
}

/// How many ticks were heard. State.
#[derive(Component, Serialize, Deserialize)]
struct Ear {
    heard: u64,
}

/// The tower: its bell, the ear, and their systems.
pub struct TowerPlugin;

impl Plugin for TowerPlugin {
    fn build(&self, app: &mut App) {
        app.register_state::<Bell>("bell")
            .register_state::<Ear>("ear")
            .add_systems(Frame, listen.in_set(AuthorSystems::Sense))
            .add_systems(Frame, swing_bell.in_set(AuthorSystems::Simulate));
        app.world_mut().spawn((StableId(1), Bell { swing_degrees: 0 }));
        app.world_mut().spawn((StableId(2), Ear { heard: 0 }));
    }
}

fn listen(mail: MailReader, mut ears: Query<&mut Ear>) {
    for mut ear in &mut ears {
        ear.heard += mail.published(TICKS).count() as u64;
    }
}

fn swing_bell(
    seed: Res<RunSeed>,
    clock: Res<FrameClock>,
    mut post: MailWriter,
    mut bells: Query<(&StableId, &mut Bell)>,
) {
    for (id, mut bell) in &mut bells {
        bell.swing_degrees += seed.random_u64(id.0, clock.frame, 0, 0) % 90;
        if bell.swing_degrees >= 90 {
            bell.swing_degrees -= 90;
            post.publish(TICKS, 1, &[]).expect("the scenario has the topic `ticks`");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/scenarios/counter.toml");
    let scenario = load(&path, &LoadOptions::default()).map_err(|problems| format!("{problems:#}"))?;
    let mut simulation = Simulation::with_plugins(&scenario, &SimulationOptions::default(), |app| {
        app.add_plugins(TowerPlugin);
    })?;
    for _ in 0..scenario.frames {
        let record = simulation.frame(FrameInputs::default());
        println!("frame {} native lane {} digest {}", record.frame, record.lanes[Lane::Native], record.digest);
    }
    let world = simulation.world_mut();
    let heard: u64 = world.query::<&Ear>().iter(world).map(|ear| ear.heard).sum();
    println!("the ear heard {heard} ticks");
    Ok(())
}
