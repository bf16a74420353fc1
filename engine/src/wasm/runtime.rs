//! The runtime: loads modules and groups, and splits each frame's calls by shard. The systems see it as `AgentRuntime`.

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use wasm_engine_abi::{MessageHeader, padded};
use wasm_engine_components::{Group, GroupId, Region, limits::WASM_PAGE_BYTES};
use wasm_engine_systems::outbox::OutboxRules;
use wasm_engine_systems::ports::{AgentRuntime, StepBatch, StepOutcome, StepResults};
use wasmtime::{Engine, Linker, Module};

use super::{
    arena::{Arena, SlotCreator, SlotPlan, SlotRange},
    awake::Awake,
    compile::{compile, engine},
    error::{ModuleError, ModuleProblem},
    image::StateExports,
    imports::{CallState, IMPORTS, linker},
    instrument::{Instrumented, instrument},
    regions::Readable,
    shard::{Program, Recipe, SHARD_AGENTS, Shard, ShardPlan},
    spread::spread,
    stack::on_deep_stack,
    step::{FrameCalls, PREFETCH_FROM_AGENTS},
    units::{assign, split},
    validate::{ModuleFacts, validate},
};

/// Largest number of pages of a 32-bit memory.
const MEMORY_PAGES_MAX: u64 = 1 << 16;

/// A module as its file holds it.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// Its name in the scenario, for messages.
    pub name: String,
    /// Its file, for messages.
    pub path: PathBuf,
    /// The file's bytes.
    pub bytes: Vec<u8>,
}

/// A group and what its agents run.
#[derive(Clone, Copy, Debug)]
pub struct GroupProgram<'a> {
    /// The group.
    pub group: &'a Group,
    /// Position of its module in the list of modules.
    pub module: usize,
    /// What `agent_init` finds in its inbox.
    pub params: &'a [u8],
}

/// How a runtime is set up.
#[derive(Clone, Debug, Default)]
pub struct WasmOptions {
    /// The run's seed, from which agents' random keys derive.
    pub seed: u64,
    /// Simulated length of a frame in microseconds; 0 for none.
    pub frame_period_us: u32,
    /// Where compiled code is kept; `None` for nowhere.
    pub cache_dir: Option<PathBuf>,
    /// The shared regions, those that each frame's `StepBatch` will have.
    pub regions: Vec<Region>,
}

/// Agents in wasmtime.
pub struct WasmRuntime {
    /// In the order of their slots.
    pub(super) shards: Vec<Shard>,
    /// Each group's number and its module's inbox area, in the order of the groups.
    inboxes: Vec<(GroupId, u32)>,
    cache_problem: Option<String>,
    awake: Awake,
}

/// A module on its way through the load.
struct Prepared {
    facts: ModuleFacts,
    instrumented: Instrumented,
}

impl WasmRuntime {
    /// Loads modules, and makes an instance for each agent of each group.
    ///
    /// `groups` come in the order of their numbers; agents get slots in that order, from 0.
    ///
    /// # Errors
    /// The first module, or else group, that can't be loaded, and why.
    pub fn load(
        options: &WasmOptions,
        modules: &[ModuleSource],
        groups: &[GroupProgram<'_>],
    ) -> Result<Self, ModuleError> {
        on_deep_stack(|| load(options, modules, groups))
    }

    /// Size of the inbox area of a group's module, in bytes; 0 for a group that isn't loaded.
    pub fn inbox_bytes_max(&self, group: GroupId) -> u32 {
        self.inboxes.binary_search_by_key(&group, |&(id, _)| id).map_or(0, |at| self.inboxes[at].1)
    }

    /// Why the code cache isn't used, where it was asked for. It costs time at the next load and nothing else.
    pub fn cache_problem(&self) -> Option<&str> {
        self.cache_problem.as_deref()
    }
}

fn load(
    options: &WasmOptions,
    modules: &[ModuleSource],
    groups: &[GroupProgram<'_>],
) -> Result<WasmRuntime, ModuleError> {
    let blame = |module: usize, problem: ModuleProblem| {
        let source = &modules[module];
        ModuleError::Module { name: source.name.clone(), path: source.path.clone(), problem }
    };
    let prepared = in_order(modules, |_, source| {
        let facts = validate(&source.bytes)?;
        Ok(Prepared { facts, instrumented: instrument(&source.bytes)? })
    });
    let prepared = prepared.map_err(|(module, problem)| blame(module, problem))?;
    let mut plans = Vec::with_capacity(groups.len());
    for group in groups {
        let module = prepared.get(group.module).ok_or_else(|| ModuleError::UnknownModule {
            group: group.group.name.clone(),
            module: group.module,
            modules: modules.len(),
        })?;
        plans.push(plan_group(group.group, &module.facts).map_err(|problem| blame(group.module, problem))?);
    }
    let (arena, ranges) = Arena::reserve(&plans)?;
    let (engine, cache_problem) = engine(Arc::new(SlotCreator), options.cache_dir.as_deref())?;
    let compiled = in_order(&prepared, |_, module| compile(&engine, &module.instrumented.bytes));
    let compiled = compiled.map_err(|(module, problem)| blame(module, problem))?;
    let linker = linker(&engine).map_err(|error| ModuleError::Engine { reason: format!("{error:#}") })?;
    let programs = in_order(groups, |at, group| {
        let machine = Machine { engine: &engine, linker: &linker, arena: &arena, range: &ranges[at] };
        program(options, group, &prepared[group.module], &compiled[group.module], &machine).map(Arc::new)
    });
    let programs = programs.map_err(|(at, problem)| blame(groups[at].module, problem))?;
    let mut plans = Vec::new();
    let mut first_slot = 0;
    for (at, group) in groups.iter().enumerate() {
        for first_ordinal in (0..group.group.agents).step_by(SHARD_AGENTS as usize) {
            let agents = SHARD_AGENTS.min(group.group.agents - first_ordinal);
            plans.push((at, ShardPlan { first_ordinal, first_slot, agents }));
            first_slot += agents;
        }
    }
    let shards = in_order(&plans, |_, &(at, plan)| Shard::new(&engine, &programs[at], &arena, ranges[at], plan));
    let shards = shards.map_err(|(plan, problem)| blame(groups[plans[plan].0].module, problem))?;
    let inboxes = groups.iter().zip(&programs).map(|(group, program)| (group.group.id, program.layout.inbox_bytes_max));
    Ok(WasmRuntime { shards, inboxes: inboxes.collect(), cache_problem, awake: Awake::new() })
}

/// Does `work` on each item in parallel; the first error in the order of the items counts.
fn in_order<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(usize, &T) -> Result<R, ModuleProblem> + Sync,
) -> Result<Vec<R>, (usize, ModuleProblem)> {
    let done: Vec<_> = items.par_iter().enumerate().map(|(at, item)| work(at, item)).collect();
    done.into_iter().enumerate().map(|(at, result)| result.map_err(|problem| (at, problem))).collect()
}

/// Checks what a group demands of its module, and sizes its slots.
fn plan_group(group: &Group, facts: &ModuleFacts) -> Result<SlotPlan, ModuleProblem> {
    for (import, used) in IMPORTS.iter().zip(facts.imports) {
        if used && !group.capabilities.has(import.capability) {
            return Err(ModuleProblem::Denied {
                import: import.name,
                group: group.name.clone(),
                capability: import.capability.name(),
            });
        }
    }
    let allowed = (group.limits.memory_bytes_max / WASM_PAGE_BYTES).min(MEMORY_PAGES_MAX);
    if facts.memory_pages_min > allowed {
        return Err(ModuleProblem::Memory {
            bytes: facts.memory_pages_min * WASM_PAGE_BYTES,
            group: group.name.clone(),
            bytes_max: group.limits.memory_bytes_max,
        });
    }
    let pages = facts.memory_pages_max.unwrap_or(allowed).min(allowed);
    // A group without agents has a slot, too: in it, its module is looked at.
    Ok(SlotPlan { agents: group.agents.max(1), slot_bytes: pages * WASM_PAGE_BYTES })
}

/// What a program is made with.
struct Machine<'a> {
    engine: &'a Engine,
    linker: &'a Linker<CallState>,
    arena: &'a Arena,
    range: &'a SlotRange,
}

