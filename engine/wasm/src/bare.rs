//! The sandbox's instances with no engine around them: the floor that benchmarks compare a frame with. The same compiled code,
//! the same stores and the same arena as in a run; what is left out is everything that makes it a runtime.

use wasm_engine_abi::ExchangeLayout;
use wasmtime::{Func, Store, ValRaw};

use super::WasmRuntime;
use super::arena::SlotRange;
use super::call_state::CallState;

/// Instances that share a store.
pub struct BareShard {
    store: Store<CallState>,
    agents: Vec<(Func, *mut u8)>,
    layout: ExchangeLayout,
    fuel_per_step_max: u64,
    /// Held so that the arena outlives the store.
    _slots: SlotRange,
}

// SAFETY: the pointers lead into the arena, and only a borrower of the shard follows them.
unsafe impl Send for BareShard {}

impl WasmRuntime {
    /// Takes the runtime apart into its shards. The instances stay as they are, so initialise them first.
    pub fn into_bare(self) -> Vec<BareShard> {
        let shards = self.shards.into_iter().map(|shard| {
            let recipe = &shard.program().recipe;
            let (layout, fuel_per_step_max) = (*recipe.layout(), recipe.limits().fuel_per_step_max);
            let (store, agents, slots) = shard.guests.into_parts();
            BareShard { store, agents, layout, fuel_per_step_max, _slots: slots }
        });
        shards.collect()
    }
}

impl BareShard {
    /// Returns the number of agents in the shard.
    pub const fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Returns where the parts of the exchange block are in each agent's memory.
    pub const fn layout(&self) -> &ExchangeLayout {
        &self.layout
    }

    /// Returns the start of an agent's memory, which has at least the bytes that the layout needs. It stays valid as long as the shard exists.
    #[inline]
    pub fn memory(&mut self, at: usize) -> *mut u8 {
        self.agents[at].1
    }

    /// Calls `agent_step` with the fuel of a step. Returns its status and the fuel that it used; `None` if it trapped.
    #[inline]
    pub fn step(&mut self, at: usize) -> Option<(u32, u64)> {
        let (step, _) = self.agents[at];
        self.store.set_fuel(self.fuel_per_step_max).ok()?;
        let mut values = [ValRaw::u32(self.layout.context)];
        // SAFETY: `agent_step` is a `CallExport`: it takes one i32 and returns one. It is of this store, and no call is running.
        unsafe { step.call_unchecked(&mut self.store, &raw mut values) }.ok()?;
        Some((values[0].get_u32(), self.fuel_per_step_max - self.store.get_fuel().ok()?))
    }
}
