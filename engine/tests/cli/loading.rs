//! What happens between the scenario and the first frame: files that aren't what they should be, and what a person is told.

use crate::common;

use std::path::Path;

use common::listener::listen;
use wasm_engine::files::sha256_of_file;
use wasm_engine::run_dir::{OutputDir, RunDir, RunOptions};
use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine_components::causes::with_causes;
use wasm_engine_components::{DigestScope, FaultPolicy, Group, GroupId, Schedule, TenantId, Trigger};

/// A ring of four agents in a folder, with `more` in its scenario.
fn scenario(folder: &Path, more: &str) -> Scenario {
    std::fs::copy(common::root().join("agents/samples/wasm/ring.wasm"), folder.join("ring.wasm")).unwrap();
    let text = format!(
        "frames = 2\nmodules.ring.path = \"ring.wasm\"\n{more}\n[[groups]]\nname = \"ring\"\nmodule = \"ring\"\n\
         agents = 4\nparams = {{ agents = 4, tokens = 4, audit_every = 5 }}\n"
    );
    std::fs::write(folder.join("r.toml"), text).unwrap();
    load(&folder.join("r.toml"), &LoadOptions::default()).unwrap()
}

/// What is said while a simulation is built, or why it isn't.
fn said(scenario: &Scenario, cache_dir: Option<&Path>) -> Result<Vec<String>, String> {
    let options = SimulationOptions { cache_dir: cache_dir.map(Path::to_path_buf), ..SimulationOptions::default() };
    let (built, mut lines) = listen(|| Simulation::new(scenario, &options));
    built.map(|_| ()).map_err(|error| with_causes(&error))?;
    lines.retain(|line| line.starts_with("warning: "));
    Ok(lines)
}

#[test]
fn a_module_of_another_hash_is_refused_with_both_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let stated = "ab".repeat(32);
    let told = said(&scenario(folder.path(), &format!("modules.ring.sha256 = \"{stated}\"")), None).unwrap_err();
    let start = format!("the module `ring` ({}) has the sha256 ", folder.path().join("ring.wasm").display());
    assert!(told.starts_with(&start) && told.contains(&stated), "{told}");
}

/// The scenario's check saw a file; a pipe took its place before it was read.
#[test]
#[cfg(unix)]
fn a_module_that_became_a_pipe_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path(), "");
    std::fs::remove_file(folder.path().join("ring.wasm")).unwrap();
    common::pipe(&folder.path().join("ring.wasm"));
    let told = said(&scenario, None).unwrap_err();
    assert!(told.ends_with("can't be read: it is a device or a pipe, a file is needed"), "{told}");
}

/// A module that is replaced while the run goes on, as a build does, isn't what ran.
#[test]
fn the_manifest_has_the_hashes_of_what_was_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/gemm.onnx");
    std::fs::copy(model, folder.path().join("gemm.onnx")).unwrap();
    let scenario = scenario(folder.path(), "models.gemm.path = \"gemm.onnx\"");
    let simulation = Simulation::new(&scenario, &SimulationOptions::default()).unwrap();
    let files = [("modules", "ring", "ring.wasm"), ("models", "gemm", "gemm.onnx")];
    let hashes = files.map(|(.., file)| sha256_of_file(&folder.path().join(file)).unwrap());
    for (.., file) in files {
        std::fs::write(folder.path().join(file), "another").unwrap();
    }
    let out = folder.path().join("run");
    RunDir::create(&OutputDir::new(Some(&out), "ring"), &scenario, &RunOptions::new(&simulation, DigestScope::Frame))
        .unwrap();
    let manifest: toml::Table = std::fs::read_to_string(out.join("manifest.toml")).unwrap().parse().unwrap();
    for ((sort, name, _), hash) in files.iter().zip(&hashes) {
        assert_eq!(manifest[*sort][*name]["sha256"].as_str(), Some(hash.as_str()), "{name}");
    }
}

#[test]
fn a_cache_that_cannot_be_used_is_said_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path(), "");
    assert_eq!(said(&scenario, Some(&folder.path().join("cache"))).unwrap(), [""; 0]);
    let told = said(&scenario, Some(&folder.path().join("ring.wasm"))).unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("warning: compiled modules aren't kept for the next run: "), "{told:?}");
}

/// What a group says of one that isn't enabled counts for nothing, and the rest reaches the world as it is written.
#[test]
fn groups_reach_the_world_without_references_to_absent_ones() {
    let folder = tempfile::tempdir().unwrap();
    let off = "[[groups]]\nname = \"off\"\nmodule = \"ring\"\nagents = 1\nenabled = false\n";
    let pool = "[[groups]]\nname = \"pool\"\nmodule = \"ring\"\nagents = 1\nagents_max = 3\n\
                params = { agents = 4, tokens = 4, audit_every = 5 }\nschedule = { on = \"timer\", priority = 3 }\n\
                tenant = \"zoo\"\non_fault = \"escalate\"\nsupervisor = \"ring\"\nafter = [\"off\", \"ring\"]\n\
                controls = [\"off\"]\naccepts = [\"off\", \"pool\"]\n";
    let timid = pool.replace("pool", "timid").replace("\"ring\"\nafter", "\"off\"\nafter").replace("escalate", "pause");
    let scenario = scenario(folder.path(), &format!("tenants.acme = {{}}\ntenants.zoo = {{}}\n{off}{pool}{timid}"));
    let mut simulation = Simulation::new(&scenario, &SimulationOptions::default()).unwrap();
    let world = simulation.world_mut();
    let mut groups: Vec<Group> = world.query::<&Group>().iter(world).cloned().collect();
    groups.sort_by_key(|group| group.id);
    let [pool, timid, ring] = &groups[..] else { panic!("three groups take part") };
    assert_eq!((pool.id, pool.name.as_str(), pool.agents, pool.agents_max), (GroupId(2), "pool", 1, 3));
    assert_eq!(pool.schedule, Schedule { trigger: Trigger::Timer, priority: 3 });
    assert_eq!((&pool.after[..], &pool.controls[..]), (&[GroupId(4)][..], &[][..]));
    assert_eq!((pool.supervisor, pool.tenant), (Some(GroupId(4)), Some(TenantId(1))));
    assert_eq!((pool.on_fault, pool.accepts.as_deref()), (FaultPolicy::Escalate, Some(&[GroupId(2)][..])));
    assert_eq!((timid.on_fault, timid.supervisor), (FaultPolicy::Pause, None));
    assert_eq!((ring.agents_max, ring.schedule, ring.tenant), (4, Schedule::default(), None));
}

#[test]
fn a_model_whose_rows_cannot_share_runs_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mean", "gemm"] {
        let file = format!("{name}.onnx");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(&file);
        std::fs::copy(source, folder.path().join(&file)).unwrap();
    }
    let models = "models.mean.path = \"mean.onnx\"\nmodels.gemm.path = \"gemm.onnx\"";
    let told = said(&scenario(folder.path(), models), None).unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    let reason = "each row is a run of its own, because of `mean` (ReduceMean): it computes over the batch";
    assert!(told[0].starts_with("warning: a slow model: mean: ") && told[0].ends_with(reason), "{told:?}");
}
