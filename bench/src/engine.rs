//! The engine's side: `ring.toml` with as many tokens as agents, and no audit.

use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine::simulation::Simulation;
use wasm_engine_components::FrameInputs;

/// Returns the ring as a scenario.
///
/// # Panics
/// If the scenario of this repository can't be read.
pub fn scenario(agents: u32) -> Scenario {
    let set = [("agents", agents), ("tokens", agents), ("audit_every", 0)];
    let set = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    load(&crate::scenarios().join("ring.toml"), &LoadOptions { set, ..LoadOptions::default() })
        .unwrap_or_else(|problems| panic!("{problems:#}"))
}

/// Returns the ring in the engine after its first frames, from which on every agent holds a token in each frame.
///
/// # Panics
/// If the scenario of this repository doesn't load.
pub fn ring(agents: u32, threads: usize) -> Simulation {
    let mut simulation = crate::simulation(&scenario(agents), threads);
    for _ in 0..3 {
        frame(&mut simulation, agents);
    }
    simulation
}

/// Runs one frame, in which every token is passed on.
///
/// # Panics
/// If a token isn't passed on, because then the measurement isn't of the ring.
pub fn frame(simulation: &mut Simulation, agents: u32) {
    let record = simulation.frame(FrameInputs::default());
    assert!(record.counts.faults == 0 && record.counts.messages == u64::from(agents), "the ring lost a token");
}
