//! What takes effect later: timers, what was deferred, what frames owe, requests, commands, swaps that were asked for.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_engine_components::{AgentId, Issuer};

use super::entity::StateError;
use super::pass::{Loading, Saving, only};
use super::section::{Reader, Section, write_serde};
use crate::world::commands::PendingCommands;
use crate::world::requests::{Pending, Requests};
use crate::world::scheduler::Scheduler;
use crate::world::swaps::RequestedSwaps;

pub(super) fn save_timers(saving: &mut Saving<'_>, section: &mut Section) {
    for (frame, agent) in saving.world.resource::<Scheduler>().timers.values() {
        section.push(agent.0, |bytes| bytes.extend_from_slice(&frame.to_le_bytes()));
    }
}

/// Those whose time is past are looked at in the next frame, as they would have been.
pub(super) fn load_timers(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let position = entry.position(loading.directory)?;
        let frame = entry.read(Reader::u64)?;
        loading.scheduler.wake(position, Some((frame, AgentId(entry.id))));
    }
    Ok(())
}

pub(super) fn save_deferred(saving: &mut Saving<'_>, section: &mut Section) {
    for (&at, since) in &saving.world.resource::<Scheduler>().deferred {
        section.push(saving.directory.ids[at as usize].0, |bytes| bytes.extend_from_slice(&since.to_le_bytes()));
    }
}

pub(super) fn load_deferred(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let position = entry.position(loading.directory)?;
        // Since a frame that is over.
        let since = entry.read(|value| value.u64().filter(|since| *since < loading.frame))?;
        loading.scheduler.deferred.insert(position, since);
    }
    Ok(())
}

/// No place: before the first round.
const NOBODY: u64 = u64::MAX;

/// The cursor is a place, whoever has it: that of the first agent there.
pub(super) fn save_cursor(saving: &mut Saving<'_>, section: &mut Section) {
    let scheduler = saving.world.resource::<Scheduler>();
    let id = saving.directory.ids.get(scheduler.cursor as usize).filter(|_| scheduler.waves > 0);
    let place = id.map_or(NOBODY, |id| AgentId::new(id.group(), id.ordinal()).0);
    section.push(0, |bytes| bytes.extend_from_slice(&place.to_le_bytes()));
}

pub(super) fn load_cursor(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let entry = only(section)?;
    let is_place = |id: &u64| *id == NOBODY || AgentId(*id).generation() == 0;
    let place = entry.read(|value| value.u64().filter(is_place))?;
    loading.scheduler.cursor = if place == NOBODY {
        u32::MAX
    } else {
        let id = AgentId(place);
        let group = loading.directory.group(id.group()).filter(|group| id.ordinal() < group.spec.agents_max);
        let group = group.ok_or_else(|| entry.unfit(format!("the round stands at {id}, which is no place here")))?;
        group.start + id.ordinal()
    };
    Ok(())
}

pub(super) fn save_group_debts(saving: &mut Saving<'_>, section: &mut Section) {
    let scheduler = saving.world.resource::<Scheduler>();
    let groups = saving.directory.groups.iter().map(|group| u64::from(group.id.0)).zip(&scheduler.group_debts);
    for (id, debt) in std::iter::once((0, &scheduler.debt)).chain(groups).filter(|(_, debt)| **debt > 0) {
        section.push(id, |bytes| bytes.extend_from_slice(&debt.to_le_bytes()));
    }
}

pub(super) fn load_group_debts(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let debt = entry.read(Reader::u64)?;
        if entry.id == 0 {
            loading.scheduler.debt = debt;
        } else {
            let at = entry.group(loading.directory)?;
            loading.scheduler.group_debts[at] = debt;
        }
    }
    Ok(())
}

/// A tenant's number is its place among the names of a scenario, which a branch may add to: its name says who it is.
pub(super) fn save_tenant_debts(saving: &mut Saving<'_>, section: &mut Section) {
    let scheduler = saving.world.resource::<Scheduler>();
    for ((tenant, debt), id) in scheduler.tenants.iter().zip(&scheduler.tenant_debts).zip(0..) {
        if *debt > 0 {
            section.push(id, |bytes| {
                bytes.extend_from_slice(&debt.to_le_bytes());
                bytes.extend_from_slice(tenant.name.as_bytes());
            });
        }
    }
}

pub(super) fn load_tenant_debts(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let (debt, name) = entry.read(|value| Some((value.u64()?, value.text()?)))?;
        let tenants = &loading.scheduler.tenants;
        let same =
            usize::try_from(entry.id).ok().filter(|&at| tenants.get(at).is_some_and(|tenant| tenant.name == name));
        let at = same.or_else(|| tenants.iter().position(|tenant| tenant.name == name));
        let at = at.ok_or_else(|| entry.unfit(format!("the scenario lacks tenant `{name}`")))?;
        loading.scheduler.tenant_debts[at] = debt;
    }
    Ok(())
}

pub(super) fn save_requests(saving: &mut Saving<'_>, section: &mut Section) {
    for (&(from, correlation), pending) in &saving.world.resource::<Requests>().pending {
        section.push(from.0, |bytes| {
            for number in [correlation, pending.to.0, pending.asked, pending.deadline] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        });
    }
}

pub(super) fn load_requests(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let mut requests = Requests::default();
    for entry in section.items() {
        entry.position(loading.directory)?;
        let [correlation, to, asked, deadline] =
            entry.read(|value| Some([value.u64()?, value.u64()?, value.u64()?, value.u64()?]))?;
        let pending = Pending { to: AgentId(to), asked, deadline };
        if !requests.insert((AgentId(entry.id), correlation), pending) {
            return Err(entry.damaged());
        }
    }
    loading.world.insert_resource(requests);
    Ok(())
}

fn save_queue<T: Serialize>(queue: &[T], section: &mut Section) {
    for (one, at) in queue.iter().zip(0..) {
        section.push(at, |bytes| write_serde(bytes, one, "a command"));
    }
}

/// What waits in a queue. Nothing does before the first frame.
fn load_queue<T: DeserializeOwned>(loading: &Loading<'_>, section: &Section) -> Result<Vec<T>, StateError> {
    section.items().map(|entry| entry.read(|value| value.serde().filter(|_| loading.frame > 0))).collect()
}

pub(super) fn save_agents_commands(saving: &mut Saving<'_>, section: &mut Section) {
    save_queue(&saving.world.resource::<PendingCommands>().agents, section);
}

pub(super) fn load_agents_commands(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let agents: Vec<wasm_engine_components::Command> = load_queue(loading, section)?;
    if !agents.iter().all(|command| matches!(command.issuer, Issuer::Agent { .. })) {
        return Err(StateError::Damaged { component: section.component.clone(), entity: None });
    }
    loading.world.resource_mut::<PendingCommands>().agents = agents;
    Ok(())
}

pub(super) fn save_native_commands(saving: &mut Saving<'_>, section: &mut Section) {
    save_queue(&saving.world.resource::<PendingCommands>().native, section);
}

pub(super) fn load_native_commands(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let native = load_queue(loading, section)?;
    loading.world.resource_mut::<PendingCommands>().native = native;
    Ok(())
}

pub(super) fn save_swaps(saving: &mut Saving<'_>, section: &mut Section) {
    save_queue(&saving.world.resource::<RequestedSwaps>().0, section);
}

pub(super) fn load_swaps(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let swaps = load_queue(loading, section)?;
    loading.world.resource_mut::<RequestedSwaps>().0 = swaps;
    Ok(())
}
