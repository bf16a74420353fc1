//! Stage `Commit`: memberships change, and the lifecycles of agents that were initialised, faulted or ended.

use std::collections::BTreeSet;

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, CallKind, FaultNotice, MessageHeader};
use wasm_engine_components::{
    AgentSlot, Backlog, FaultHistory, FaultPolicy, Group, GroupCounters, GroupIndex, Lifecycle, MailboxCounters,
    Members, Recipient,
};

use crate::frame::{FrameClock, FrameReport};
use crate::world::backlog::Backlogs;
use crate::world::calls::Calls;
use crate::world::digest::{LaneSums, fault_digest};
use crate::world::directory::Directory;
use crate::world::intentions::{Intentions, MembershipChange};
use crate::world::looks::look;
use crate::world::mailroom::{AgentOutputs, Mailroom};
use crate::world::requests::Requests;
use crate::world::scheduler::{Restarts, Scheduler};

/// Carries out `join` and `leave`, in the order in which they were asked for.
pub(crate) fn commit_memberships(
    directory: Res<Directory>,
    mut intentions: ResMut<Intentions>,
    mut topics: Query<&mut Members>,
) {
    change_memberships(&directory, &mut topics, &mut intentions.memberships);
}

/// Carries out changes of memberships, those of one topic together.
pub(crate) fn change_memberships(
    directory: &Directory,
    topics: &mut Query<&mut Members>,
    changes: &mut Vec<MembershipChange>,
) {
    changes.sort_by_key(|change| change.topic);
    for changes in changes.chunk_by(|a, b| a.topic == b.topic) {
        let (_, entity) = directory.topics[changes[0].topic.index()];
        let Ok(mut members) = topics.get_mut(entity) else { continue };
        // A change without effect doesn't mark the topic as changed.
        let list = members.bypass_change_detection();
        look(list.0.len() + changes.len());
        if list.change(changes.iter().map(|change| (change.agent, change.joins))) {
            members.set_changed();
        }
    }
    changes.clear();
}

/// Makes agents active that were initialised without a fault, and ends those that were shut down.
pub(crate) fn commit_calls(
    clock: Res<FrameClock>,
    mut directory: ResMut<Directory>,
    mut mailroom: ResMut<Mailroom>,
    calls: Res<Calls>,
    outputs: Res<AgentOutputs>,
    mut agents: Query<(&mut Lifecycle, &mut FaultHistory)>,
) {
    if !calls.has_lifecycle_calls {
        return;
    }
    for (request, outcome) in calls.requests.iter().zip(&outputs.now.outcomes) {
        let after = match request.call {
            CallKind::Init if outcome.fault.is_none() => Lifecycle::Active,
            CallKind::Shutdown => Lifecycle::Terminated,
            _ => continue,
        };
        if let Ok((mut lifecycle, mut history)) = agents.get_mut(directory.agents[request.slot.index()]) {
            *lifecycle = after;
            history.uninitialised = false;
            directory.set_lifecycle(&mut mailroom.inboxes, request.slot, after, clock.frame);
        }
    }
}

/// Counts this frame's faults, applies the policies of the agents' groups, and tells supervisors.
pub(crate) fn commit_faults(
    clock: Res<FrameClock>,
    mut directory: ResMut<Directory>,
    mut mailroom: ResMut<Mailroom>,
    mut report: ResMut<FrameReport>,
    mut restarts: ResMut<Restarts>,
    mut lanes: ResMut<LaneSums>,
    mut agents: Query<(&mut Lifecycle, &mut FaultHistory)>,
    mut groups: Query<(&Group, &mut GroupCounters)>,
) {
    report.faults.sort_by_key(|fault| fault.agent);
    report.counts.faults = report.faults.len() as u64;
    lanes.faults.fill(0);
    for fault in &report.faults {
        let Some((group, slot)) = directory.find(fault.agent) else { continue };
        let Some(group_index) = directory.group_index(group.id) else { continue };
        let supervisor = group.spec.supervisor;
        let Ok((group, mut counters)) = groups.get_mut(group.entity) else { continue };
        let lane = &mut lanes.faults[group_index.index()];
        *lane = lane.wrapping_add(fault_digest(fault));
        counters.0.faults.add(fault.kind);
        let Ok((mut lifecycle, mut history)) = agents.get_mut(directory.agents[slot.index()]) else { continue };
        directory.written.push(slot);
        history.faults = history.faults.saturating_add(1);
        if let Some(supervisor) = supervisor.and_then(|id| directory.group_index(id)) {
            let escalated = u32::from(group.on_fault == FaultPolicy::Escalate && !lifecycle.is_ending());
            let notice = FaultNotice {
                agent: fault.agent.0,
                frame: clock.frame,
                fault: fault.kind as u32,
                detail: fault.detail,
                faults: history.faults,
                escalated,
            };
            tell_supervisor(&mut mailroom, supervisor, &notice);
        }
        history.uninitialised |= *lifecycle == Lifecycle::Initialising;
        // A second fault of one frame is counted, and leads to nothing further.
        if !matches!(*lifecycle, Lifecycle::Active | Lifecycle::Initialising) {
            continue;
        }
        *lifecycle = match group.on_fault {
            FaultPolicy::Pause => Lifecycle::Paused,
            FaultPolicy::Escalate => Lifecycle::Faulted,
            FaultPolicy::Restart { restarts_max, backoff_frames } if history.restarts < restarts_max => {
                let backoff = u64::from(backoff_frames.max(1)) << history.restarts.min(20);
                history.restart_frame = clock.frame + backoff;
                restarts.0.insert((history.restart_frame, slot));
                Lifecycle::Faulted
            }
            FaultPolicy::Restart { .. } | FaultPolicy::Terminate => Lifecycle::Terminated,
        };
        let after = *lifecycle;
        directory.set_lifecycle(&mut mailroom.inboxes, slot, after, clock.frame);
    }
}

