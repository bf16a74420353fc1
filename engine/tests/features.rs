//! What a build without some of the features does: it is told what it lacks, and everything else works. `.ci/parts/features` runs these tests
//! for each set of features.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;

use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine_components::{Digest, FrameInputs};

fn scenario(name: &str) -> Scenario {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/scenarios").join(name);
    load(&file, &LoadOptions::default()).unwrap()
}

/// The digest after some frames, or why the scenario doesn't run: all of it in one line.
fn run(scenario: &Scenario, cache: Option<&Path>) -> Result<Digest, String> {
    let options = SimulationOptions { cache_dir: cache.map(Path::to_path_buf), ..SimulationOptions::default() };
    let built = Simulation::new(scenario, &options);
    let mut simulation = built.map_err(|error| format!("{:#}", error.of_run(scenario, &scenario.path).problem()))?;
    let mut digest = simulation.digest();
    for _ in 0..10 {
        digest = simulation.frame(FrameInputs::default()).digest;
    }
    Ok(digest)
}

/// Not a test by itself: what a build with a compiler leaves for one without, and what both compare. See `.ci/parts/features`.
#[test]
#[ignore = "needs a cache folder and the digest's file, named by the environment"]
fn the_ring_runs_from_a_cache_and_gives_the_digest_of_whoever_filled_it() {
    let cache = std::env::var_os("FEATURES_CACHE").unwrap();
    let file = Path::new(&cache).join("digest");
    let digest = run(&scenario("ring.toml"), Some(Path::new(&cache))).unwrap();
    if cfg!(feature = "cranelift") {
        std::fs::write(&file, format!("{digest:?}")).unwrap();
    } else {
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{digest:?}"));
    }
}

#[test]
#[cfg(feature = "cranelift")]
fn a_scenario_without_models_runs_whatever_else_is_left_out() {
    let digest = run(&scenario("ring.toml"), None).unwrap();
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(run(&scenario("ring.toml"), Some(cache.path())), Ok(digest));
    assert_eq!(run(&scenario("ring.toml"), Some(cache.path())), Ok(digest), "from the cache");
}

#[test]
#[cfg(not(feature = "cranelift"))]
fn without_a_compiler_a_module_whose_code_is_not_in_the_cache_is_refused_at_its_place() {
    let cache = tempfile::tempdir().unwrap();
    for (cache, why) in [(None, "no code cache is used"), (Some(cache.path()), "the code cache has no entry of it")] {
        let told = run(&scenario("ring.toml"), cache).unwrap_err();
        let parts = [
            "ring.toml:",
            "modules.ring.path: module `ring` (",
            "this build of the engine has no compiler (it was made without the feature `cranelift`), and ",
            why,
            "; help: run the scenario once with a build that has one",
        ];
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    }
}

#[test]
#[cfg(all(feature = "cranelift", not(feature = "inference")))]
fn without_inference_a_scenario_with_models_is_refused_at_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    std::fs::write(folder.path().join("eyes.onnx"), "").unwrap();
    let counter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/samples/wasm/counter.wasm");
    let text = format!(
        "frames = 1\n[models.eyes]\npath = \"eyes.onnx\"\n[modules.m]\npath = {counter:?}\n[[groups]]\nname = \"g\"\nmodule = \"m\"\nagents = 1\n"
    );
    std::fs::write(&file, text).unwrap();
    let told = run(&load(&file, &LoadOptions::default()).unwrap(), None).unwrap_err();
    let parts = [
        "s.toml:2:",
        "models.eyes: the model `eyes` can't be run: this build of the engine is one without models",
        "; help: use a build with the feature `inference`",
    ];
    assert!(parts.iter().all(|part| told.contains(part)), "{told}");
}
