//! The program that the agents of a group are made of: a module that was validated and compiled, and what is known of every instance of it.
//!
//! What the unsafe code of [`super::guests`] relies on is found out here, and can't be changed afterwards: each [`CallExport`] is a function
//! `(i32) -> i32`, and the exchange block of an [`InstanceTemplate`] lies inside the memory of each of its instances.

use wasm_engine_abi::ExchangeLayout;
use wasm_engine_components::{GroupId, GroupLimits};
use wasm_engine_systems::ports::OutboxRules;
use wasmtime::{Engine, Func, Instance, InstancePre, Module, ModuleExport, Store, ValType};

use super::{
    arena::{Slot, SlotRange, with_slot},
    call_state::CallState,
    image::{Image, StateExports},
    memory::GuestMemory,
    problem::ModuleProblem,
    regions::Readable,
    trap::start_failure,
};

/// Largest outbox area.
pub(super) const OUTBOX_BYTES_MAX: u32 = 8 << 20;

/// An exported function `(i32) -> i32`.
pub(super) struct CallExport(ModuleExport);

impl CallExport {
    /// Finds the function of a name; `None` where the module exports no such function.
    fn find(module: &Module, name: &str) -> Option<Self> {
        let ty = module.get_export(name)?;
        let ty = ty.func()?;
        let is_i32 = |types: &[ValType]| matches!(types, [ValType::I32]);
        let (params, results): (Vec<_>, Vec<_>) = (ty.params().collect(), ty.results().collect());
        (is_i32(&params) && is_i32(&results)).then_some(())?;
        module.get_export_index(name).map(Self)
    }

    /// Returns the function of an instance.
    ///
    /// # Panics
    /// The instance is of another module.
    pub(super) fn of(&self, store: &mut Store<CallState>, instance: Instance) -> Func {
        let found = instance.get_module_export(store, &self.0).and_then(wasmtime::Extern::into_func);
        found.expect("an instance of the module has its exports")
    }
}

/// The exports that are called.
pub(super) struct CallExports {
    pub init: CallExport,
    pub step: CallExport,
    pub receive: Option<CallExport>,
    pub shutdown: Option<CallExport>,
    pub export_state: Option<CallExport>,
    pub import_state: Option<CallExport>,
}

impl CallExports {
    /// Finds the exports in a module that was validated; `None` where it lacks one that it must have.
    pub(super) fn find(module: &Module) -> Option<Self> {
        let find = |name| CallExport::find(module, name);
        Some(Self {
            init: find(wasm_engine_abi::EXPORT_INIT)?,
            step: find(wasm_engine_abi::EXPORT_STEP)?,
            receive: find(wasm_engine_abi::EXPORT_RECEIVE),
            shutdown: find(wasm_engine_abi::EXPORT_SHUTDOWN),
            export_state: find(wasm_engine_abi::EXPORT_EXPORT_STATE),
            import_state: find(wasm_engine_abi::EXPORT_IMPORT_STATE),
        })
    }
}

/// A module, ready to be instantiated.
pub(super) struct ModuleExports {
    pub pre: InstancePre<CallState>,
    pub calls: CallExports,
    pub state: StateExports,
    /// Address of the exchange block's header.
    pub exchange: u32,
    pub uses_imports: bool,
    pub limits: GroupLimits,
    /// The group's name, for errors.
    pub group: String,
}

impl ModuleExports {
    /// Makes an instance with its memory in `slot`, which is all zeros.
    ///
    /// # Safety
    /// No instance that is ever called again has the slot, and its arena outlives the store.
    unsafe fn instantiate(&self, store: &mut Store<CallState>, slot: Slot) -> Result<Instance, ModuleProblem> {
        let fuel_max = self.limits.fuel_per_step_max;
        store.set_fuel(fuel_max).expect("fuel is on");
        // SAFETY: the caller's promise.
        let made = unsafe { with_slot(slot, || self.pre.instantiate(&mut *store)) };
        let instance = made.map_err(|error| start_failure(&error, &self.group, fuel_max))?;
        let memory = self.state.memory(store, instance);
        assert!(memory.data_ptr(&*store) == slot.base(), "the memory lies in the slot that was chosen for it");
        Ok(instance)
    }

    /// Returns what an instance is like. It is made in the first of `slots`, and ends here.
    fn probe(&self, engine: &Engine, slots: &mut SlotRange) -> Result<(ExchangeLayout, Image), ModuleProblem> {
        let slot = slots.slot(0);
        let mut store = Store::new(engine, CallState::default());
        // SAFETY: slots that no `Guests` has taken are nobody's, and the range, which is borrowed, holds the arena.
        let instance = unsafe { self.instantiate(&mut store, slot)? };
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
    }
}

/// A module, and what every instance of it is like. Instances are made without imports and with the same fuel, so that all are the same.
pub(super) struct InstanceTemplate {
    exports: ModuleExports,
    layout: ExchangeLayout,
    image: Image,
}

impl InstanceTemplate {
    /// Makes an instance in the first of `slots`, and gives the slot back as it was.
    pub(super) fn make(exports: ModuleExports, engine: &Engine, slots: &mut SlotRange) -> Result<Self, ModuleProblem> {
        let seen = exports.probe(engine, slots);
        // SAFETY: the store of the only instance ended in `probe`.
        unsafe { slots.clear(0) };
        let (layout, image) = seen?;
        Ok(Self { exports, layout, image })
    }

    /// Makes an instance with its memory in `slot`, which is all zeros.
    ///
    /// # Safety
    /// No instance that is ever called again has the slot, and its arena outlives the store.
    pub(super) unsafe fn instantiate(
        &self,
        store: &mut Store<CallState>,
        slot: Slot,
    ) -> Result<Instance, ModuleProblem> {
        // SAFETY: the caller's promise.
        unsafe { self.exports.instantiate(store, slot) }
    }

    /// Returns where the parts of the exchange block lie in the memory of each instance: inside it, whatever size it has later.
    #[inline]
    pub(super) const fn layout(&self) -> &ExchangeLayout {
        &self.layout
    }

    /// Returns what each instance holds when it is made.
    pub(super) const fn image(&self) -> &Image {
        &self.image
    }

    /// Returns the functions that are called.
    #[inline]
    pub(super) const fn calls(&self) -> &CallExports {
        &self.exports.calls
    }

    /// Returns where the state of an instance is found.
    pub(super) const fn state(&self) -> &StateExports {
        &self.exports.state
    }

    /// Returns the limits of the group.
    #[inline]
    pub(super) const fn limits(&self) -> &GroupLimits {
        &self.exports.limits
    }

    /// Returns whether the module imports anything.
    #[inline]
    pub(super) const fn uses_imports(&self) -> bool {
        self.exports.uses_imports
    }

    /// Returns the compiler of the module.
    pub(super) fn engine(&self) -> &Engine {
        self.exports.pre.module().engine()
    }
}

/// A group's agents, ready to be made.
pub(super) struct GroupProgram {
    pub template: InstanceTemplate,
    pub group: GroupId,
    pub rules: OutboxRules,
    /// Shared regions that the agents read; `None` for none.
    pub readable: Option<Readable>,
    pub params: Vec<u8>,
    pub seed: u64,
    pub frame_period_us: u32,
}
