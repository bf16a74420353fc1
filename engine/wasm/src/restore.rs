//! Puts guests back into the state that captures hold. Everything is checked before anything is changed, because a file may be wrong in any
//! way, and the sizes of memories are what keeps each guest inside its own. In the end, the digest of all guests must be that of the
//! last capture.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use wasm_engine_abi::agent_key;
use wasm_engine_components::{AgentId, AgentSlot, GroupId, ModuleSwap, limits::WASM_PAGE_BYTES};

use super::{
    WasmRuntime,
    captured::{GuestCapture, InstanceColumns},
    guest_error::GuestStateError,
    guest_index::GuestIndex,
    image::InstanceState,
    pages::PAGE_BYTES,
    program::GroupProgram,
    shard::{Shard, shard_of},
    stack::on_deep_stack,
};

/// A page that a shard is to have: index of its guest in the shard, number of the page, and its contents; `None` for zeros.
type Entry<'a> = (GuestIndex, u32, Option<&'a [u8; PAGE_BYTES]>);

/// The state that one shard is to have.
struct ShardPlan<'a> {
    program: Arc<GroupProgram>,
    /// Index of its first instance in the columns, and the number of its instances.
    first: usize,
    instances: usize,
    /// Index of its first instance's globals.
    first_word: usize,
    /// Its pages. If a page of an instance is there several times, the last one counts.
    pages: Vec<Entry<'a>>,
}

impl WasmRuntime {
    /// Puts all guests into the state that a chain of captures holds: a full one, then those that go on from it, each from the one
    /// before. `ids` are the agents that have the slots, by slot, and `modules` the groups whose module was swapped, with its
    /// number. The runtime was loaded with the same modules and groups as the one that was captured; what its guests did
    /// meanwhile doesn't matter.
    ///
    /// # Errors
    /// The captures don't fit the modules, the digest in the end isn't that of the last capture, or no memory is left for instances. In the first
    /// case, the runtime is as it was.
    pub fn restore(
        &mut self,
        ids: &[AgentId],
        modules: &BTreeMap<GroupId, u32>,
        chain: &[GuestCapture],
    ) -> Result<(), GuestStateError> {
        on_deep_stack(|| {
            let last = check_chain(chain)?;
            let mut plans = self.plan(modules, &last.agents)?;
            for capture in chain {
                self.add_pages(&mut plans, capture)?;
            }
            let shards: Vec<_> = self.shards.par_iter_mut().zip(&mut plans).collect();
            let agents = &last.agents;
            // The error in the end is that of the first shard, in the order of the slots.
            let checks = shards.into_par_iter().map(|(shard, plan)| {
                plan.check(shard, agents, ids)?;
                Ok((shard, plan))
            });
            let shards = checks.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>, _>>()?;
            let restored = shards.into_par_iter().map(|(shard, plan)| shard.restore(plan, agents, ids));
            restored.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()?;
            self.copied = None;
            let found = self.memory_digest();
            if found != last.digest {
                return Err(GuestStateError::Digest { stated: last.digest, found });
            }
            Ok(())
        })
    }

