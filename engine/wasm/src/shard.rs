//! Shards: up to [`SHARD_AGENTS`] agents of one group, with one store, stepped by one thread at a time. How agents are spread over
//! shards depends on their numbers alone. [`super::step`] has a shard's hot path.

use std::sync::Arc;

use wasm_engine_abi::{ExchangeLayout, agent_key};
use wasm_engine_components::{AgentId, AgentSlot, GroupId, GroupLimits};
use wasm_engine_systems::ports::{OutboxRules, StepRequest};
use wasmtime::{Engine, Func, Instance, InstancePre, Module, ModuleExport, Store};

use super::{
    arena::{Arena, Slot, SlotRange, with_slot},
    call_state::CallState,
    error::ModuleProblem,
    image::{Image, StateExports},
    memory::GuestMemory,
    regions::Readable,
    trap::start_failure,
};

/// Agents of a shard. A constant: the split of the work is part of no result, but of every measurement.
pub(super) const SHARD_AGENTS: u32 = 256;

/// Largest outbox area. The outboxes of a shard are addressed by 32 bits.
pub(super) const OUTBOX_BYTES_MAX: u32 = 8 << 20;
const _: () = assert!(SHARD_AGENTS as u64 * OUTBOX_BYTES_MAX as u64 <= u32::MAX as u64);

/// The exports that are called.
pub(super) struct CallExports {
    pub init: ModuleExport,
    pub step: ModuleExport,
    pub receive: Option<ModuleExport>,
    pub shutdown: Option<ModuleExport>,
    pub export_state: Option<ModuleExport>,
    pub import_state: Option<ModuleExport>,
}

/// What a group's agents are made of.
pub(super) struct ModuleExports {
    pub pre: InstancePre<CallState>,
    pub calls: CallExports,
    pub state: StateExports,
    pub exchange: u32,
    pub uses_imports: bool,
    pub limits: GroupLimits,
    /// The group's name, for errors.
    pub group: String,
}

impl ModuleExports {
    /// Finds the exports of a module that was validated and compiled.
    pub(super) fn calls(module: &Module) -> Option<CallExports> {
        Some(CallExports {
            init: module.get_export_index(wasm_engine_abi::EXPORT_INIT)?,
            step: module.get_export_index(wasm_engine_abi::EXPORT_STEP)?,
            receive: module.get_export_index(wasm_engine_abi::EXPORT_RECEIVE),
            shutdown: module.get_export_index(wasm_engine_abi::EXPORT_SHUTDOWN),
            export_state: module.get_export_index(wasm_engine_abi::EXPORT_EXPORT_STATE),
            import_state: module.get_export_index(wasm_engine_abi::EXPORT_IMPORT_STATE),
        })
    }

    /// Makes an instance with its memory in `slot`, which is all zeros.
    fn instantiate(&self, store: &mut Store<CallState>, slot: Slot) -> Result<Instance, ModuleProblem> {
        let fuel_max = self.limits.fuel_per_step_max;
        store.set_fuel(fuel_max).expect("fuel is on");
        with_slot(slot, || self.pre.instantiate(&mut *store))
            .map_err(|error| start_failure(&error, &self.group, fuel_max))
    }

    /// Makes an instance for a look at it, and gives its slot back as it was.
    ///
    /// # Safety
    /// `slot` is one of `arena`'s, all zeros, and nobody uses it.
    pub(super) unsafe fn probe(
        &self,
        engine: &Engine,
        arena: &Arena,
        slot: Slot,
    ) -> Result<(ExchangeLayout, Image), ModuleProblem> {
        let mut store = Store::new(engine, CallState::default());
        let made = self.instantiate(&mut store, slot);
        let result = made.and_then(|instance| {
            // SAFETY: the instance was made in this slot just now, and doesn't run.
            let image = unsafe { Image::capture(&self.state, &mut store, instance, slot) };
            // SAFETY: as above.
            let memory = unsafe { GuestMemory::new(slot, store.data()) };
            let layout = ExchangeLayout::check(memory.bytes(), self.exchange).map_err(ModuleProblem::Layout)?;
            if layout.outbox_bytes_max > OUTBOX_BYTES_MAX {
                let bytes = layout.outbox_bytes_max;
                return Err(ModuleProblem::OutboxTooLarge { bytes, bytes_max: OUTBOX_BYTES_MAX });
            }
            Ok((layout, image))
        });
        // SAFETY: the store of the only instance ends here, and the slot is the caller's.
        unsafe { arena.clear(slot) };
        result
    }
}

/// A group's agents, ready to be made.
pub(super) struct Program {
    pub recipe: ModuleExports,
    pub group: GroupId,
    pub layout: ExchangeLayout,
    pub image: Image,
    pub rules: OutboxRules,
    /// Shared regions that the agents read; `None` for none.
    pub readable: Option<Readable>,
    pub params: Vec<u8>,
    pub seed: u64,
    pub frame_period_us: u32,
}

