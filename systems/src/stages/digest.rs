//! Stage `Seal`, at its beginning: the lanes are brought up to date with what was written in the frame.

use bevy_ecs::change_detection::{DetectChanges, Ref};
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_components::{Backlog, FaultHistory, Lifecycle, MailboxCounters, Members, TopicSpec};

use crate::world::backlog::Backlogs;
use crate::world::digest::{LaneSums, PartDigest, agent_digest, topic_digest};
use crate::world::directory::Directory;

/// Brings the lane of agents up to date with the lives that were written.
pub(crate) fn digest_agents(
    mut directory: ResMut<Directory>,
    mut lanes: ResMut<LaneSums>,
    mut agents: Query<(&Lifecycle, &FaultHistory, &mut PartDigest)>,
) {
    for index in std::mem::take(&mut directory.written) {
        let id = directory.ids[index as usize];
        let Ok((lifecycle, history, mut digest)) = agents.get_mut(directory.agents[index as usize]) else { continue };
        let Some(group) = directory.group_position(id.group()) else { continue };
        debug_assert_eq!(*lifecycle, directory.lifecycles[index as usize], "the mirror of {id}");
        let after = agent_digest(id, *lifecycle, history);
        lanes.agents[group] = lanes.agents[group].wrapping_sub(digest.0).wrapping_add(after);
        digest.0 = after;
    }
}

/// Keeps the lane of topics up to date with those whose members changed.
pub(crate) fn digest_topics(
    mut lanes: ResMut<LaneSums>,
    mut topics: Query<(&TopicSpec, Ref<Members>, &mut PartDigest)>,
) {
    for (topic, members, mut digest) in &mut topics {
        if members.is_changed() {
            let after = topic_digest(topic.id, &members);
            lanes.topics = lanes.topics.wrapping_sub(digest.0).wrapping_add(after);
            digest.0 = after;
        }
    }
}

/// Keeps the lane of mailboxes up to date with those that changed.
pub(crate) fn digest_mailboxes(
    directory: Res<Directory>,
    mut backlogs: ResMut<Backlogs>,
    mut lanes: ResMut<LaneSums>,
    mailboxes: Query<(&Backlog, &MailboxCounters)>,
) {
    for index in backlogs.changed.drain() {
        let Ok(mailbox) = mailboxes.get(directory.mailboxes[index as usize]) else { continue };
        backlogs.digest(index, directory.ids[index as usize], mailbox);
    }
    backlogs.overflowed.drain();
    lanes.mailboxes = lanes.mailboxes.wrapping_add(core::mem::take(&mut backlogs.lane_change));
}

/// Forgets what authors' state added to the lanes in the last frame.
pub(crate) fn clear_native_lane(mut lanes: ResMut<LaneSums>) {
    lanes.native = 0;
    lanes.native_parts.values_mut().for_each(|part| *part = 0);
}
