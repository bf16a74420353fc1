//! State of a world that takes effect later: timers, deferred calls, debts of fuel, requests, commands, swaps that were asked for.

use wasm_engine_components::{AgentId, Issuer};

use super::entity::StateError;
use super::part::{Coverage, StatePart, Target};
use super::pass::{Loading, Saving, only};
use super::section::Section;
use crate::codec::{self, AgentQueue, Cursor, Deferred, GroupDebts, NativeQueue, StateCodec, TenantDebts, Timers};
use crate::world::commands::PendingCommands;
use crate::world::requests::Requests;
use crate::world::swaps::RequestedSwaps;

impl StatePart for Timers {
    const COVERAGE: Coverage = Coverage::Carried(|saving| saving.scheduler.timers.sum());

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for (frame, agent) in saving.scheduler.timers.iter() {
            to.put(agent.0, frame);
        }
    }

    /// Loads the timers. Those whose frames have come are looked at in the next frame, as they would have been.
    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let slot = entry.slot(loading.directory)?;
            let frame = entry.decode::<Self>()?;
            loading.scheduler.timers.set(slot, Some((frame, AgentId(entry.id))));
        }
        Ok(())
    }
}

impl StatePart for Deferred {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for (slot, since) in &saving.scheduler.deferred {
            to.put(saving.directory.ids[slot.index()].0, *since);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let slot = entry.slot(loading.directory)?;
            let since = entry.decode::<Self>()?;
            // An agent can wait only since a frame that is over.
            if since >= loading.frame {
                return Err(entry.damaged());
            }
            loading.scheduler.deferred.insert(slot, since);
        }
        Ok(())
    }
}

/// Is saved in place of the cursor before the first round.
const NO_SLOT: u64 = u64::MAX;

/// The cursor is a slot, whichever agent has it by now. It is saved as the id of the first agent there.
impl StatePart for Cursor {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let id = saving.scheduler.cursor.map(|slot| saving.directory.ids[slot.index()]);
        to.put(0, id.map_or(NO_SLOT, |id| AgentId::new(id.group(), id.ordinal()).0));
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let entry = only(section)?;
        let saved = entry.decode::<Self>()?;
        if saved == NO_SLOT {
            loading.scheduler.cursor = None;
            return Ok(());
        }
        let id = AgentId(saved);
        if id.generation() != 0 {
            return Err(entry.damaged());
        }
        let group = loading.directory.group(id.group()).filter(|group| id.ordinal() < group.spec.agents_max);
        let group = group.ok_or_else(|| entry.unfit(format!("the round stands at {id}, which has no slot here")))?;
        loading.scheduler.cursor = Some(group.start + id.ordinal());
        Ok(())
    }
}

impl StatePart for GroupDebts {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let scheduler = saving.scheduler;
        let groups = saving.directory.groups.iter().map(|group| u64::from(group.id.0)).zip(&scheduler.group_debts);
        for (id, debt) in std::iter::once((0, &scheduler.debt)).chain(groups).filter(|(_, debt)| **debt > 0) {
            to.put(id, *debt);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let debt = entry.decode::<Self>()?;
            if debt == 0 {
                return Err(entry.damaged());
            }
            if entry.id == 0 {
                loading.scheduler.debt = debt;
            } else {
                let at = entry.group(loading.directory)?;
                loading.scheduler.group_debts[at.index()] = debt;
            }
        }
        Ok(())
    }
}

impl StatePart for TenantDebts {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let scheduler = saving.scheduler;
        for ((tenant, debt), id) in scheduler.tenants.iter().zip(&scheduler.tenant_debts).zip(0..) {
            if *debt > 0 {
                to.put(id, (*debt, &tenant.name));
            }
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let (debt, name) = entry.decode::<Self>()?;
            if debt == 0 {
                return Err(entry.damaged());
            }
            let tenants = &loading.scheduler.tenants;
            let same =
                usize::try_from(entry.id).ok().filter(|&at| tenants.get(at).is_some_and(|tenant| tenant.name == name));
            let at = same.or_else(|| tenants.iter().position(|tenant| tenant.name == name));
            let at = at.ok_or_else(|| entry.unfit(format!("the scenario lacks tenant `{name}`")))?;
            loading.scheduler.tenant_debts[at] = debt;
        }
        Ok(())
    }
}

impl StatePart for codec::PendingRequests {
    const COVERAGE: Coverage = Coverage::Carried(|saving| saving.world.resource::<Requests>().sum());
    const IS_REPEATED: bool = true;

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for (from, request) in saving.world.resource::<Requests>().iter() {
            to.put(from.0, *request);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let mut requests = Requests::default();
        for entry in section.items() {
            entry.slot(loading.directory)?;
            if !requests.insert(AgentId(entry.id), entry.decode::<Self>()?) {
                return Err(entry.damaged());
            }
        }
        loading.world.insert_resource(requests);
        Ok(())
    }
}

fn save_queue<C, Item, T: Target<C>>(queue: &[Item], to: &mut T)
where
    C: for<'a> StateCodec<Value<'a> = &'a Item>,
{
    for (one, at) in queue.iter().zip(0..) {
        to.put(at, one);
    }
}

/// Returns the entries of a queue. There are none before the first frame.
fn load_queue<C, Item>(loading: &Loading<'_>, section: &Section) -> Result<Vec<Item>, StateError>
where
    C: for<'a> StateCodec<Decoded<'a> = Item>,
{
    let items = section.items().map(|entry| match loading.frame {
        0 => Err(entry.damaged()),
        _ => entry.decode::<C>(),
    });
    items.collect()
}

impl StatePart for AgentQueue {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        save_queue(&saving.world.resource::<PendingCommands>().agents, to);
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let agents = load_queue::<Self, _>(loading, section)?;
        if !agents.iter().all(|command| matches!(command.issuer, Issuer::Agent { .. })) {
            return Err(StateError::Damaged { component: section.component.clone(), entity: None });
        }
        loading.world.resource_mut::<PendingCommands>().agents = agents;
        Ok(())
    }
}

impl StatePart for NativeQueue {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        save_queue(&saving.world.resource::<PendingCommands>().native, to);
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let native = load_queue::<Self, _>(loading, section)?;
        loading.world.resource_mut::<PendingCommands>().native = native;
        Ok(())
    }
}

impl StatePart for codec::SwapQueue {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        save_queue(&saving.world.resource::<RequestedSwaps>().0, to);
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let swaps = load_queue::<Self, _>(loading, section)?;
        loading.world.resource_mut::<RequestedSwaps>().0 = swaps;
        Ok(())
    }
}
