//! A world with its machine: built from a scenario, advanced frame by frame.

mod error;
mod kept;
mod loaded;
mod models;
mod options;
mod state;
mod swaps;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bevy_app::App;
use bevy_ecs::world::World;
use tracing::info;
use wasm_engine_components::text::shown_path;
use wasm_engine_components::{Digest, FrameInputs, FrameRecord, GroupSpec, Model, RegionSpec, limits};
use wasm_engine_systems::ports::{AgentPort, ModelPort, ModelRuntime};
use wasm_engine_systems::state::check_components;
use wasm_engine_systems::{
    FrameClock, GroupSeed, Population, SimulationPlugin, SwapCatalog, inspect, populate, run_frame,
};

use crate::code_cache::{CODE_FOLDER, CodeFolder, unused};
use crate::scenario::Scenario;
use crate::threads::on_pool;
use models::{LoadedModels, load_models};
use wasm_engine_files::{FileError, cpu};
use wasm_engine_wasm::{CopyMark, ModuleSource, WasmOptions, WasmRuntime};

pub use error::SimulationError;
pub use kept::{KeptFile, KeptFiles};
pub use loaded::{LoadedModel, RecordedModels, RefusedSwap};
pub use options::SimulationOptions;
pub use state::RestoreError;
pub use wasm_engine_components::LoadedFile;

/// A simulation that is ready to run its next frame.
pub struct Simulation {
    world: World,
    pool: Arc<rayon::ThreadPool>,
    modules: Vec<LoadedFile>,
    models: Vec<LoadedModel>,
    module_files: Vec<PathBuf>,
    model_files: Vec<PathBuf>,
    refused_model_swaps: Vec<RefusedSwap>,
    onnx_runtime: Option<String>,
    copied: Option<CopyMark>,
}

impl Simulation {
    /// Builds the world of a scenario. What takes time or is worth knowing is told by events of [`tracing`]: fetching ONNX Runtime, a model
    /// whose rows can't share runs, a cache that can't be used.
    ///
    /// # Errors
    /// A file of the scenario is missing, was changed, or is refused.
    pub fn new(scenario: &Scenario, options: &SimulationOptions) -> Result<Self, SimulationError> {
        Self::with_plugins(scenario, options, |_| {})
    }

    /// Builds the world of a scenario with an author's own plugins and entities: `author` is called after the scenario's
    /// population is there, and before the first frame.
    ///
    /// # Errors
    /// As [`Simulation::new`]; and where an entity has a component that is neither registered as state nor as transient.
    pub fn with_plugins(
        scenario: &Scenario,
        options: &SimulationOptions,
        author: impl FnOnce(&mut App),
    ) -> Result<Self, SimulationError> {
        let since = Instant::now();
        let mut pool = rayon::ThreadPoolBuilder::new()
            .stack_size(limits::THREAD_STACK_BYTES)
            .thread_name(|at| format!("agents-{at}"));
        if let Some(threads) = options.threads {
            pool = pool.num_threads(threads);
        }
        let pool = Arc::new(pool.build()?);
        // Guests may run while they are loaded, and need the pool's stacks.
        let machine = on_pool(&pool, || Machine::load(scenario, options))?;

        let mut app = App::new();
        app.add_plugins(SimulationPlugin);
        app.insert_resource(AgentPort(Box::new(machine.agents)));
        app.insert_resource(ModelPort(machine.inference));
        app.insert_resource(options.digest);
        app.insert_resource(machine.swaps);
        populate(app.world_mut(), machine.population);
        author(&mut app);
        app.finish();
        app.cleanup();
        check_components(app.world_mut())?;
        let world = std::mem::take(app.world_mut());
        let cache = options.cache_dir.as_deref().map_or_else(|| "none".to_owned(), |path| shown_path(path).to_string());
        let (threads, ms) = (pool.current_num_threads(), since.elapsed().as_micros() as f64 / 1e3);
        info!(threads, cpu = cpu::class(), cache, ms, "a simulation is built");
        Ok(Self {
            world,
            pool,
            modules: machine.modules,
            models: machine.models,
            module_files: machine.module_files,
            model_files: machine.model_files,
            refused_model_swaps: machine.refused_model_swaps,
            onnx_runtime: machine.onnx_runtime,
            copied: None,
        })
    }

    /// Returns the number of the next frame.
    pub fn next_frame(&self) -> u64 {
        self.world.resource::<FrameClock>().frame
    }

    /// Runs one frame. It does no file or network I/O, and can't fail.
    ///
    /// A loop of many frames is faster inside [`on_pool`]: each frame then starts where it runs.
    pub fn frame(&mut self, inputs: FrameInputs) -> FrameRecord {
        let world = &mut self.world;
        on_pool(&self.pool, || run_frame(world, inputs))
    }

    /// Returns the agents' instances.
    pub fn guests(&mut self) -> &mut WasmRuntime {
        guests(&mut self.world)
    }

    /// Returns the digest of the last frame; before the first frame, the digest that it will be chained to.
    pub fn digest(&self) -> Digest {
        inspect::digest(&self.world)
    }

    /// Returns the threads that step agents.
    pub fn pool(&self) -> Arc<rayon::ThreadPool> {
        Arc::clone(&self.pool)
    }