fn program(
    options: &WasmOptions,
    group: &GroupProgram<'_>,
    prepared: &Prepared,
    module: &Module,
    machine: &Machine<'_>,
) -> Result<Program, ModuleProblem> {
    let lost = || ModuleProblem::Compile { reason: "an export was lost on the way".to_owned() };
    let pre = machine.linker.instantiate_pre(module);
    let recipe = Recipe {
        pre: pre.map_err(|error| ModuleProblem::Compile { reason: format!("{error:#}") })?,
        calls: Recipe::calls(module).ok_or_else(lost)?,
        state: StateExports::find(module, &prepared.instrumented.globals).ok_or_else(lost)?,
        exchange: prepared.facts.exchange,
        uses_imports: prepared.facts.imports.contains(&true),
        limits: group.group.limits,
    };
    // SAFETY: the group's shards, which use its slots, aren't made yet, and each group has slots of its own.
    let (layout, image) = unsafe { recipe.probe(machine.engine, machine.arena, machine.arena.slot(machine.range, 0)) }?;
    let params = u32::try_from(group.params.len()).ok().and_then(padded).map(|bytes| u64::from(bytes) + RECORD_BYTES);
    let needed = params.unwrap_or(u64::MAX);
    if needed > u64::from(layout.inbox_bytes_max) {
        let (bytes, group) = (group.params.len() as u64 + RECORD_BYTES, group.group.name.clone());
        return Err(ModuleProblem::Params { group, bytes, bytes_max: layout.inbox_bytes_max });
    }
    let readable = Readable::plan(group.group, &options.regions, &layout)?;
    Ok(Program {
        recipe,
        readable,
        group: group.group.id,
        layout,
        image,
        rules: OutboxRules { limits: group.group.limits, capabilities: group.group.capabilities },
        params: group.params.to_vec(),
        seed: options.seed,
        frame_period_us: options.frame_period_us,
    })
}

/// The fixed part of an inbox record, in bytes.
const RECORD_BYTES: u64 = MessageHeader::BYTES as u64;

impl AgentRuntime for WasmRuntime {
    fn step(&mut self, batch: &StepBatch<'_>, results: &mut StepResults) {
        // What stands there of an earlier frame is written over: each request gets an outcome.
        results.outcomes.resize(batch.requests.len(), StepOutcome::default());
        let runs = split(&self.shards, batch.requests, &mut results.outcomes);
        let units = assign(&mut self.shards, runs, &mut results.chunks);
        let calls = FrameCalls {
            frame: batch.frame,
            digest_memories: batch.digest_memories,
            inbox: batch.inbox,
            regions: batch.regions,
            desk: batch.desk,
            prefetch: batch.requests.len() >= PREFETCH_FROM_AGENTS,
        };
        let shared = units.len() > 1;
        spread(units, |unit| unit.run(&calls), || self.awake.release());
        if shared {
            self.awake.hold();
        }
    }
}
