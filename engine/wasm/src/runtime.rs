//! The runtime: it loads modules and groups, and splits each frame's calls by shard. The systems see it as `AgentRuntime`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tracing::info;
use wasm_engine_abi::{MessageHeader, padded};
use wasm_engine_components::limits::{INSTANCE_BYTES_FREE, WASM_PAGE_BYTES};
use wasm_engine_components::{AgentSlot, GroupId, GroupSpec, ModuleLimits, ModuleSwap, RegionSpec};
use wasm_engine_systems::ports::{
    AgentRuntime, OutboxRules, StepBatch, StepOutcome, StepResults, SwapBatch, SwapResults,
};
use wasmtime::{Engine, Linker, Module};

use super::{
    arena::{SlotCreator, SlotPlan, SlotRange},
    cache::{CacheInUse, CacheReport, CodeCache, compile},
    call_state::CallState,
    captured::SpareBlocks,
    compile::engine,
    error::ModuleError,
    facts::ModuleFacts,
    image::StateExports,
    imports::{IMPORTS, linker},
    instrument::{Instrumented, instrument},
    pages::CopyMark,
    problem::ModuleProblem,
    program::{CallExports, GroupProgram, InstanceTemplate, ModuleExports},
    regions::Readable,
    shard::{SHARD_AGENTS, Shard, ShardPlan},
    spin_wait::SpinWait,
    stack::{find_deep_stack, on_deep_stack},
    step::{FrameCalls, PREFETCH_FROM_AGENTS},
    swap::swap_group,
    validate::validate,
    work_split::{assign_to_shards, run_on_threads, split_by_shard},
};

/// Largest number of pages of a 32-bit memory.
const MEMORY_PAGES_MAX: u64 = 1 << 16;

/// A module file.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// Its name in the scenario, for messages.
    pub name: String,
    /// Its file, for messages.
    pub path: PathBuf,
    /// The file's bytes.
    pub bytes: Vec<u8>,
}

/// Options of a runtime.
#[derive(Clone, Debug, Default)]
pub struct WasmOptions {
    /// The run's seed, from which agents' random keys derive.
    pub seed: u64,
    /// Simulated length of a frame in microseconds; 0 for none.
    pub frame_period_us: u32,
    /// Cache in which compiled code is kept; `None` for none.
    pub code_cache: Option<Arc<dyn CodeCache>>,
    /// The shared regions, those that each frame's `StepBatch` will have.
    pub regions: Vec<RegionSpec>,
}

/// Agents in wasmtime.
pub struct WasmRuntime {
    /// The shards, in the order of their slots.
    pub(super) shards: Vec<Shard>,
    /// Each group's number and its module's inbox area, in the order of the groups.
    inboxes: Vec<(GroupId, u32)>,
    /// The program that each group began with, in the same order.
    pub(super) programs: Vec<Arc<GroupProgram>>,
    /// The programs that swaps may put in place, or why one may not.
    pub(super) alternatives: Vec<Alternative>,
    cache_report: CacheReport,
    spin_wait: SpinWait,
    /// The last copy of the guests. Instances that were called after it are marked. `None` if no copy can go on from the last one.
    pub(super) copied: Option<CopyMark>,
    /// Memory for the next copy.
    pub(super) spare: SpareBlocks,
}

/// A module that was compiled.
struct Compiled<'a> {
    prepared: &'a Prepared,
    module: Module,
    is_from_cache: bool,
    took: Duration,
}

/// Logs how long it took to get a module's code.
fn tell(source: &ModuleSource, compiled: Option<&Compiled<'_>>) {
    let Some(Compiled { is_from_cache, took, .. }) = compiled else { return };
    let (module, ms) = (source.name.as_str(), took.as_micros() as f64 / 1e3);
    match is_from_cache {
        true => info!(module, ms, "a module's code is taken from the cache"),
        false => info!(module, ms, "a module is compiled"),
    }
}

/// A module for a group, besides the one that it begins with.
pub(super) struct Alternative {
    pub swap: ModuleSwap,
    pub program: Result<Arc<GroupProgram>, ModuleProblem>,
}

/// A module that is being loaded.
struct Prepared {
    facts: ModuleFacts,
    instrumented: Instrumented,
}

