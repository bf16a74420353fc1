//! The guests of one shard: instances that share a store, each with its memory in a slot of its own. This is the one place that gives access to
//! the memories of agents and calls their functions.
//!
//! A caller that wants a memory names the guest by its index in the shard, and has borrowed the guests for as long as it uses the memory. So a
//! memory can't be that of another shard's guest, and no guest of the shard runs meanwhile. Stores and slots are private, and are handed to
//! [`super::program`] and [`super::image`] alone, whose functions that use both are unsafe.
//!
//! What the unsafe blocks rely on is true of every [`Guests`]:
//!
//! - `hot[i]` and `cold[i]` are of the same instance, which `add` made in `store` by the template of `program`, with its memory in `slots.slot(i)`.
//!   Only `add` and `replace` change them, and `replace` ends the store first. An instance that `add` couldn't finish is in no table, and is never
//!   called; the next one gets its slot.
//! - `slots` isn't shared: a [`SlotRange`] can't be copied, and whoever makes guests hands it over. It holds the arena, and is dropped after the
//!   store.

use core::ops::Range;
use std::sync::Arc;

use wasm_engine_abi::ExchangeLayout;
use wasmtime::{Func, Instance, Store, ValRaw};

use super::{
    arena::{Slot, SlotRange},
    call_state::CallState,
    guest_index::GuestIndex,
    image::InstanceState,
    memory::{Exchange, ExchangeMut, GuestMemory, GuestMemoryMut},
    problem::ModuleProblem,
    program::{CallExport, GroupProgram},
};

/// Marks that the host keeps of an agent.
#[derive(Clone, Copy, Default)]
pub(super) struct AgentMarks {
    /// The agent's random key.
    pub key: u64,
    /// Whether it has changed since it was made.
    pub used: bool,
    /// Whether it was called since the last copy for a snapshot.
    pub changed: bool,
}

/// Data of one agent that the hot path needs.
struct HotAgent {
    /// Its function `agent_step`.
    step: Func,
    /// Address of its instance's own data: only ever prefetched.
    vm: *const u8,
    /// Its memory.
    slot: Slot,
    marks: AgentMarks,
}
const _: () = assert!(size_of::<HotAgent>() <= 64);

// SAFETY: the pointer is never followed.
unsafe impl Send for HotAgent {}
// SAFETY: the pointer is never followed.
unsafe impl Sync for HotAgent {}

/// Data of one agent that only some calls need.
struct ColdAgent {
    instance: Instance,
    receive: Option<Func>,
}

/// Guests side by side, numbered from 0.
pub(super) struct Guests {
    program: Arc<GroupProgram>,
    store: Store<CallState>,
    hot: Vec<HotAgent>,
    cold: Vec<ColdAgent>,
    slots: SlotRange,
}

impl Guests {
    /// Makes room for guests: one for each of `slots`. There is none at first.
    pub(super) fn new(program: &Arc<GroupProgram>, slots: SlotRange) -> Self {
        Self {
            program: Arc::clone(program),
            store: Store::new(program.template.engine(), CallState::default()),
            hot: Vec::new(),
            cold: Vec::new(),
            slots,
        }
    }

    /// Allocates memory for the tables of that many guests.
    pub(super) fn reserve(&mut self, guests: usize) {
        self.hot.reserve_exact(guests);
        self.cold.reserve_exact(guests);
    }

    /// Makes one more guest, in the next slot.
    pub(super) fn add(&mut self, key: u64) -> Result<(), ModuleProblem> {
        let at = self.hot.len();
        let slot = self.slots.slot(at);
        let template = &self.program.template;
        // SAFETY: the slots before this one are the other guests', and no instance that is called has this one. `slots` is dropped after the store.
        let made = unsafe { template.instantiate(&mut self.store, slot) };
        let instance = made.inspect_err(|_| {
            // SAFETY: what there may be of an instance is never called, and nobody has bytes of it borrowed.
            unsafe { self.slots.clear(at) };
        })?;
        let step = template.calls().step.of(&mut self.store, instance);
        let receive = template.calls().receive.as_ref().map(|export| export.of(&mut self.store, instance));
        let vm = step.to_raw(&mut self.store).cast_const().cast();
        self.hot.push(HotAgent { step, vm, slot, marks: AgentMarks { key, ..AgentMarks::default() } });
        self.cold.push(ColdAgent { instance, receive });
        Ok(())
    }

    /// Ends all guests, and makes as many of another program in the same slots, with the same keys.
    pub(super) fn replace(&mut self, program: &Arc<GroupProgram>) {
        self.cold.clear();
        let before = core::mem::take(&mut self.hot);
        self.store = Store::new(program.template.engine(), CallState::default());
        self.program = Arc::clone(program);
        for (at, hot) in before.iter().enumerate() {
            // SAFETY: the store of the instance that used the slot has ended above.
            unsafe { self.slots.clear(at) };
            self.add(hot.marks.key).expect("an instance like this one was made when the program was loaded");
        }
    }

