//! Stage `Commit`: what was intended becomes state: memberships, and the lives of agents that were initialised or faulted.

use std::collections::BTreeSet;

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::CallKind;
use wasm_engine_components::{FaultHistory, FaultPolicy, Group, GroupCounters, Lane, Lifecycle, Members};

use crate::collect::Intentions;
use crate::digest::{LaneSums, part_digest};
use crate::directory::Directory;
use crate::frame::{FrameClock, FrameReport};
use crate::mailroom::Outputs;
use crate::schedule::Calls;

/// Faulted agents and the frames in which they start again, as (frame, position), sorted. Transient: made from components.
#[derive(Resource, Debug, Default)]
pub struct Restarts(pub BTreeSet<(u64, u32)>);

/// Carries out `join` and `leave`, in the order in which they were asked for.
pub fn commit_memberships(
    directory: Res<Directory>,
    mut intentions: ResMut<Intentions>,
    mut topics: Query<&mut Members>,
) {
    for (agent, topic, joins) in intentions.memberships.drain(..) {
        let (_, entity) = directory.topics[topic as usize];
        let Ok(mut members) = topics.get_mut(entity) else { continue };
        // Only a change that is one marks the topic as changed.
        let list = members.bypass_change_detection();
        let changed = if joins { list.join(agent) } else { list.leave(agent) };
        if changed {
            members.set_changed();
        }
    }
}

/// Agents that were initialised without a fault become active.
pub fn commit_initialised(
    mut directory: ResMut<Directory>,
    calls: Res<Calls>,
    outputs: Res<Outputs>,
    mut agents: Query<&mut Lifecycle>,
) {
    // The directory still shows the lifecycles as they were when the calls were scheduled.
    if directory.inactive == 0 {
        return;
    }
    for (request, outcome) in calls.requests.iter().zip(&outputs.now.outcomes) {
        if request.call == CallKind::Init
            && outcome.fault.is_none()
            && let Ok(mut lifecycle) = agents.get_mut(directory.agents[request.slot as usize])
        {
            *lifecycle = Lifecycle::Active;
            directory.written.push(request.slot);
        }
    }
}

/// Counts this frame's faults, and does with the agents what their groups' policies say.
pub fn commit_faults(
    clock: Res<FrameClock>,
    mut directory: ResMut<Directory>,
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
        let Some((group, index)) = directory.find(fault.agent) else { continue };
        let Some(at) = directory.group_position(group.id) else { continue };
        let Ok((group, mut counters)) = groups.get_mut(group.entity) else { continue };
        let [a, b, c, d] = fault.detail.to_le_bytes();
        let part = part_digest(Lane::Faults, fault.agent.0, &[fault.kind as u8, a, b, c, d]);
        lanes.faults[at] = lanes.faults[at].wrapping_add(part);
        counters.0.faults.add(fault.kind);
        let Ok((mut lifecycle, mut history)) = agents.get_mut(directory.agents[index as usize]) else { continue };
        directory.written.push(index);
        history.faults = history.faults.saturating_add(1);
        // A second fault of one frame is counted, and leads to nothing further.
        if !matches!(*lifecycle, Lifecycle::Active | Lifecycle::Initialising) {
            continue;
        }
        *lifecycle = match group.on_fault {
            FaultPolicy::Pause => Lifecycle::Paused,
            FaultPolicy::Escalate => Lifecycle::Faulted,
            FaultPolicy::Restart { restarts_max, backoff_frames } if history.restarts < restarts_max => {
                let doubled = u64::from(backoff_frames.max(1)) << history.restarts.min(20);
                history.restart_frame = clock.frame + doubled;
                restarts.0.insert((history.restart_frame, index));
                Lifecycle::Faulted
            }
            FaultPolicy::Restart { .. } | FaultPolicy::Terminate => Lifecycle::Terminated,
        };
    }
}

/// Agents that ended in this frame are no longer members of anything.
pub fn commit_terminations(directory: Res<Directory>, agents: Query<&Lifecycle>, mut topics: Query<&mut Members>) {
    let ended = |index: &&u32| agents.get(directory.agents[**index as usize]).is_ok_and(|state| !state.is_alive());
    let ended: BTreeSet<_> =
        directory.written.iter().filter(ended).map(|&index| directory.ids[index as usize]).collect();
    if ended.is_empty() {
        return;
    }
    for mut members in &mut topics {
        if members.0.iter().any(|member| ended.contains(member)) {
            members.0.retain(|member| !ended.contains(member));
        }
    }
}

/// Agents whose time has come are initialised again in the next frame.
pub fn commit_restarts(
    clock: Res<FrameClock>,
    mut directory: ResMut<Directory>,
    mut restarts: ResMut<Restarts>,
    mut agents: Query<(&mut Lifecycle, &mut FaultHistory)>,
) {
    while let Some(&(frame, index)) = restarts.0.first()
        && frame <= clock.frame + 1
    {
        restarts.0.pop_first();
        if let Ok((mut lifecycle, mut history)) = agents.get_mut(directory.agents[index as usize])
            && *lifecycle == Lifecycle::Faulted
        {
            directory.written.push(index);
            history.restarts += 1;
            *lifecycle = Lifecycle::Initialising;
        }
    }
}