impl WasmRuntime {
    /// Loads modules, and makes an instance for each agent of each group.
    ///
    /// `groups` come in the order of their numbers; agents get slots in that order, from 0. The spec of a group has the index of
    /// its module in `modules`.
    ///
    /// # Errors
    /// The first module, or else group, that can't be loaded, and why.
    pub fn load(options: &WasmOptions, modules: &[ModuleSource], groups: &[GroupSpec]) -> Result<Self, ModuleError> {
        Self::load_with_swaps(options, modules, groups, &[])
    }

    /// Does the same as [`WasmRuntime::load`], and prepares swaps. A module that no group begins with doesn't fail the load: see
    /// [`WasmRuntime::refusal`].
    ///
    /// # Errors
    /// As [`WasmRuntime::load`].
    pub fn load_with_swaps(
        options: &WasmOptions,
        modules: &[ModuleSource],
        groups: &[GroupSpec],
        swaps: &[ModuleSwap],
    ) -> Result<Self, ModuleError> {
        find_deep_stack().map_err(ModuleError::Threads)?;
        on_deep_stack(|| load(options, modules, groups, swaps))
    }

    /// Returns why a swap that was asked for at load can't be carried out; `None` if it can.
    pub fn refusal(&self, swap: ModuleSwap) -> Option<&ModuleProblem> {
        self.alternatives.iter().find(|other| other.swap == swap).and_then(|found| found.program.as_ref().err())
    }

    /// Returns the size of the inbox area of a group's module, in bytes; the smallest one, if swaps may put other modules in place. It is 0 for a
    /// group that isn't loaded.
    pub fn inbox_bytes_max(&self, group: GroupId) -> u32 {
        self.inboxes.binary_search_by_key(&group, |&(id, _)| id).map_or(0, |at| self.inboxes[at].1)
    }

    /// Returns what went wrong with the code cache during the load.
    pub const fn cache_report(&self) -> &CacheReport {
        &self.cache_report
    }
}

fn load(
    options: &WasmOptions,
    modules: &[ModuleSource],
    groups: &[GroupSpec],
    swaps: &[ModuleSwap],
) -> Result<WasmRuntime, ModuleError> {
    let blame = |(module, problem): (usize, ModuleProblem)| {
        let source: &ModuleSource = &modules[module];
        ModuleError::Module { name: source.name.clone(), path: source.path.clone(), problem }
    };
    // A module that is only there for swaps may be refused without failing the load.
    let spare = |module: usize| {
        swaps.iter().any(|swap| swap.module as usize == module)
            && groups.iter().all(|group| group.module as usize != module)
    };
    let bounded: Vec<_> = modules.iter().zip(module_limits(modules.len(), groups, swaps)).collect();
    let prepared = each(&bounded, |(source, limits)| {
        let facts = validate(&source.bytes, limits)?;
        Ok(Prepared { facts, instrumented: instrument(&source.bytes)? })
    });
    first_problem(&prepared, spare).map_err(blame)?;
    let plans = plan_groups(groups, swaps, &prepared, blame)?;
    let mut ranges = SlotRange::reserve(&plans.iter().map(|plan| plan.slots).collect::<Vec<_>>())?;
    let engine = engine(Arc::new(SlotCreator))?;
    let cache = options.code_cache.as_deref().map(CacheInUse::new);
    let compiled = each(&prepared, |prepared| {
        let prepared = prepared.as_ref().map_err(Clone::clone)?;
        let since = Instant::now();
        let (module, is_from_cache) = compile(&engine, cache.as_ref(), &prepared.instrumented.bytes)?;
        Ok(Compiled { prepared, module, is_from_cache, took: since.elapsed() })
    });
    // This is logged here, because a subscriber may listen to this thread, and not to those that compile.
    modules.iter().zip(&compiled).for_each(|(source, compiled)| tell(source, compiled.as_ref().ok()));
    first_problem(&compiled, spare).map_err(blame)?;
    let linker = linker(&engine).map_err(|error| ModuleError::Engine { reason: format!("{error:#}") })?;
    let parts: Vec<_> = groups.iter().zip(&plans).zip(&mut ranges).collect();
    let programs = each_of(parts, |((group, plan), slots)| {
        let mut machine = ProgramContext { engine: &engine, linker: &linker, slots };
        programs(options, group, plan, &compiled, &mut machine)
    });
    let programs = programs.into_iter().zip(groups);
    let programs = programs.map(|(made, group)| made.map_err(|problem| blame((group.module as usize, problem))));
    let (programs, alternatives): (Vec<_>, Vec<_>) = programs.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let alternatives: Vec<Alternative> = alternatives.into_iter().flatten().collect();
    let plans = shard_plans(groups);
    let cut = |&(at, plan): &(usize, ShardPlan)| (at, plan, ranges[at].split_off_first(plan.agents_max as usize));
    let parts: Vec<_> = plans.iter().map(cut).collect();
    let shards = each_of(parts, |(at, plan, slots)| Shard::new(&programs[at], slots, plan));
    let shards = shards.into_iter().zip(&plans);
    let shards = shards.map(|(made, plan)| made.map_err(|problem| blame((groups[plan.0].module as usize, problem))));
    let shards = shards.collect::<Result<_, _>>()?;
    let inboxes = programs.iter().map(|program| (program.group, smallest_inbox(program, &alternatives))).collect();
    Ok(WasmRuntime {
        shards,
        inboxes,
        programs,
        alternatives,
        cache_report: cache.map(CacheInUse::into_report).unwrap_or_default(),
        spin_wait: SpinWait::new(),
        copied: None,
        spare: SpareBlocks::default(),
    })
}

