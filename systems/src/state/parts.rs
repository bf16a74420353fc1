//! The table of all that is saved, in the order in which it is loaded: what others refer to comes before them.

use wasm_engine_components::{Digest, Lane};

use super::entity::StateError;
use super::pass::{Loading, Saving, only};
use super::section::{EntityKind, Section, WorldState};
use super::{agents, mail, time, work};
use crate::frame::FrameClock;
use crate::world::digest::DigestChain;

/// One section of the engine's own state.
pub(super) struct Part {
    pub component: &'static str,
    pub lane: Lane,
    pub of: EntityKind,
    /// Whether an id may have several entries.
    pub repeated: bool,
    pub save: fn(&mut Saving<'_>, &mut Section),
    pub load: fn(&mut Loading<'_>, &Section) -> Result<(), StateError>,
}

/// A row of the table, each id of which has one entry.
const fn part(
    component: &'static str,
    lane: Lane,
    of: EntityKind,
    save: fn(&mut Saving<'_>, &mut Section),
    load: fn(&mut Loading<'_>, &Section) -> Result<(), StateError>,
) -> Part {
    Part { component, lane, of, repeated: false, save, load }
}

impl Part {
    const fn repeated(self) -> Self {
        Self { repeated: true, ..self }
    }
}

pub(super) const PARTS: &[Part] = &[
    part("FrameClock", Lane::Inputs, EntityKind::World, save_clock, load_clock),
    part("Places", Lane::Agents, EntityKind::Group, agents::save_places, agents::load_places),
    part("Lifecycle", Lane::Agents, EntityKind::Agent, agents::save_lifecycles, agents::load_lifecycles),
    part("FaultHistory", Lane::Agents, EntityKind::Agent, agents::save_histories, agents::load_histories),
    part("GroupCounters", Lane::Groups, EntityKind::Group, agents::save_counters, agents::load_counters),
    part("CurrentModules", Lane::Groups, EntityKind::Group, work::save_modules, work::load_modules),
    part("ModelAnswers", Lane::Inference, EntityKind::Model, work::save_answers, work::load_answers),
    part("ModelsAlone", Lane::Inference, EntityKind::Model, work::save_alone, work::load_alone),
    part("NextJob", Lane::Inference, EntityKind::World, work::save_next_job, work::load_next_job),
    part("InferenceJob", Lane::Inference, EntityKind::Job, work::save_jobs, work::load_jobs),
    part("JobData", Lane::Inference, EntityKind::Job, work::save_job_data, work::load_job_data),
    part("Members", Lane::Topics, EntityKind::Topic, work::save_members, work::load_members),
    part("RegionState", Lane::Regions, EntityKind::Region, work::save_regions, work::load_regions),
    part("MailboxCounters", Lane::Mailboxes, EntityKind::Agent, mail::save_counters, mail::load_counters),
    part("HeldMessages", Lane::Mailboxes, EntityKind::Place, mail::save_held, mail::load_held),
    part("Backlog", Lane::Mailboxes, EntityKind::Agent, mail::save_backlogs, mail::load_backlogs),
    part("Messages", Lane::Outboxes, EntityKind::Message, mail::save_messages, mail::load_messages).repeated(),
    part("Bounces", Lane::HostMessages, EntityKind::Place, mail::save_bounces, mail::load_bounces),
    part("NativeMessages", Lane::HostMessages, EntityKind::Place, mail::save_native, mail::load_native),
    part("Timers", Lane::Schedule, EntityKind::Agent, time::save_timers, time::load_timers),
    part("Deferred", Lane::Schedule, EntityKind::Agent, time::save_deferred, time::load_deferred),
    part("Cursor", Lane::Schedule, EntityKind::World, time::save_cursor, time::load_cursor),
    part("GroupDebts", Lane::Schedule, EntityKind::Group, time::save_group_debts, time::load_group_debts),
    part("TenantDebts", Lane::Schedule, EntityKind::Tenant, time::save_tenant_debts, time::load_tenant_debts),
    part("Requests", Lane::Requests, EntityKind::Agent, time::save_requests, time::load_requests).repeated(),
    part("AgentCommands", Lane::Commands, EntityKind::Place, time::save_agents_commands, time::load_agents_commands),
    part("NativeCommands", Lane::Commands, EntityKind::Place, time::save_native_commands, time::load_native_commands),
    part("RequestedSwaps", Lane::Commands, EntityKind::Place, time::save_swaps, time::load_swaps),
    // The last one: it differs wherever anything did.
    part(CHAIN, Lane::Groups, EntityKind::Group, save_chain, load_chain),
];

/// Whether a name is that of a part of the engine's own.
pub(super) fn is_own(component: &str) -> bool {
    PARTS.iter().any(|part| part.component == component)
}

pub(super) const CHAIN: &str = "DigestChain";

/// Makes what is carried from frame to frame and derived from state.
pub(super) fn finish(loading: &mut Loading<'_>) {
    agents::digest(loading);
    mail::digest(loading);
    work::digest(loading);
}

/// The section of a part: there is one, and it is in order.
pub(super) fn section<'a>(state: &'a WorldState, part: &Part) -> Result<&'a Section, StateError> {
    let component = || part.component.to_owned();
    let is_it = |section: &&Section| section.component == part.component && section.lane != Lane::Native;
    let mut found = state.sections.iter().filter(is_it);
    let section = found.next().ok_or_else(|| StateError::Missing { component: component() })?;
    if found.next().is_some() {
        return Err(StateError::Unknown { component: component() });
    }
    let places = section.of == EntityKind::Place;
    let in_places = !places || section.entries().map(|(id, _)| id).eq(0..section.len() as u64);
    if section.of != part.of || section.lane != part.lane || !section.is_ordered(part.repeated) || !in_places {
        return Err(StateError::Damaged { component: component(), entity: None });
    }
    Ok(section)
}

fn save_clock(saving: &mut Saving<'_>, section: &mut Section) {
    let frame = saving.world.resource::<FrameClock>().frame;
    section.push(0, |bytes| bytes.extend_from_slice(&frame.to_le_bytes()));
}

fn load_clock(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let entry = only(section)?;
    // Frames from here on are counted, added to and shifted.
    loading.frame = entry.read(|value| value.u64().filter(|frame| *frame < 1 << 62))?;
    loading.world.resource_mut::<FrameClock>().frame = loading.frame;
    Ok(())
}

fn save_chain(saving: &mut Saving<'_>, section: &mut Section) {
    let chains = saving.world.resource::<DigestChain>();
    section.push(0, |bytes| bytes.extend_from_slice(&chains.world.0.to_le_bytes()));
    for (group, digest) in saving.directory.groups.iter().zip(&chains.groups) {
        section.push(group.id.0.into(), |bytes| bytes.extend_from_slice(&digest.0.to_le_bytes()));
    }
}

fn load_chain(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let mut digests = Vec::new();
    for entry in section.items() {
        digests.push(entry.read(|value| value.take(16)?.try_into().ok().map(u128::from_le_bytes).map(Digest))?);
    }
    let ids = loading.directory.groups.iter().map(|group| u64::from(group.id.0));
    if !section.entries().map(|(id, _)| id).eq(std::iter::once(0).chain(ids)) {
        return Err(StateError::Damaged { component: section.component.clone(), entity: None });
    }
    let groups = digests.split_off(1);
    *loading.world.resource_mut::<DigestChain>() = DigestChain { world: digests[0], groups };
    Ok(())
}