    /// Returns the world, to look at between frames.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Returns the world, to query between frames. A change that is made here is an input that no record shows.
    pub const fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Returns the modules that were loaded.
    pub fn modules(&self) -> &[LoadedFile] {
        &self.modules
    }

    /// Returns the version of ONNX Runtime, where there are models.
    pub fn onnx_runtime(&self) -> Option<&str> {
        self.onnx_runtime.as_deref()
    }

    /// Returns the models that were loaded, or that the recording has.
    pub fn models(&self) -> &[LoadedModel] {
        &self.models
    }

    /// Returns where the modules were read.
    pub fn module_files(&self) -> &[PathBuf] {
        &self.module_files
    }

    /// Returns where the models were read; nothing where they are those of a recording.
    pub fn model_files(&self) -> &[PathBuf] {
        &self.model_files
    }

    /// Swaps of models that were refused before the first frame.
    pub fn refused_model_swaps(&self) -> &[RefusedSwap] {
        &self.refused_model_swaps
    }
}

/// Returns the agents' instances, behind their port.
fn guests(world: &mut World) -> &mut WasmRuntime {
    let port: &mut dyn Any = world.resource_mut::<AgentPort>().into_inner().0.as_mut();
    port.downcast_mut().expect("a simulation's agents run in wasmtime")
}

/// Everything that is made of a scenario's files: runtimes, the contents of the world, and facts for the manifest.
struct Machine {
    agents: WasmRuntime,
    inference: Box<dyn ModelRuntime>,
    population: Population,
    modules: Vec<LoadedFile>,
    models: Vec<LoadedModel>,
    module_files: Vec<PathBuf>,
    model_files: Vec<PathBuf>,
    refused_model_swaps: Vec<RefusedSwap>,
    onnx_runtime: Option<String>,
    swaps: SwapCatalog,
}

impl Machine {
    fn load(scenario: &Scenario, options: &SimulationOptions) -> Result<Self, SimulationError> {
        let seed = options.seed.unwrap_or(scenario.seed);
        let groups = GroupSpec::taking_part(&scenario.groups);
        let (sources, modules) = read_modules(scenario, &options.files)?;
        let module_files = sources.iter().map(|source| source.path.clone()).collect();
        let regions: Vec<RegionSpec> = scenario.regions.iter().map(|region| region.read_by(&groups)).collect();
        let folder = options.cache_dir.as_ref().map(|folder| folder.join(CODE_FOLDER));
        let cache = folder.as_ref().map(|folder| {
            let opened = CodeFolder::open(folder).map(Arc::new);
            opened.map_err(|why| unused(folder, &why))
        });
        let wasm = WasmOptions {
            seed,
            frame_period_us: scenario.frame_period_us,
            code_cache: cache.as_ref().and_then(|cache| cache.as_ref().ok()).map(|cache| Arc::clone(cache) as _),
            regions: regions.clone(),
        };
        let compile = || WasmRuntime::load_with_swaps(&wasm, &sources, &groups, &swaps::of_modules(scenario));
        let plural = if sources.len() == 1 { "" } else { "s" };
        let agents = options.progress.during(&format!("compiling {} module{plural}", sources.len()), compile)?;
        let problems =
            cache.map(|cache| cache.map_or_else(|error| vec![error], |cache| cache.problems(agents.cache_report())));
        for problem in problems.into_iter().flatten() {
            options.warn(format_args!("{problem}"));
        }

        let LoadedModels { runtime: inference, models, files: model_files, onnx_runtime, refused } =
            load_models(scenario, options)?;

        let swaps = swaps::catalog(scenario, &agents, &modules, &models, &refused, options);
        let seeds =
            groups.into_iter().map(|group| GroupSeed { inbox_bytes_max: agents.inbox_bytes_max(group.id), group });
        let population = Population {
            seed,
            groups: seeds.collect(),
            topics: scenario.topics.clone(),
            models: (scenario.models.iter().zip(&models))
                .map(|(spec, loaded)| Model { spec: spec.clone(), row_bytes: loaded.row_bytes })
                .collect(),
            scheduler: scenario.scheduler,
            tenants: scenario.tenants.clone(),
            regions,
        };
        let refused_model_swaps = refused;
        Ok(Self {
            agents,
            inference,
            population,
            modules,
            models,
            module_files,
            model_files,
            refused_model_swaps,
            onnx_runtime,
            swaps,
        })
    }
}

/// Returns the modules of a scenario, read and hashed.
fn read_modules(
    scenario: &Scenario,
    kept: &KeptFiles,
) -> Result<(Vec<ModuleSource>, Vec<LoadedFile>), SimulationError> {
    let (mut sources, mut modules) = (Vec::new(), Vec::new());
    for entry in &scenario.modules {
        let (name, path) = (entry.name.clone(), kept.modules.get(&entry.name).unwrap_or(&entry.path).clone());
        match wasm_engine_files::read_checked(&path, limits::MODULE_BYTES_MAX, entry.sha256) {
            Ok((bytes, sha256)) => {
                modules.push(LoadedFile { name: name.clone(), sha256 });
                sources.push(ModuleSource { name, path, bytes });
            }
            Err(problem) => return Err(FileError { what: "module", name, path, problem }.into()),
        }
    }
    Ok((sources, modules))
}