/// Returns the limits of each module: the smallest ones of the groups that begin with it or may get it by a swap.
fn module_limits(modules: usize, groups: &[GroupSpec], swaps: &[ModuleSwap]) -> Vec<ModuleLimits> {
    let mut all: Vec<Option<ModuleLimits>> = vec![None; modules];
    for group in groups {
        let swapped = swaps.iter().filter(|swap| swap.group == group.id).map(|swap| swap.module);
        for module in swapped.chain([group.module]) {
            if let Some(limits) = all.get_mut(module as usize) {
                let own = group.module_limits;
                *limits = Some(limits.map_or(own, |limits| limits.least(own)));
            }
        }
    }
    all.into_iter().map(Option::unwrap_or_default).collect()
}

/// Calls `work` with each item, in parallel.
fn each<'a, T: Sync, R: Send>(
    items: &'a [T],
    work: impl Fn(&'a T) -> Result<R, ModuleProblem> + Send + Sync,
) -> Vec<Result<R, ModuleProblem>> {
    items.par_iter().map(work).collect()
}

/// Calls `work` with each item, which it takes, in parallel.
fn each_of<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, ModuleProblem> + Send + Sync,
) -> Vec<Result<R, ModuleProblem>> {
    items.into_par_iter().map(work).collect()
}

/// Returns the first problem, in the order of the modules, that fails the load.
fn first_problem<T>(
    modules: &[Result<T, ModuleProblem>],
    spare: impl Fn(usize) -> bool,
) -> Result<(), (usize, ModuleProblem)> {
    let mut problems = modules.iter().enumerate().filter_map(|(at, module)| Some((at, module.as_ref().err()?)));
    let first = problems.find(|&(at, _)| !spare(at));
    first.map_or(Ok(()), |(at, problem)| Err((at, problem.clone())))
}

/// Plan of a group, made before its programs are.
struct GroupPlan {
    /// Its slots, which have room for each module that it may get.
    slots: SlotPlan,
    /// Modules that swaps are to put in place, or why one may not.
    others: Vec<(u32, Result<(), ModuleProblem>)>,
}

