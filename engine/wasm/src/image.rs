//! The initial image of a group's agents: what memory and mutable globals hold right after instantiation. A restart puts an
//! instance back into exactly that state.

use wasm_engine_components::limits::WASM_PAGE_BYTES;
use wasmtime::{AsContextMut, Instance, Memory, Module, ModuleExport, Store, V128, Val, ValType};

use super::{
    arena::Slot,
    call_state::CallState,
    facts::{DEPTH_EXPORT, GLOBAL_PREFIX},
    memory::{GuestMemory, GuestMemoryMut},
    pages::PAGE_BYTES,
};

/// Exports in which the state of an instance is found. They are the same for all instances of a module.
pub(super) struct StateExports {
    memory: ModuleExport,
    depth: ModuleExport,
    /// The mutable globals.
    globals: Vec<GlobalExport>,
    /// Largest size that the module gives its memory, in bytes.
    memory_bytes_max: u64,
}

struct GlobalExport {
    export: ModuleExport,
    /// Its index in the module.
    index: u32,
    kind: GlobalKind,
}

/// Kind of value of a mutable global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GlobalKind {
    I32,
    I64,
    F32,
    F64,
    V128,
}

impl GlobalKind {
    const fn of(ty: &ValType) -> Option<Self> {
        match ty {
            ValType::I32 => Some(Self::I32),
            ValType::I64 => Some(Self::I64),
            ValType::F32 => Some(Self::F32),
            ValType::F64 => Some(Self::F64),
            ValType::V128 => Some(Self::V128),
            ValType::Ref(_) => None,
        }
    }

    /// Returns the number of words of 64 bits that hold its value.
    pub(super) const fn words(self) -> usize {
        if matches!(self, Self::V128) { 2 } else { 1 }
    }

    /// Returns whether words are a value of this kind. There must be as many as it takes.
    pub(super) fn accepts(self, words: &[u64]) -> bool {
        !matches!(self, Self::I32 | Self::F32) || words[0] >> 32 == 0
    }
}

impl StateExports {
    /// Finds the exports in a compiled module. `globals` are the names that the instrumentation gave.
    pub(super) fn find(module: &Module, globals: &[String]) -> Option<Self> {
        Some(Self {
            memory: module.get_export_index(wasm_engine_abi::EXPORT_MEMORY)?,
            depth: module.get_export_index(DEPTH_EXPORT)?,
            globals: globals.iter().map(|name| GlobalExport::find(module, name)).collect::<Option<_>>()?,
            memory_bytes_max: memory_bytes_max(module)?,
        })
    }

    /// Returns the mutable globals in their order, each with its index in the module and its kind.
    pub(super) fn globals(&self) -> impl Iterator<Item = (u32, GlobalKind)> {
        self.globals.iter().map(|global| (global.index, global.kind))
    }

    /// Largest size that the module gives its memory, in bytes.
    pub(super) const fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }

    /// Appends the bits of all mutable globals, in their order. Each has one word; a `v128` has its lower and its upper one.
    pub(super) fn read_globals(&self, store: &mut Store<CallState>, instance: Instance, words: &mut Vec<u64>) {
        for GlobalExport { export, .. } in &self.globals {
            match global(store, instance, export).get(&mut *store) {
                Val::I32(value) => words.push(u64::from(value.cast_unsigned())),
                Val::I64(value) => words.push(value.cast_unsigned()),
                Val::F32(bits) => words.push(u64::from(bits)),
                Val::F64(bits) => words.push(bits),
                Val::V128(value) => words.extend([value.as_u128() as u64, (value.as_u128() >> 64) as u64]),
                _ => unreachable!("validation refuses globals that hold references"),
            }
        }
    }

    /// Sets all mutable globals to what [`StateExports::read_globals`] gave, and the depth to 0, as it is between calls.
    fn write_globals(&self, store: &mut Store<CallState>, instance: Instance, mut words: &[u64]) {
        for GlobalExport { export, kind, .. } in &self.globals {
            let (own, rest) = words.split_at(kind.words());
            let value = match kind {
                GlobalKind::I32 => Val::I32((own[0] as u32).cast_signed()),
                GlobalKind::I64 => Val::I64(own[0].cast_signed()),
                GlobalKind::F32 => Val::F32(own[0] as u32),
                GlobalKind::F64 => Val::F64(own[0]),
                GlobalKind::V128 => Val::V128(V128::from(u128::from(own[1]) << 64 | u128::from(own[0]))),
            };
            set(global(store, instance, export), store, value);
            words = rest;
        }
        self.take_depth(store, instance);
    }

    /// Returns where instances have their memory.
    #[inline]
    pub(super) const fn memory_export(&self) -> ModuleExport {
        self.memory
    }

    /// Returns the memory of an instance.
    pub(super) fn memory(&self, store: &mut Store<CallState>, instance: Instance) -> Memory {
        let memory = instance.get_module_export(store, &self.memory).and_then(wasmtime::Extern::into_memory);
        memory.expect("validation saw the exported memory")
    }

    /// Sets the size of an instance's memory.
    ///
    /// # Safety
    /// `slot` is the memory of the instance, which is in the store. No guest of the store runs, and the arena is there as long as the store is.
    unsafe fn set_memory_bytes(&self, store: &mut Store<CallState>, instance: Instance, slot: Slot, bytes: usize) {
        // SAFETY: the caller's promise; the store is borrowed uniquely, so nobody has the bytes borrowed.
        unsafe { slot.set_size(bytes) };
        // Compiled code has its own copy of the size. wasmtime reads it anew from the slot at the end of each growth, and so does
        // a growth by nothing. It must take effect even where it makes the memory smaller: a stale size would let the guest
        // reach what another restart wouldn't. Hence the assertion.
        let memory = self.memory(store, instance);
        memory.grow(&mut *store, 0).expect("a growth by nothing succeeds");
        assert_eq!(memory.data_size(&*store), bytes, "wasmtime kept a stale memory size");
    }

    /// Reads the depth counter, and sets it to zero.
    pub(super) fn take_depth(&self, store: &mut Store<CallState>, instance: Instance) -> u32 {
        let depth = global(store, instance, &self.depth);
        let value = depth.get(store.as_context_mut()).i32().unwrap_or(0).cast_unsigned();
        set(depth, store, Val::I32(0));
        value
    }
}

