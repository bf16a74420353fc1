//! Mailboxes that hold back messages, and their lane: what wasn't handed over in a frame waits in a backlog.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_components::{AgentId, Backlog, Lane, MailboxCounters};

use crate::digest::{LaneSums, part_digest};
use crate::directory::Directory;

/// Which mailboxes hold back messages, and which changed in this frame: positions. Transient.
#[derive(Resource, Debug, Default)]
pub struct WaitingMailboxes {
    /// Those with a backlog.
    pub holding: BTreeSet<u32>,
    /// Of those, the ones of agents that are called when there are messages for them.
    pub waking: BTreeSet<u32>,
    /// Those whose backlog or counters changed.
    pub changed: BTreeSet<u32>,
    /// What those that ever changed contribute to their lane.
    pub digests: BTreeMap<u32, u128>,
}

/// Keeps the lane of mailboxes up to date with those that changed.
pub fn digest_mailboxes(
    directory: Res<Directory>,
    mut waiting: ResMut<WaitingMailboxes>,
    mut lanes: ResMut<LaneSums>,
    mailboxes: Query<(&Backlog, &MailboxCounters)>,
) {
    for index in std::mem::take(&mut waiting.changed) {
        let Ok(mailbox) = mailboxes.get(directory.mailboxes[index as usize]) else { continue };
        let after = mailbox_digest(directory.ids[index as usize], mailbox);
        let before = waiting.digests.insert(index, after).unwrap_or(0);
        lanes.mailboxes = lanes.mailboxes.wrapping_sub(before).wrapping_add(after);
    }
}

/// What a mailbox is in its lane.
pub(crate) fn mailbox_digest(of: AgentId, (backlog, counters): (&Backlog, &MailboxCounters)) -> u128 {
    if backlog.0.is_empty() && *counters == MailboxCounters::default() {
        return 0;
    }
    let mut bytes = counters.dropped.to_le_bytes().to_vec();
    for stored in &backlog.0 {
        bytes.extend_from_slice(bytemuck::bytes_of(&stored.header));
        bytes.extend_from_slice(&stored.payload);
    }
    part_digest(Lane::Mailboxes, of.0, &bytes)
}

impl WaitingMailboxes {
    /// A mailbox holds something back.
    pub(crate) fn hold(&mut self, index: u32, wakes: bool) {
        self.holding.insert(index);
        self.changed.insert(index);
        if wakes {
            self.waking.insert(index);
        }
    }

    /// A mailbox holds nothing back any more; `false` if it didn't before.
    pub(crate) fn release(&mut self, index: u32) -> bool {
        if !self.holding.remove(&index) {
            return false;
        }
        self.waking.remove(&index);
        self.changed.insert(index);
        true
    }
}