/// Plans each group. A problem of its own module fails the load.
fn plan_groups(
    groups: &[GroupSpec],
    swaps: &[ModuleSwap],
    prepared: &[Result<Prepared, ModuleProblem>],
    blame: impl Fn((usize, ModuleProblem)) -> ModuleError,
) -> Result<Vec<GroupPlan>, ModuleError> {
    let mut plans = Vec::with_capacity(groups.len());
    for group in groups {
        let plan = |module: u32| -> Result<Result<SlotPlan, ModuleProblem>, ModuleError> {
            let module = module as usize;
            let unknown = || ModuleError::UnknownModule { group: group.name.clone(), module, modules: prepared.len() };
            let prepared = prepared.get(module).ok_or_else(unknown)?;
            Ok(prepared.as_ref().map_err(Clone::clone).and_then(|prepared| plan_group(group, &prepared.facts)))
        };
        let own = plan(group.module)?.map_err(|problem| blame((group.module as usize, problem)))?;
        let mut wanted: Vec<_> = swaps.iter().filter(|swap| swap.group == group.id).map(|swap| swap.module).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let others: Vec<_> = wanted.into_iter().map(|module| Ok((module, plan(module)?))).collect::<Result<_, _>>()?;
        let sizes = others.iter().filter_map(|(_, plan)| Some(plan.as_ref().ok()?.slot_bytes));
        let slots = SlotPlan { slot_bytes: sizes.fold(own.slot_bytes, u64::max), ..own };
        let others = others.into_iter().map(|(at, plan)| (at, plan.map(|_| ()))).collect();
        plans.push(GroupPlan { slots, others });
    }
    Ok(plans)
}

/// Returns a group's own program, and those that swaps may put in its place.
fn programs(
    options: &WasmOptions,
    group: &GroupSpec,
    plan: &GroupPlan,
    compiled: &[Result<Compiled<'_>, ModuleProblem>],
    machine: &mut ProgramContext<'_>,
) -> Result<(Arc<GroupProgram>, Vec<Alternative>), ModuleProblem> {
    let mut make = |module: u32| {
        let compiled = compiled[module as usize].as_ref().map_err(Clone::clone)?;
        program(options, group, compiled, machine).map(Arc::new)
    };
    let own = make(group.module)?;
    // Not in parallel, because each is instantiated in the group's first slot for a look at it.
    let others = plan.others.iter().map(|(module, planned)| {
        let program = match planned {
            Err(problem) => Err(problem.clone()),
            Ok(()) if *module == group.module => Ok(Arc::clone(&own)),
            Ok(()) => make(*module),
        };
        Alternative { swap: ModuleSwap { group: group.id, module: *module }, program }
    });
    let others = others.collect();
    Ok((own, others))
}

/// Returns the shards of the groups, each with the index of its group.
fn shard_plans(groups: &[GroupSpec]) -> Vec<(usize, ShardPlan)> {
    let mut plans = Vec::new();
    let mut first_slot = AgentSlot(0);
    for (at, group) in groups.iter().enumerate() {
        for first_ordinal in (0..group.agents_max).step_by(SHARD_AGENTS as usize) {
            let agents_max = SHARD_AGENTS.min(group.agents_max - first_ordinal);
            let agents = group.agents.saturating_sub(first_ordinal).min(agents_max);
            plans.push((at, ShardPlan { first_ordinal, first_slot, agents, agents_max }));
            first_slot = first_slot + agents_max;
        }
    }
    plans
}

/// Returns the size of the smallest inbox area among the programs that a group may have.
fn smallest_inbox(own: &GroupProgram, alternatives: &[Alternative]) -> u32 {
    let others = alternatives.iter().filter(|other| other.swap.group == own.group);
    let others = others.filter_map(|other| Some(other.program.as_ref().ok()?.template.layout().inbox_bytes_max));
    others.fold(own.template.layout().inbox_bytes_max, u32::min)
}

/// Checks what a group demands of its module, and sizes its slots.
fn plan_group(group: &GroupSpec, facts: &ModuleFacts) -> Result<SlotPlan, ModuleProblem> {
    for (import, used) in IMPORTS.iter().zip(facts.imports) {
        if used && !group.capabilities.has(import.capability) {
            return Err(ModuleProblem::Denied {
                import: import.name,
                group: group.name.clone(),
                capability: import.capability.name(),
            });
        }
    }
    // Each instance has tables of its own, outside its memory.
    let beside_bytes = facts.instance_bytes.saturating_sub(INSTANCE_BYTES_FREE);
    let left = group.limits.memory_bytes_max.saturating_sub(beside_bytes);
    let allowed = (left / WASM_PAGE_BYTES).min(MEMORY_PAGES_MAX);
    if facts.memory_pages_min > allowed {
        return Err(ModuleProblem::Memory {
            bytes: facts.memory_pages_min * WASM_PAGE_BYTES,
            beside_bytes,
            group: group.name.clone(),
            bytes_max: group.limits.memory_bytes_max,
        });
    }
    let pages = facts.memory_pages_max.unwrap_or(allowed).min(allowed);
    // A group without agents has a slot, too, in which its module is instantiated for a look at it.
    Ok(SlotPlan { agents: group.agents_max.max(1), slot_bytes: pages * WASM_PAGE_BYTES })
}

/// Context in which a program is made.
struct ProgramContext<'a> {
    engine: &'a Engine,
    linker: &'a Linker<CallState>,
    /// The group's: its modules are looked at in the first.
    slots: &'a mut SlotRange,
}