    /// Splits the columns by shards, and finds the programs.
    fn plan<'a>(
        &self,
        modules: &BTreeMap<GroupId, u32>,
        agents: &InstanceColumns,
    ) -> Result<Vec<ShardPlan<'a>>, GuestStateError> {
        check_columns(agents)?;
        let mut plans = Vec::with_capacity(self.shards.len());
        let (mut first, mut first_word) = (0, 0);
        for shard in &self.shards {
            let group = shard.program().group;
            let end = u64::from(shard.first_slot.0) + u64::from(shard.agents_max);
            let instances = agents.slots[first..].partition_point(|slot| u64::from(slot.0) < end);
            let slots = &agents.slots[first..first + instances];
            // A shard makes its instances one after another, from its first slot on.
            if let Some((&slot, _)) = slots.iter().zip(shard.first_slot.0..).find(|&(slot, next)| slot.0 != next) {
                return Err(GuestStateError::Slot { slot });
            }
            let program = self.program(group, modules.get(&group).copied())?;
            plans.push(ShardPlan { program, first, instances, first_word, pages: Vec::new() });
            // In range: `check_columns` added up all of them.
            first_word += agents.words[first..first + instances].iter().map(|&words| words as usize).sum::<usize>();
            first += instances;
        }
        if let Some(&slot) = agents.slots.get(first) {
            return Err(GuestStateError::Slot { slot });
        }
        if let Some(&group) = modules.keys().find(|&&group| self.programs.iter().all(|own| own.group != group)) {
            return Err(GuestStateError::Group { group });
        }
        Ok(plans)
    }

    fn program(&self, group: GroupId, module: Option<u32>) -> Result<Arc<GroupProgram>, GuestStateError> {
        let Some(module) = module else {
            let own = self.programs.iter().find(|program| program.group == group);
            return own.cloned().ok_or(GuestStateError::Group { group });
        };
        let swap = ModuleSwap { group, module };
        let found = self.alternatives.iter().find(|other| other.swap == swap);
        let found = found.and_then(|found| found.program.as_ref().ok());
        found.cloned().ok_or(GuestStateError::Module { group, module })
    }

    /// Adds a capture's pages to the shards' own.
    fn add_pages<'a>(&self, plans: &mut [ShardPlan<'a>], capture: &'a GuestCapture) -> Result<(), GuestStateError> {
        let mut add = |before: &mut Option<(AgentSlot, u32)>, slot, page, bytes| {
            if before.replace((slot, page)) >= Some((slot, page)) {
                return Err(GuestStateError::Order { slot, page });
            }
            let (shard, guest) = shard_of(&self.shards, slot).ok_or(GuestStateError::Slot { slot })?;
            plans[shard].pages.push((guest, page, bytes));
            Ok(())
        };
        let mut before = None;
        for &(slot, page) in &capture.zeroed {
            add(&mut before, slot, page, None)?;
        }
        before = None;
        for block in &capture.pages {
            let (pages, rest) = block.bytes.as_chunks::<PAGE_BYTES>();
            if !rest.is_empty() || pages.len() != block.pages.len() || pages.len() != block.slots.len() {
                return Err(GuestStateError::Columns { what: "blocks of pages" });
            }
            for ((&slot, &page), bytes) in block.slots.iter().zip(&block.pages).zip(pages) {
                add(&mut before, slot, page, Some(bytes))?;
            }
        }
        Ok(())
    }
}

/// Returns the last capture of a chain, which must begin with a full capture and have no other full one.
fn check_chain(chain: &[GuestCapture]) -> Result<&GuestCapture, GuestStateError> {
    let (first, rest) = chain.split_first().ok_or(GuestStateError::Chain)?;
    if !first.full || rest.iter().any(|capture| capture.full) {
        return Err(GuestStateError::Chain);
    }
    Ok(rest.last().unwrap_or(first))
}

/// Checks that the columns have the same length, that slots ascend, and that there are as many words of globals as the instances say.
fn check_columns(agents: &InstanceColumns) -> Result<(), GuestStateError> {
    let InstanceColumns { slots, used, memory_bytes, shown, words, globals } = agents;
    if [used.len(), memory_bytes.len(), shown.len(), words.len()] != [slots.len(); 4] {
        return Err(GuestStateError::Columns { what: "instances" });
    }
    if let Some(pair) = slots.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(GuestStateError::Slot { slot: pair[1] });
    }
    if words.iter().map(|&words| u64::from(words)).sum::<u64>() != globals.len() as u64 {
        return Err(GuestStateError::Columns { what: "globals" });
    }
    Ok(())
}