    /// Returns the number of guests.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.hot.len()
    }

    /// Returns the index of each guest.
    pub(super) fn indexes(&self) -> impl DoubleEndedIterator<Item = GuestIndex> + use<> {
        GuestIndex::range(0..self.hot.len())
    }

    /// Returns the program that they are made of.
    #[inline]
    pub(super) const fn program(&self) -> &Arc<GroupProgram> {
        &self.program
    }

    /// Largest size of a memory that its slot has room for, in bytes.
    pub(super) const fn memory_bytes_max(&self) -> usize {
        self.slots.capacity()
    }

    /// Returns the memory of a guest.
    pub(super) fn memory(&self, guest: GuestIndex) -> GuestMemory<'_> {
        // SAFETY: the guest is an instance in the store, whose state is borrowed.
        unsafe { GuestMemory::new(self.hot[guest.index()].slot, self.store.data()) }
    }

    /// Returns the addresses where memories of guests lie, from that of the first to the end of the last; `None` where there is no guest.
    pub(super) fn addresses(&self) -> Option<Range<usize>> {
        let first = self.hot.first()?.slot.base().addr();
        Some(first..self.memory(self.indexes().next_back()?).bytes().as_ptr_range().end.addr())
    }

    /// Appends the bits of all mutable globals of a guest, as [`super::image::StateExports::read_globals`] does.
    pub(super) fn read_globals(&mut self, guest: GuestIndex, words: &mut Vec<u64>) {
        self.program.template.state().read_globals(&mut self.store, self.cold[guest.index()].instance, words);
    }

    /// Returns what the host notes of a guest.
    pub(super) fn marks(&self, guest: GuestIndex) -> AgentMarks {
        self.hot[guest.index()].marks
    }

    /// Returns what the host notes of a guest, to be changed.
    pub(super) fn marks_mut(&mut self, guest: GuestIndex) -> &mut AgentMarks {
        &mut self.hot[guest.index()].marks
    }

    /// Returns what the imports know of the call that is running.
    pub(super) fn state_mut(&mut self) -> &mut CallState {
        self.store.data_mut()
    }

    /// Makes a guest as new.
    pub(super) fn renew(&mut self, guest: GuestIndex) {
        self.calls().renew(guest);
    }

    /// Makes a guest as new, and puts it into another state.
    ///
    /// # Panics
    /// The state isn't one that module and slot allow.
    pub(super) fn put(&mut self, guest: GuestIndex, state: &InstanceState<'_>) {
        let (bytes_min, bytes_max) = (self.program.template.image().memory_bytes(), self.slots.capacity());
        assert!((bytes_min..=bytes_max).contains(&state.memory_bytes), "a memory of a size that its module hasn't");
        self.renew(guest);
        let Self { program, store, hot, cold, .. } = self;
        let (template, hot) = (&program.template, &mut hot[guest.index()]);
        // SAFETY: the slot is this instance's, which is as it was made, and no guest runs: all of them are borrowed. The size was checked.
        unsafe { template.image().replace(template.state(), store, cold[guest.index()].instance, hot.slot, state) };
        hot.marks.used = true;
    }

    /// Borrows the guests for calls.
    #[inline]
    pub(super) fn calls(&mut self) -> GuestCalls<'_> {
        let Self { program, store, hot, cold, slots } = self;
        GuestCalls { program, store, hot, cold, slots }
    }

    /// Returns, for each guest, its `agent_step`, which [`GuestCalls::call`] takes of these guests alone, and the start of its memory.
    pub(super) fn steps(&self) -> Vec<(Func, *mut u8)> {
        self.hot.iter().map(|hot| (hot.step, hot.slot.base())).collect()
    }
}

/// The guests, borrowed for calls. Their tables stand here by themselves, so that the hot path finds them without another step.
pub(super) struct GuestCalls<'a> {
    program: &'a GroupProgram,
    store: &'a mut Store<CallState>,
    hot: &'a mut [HotAgent],
    cold: &'a [ColdAgent],
    slots: &'a mut SlotRange,
}

