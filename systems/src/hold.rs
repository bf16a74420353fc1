//! Stage `Schedule`, at its end: messages to agents that aren't stepped in this frame go into their mailboxes' backlogs.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_components::{Backlog, Lane, Lifecycle, MailboxCounters, StoredMessage};

use crate::digest::{LaneSums, part_digest};
use crate::directory::Directory;
use crate::frame::FrameReport;
use crate::mailroom::{Mailroom, Outputs};

/// Which mailboxes hold back messages, and which changed in this frame: positions. Transient.
#[derive(Resource, Debug, Default)]
pub struct WaitingMailboxes {
    /// Those with a backlog.
    pub holding: BTreeSet<u32>,
    /// Those that had one when the frame began.
    pub held: BTreeSet<u32>,
    /// Those whose backlog or counters changed.
    pub changed: BTreeSet<u32>,
    /// What those that ever changed contribute to their lane.
    pub digests: BTreeMap<u32, u128>,
}

/// Copies what can't be delivered yet. Costs nothing while every agent is active.
pub fn hold_messages(
    directory: Res<Directory>,
    mailroom: Res<Mailroom>,
    outputs: Res<Outputs>,
    mut report: ResMut<FrameReport>,
    mut waiting: ResMut<WaitingMailboxes>,
    mut backlogs: Query<&mut Backlog>,
) {
    if directory.inactive == 0 {
        return;
    }
    let view = mailroom.view(&outputs.before);
    for &index in &mailroom.inboxes.touched {
        let held = mailroom.inboxes.loads[index as usize].messages;
        if held == 0 || directory.lifecycles[index as usize] == Lifecycle::Active {
            continue;
        }
        let Ok(mut backlog) = backlogs.get_mut(directory.mailboxes[index as usize]) else { continue };
        let stored =
            view.of(index).map(|(header, payload)| StoredMessage { header: *header, payload: payload.to_vec() });
        backlog.0.extend(stored);
        report.counts.delivered -= u64::from(held);
        waiting.holding.insert(index);
        waiting.changed.insert(index);
    }
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
        let after = match mailbox {
            (backlog, counters) if backlog.0.is_empty() && *counters == MailboxCounters::default() => 0,
            (backlog, counters) => {
                let mut bytes = counters.dropped.to_le_bytes().to_vec();
                for stored in &backlog.0 {
                    bytes.extend_from_slice(bytemuck::bytes_of(&stored.header));
                    bytes.extend_from_slice(&stored.payload);
                }
                part_digest(Lane::Mailboxes, directory.ids[index as usize].0, &bytes)
            }
        };
        let before = waiting.digests.insert(index, after).unwrap_or(0);
        lanes.mailboxes = lanes.mailboxes.wrapping_sub(before).wrapping_add(after);
    }
}
