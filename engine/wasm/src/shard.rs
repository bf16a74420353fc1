//! Shards: up to [`SHARD_AGENTS`] agents of one group, with one store, stepped by one thread at a time. How agents are spread over
//! shards depends on their numbers alone. [`super::guests`] has a shard's instances, and [`super::step`] its hot path.

use std::sync::Arc;

use wasm_engine_abi::agent_key;
use wasm_engine_components::{AgentId, AgentSlot};
use wasm_engine_systems::ports::StepRequest;

use super::{
    arena::SlotRange,
    guest_index::GuestIndex,
    guests::Guests,
    problem::ModuleProblem,
    program::{GroupProgram, OUTBOX_BYTES_MAX},
};

/// Most agents of a shard. It is a constant, because no result depends on how the work is split, but every measurement does.
pub(super) const SHARD_AGENTS: u32 = 256;

// The outboxes of a shard are addressed by 32 bits.
const _: () = assert!(SHARD_AGENTS as u64 * OUTBOX_BYTES_MAX as u64 <= u32::MAX as u64);

/// The agents in some consecutive slots of a group.
pub(super) struct Shard {
    /// Their instances, which are made when they are first needed.
    pub guests: Guests,
    /// For each agent, the number of frames whose shared regions it has been shown; 0 for none. Empty if the group reads no regions.
    pub shown: Vec<u64>,
    pub first_ordinal: u32,
    /// Slot of the first agent in the dense tables.
    pub first_slot: AgentSlot,
    /// Number of agents that it has room for.
    pub agents_max: u32,
}

/// The agents that a shard has.
#[derive(Clone, Copy)]
pub(super) struct ShardPlan {
    pub first_ordinal: u32,
    pub first_slot: AgentSlot,
    /// Number of agents that it starts with.
    pub agents: u32,
    /// Number of agents that it may have.
    pub agents_max: u32,
}

/// Returns the index of the shard that has a slot, and that of the slot's guest there; `None` where no agent may have the slot.
pub(super) fn shard_of(shards: &[Shard], slot: AgentSlot) -> Option<(usize, GuestIndex)> {
    let shard = shards.partition_point(|shard| shard.first_slot <= slot).checked_sub(1)?;
    let guest = GuestIndex(slot - shards[shard].first_slot);
    (guest.0 < shards[shard].agents_max).then_some((shard, guest))
}

impl Shard {
    /// Makes a shard and its instances. `slots` are as many as there may be agents.
    pub(super) fn new(program: &Arc<GroupProgram>, slots: SlotRange, plan: ShardPlan) -> Result<Self, ModuleProblem> {
        let mut shard = Self {
            guests: Guests::new(program, slots),
            shown: Vec::new(),
            first_ordinal: plan.first_ordinal,
            first_slot: plan.first_slot,
            agents_max: plan.agents_max,
        };
        shard.guests.reserve(plan.agents as usize);
        for _ in 0..plan.agents {
            shard.add()?;
        }
        Ok(shard)
    }

    /// Returns the program that its agents are made of.
    #[inline]
    pub(super) const fn program(&self) -> &Arc<GroupProgram> {
        self.guests.program()
    }

    /// Makes the instance of the next agent.
    pub(super) fn add(&mut self) -> Result<(), ModuleProblem> {
        let ordinal = self.first_ordinal + self.guests.len() as u32;
        let program = self.program();
        let agent = AgentId::new(program.group, ordinal);
        let (key, reads_regions) = (agent_key(program.seed, agent.0), program.readable.is_some());
        self.guests.add(key)?;
        if reads_regions {
            self.shown.push(0);
        }
        Ok(())
    }

    /// Makes the instances that calls need for the first time.
    #[cold]
    pub(super) fn make_room(&mut self, requests: &[StepRequest]) {
        let last = requests.iter().map(|request| GuestIndex(request.slot - self.first_slot)).max();
        while last.is_some_and(|last| self.guests.len() <= last.index()) {
            // The module was instantiated at load, in a slot like this one.
            self.add().expect("there is memory for one more instance of a module that was loaded");
        }
    }

    /// Ends all instances, and makes fresh ones of another program in the same slots. They are still the same agents.
    pub(super) fn replace(&mut self, program: &Arc<GroupProgram>) {
        self.guests.replace(program);
        self.shown.clear();
        if program.readable.is_some() {
            self.shown.resize(self.guests.len(), 0);
        }
    }
}
