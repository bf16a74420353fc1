//! Stage `Step`, after each wave's calls: messages are admitted in the order of the agents' ids. A message needs room in the
//! budgets of its group and tenant; requests are registered with their deadlines; a reply needs an open request. A message that
//! isn't admitted is taken back, and its sender is told.

use wasm_engine_abi::{BounceReason, Op};
use wasm_engine_components::{AgentId, GroupIndex, TenantId};

use crate::codec::Request;
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
    let Some(group_index) = directory.group_index(chunk.group) else { return };
    let group = &directory.groups[group_index];
    if chunk.sent > 0 && budgets.is_bounded(group_index, group.spec.tenant) {
        take_back_over_budget(directory, budgets, (group_index, group.spec.tenant), chunk);
    }
    for index in 0..chunk.deferred.len() {
        let deferred = chunk.deferred[index];
        let record = record_at(&chunk.deferred_bytes, deferred.offset);
        let (target, correlation) = (AgentId(record.header.target), record.header.correlation);
        let admitted = match record.op {
            Op::Request if deferred.address != AddressIndex::NONE => {
                let deadline = frame + u64::from(record.header.deadline_frames);
                answerable(chunk, &deferred).and_then(|()| {
                    let request = Request { correlation, to: target, asked: frame, deadline };
                    requests.ask(deferred.agent, request, group.spec.limits.requests_max)
                })
            }
            Op::Reply if deferred.address != AddressIndex::NONE => {
                answerable(chunk, &deferred).and_then(|()| requests.answer(target, correlation, deferred.agent))
            }
            _ => continue,
        };
        if let Err(reason) = admitted
            && let Some(address) = deferred.address.of(chunk)
            && address.recipient().is_some()
        {
            let offset = address.offset;
            address.take_back();
            let header = *chunk.messages.message(offset).0;
            chunk.refused.push(Refused { from: deferred.slot, meant_for: target.0, header, reason });
        }
    }
}

/// Returns an error if a request or a reply was over a budget, so that its message was taken back.
fn answerable(chunk: &mut OutputChunk, deferred: &DeferredRecord) -> Result<(), BounceReason> {
    let recipient = deferred.address.of(chunk).and_then(|address| address.recipient());
    recipient.map(drop).ok_or(BounceReason::OverBudget)
}

/// Takes back messages that are over the budgets of a group and its tenant.
fn take_back_over_budget(
    directory: &Directory,
    budgets: &mut SendBudgets,
    (group_index, tenant): (GroupIndex, Option<TenantId>),
    chunk: &mut OutputChunk,
) {
    let OutputChunk { addresses, edges, messages, refused, .. } = chunk;
    let (mut addresses, mut edges) = (addresses.iter_mut().peekable(), edges.iter_mut().peekable());
    loop {
        // Both lists are in the order in which the messages were sent. A message to many may be in both.
        let next_address = addresses.peek().map(|address| address.offset);
        let next_edge = edges.peek().map(|edge| edge.offset);
        let Some(offset) = next_address.into_iter().chain(next_edge).min() else { return };
        let address = addresses.next_if(|address| address.offset == offset);
        let edge = edges.next_if(|edge| edge.offset == offset);
        let Some(bytes) = address.as_ref().or(edge.as_ref()).map(|address| address.bytes) else { return };
        if budgets.take(group_index, tenant, bytes) {
            continue;
        }
        let mut meant_for = 0;
        for address in address.into_iter().chain(edge) {
            meant_for = address.recipient().map_or(0, |to| directory.recipient(to).number());
            address.take_back();
        }
        let header = *messages.message(offset).0;
        let Some(from) = directory.slot(AgentId(header.sender)) else { continue };
        refused.push(Refused { from, meant_for, header, reason: BounceReason::OverBudget });
    }
}
