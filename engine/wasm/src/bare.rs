//! The sandbox's instances with no engine around them: the floor that benchmarks compare a frame with. The same compiled code,
//! the same stores and the same arena as in a run; what is left out is everything that makes it a runtime.

use wasm_engine_abi::ExchangeLayout;
use wasmtime::Func;

use super::WasmRuntime;
use super::guests::Guests;

/// Instances that share a store.
pub struct BareShard {
    guests: Guests,
    /// `agent_step` of each guest, and the start of its memory.
    agents: Vec<(Func, *mut u8)>,
    layout: ExchangeLayout,
    fuel_per_step_max: u64,
}

// SAFETY: the pointers lead into the arena, which the guests hold, and nothing here follows them.
unsafe impl Send for BareShard {}

impl WasmRuntime {
    /// Takes the runtime apart into its shards. The instances stay as they are, so initialise them first.
    pub fn into_bare(self) -> Vec<BareShard> {
        let shards = self.shards.into_iter().map(|shard| {
            let template = &shard.program().template;
            let (layout, fuel_per_step_max) = (*template.layout(), template.limits().fuel_per_step_max);
            BareShard { agents: shard.guests.steps(), guests: shard.guests, layout, fuel_per_step_max }
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
        let mut calls = self.guests.calls();
        calls.set_fuel(self.fuel_per_step_max);
        // SAFETY: it is the `CallExport` of one of these guests, none of which was replaced: both fields are private, and are made together.
        let status = unsafe { calls.call(step, self.layout.context) }.ok()?;
        Some((status, self.fuel_per_step_max - calls.fuel()))
    }
}
