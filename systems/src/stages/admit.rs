//! Stage `Step`, after each wave's calls: messages are admitted in the order of the agents' ids. A message needs room in the
//! budgets of its group and tenant; requests are registered with their deadlines; a reply needs an open request. A message that
//! isn't admitted is taken back, and its sender is told.

use wasm_engine_abi::{BounceReason, Op};
use wasm_engine_components::{AgentId, GroupIndex, TenantId};

use crate::world::budget::SendBudgets;
use crate::world::chunk::{AddressIndex, DeferredRecord, OutputChunk, Refused};
use crate::world::directory::Directory;
use crate::world::records::record_at;
use crate::world::requests::Requests;

/// Admits what the agents of a chunk sent in `frame`.
pub(crate) fn admit(
    frame: u64,
    directory: &Directory,
    budgets: &mut SendBudgets,
    requests: &mut Requests,
    chunk: &mut OutputChunk,
) {
    let Some(at) = directory.group_index(chunk.group) else { return };
    let group = &directory.groups[at];
    if chunk.sent > 0 && budgets.is_bounded(at, group.spec.tenant) {
        bound(directory, budgets, (at, group.spec.tenant), chunk);
    }
    for position in 0..chunk.deferred.len() {
        let other = chunk.deferred[position];
        let record = record_at(&chunk.deferred_bytes, other.offset);
        let (target, number) = (AgentId(record.header.target), record.header.correlation);
        let admitted = match record.op {
            Op::Request if other.address != AddressIndex::NONE => {
                let deadline = frame + u64::from(record.header.deadline_frames);
                answerable(chunk, &other).and_then(|()| {
                    requests.ask((other.agent, number), target, (frame, deadline), group.spec.limits.requests_max)
                })
            }
            Op::Reply if other.address != AddressIndex::NONE => {
                answerable(chunk, &other).and_then(|()| requests.answer(target, number, other.agent))
            }
            _ => continue,
        };
        if let Err(reason) = admitted
            && let Some(address) = other.address.of(chunk)
            && address.recipient().is_some()
        {
            let place = address.at;
            address.take_back();
            let header = *chunk.messages.message(place).0;
            chunk.refused.push(Refused { from: other.slot, meant_for: target.0, header, reason });
        }
    }
}

/// Returns an error for a request or a reply that was over the budget.
fn answerable(chunk: &mut OutputChunk, other: &DeferredRecord) -> Result<(), BounceReason> {
    let recipient = other.address.of(chunk).and_then(|address| address.recipient());
    recipient.map(drop).ok_or(BounceReason::OverBudget)
}

/// Takes back messages that are over the budgets of a group and its tenant.
fn bound(
    directory: &Directory,
    budgets: &mut SendBudgets,
    (at, tenant): (GroupIndex, Option<TenantId>),
    chunk: &mut OutputChunk,
) {
    let OutputChunk { addresses, edges, messages, refused, .. } = chunk;
    let (mut addresses, mut edges) = (addresses.iter_mut().peekable(), edges.iter_mut().peekable());
    loop {
        // Both lists are in the order in which the messages were sent. A message to many may be in both.
        let (first, second) = (addresses.peek().map(|address| address.at), edges.peek().map(|address| address.at));
        let Some(next) = first.into_iter().chain(second).min() else { return };
        let later = if first == Some(next) { addresses.next() } else { None };
        let now = if second == Some(next) { edges.next() } else { None };
        let Some(bytes) = later.as_ref().or(now.as_ref()).map(|address| address.bytes) else { return };
        if budgets.take(at, tenant, bytes) {
            continue;
        }
        let mut meant_for = 0;
        for address in later.into_iter().chain(now) {
            meant_for = address.recipient().map_or(0, |to| directory.recipient(to).number());
            address.take_back();
        }
        let header = *messages.message(next).0;
        let Some(from) = directory.slot(AgentId(header.sender)) else { continue };
        refused.push(Refused { from, meant_for, header, reason: BounceReason::OverBudget });
    }
}