impl ShardPlan<'_> {
    /// Checks the state that each instance of the shard is to have, and sorts the pages.
    fn check(&mut self, shard: &Shard, agents: &InstanceColumns, ids: &[AgentId]) -> Result<(), GuestStateError> {
        // The sort is stable: a page of a later capture comes after that of an earlier one, and the later one is kept.
        self.pages.sort_by_key(|&(guest, page, _)| (guest, page));
        self.pages.dedup_by(|later, kept| {
            let same = (later.0, later.1) == (kept.0, kept.1);
            if same {
                *kept = *later;
            }
            same
        });
        self.pages.retain(|(_, _, bytes)| bytes.is_some());
        let mut word = self.first_word;
        let mut pages = self.pages.as_slice();
        for guest in GuestIndex::range(0..self.instances) {
            let row = self.first + guest.index();
            let slot = agents.slots[row];
            let globals = &agents.globals[word..word + agents.words[row] as usize];
            word += globals.len();
            let (own, rest) = pages.split_at(pages.partition_point(|&(of, _, _)| of <= guest));
            pages = rest;
            if agents.used[row] {
                self.check_instance(shard, slot, agents.memory_bytes[row], globals)?;
                self.check_id(shard, slot, ids)?;
                let pages = agents.memory_bytes[row] / PAGE_BYTES as u64;
                if let Some(&(_, page, _)) = own.last().filter(|&&(_, page, _)| u64::from(page) >= pages) {
                    return Err(GuestStateError::Page { slot, page });
                }
            } else if let Some(&(_, page, _)) = own.first() {
                return Err(GuestStateError::Page { slot, page });
            }
            if self.program.readable.is_none() && agents.shown[row] != 0 {
                return Err(GuestStateError::Shown { slot });
            }
        }
        match pages.first() {
            Some(&(guest, page, _)) => Err(GuestStateError::Page { slot: shard.first_slot + guest, page }),
            None => Ok(()),
        }
    }

    fn check_instance(
        &self,
        shard: &Shard,
        slot: AgentSlot,
        bytes: u64,
        globals: &[u64],
    ) -> Result<(), GuestStateError> {
        let state = self.program.template.state();
        let bytes_min = self.program.template.image().memory_bytes() as u64;
        let bytes_max = state.memory_bytes_max().min(shard.guests.memory_bytes_max() as u64);
        if bytes < bytes_min || bytes > bytes_max || !bytes.is_multiple_of(WASM_PAGE_BYTES) {
            return Err(GuestStateError::Memory { slot, bytes, bytes_min, bytes_max });
        }
        let words = state.globals().map(|(_, kind)| kind.words()).sum::<usize>();
        if globals.len() != words {
            return Err(GuestStateError::Globals { slot, words: globals.len(), expected: words });
        }
        let mut left = globals;
        for (index, kind) in state.globals() {
            let (own, rest) = left.split_at(kind.words());
            left = rest;
            if !kind.accepts(own) {
                return Err(GuestStateError::Global { slot, index });
            }
        }
        Ok(())
    }

    fn check_id(&self, shard: &Shard, slot: AgentSlot, ids: &[AgentId]) -> Result<(), GuestStateError> {
        let ordinal = shard.first_ordinal + (slot - shard.first_slot);
        match ids.get(slot.index()) {
            Some(id) if (id.group(), id.ordinal()) == (self.program.group, ordinal) => Ok(()),
            _ => Err(GuestStateError::Id { slot }),
        }
    }
}

impl Shard {
    /// Puts the shard into the state of a plan that was checked.
    fn restore(
        &mut self,
        plan: &ShardPlan<'_>,
        agents: &InstanceColumns,
        ids: &[AgentId],
    ) -> Result<(), GuestStateError> {
        if !Arc::ptr_eq(self.program(), &plan.program) {
            self.replace(&plan.program);
        }
        for guest in GuestIndex::range(self.guests.len()..plan.instances) {
            let made = self.add();
            made.map_err(|problem| GuestStateError::Instance { slot: self.first_slot + guest, problem })?;
        }
        let mut word = plan.first_word;
        let mut pages = plan.pages.iter().peekable();
        // Instances that the capture doesn't have are made as new. They may as well not exist.
        for guest in self.guests.indexes() {
            self.renew(guest);
            let row = plan.first + guest.index();
            if guest.index() >= plan.instances {
                continue;
            }
            let globals = &agents.globals[word..word + agents.words[row] as usize];
            word += globals.len();
            if let Some(shown) = self.shown.get_mut(guest.index()) {
                *shown = agents.shown[row];
            }
            // An agent that has been in its initial image since a swap has its random key, too.
            if let Some(id) = ids.get(agents.slots[row].index()) {
                self.guests.marks_mut(guest).key = agent_key(plan.program.seed, id.0);
            }
            if !agents.used[row] {
                continue;
            }
            let mut own = Vec::new();
            while let Some(&(_, page, bytes)) = pages.next_if(|&&(of, _, _)| of == guest) {
                own.extend(bytes.map(|bytes| (page, bytes)));
            }
            let state = InstanceState { memory_bytes: agents.memory_bytes[row] as usize, pages: own, globals };
            self.guests.put(guest, &state);
        }
        Ok(())
    }

    /// Makes an instance as new, if it has changed since it was made.
    fn renew(&mut self, guest: GuestIndex) {
        self.guests.renew(guest);
        if let Some(shown) = self.shown.get_mut(guest.index()) {
            *shown = 0;
        }
    }
}
