//! The initial image of a group's agents: what memory and mutable globals hold right after instantiation. A restart gives an
//! instance back exactly that.

use wasmtime::{AsContextMut, Instance, Module, ModuleExport, Store, Val};

use super::{
    arena::{Arena, Slot},
    imports::CallState,
    instrument::DEPTH_EXPORT,
};

/// Granularity in which zeros are left out, in bytes.
const BLOCK_BYTES: usize = 4096;

/// Where an instance's state is found: positions of exports, the same for all instances of a module.
pub(super) struct StateExports {
    memory: ModuleExport,
    depth: ModuleExport,
    globals: Vec<ModuleExport>,
}

impl StateExports {
    /// Finds them in a compiled module. `globals` are the names that the instrumentation gave.
    pub(super) fn find(module: &Module, globals: &[String]) -> Option<Self> {
        Some(Self {
            memory: module.get_export_index(wasm_engine_abi::EXPORT_MEMORY)?,
            depth: module.get_export_index(DEPTH_EXPORT)?,
            globals: globals.iter().map(|name| module.get_export_index(name)).collect::<Option<_>>()?,
        })
    }

    /// Reads the depth counter, and sets it to zero.
    pub(super) fn take_depth(&self, store: &mut Store<CallState>, instance: Instance) -> u32 {
        let depth = global(store, instance, &self.depth);
        let value = depth.get(store.as_context_mut()).i32().unwrap_or(0).cast_unsigned();
        set(depth, store, Val::I32(0));
        value
    }
}

fn global(store: &mut Store<CallState>, instance: Instance, export: &ModuleExport) -> wasmtime::Global {
    let found = instance.get_module_export(store, export).and_then(wasmtime::Extern::into_global);
    found.expect("the instrumentation exports it as a global")
}

fn set(global: wasmtime::Global, store: &mut Store<CallState>, value: Val) {
    global.set(store, value).expect("a mutable global takes a value of its own type");
}

/// An initial image.
pub(super) struct Image {
    memory_bytes: usize,
    /// Parts of the memory that aren't zero: where they start, and what they hold.
    parts: Vec<(usize, Box<[u8]>)>,
    globals: Vec<Val>,
}

impl Image {
    /// Takes the image of a new instance.
    ///
    /// # Safety
    /// `slot` is the instance's memory, and no guest runs on it.
    pub(super) unsafe fn capture(
        exports: &StateExports,
        store: &mut Store<CallState>,
        instance: Instance,
        slot: Slot,
    ) -> Self {
        // SAFETY: the caller's promise; the slice ends before this function.
        let memory = unsafe { slot.bytes() };
        let mut parts: Vec<(usize, Box<[u8]>)> = Vec::new();
        for (number, block) in memory.chunks(BLOCK_BYTES).enumerate() {
            if block.iter().any(|&byte| byte != 0) {
                parts.push((number * BLOCK_BYTES, block.into()));
            }
        }
        let globals = exports.globals.iter().map(|export| global(store, instance, export).get(&mut *store)).collect();
        Self { memory_bytes: memory.len(), parts, globals }
    }

    /// Makes an instance as new: memory and its size, globals, depth.
    ///
    /// # Safety
    /// `slot` is the instance's memory in `arena`, and no guest runs on it.
    pub(super) unsafe fn restore(
        &self,
        exports: &StateExports,
        store: &mut Store<CallState>,
        instance: Instance,
        arena: &Arena,
        slot: Slot,
    ) {
        // SAFETY: the caller's promise.
        unsafe { arena.clear(slot) };
        for (start, bytes) in &self.parts {
            // SAFETY: the part lay inside a memory of the initial size, which every slot of the group has room for.
            unsafe { slot.base().add(*start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        slot.set_size(self.memory_bytes);
        // Compiled code has its own copy of the size. wasmtime reads it anew from the slot at the end of each growth, and so does
        // a growth by nothing. It must take effect even where it makes the memory smaller: a stale size would let the guest
        // reach what another restart wouldn't. Hence the assertion.
        let memory = instance.get_module_export(&mut *store, &exports.memory).and_then(wasmtime::Extern::into_memory);
        let memory = memory.expect("validation saw the exported memory");
        memory.grow(&mut *store, 0).expect("a growth by nothing succeeds");
        assert_eq!(memory.data_size(&*store), self.memory_bytes, "wasmtime kept a stale memory size");
        for (export, &value) in exports.globals.iter().zip(&self.globals) {
            set(global(store, instance, export), store, value);
        }
        exports.take_depth(store, instance);
    }
}
