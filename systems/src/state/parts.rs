//! The table of all that is state, in the order in which it is loaded: what others refer to comes before them. Here a new kind of state
//! is registered, in one line; everything else about it is where it implements [`StatePart`](super::part::StatePart).

use wasm_engine_components::{FaultHistory, GroupCounters, Lane, Lifecycle, Members, RegionState};

use super::entity::StateError;
use super::part::Part;
use super::section::{Section, WorldState};
use crate::codec::{
    AgentQueue, AnsweringModels, BacklogRuns, Bounces, Chain, Clock, Cursor, Deferred, EntityKind, GroupDebts,
    HeldMessages, Job, JobCounter, Mailboxes, Messages, ModelsAlone, Modules, NativeMessages, NativeQueue,
    PendingRequests, Places, SwapQueue, TenantDebts, Timers,
};

pub(super) const PARTS: &[Part] = &[
    Part::of::<Clock>(),
    Part::of::<Places>(),
    Part::of::<Lifecycle>(),
    Part::of::<FaultHistory>(),
    Part::of::<GroupCounters>(),
    Part::of::<Modules>(),
    Part::of::<AnsweringModels>(),
    Part::of::<ModelsAlone>(),
    Part::of::<JobCounter>(),
    Part::of::<Job>(),
    Part::of::<Members>(),
    Part::of::<RegionState>(),
    Part::of::<HeldMessages>(),
    Part::of::<BacklogRuns>(),
    Part::of::<Mailboxes>(),
    Part::of::<Messages>(),
    Part::of::<Bounces>(),
    Part::of::<NativeMessages>(),
    Part::of::<Timers>(),
    Part::of::<Deferred>(),
    Part::of::<Cursor>(),
    Part::of::<GroupDebts>(),
    Part::of::<TenantDebts>(),
    Part::of::<PendingRequests>(),
    Part::of::<AgentQueue>(),
    Part::of::<NativeQueue>(),
    Part::of::<SwapQueue>(),
    #[cfg(test)]
    Part::of::<super::tests::Tides>(),
    // It comes last, because it differs wherever anything did.
    Part::of::<Chain>(),
];

/// Returns the part of the engine's own state with that name.
pub(super) fn find(name: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| part.name == name)
}

/// Returns the section of a part. There must be one, and it must be in order.
pub(super) fn section<'a>(state: &'a WorldState, part: &Part) -> Result<&'a Section, StateError> {
    let component = || part.name.to_owned();
    let is_it = |section: &&Section| section.component == part.name && section.lane != Lane::Native;
    let mut found = state.sections.iter().filter(is_it);
    let section = found.next().ok_or_else(|| StateError::Missing { component: component() })?;
    if found.next().is_some() {
        return Err(StateError::Unknown { component: component() });
    }
    let places = section.of == EntityKind::Place;
    let in_places = !places || section.entries().map(|(id, _)| id).eq(0..section.len() as u64);
    if section.of != part.of || section.lane != part.lane || !section.is_ordered(part.is_repeated) || !in_places {
        return Err(StateError::Damaged { component: component(), entity: None });
    }
    Ok(section)
}
