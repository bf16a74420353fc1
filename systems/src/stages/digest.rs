//! Stage `Seal`, at its beginning: the lanes are brought up to date with what was written in the frame.

use bevy_ecs::change_detection::{DetectChanges, Ref};
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_components::{Backlog, FaultHistory, GroupCounters, Lifecycle, MailboxCounters, Members, TopicSpec};

use crate::codec::digest;
use crate::world::backlog::Backlogs;
use crate::world::digest::{LaneSums, PartDigest, agent_digest};
use crate::world::directory::Directory;

/// Brings the lane of agents up to date with the lives that were written.
pub(crate) fn digest_agents(
    mut directory: ResMut<Directory>,
    mut lanes: ResMut<LaneSums>,
    mut agents: Query<(&Lifecycle, &FaultHistory, &mut PartDigest)>,
) {
    for slot in std::mem::take(&mut directory.written) {
        let id = directory.ids[slot.index()];
        let Ok((lifecycle, history, mut digest)) = agents.get_mut(directory.agents[slot.index()]) else { continue };
        let Some(group) = directory.group_index(id.group()) else { continue };
        debug_assert_eq!(*lifecycle, directory.lifecycles[slot.index()], "the mirror of {id}");
        let after = agent_digest(id, *lifecycle, history);
        let lane = &mut lanes.agents[group.index()];
        *lane = lane.wrapping_sub(digest.0).wrapping_add(after);
        digest.0 = after;
    }
}

/// Keeps the lane of topics up to date with those whose members changed.
pub(crate) fn digest_topics(
    mut lanes: ResMut<LaneSums>,
    mut topics: Query<(&TopicSpec, Ref<Members>, &mut PartDigest)>,
) {
    for (topic, members, mut part) in &mut topics {
        if members.is_changed() {
            let after = digest::<Members>(topic.id.0, &members);
            lanes.topics = lanes.topics.wrapping_sub(part.0).wrapping_add(after);
            part.0 = after;
        }
    }
}

/// Takes the digests of groups' counters, which change in nearly each frame.
pub(crate) fn digest_groups(directory: Res<Directory>, mut lanes: ResMut<LaneSums>, counters: Query<&GroupCounters>) {
    for (group, digest_of_group) in directory.groups.iter().zip(&mut lanes.groups) {
        let Ok(counters) = counters.get(group.entity) else { continue };
        *digest_of_group = digest::<GroupCounters>(group.id.0.into(), counters);
    }
}

/// Keeps the lane of mailboxes up to date with those that changed.
pub(crate) fn digest_mailboxes(
    directory: Res<Directory>,
    mut backlogs: ResMut<Backlogs>,
    mut lanes: ResMut<LaneSums>,
    mailboxes: Query<(&Backlog, &MailboxCounters)>,
) {
    for slot in backlogs.changed.drain() {
        let Ok(mailbox) = mailboxes.get(directory.mailboxes[slot.index()]) else { continue };
        backlogs.digest(slot, directory.ids[slot.index()], mailbox);
    }
    backlogs.overflowed.drain();
    lanes.mailboxes = lanes.mailboxes.wrapping_add(core::mem::take(&mut backlogs.lane_change));
}

/// Forgets what authors' state added to the lanes in the last frame.
pub(crate) fn clear_native_lane(mut lanes: ResMut<LaneSums>) {
    lanes.native = 0;
    lanes.native_parts.values_mut().for_each(|part| *part = 0);
}