/// What the hot path wants of one agent.
pub(super) struct HotAgent {
    /// Its `agent_step`.
    pub step: Func,
    /// Its random key.
    pub key: u64,
    /// Where its instance's own data lies: only ever prefetched.
    pub vm: *const u8,
    /// Its memory.
    pub slot: Slot,
    /// Whether it is no longer as it was made.
    pub used: bool,
    /// Whether it was called since the last copy for a snapshot.
    pub changed: bool,
}
const _: () = assert!(size_of::<HotAgent>() <= 64);

// SAFETY: the pointer is never followed.
unsafe impl Send for HotAgent {}
// SAFETY: the pointer is never followed.
unsafe impl Sync for HotAgent {}

/// What only some calls want of one agent.
pub(super) struct ColdAgent {
    pub instance: Instance,
    pub receive: Option<Func>,
}

/// Agents side by side.
pub(super) struct Shard {
    pub program: Arc<Program>,
    pub store: Store<CallState>,
    pub hot: Vec<HotAgent>,
    pub cold: Vec<ColdAgent>,
    /// For each agent, how many frames' shared regions it has been shown; 0 for none at all. Empty where there is nothing to read.
    pub shown: Vec<u64>,
    pub range: SlotRange,
    pub first_ordinal: u32,
    /// Slot of the first agent in the dense tables.
    pub first_slot: AgentSlot,
    /// How many agents it has room for. Their instances are made when they are first needed.
    pub agents_max: u32,
    /// Held so that it outlives the store.
    pub arena: Arc<Arena>,
}

/// Which agents a shard has.
#[derive(Clone, Copy)]
pub(super) struct ShardPlan {
    pub first_ordinal: u32,
    pub first_slot: AgentSlot,
    /// Agents from the start.
    pub agents: u32,
    /// Agents that there may be.
    pub agents_max: u32,
}

impl Shard {
    /// Makes a shard and its instances.
    pub(super) fn new(
        engine: &Engine,
        program: &Arc<Program>,
        arena: &Arc<Arena>,
        range: SlotRange,
        plan: ShardPlan,
    ) -> Result<Self, ModuleProblem> {
        let mut shard = Self {
            program: Arc::clone(program),
            store: Store::new(engine, CallState::default()),
            hot: Vec::with_capacity(plan.agents as usize),
            cold: Vec::with_capacity(plan.agents as usize),
            shown: Vec::new(),
            range,
            first_ordinal: plan.first_ordinal,
            first_slot: plan.first_slot,
            agents_max: plan.agents_max,
            arena: Arc::clone(arena),
        };
        for at in 0..plan.agents {
            shard.add(at)?;
        }
        Ok(shard)
    }

    pub(super) fn add(&mut self, at: u32) -> Result<(), ModuleProblem> {
        let program = Arc::clone(&self.program);
        let slot = self.arena.slot(&self.range, (self.first_ordinal + at) as usize);
        let instance = program.recipe.instantiate(&mut self.store, slot)?;
        let calls = &program.recipe.calls;
        let step = function(&mut self.store, instance, &calls.step);
        let receive = calls.receive.as_ref().map(|export| function(&mut self.store, instance, export));
        let vm = step.to_raw(&mut self.store).cast_const().cast();
        let agent = AgentId::new(program.group, self.first_ordinal + at);
        self.hot.push(HotAgent { step, key: agent_key(program.seed, agent.0), vm, slot, used: false, changed: false });
        self.cold.push(ColdAgent { instance, receive });
        if program.readable.is_some() {
            self.shown.push(0);
        }
        Ok(())
    }

    /// Makes the instances that calls need for the first time.
    #[cold]
    pub(super) fn make_room(&mut self, requests: &[StepRequest]) {
        let last = requests.iter().map(|request| request.slot - self.first_slot).max();
        while last.is_some_and(|last| self.hot.len() <= last as usize) {
            let at = self.hot.len() as u32;
            // The module was instantiated at load, in a slot like this one.
            self.add(at).expect("there is memory for one more instance of a module that was loaded");
        }
    }

    /// The memory of the agent with number `at` of the shard.
    pub(super) fn memory(&self, at: usize) -> GuestMemory<'_> {
        // SAFETY: `add` makes the instances in the shard's own store, each in its slot.
        unsafe { GuestMemory::new(self.hot[at].slot, self.store.data()) }
    }

    /// Where the memory of the agent with number `at` of the shard lies.
    #[inline]
    pub(super) fn slot(&self, at: usize) -> Slot {
        self.hot[at].slot
    }
}

/// A function that validation has seen.
pub(super) fn function(store: &mut Store<CallState>, instance: Instance, export: &ModuleExport) -> Func {
    let found = instance.get_module_export(store, export).and_then(wasmtime::Extern::into_func);
    found.expect("validation saw the exported function")
}