/// Tells the agents of a supervising group of a fault, in the next frame.
fn tell_supervisor(mailroom: &mut Mailroom, supervisor: GroupIndex, notice: &FaultNotice) {
    let header = MessageHeader {
        sender: sender::ENGINE,
        topic: notice.agent,
        frame: notice.frame,
        kind: kind::NOTICE,
        ..MessageHeader::default()
    };
    mailroom.bounces.push(Recipient::Group(supervisor), header, bytemuck::bytes_of(notice).to_vec());
}

/// Removes agents that ended in this frame from topics, timers and requests. Messages that waited for them go back to their
/// senders.
pub(crate) fn commit_terminations(
    clock: Res<FrameClock>,
    directory: Res<Directory>,
    mut mailroom: ResMut<Mailroom>,
    mut backlogs: ResMut<Backlogs>,
    mut scheduler: ResMut<Scheduler>,
    mut requests: ResMut<Requests>,
    mut report: ResMut<FrameReport>,
    mut restarts: ResMut<Restarts>,
    histories: Query<&FaultHistory>,
    mut mailboxes: Query<(&mut Backlog, &mut MailboxCounters)>,
    mut topics: Query<&mut Members>,
) {
    let is_dead = |slot: &&AgentSlot| !directory.lifecycles[slot.index()].is_alive();
    let ended: BTreeSet<AgentSlot> = directory.written.iter().filter(is_dead).copied().collect();
    if ended.is_empty() {
        return;
    }
    for &slot in &ended {
        let index = slot.index();
        scheduler.forget(slot);
        if let Ok(history) = histories.get(directory.agents[index]) {
            restarts.0.remove(&(history.restart_frame, slot));
        }
        requests.forget(directory.ids[index]);
        if backlogs.release(slot) {
            mailroom.inboxes.forget_held(slot);
            let Ok((mut backlog, mut counters)) = mailboxes.get_mut(directory.mailboxes[index]) else { continue };
            for held in backlog.drain() {
                let header = held.header;
                let reason = BounceReason::Terminated;
                counters.dropped += 1;
                report.counts.drop_messages(reason, 1);
                mailroom.bounces.return_to_sender(&directory, &header, directory.ids[index].0, reason, clock.frame);
                requests.give_up(&header);
            }
        }
    }
    // The ids are in order, because they ascend as the slots do.
    let ids: Vec<_> = ended.iter().map(|&slot| directory.ids[slot.index()]).collect();
    for mut members in &mut topics {
        // A topic has changed only if one of those agents was a member of it.
        if members.bypass_change_detection().remove(&ids) {
            members.set_changed();
        }
    }
}

/// Restarts agents whose backoff ends: they are initialised in the next frame.
pub(crate) fn commit_restarts(
    clock: Res<FrameClock>,
    mut directory: ResMut<Directory>,
    mut mailroom: ResMut<Mailroom>,
    mut restarts: ResMut<Restarts>,
    mut agents: Query<(&mut Lifecycle, &mut FaultHistory)>,
) {
    while let Some(&(frame, slot)) = restarts.0.first()
        && frame <= clock.frame + 1
    {
        restarts.0.pop_first();
        // A command may have changed its lifecycle meanwhile.
        if let Ok((mut lifecycle, mut history)) = agents.get_mut(directory.agents[slot.index()])
            && *lifecycle == Lifecycle::Faulted
            && history.restart_frame == frame
        {
            history.restarts += 1;
            *lifecycle = Lifecycle::Initialising;
            directory.set_lifecycle(&mut mailroom.inboxes, slot, Lifecycle::Initialising, clock.frame);
        }
    }
}