impl GlobalExport {
    fn find(module: &Module, name: &str) -> Option<Self> {
        Some(Self {
            export: module.get_export_index(name)?,
            index: name.strip_prefix(GLOBAL_PREFIX)?.parse().ok()?,
            kind: GlobalKind::of(module.get_export(name)?.global()?.content())?,
        })
    }
}

fn memory_bytes_max(module: &Module) -> Option<u64> {
    let pages = module.get_export(wasm_engine_abi::EXPORT_MEMORY)?.memory()?.maximum();
    Some(pages.map_or(u64::MAX, |pages| pages.saturating_mul(WASM_PAGE_BYTES)))
}

fn global(store: &mut Store<CallState>, instance: Instance, export: &ModuleExport) -> wasmtime::Global {
    let found = instance.get_module_export(store, export).and_then(wasmtime::Extern::into_global);
    found.expect("the instrumentation exports it as a global")
}

fn set(global: wasmtime::Global, store: &mut Store<CallState>, value: Val) {
    global.set(store, value).expect("a mutable global takes a value of its own type");
}

/// The initial image of instances.
pub(super) struct Image {
    memory_bytes: usize,
    /// The parts of the memory that aren't zero, each with its start.
    parts: Vec<(usize, Box<[u8]>)>,
    globals: Vec<u64>,
}

impl Image {
    /// Takes the image of a new instance.
    ///
    /// # Safety
    /// As for [`StateExports::set_memory_bytes`].
    pub(super) unsafe fn capture(
        exports: &StateExports,
        store: &mut Store<CallState>,
        instance: Instance,
        slot: Slot,
    ) -> Self {
        // SAFETY: the caller's promise.
        let memory = unsafe { GuestMemory::new(slot, store.data()) }.bytes();
        let memory_bytes = memory.len();
        let mut parts: Vec<(usize, Box<[u8]>)> = Vec::new();
        for (number, block) in memory.chunks(PAGE_BYTES).enumerate() {
            if block.iter().any(|&byte| byte != 0) {
                parts.push((number * PAGE_BYTES, block.into()));
            }
        }
        let mut globals = Vec::new();
        exports.read_globals(store, instance, &mut globals);
        Self { memory_bytes, parts, globals }
    }

    /// Makes an instance whose memory was cleared as new: its memory and the size of that, its globals, and the depth.
    ///
    /// # Safety
    /// As for [`StateExports::set_memory_bytes`].
    pub(super) unsafe fn restore(
        &self,
        exports: &StateExports,
        store: &mut Store<CallState>,
        instance: Instance,
        slot: Slot,
    ) {
        // SAFETY: the caller's promise.
        unsafe { exports.set_memory_bytes(store, instance, slot, self.memory_bytes) };
        // SAFETY: the caller's promise.
        let mut memory = unsafe { GuestMemoryMut::new(slot, store.data_mut()) };
        for (start, bytes) in &self.parts {
            memory.bytes()[*start..][..bytes.len()].copy_from_slice(bytes);
        }
        exports.write_globals(store, instance, &self.globals);
    }

    /// Returns the size that a memory is made with, in bytes. It never gets smaller.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Puts an instance that is as it was made into another state.
    ///
    /// # Safety
    /// As for [`StateExports::set_memory_bytes`]; and the state's size isn't smaller than the image's: compiled code needn't check what lies
    /// below that.
    ///
    /// # Panics
    /// The state is larger than the slot, a page of it lies outside of its size, or its globals aren't the module's.
    pub(super) unsafe fn replace(
        &self,
        exports: &StateExports,
        store: &mut Store<CallState>,
        instance: Instance,
        slot: Slot,
        state: &InstanceState<'_>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { exports.set_memory_bytes(store, instance, slot, state.memory_bytes) };
        // SAFETY: the caller's promise.
        let mut memory = unsafe { GuestMemoryMut::new(slot, store.data_mut()) };
        let memory = memory.bytes();
        for (start, bytes) in &self.parts {
            let page = start / PAGE_BYTES;
            if state.pages.binary_search_by_key(&page, |&(page, _)| page as usize).is_err() {
                memory[*start..][..bytes.len()].fill(0);
            }
        }
        for &(page, bytes) in &state.pages {
            memory[page as usize * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(bytes);
        }
        exports.write_globals(store, instance, state.globals);
    }
}

/// The state that an instance is to have.
pub(super) struct InstanceState<'a> {
    pub memory_bytes: usize,
    /// Its pages that aren't zero, in their order.
    pub pages: Vec<(u32, &'a [u8; PAGE_BYTES])>,
    pub globals: &'a [u64],
}