impl<'a> GuestCalls<'a> {
    /// Returns the program that they are made of.
    #[inline]
    pub(super) const fn program(&self) -> &'a GroupProgram {
        self.program
    }

    /// Returns the memory of a guest, to be read.
    #[inline]
    pub(super) fn memory(&self, guest: GuestIndex) -> GuestMemory<'_> {
        // SAFETY: the guest is an instance in the store, whose state is borrowed.
        unsafe { GuestMemory::new(self.hot[guest.index()].slot, self.store.data()) }
    }

    /// Returns the memory of a guest, to be written to.
    #[inline]
    pub(super) fn memory_mut(&mut self, guest: GuestIndex) -> GuestMemoryMut<'_> {
        // SAFETY: as for reading.
        unsafe { GuestMemoryMut::new(self.hot[guest.index()].slot, self.store.data_mut()) }
    }

    /// Returns what a call hands over in the memory of a guest, to be read.
    #[inline]
    pub(super) fn exchange(&self, guest: GuestIndex) -> Exchange<'_, 'a> {
        // SAFETY: the guest was made by the template, whose layout lies inside the memory of each of its instances.
        unsafe { Exchange::new(self.memory(guest), self.layout()) }
    }

    /// Returns what a call hands over in the memory of a guest, to be written to.
    #[inline]
    pub(super) fn exchange_mut(&mut self, guest: GuestIndex) -> ExchangeMut<'_, 'a> {
        let layout = self.layout();
        // SAFETY: as for reading.
        unsafe { self.memory_mut(guest).exchange(layout) }
    }

    #[inline]
    const fn layout(&self) -> &'a ExchangeLayout {
        self.program.template.layout()
    }

    /// Returns what the host notes of a guest.
    #[inline]
    pub(super) fn marks(&self, guest: GuestIndex) -> AgentMarks {
        self.hot[guest.index()].marks
    }

    /// Returns what the host notes of a guest, to be changed.
    #[inline]
    pub(super) fn marks_mut(&mut self, guest: GuestIndex) -> &mut AgentMarks {
        &mut self.hot[guest.index()].marks
    }

    /// Returns what the imports know of the call that is running.
    #[inline]
    pub(super) fn state(&self) -> &CallState {
        self.store.data()
    }

    /// Returns what the imports know of the call that is running, to be changed.
    #[inline]
    pub(super) fn state_mut(&mut self) -> &mut CallState {
        self.store.data_mut()
    }

    /// Sets how much fuel calls may use.
    #[inline]
    pub(super) fn set_fuel(&mut self, fuel: u64) {
        self.store.set_fuel(fuel).expect("fuel is on");
    }

    /// Returns how much of that fuel is left.
    #[inline]
    pub(super) fn fuel(&self) -> u64 {
        self.store.get_fuel().expect("fuel is on")
    }

    /// Calls a guest's `agent_step` with an address, and returns its status.
    #[inline]
    pub(super) fn step(&mut self, guest: GuestIndex, address: u32) -> wasmtime::Result<u32> {
        let step = self.hot[guest.index()].step;
        // SAFETY: it is the `CallExport` of an instance in the store.
        unsafe { self.call(step, address) }
    }

    /// Calls a guest's `agent_receive` with an address, and returns its status: 0 where it has none.
    #[inline]
    pub(super) fn receive(&mut self, guest: GuestIndex, address: u32) -> wasmtime::Result<u32> {
        let Some(receive) = self.cold[guest.index()].receive else { return Ok(0) };
        // SAFETY: it is the `CallExport` of an instance in the store.
        unsafe { self.call(receive, address) }
    }

    /// Calls another export of a guest with an address, and returns its status.
    pub(super) fn call_export(
        &mut self,
        guest: GuestIndex,
        export: &CallExport,
        address: u32,
    ) -> wasmtime::Result<u32> {
        let function = export.of(self.store, self.cold[guest.index()].instance);
        // SAFETY: it is the `CallExport` of an instance in the store.
        unsafe { self.call(function, address) }
    }

    /// Calls a function with an address, and returns its status.
    ///
    /// # Safety
    /// It takes an `i32` and returns one, and is of an instance in the store.
    #[inline]
    pub(super) unsafe fn call(&mut self, function: Func, address: u32) -> wasmtime::Result<u32> {
        let mut values = [ValRaw::u32(address)];
        // SAFETY: the caller's promise: `values` has room for the parameter, and for the result. No call of the store is running: it is borrowed.
        unsafe { function.call_unchecked(&mut *self.store, &raw mut values)? };
        Ok(values[0].get_u32())
    }

    /// Returns how deep the calls in a guest were when it trapped, and makes it fit to be called again.
    pub(super) fn take_depth(&mut self, guest: GuestIndex) -> u32 {
        self.program.template.state().take_depth(self.store, self.cold[guest.index()].instance)
    }

    /// Makes a guest as new: memory, globals, and what is noted of it.
    pub(super) fn renew(&mut self, guest: GuestIndex) {
        let Self { program, store, hot, cold, slots } = self;
        let (template, hot) = (&program.template, &mut hot[guest.index()]);
        if !core::mem::take(&mut hot.marks.used) {
            return;
        }
        // SAFETY: the slot is this guest's, and no guest runs: all of them are borrowed.
        unsafe { slots.clear(guest.index()) };
        // SAFETY: as above; the slot was cleared.
        unsafe { template.image().restore(template.state(), store, cold[guest.index()].instance, hot.slot) };
    }

    /// Starts to load what a call of a guest touches first; nothing where there is no such guest.
    #[inline]
    pub(super) fn prefetch(&self, guest: GuestIndex) {
        let Some(hot) = self.hot.get(guest.index()) else { return };
        let (base, layout) = (hot.slot.base().cast_const(), self.layout());
        fetch(hot.vm);
        fetch(base.wrapping_add(layout.context as usize));
        fetch(base.wrapping_add(layout.inbox as usize));
        fetch(base.wrapping_add(layout.outbox as usize));
    }
}

/// Starts to load a line into the cache. Any address will do.
#[inline]
fn fetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on the cache, whatever the address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