fn program(
    options: &WasmOptions,
    group: &GroupSpec,
    compiled: &Compiled<'_>,
    machine: &mut ProgramContext<'_>,
) -> Result<GroupProgram, ModuleProblem> {
    let Compiled { prepared, module, .. } = compiled;
    let lost = || ModuleProblem::Compile { reason: "an export was lost on the way".to_owned() };
    let pre = machine.linker.instantiate_pre(module);
    let exports = ModuleExports {
        pre: pre.map_err(|error| ModuleProblem::Compile { reason: format!("{error:#}") })?,
        calls: CallExports::find(module).ok_or_else(lost)?,
        state: StateExports::find(module, &prepared.instrumented.globals).ok_or_else(lost)?,
        exchange: prepared.facts.exchange,
        uses_imports: prepared.facts.imports.contains(&true),
        limits: group.limits,
        group: group.name.clone(),
    };
    let template = InstanceTemplate::make(exports, machine.engine, machine.slots)?;
    let params = u32::try_from(group.params.len()).ok().and_then(padded).map(|bytes| u64::from(bytes) + RECORD_BYTES);
    let needed = params.unwrap_or(u64::MAX);
    let bytes_max = template.layout().inbox_bytes_max;
    if needed > u64::from(bytes_max) {
        let (bytes, group) = (group.params.len() as u64 + RECORD_BYTES, group.name.clone());
        return Err(ModuleProblem::Params { group, bytes, bytes_max });
    }
    let readable = Readable::plan(group, &options.regions, template.layout())?;
    Ok(GroupProgram {
        template,
        readable,
        group: group.id,
        rules: OutboxRules { limits: group.limits, capabilities: group.capabilities },
        params: group.params.to_vec(),
        seed: options.seed,
        frame_period_us: options.frame_period_us,
    })
}

/// The fixed part of an inbox record, in bytes.
const RECORD_BYTES: u64 = MessageHeader::BYTES as u64;

impl AgentRuntime for WasmRuntime {
    fn step(&mut self, batch: &StepBatch<'_>, results: &mut StepResults) {
        // Outcomes of an earlier frame are overwritten, because each request gets one.
        results.outcomes.resize(batch.requests.len(), StepOutcome::default());
        let runs = split_by_shard(&self.shards, batch.requests, &mut results.outcomes);
        let tasks = assign_to_shards(&mut self.shards, runs, &mut results.chunks);
        let calls = FrameCalls {
            frame: batch.frame,
            digest_memories: batch.digest_memories,
            inbox: batch.inbox,
            regions: batch.regions,
            intake: batch.intake,
            prefetch: batch.requests.len() >= PREFETCH_FROM_AGENTS,
        };
        let shared = tasks.len() > 1;
        run_on_threads(tasks, |task| task.run(&calls), || self.spin_wait.release());
        if shared {
            self.spin_wait.hold();
        }
    }

    fn swap(&mut self, batch: &SwapBatch<'_>, results: &mut SwapResults) {
        let swap = ModuleSwap { group: batch.group, module: batch.module };
        let found = self.alternatives.iter().find(|other| other.swap == swap);
        let program = found.and_then(|found| found.program.as_ref().ok()).expect("it was prepared for the group");
        swap_group(&mut self.shards, program, batch, results, || self.spin_wait.release());
    }
}
