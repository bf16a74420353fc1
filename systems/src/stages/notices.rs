//! Stage `Deliver`: the notices of faults that supervisors are sent. A frame has deliveries for them alone, which no limit of a scenario
//! takes away: the supervisor of a group that may send nothing to many must still hear of its faults.

use std::collections::BTreeMap;

use bevy_ecs::system::{Query, Res, ResMut};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, FaultNotice, MessageHeader};
use wasm_engine_components::limits::{deliveries_of, delivery_units};
use wasm_engine_components::{
    Address, AgentId, AgentSlot, FaultHistory, GroupIndex, GroupLimits, Lifecycle, Recipient,
};

use crate::frame::FrameReport;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::inbox::Inboxes;
use crate::world::inbox_view::HostInbox;
use crate::world::mailroom::Mailroom;
use crate::world::scheduler::Scheduler;
use crate::world::shares::{FairShares, Shares};

/// Takes the frame's notices off their budget. One whose agent stays faulted until its supervisor has heard of it waits for the next frame, where it
/// doesn't fit into the budget or no mailbox of the supervisor has room for it. Any other one that doesn't fit into the budget is dropped, and
/// counted.
pub(crate) fn meter_notices(
    directory: Res<Directory>,
    scheduler: Res<Scheduler>,
    mut mailroom: ResMut<Mailroom>,
    mut report: ResMut<FrameReport>,
    histories: Query<&FaultHistory>,
) {
    let Mailroom { host, bounces, inboxes, .. } = mailroom.as_mut();
    let HostInbox { addresses, messages } = host;
    // Events and native systems send to groups, too.
    let is_notice = |address: &Address| {
        let header = messages.message(address.offset).0;
        matches!(address.recipient(), Some(Recipient::Group(_)))
            && (header.sender, header.kind) == (sender::ENGINE, kind::NOTICE)
    };
    let Some(mut rooms) = Rooms::of(&directory, inboxes, addresses.iter().filter(|address| is_notice(address))) else {
        return;
    };
    let mut budget = open(&directory, scheduler.tenants.len());
    // The addresses are in the order of delivery, and all of them come before those of agents' messages.
    addresses.retain_mut(|address| {
        let to = match address.recipient() {
            Some(Recipient::Agent(slot)) => {
                rooms.put(&directory, slot, address.bytes);
                return true;
            }
            Some(Recipient::Group(to)) if is_notice(address) => to,
            _ => return true,
        };
        let (header, payload) = messages.message(address.offset);
        let payer = directory.group_index(AgentId(header.topic).group());
        let deliveries = directory.groups[to].weight() * delivery_units(address.bytes);
        let fits = budget.has(payer, deliveries);
        let waits = !(fits && rooms.has(to)) && is_waited_for(&directory, &histories, header, payload);
        if waits {
            bounces.push(Recipient::Group(to), *header, payload.to_vec());
        } else if fits {
            budget.take(payer, deliveries);
            rooms.put_all(to);
        } else {
            address.take_back();
            report.counts.drop_messages(BounceReason::OverBudget, 1);
        }
        !waits
    });
}

/// Opens a frame's budget: as many deliveries as a frame has by default, half of them in parts of tenants and of groups without one, so that the
/// faults of one don't keep those of another from being heard. Each part is enough for a notice of each of its groups.
fn open(directory: &Directory, tenants: usize) -> Shares {
    let agents = directory.groups.iter().map(GroupRange::weight).sum();
    let common = deliveries_of(GroupLimits::BY_AGENTS, agents) / 2;
    let least = |group: &GroupRange| {
        let supervisor = group.spec.supervisor.and_then(|id| directory.group(id));
        supervisor.map_or(0, GroupRange::weight) * delivery_units(NOTICE_BYTES)
    };
    let mut budget = Shares::default();
    let tenant_limits = vec![None; tenants];
    let no_limit = |_: &GroupRange| None;
    let fair = FairShares { common, limit_of: no_limit, tenant_limits: &tenant_limits, least_of: least };
    budget.open_fair(directory, &fair);
    budget
}

/// Bytes that a notice takes in an inbox.
const NOTICE_BYTES: u32 = MessageHeader::BYTES + size_of::<FaultNotice>() as u32;

/// Returns whether a notice is of an agent's last fault, and the agent stays faulted until its supervisor does something. So no more notices wait
/// than there are agents.
fn is_waited_for(
    directory: &Directory,
    histories: &Query<&FaultHistory>,
    header: &MessageHeader,
    payload: &[u8],
) -> bool {
    // A notice that waits may come from a saved state, which may hold anything.
    let Ok(notice) = bytemuck::try_pod_read_unaligned::<FaultNotice>(payload) else { return false };
    let Some((_, slot)) = directory.find(AgentId(header.topic)) else { return false };
    notice.escalated == 1
        && directory.lifecycles[slot.index()] == Lifecycle::Faulted
        && histories.get(directory.agents[slot.index()]).is_ok_and(|history| history.faults == notice.faults)
}

/// Room in the mailboxes of the supervisors' groups.
struct Rooms(BTreeMap<GroupIndex, Room>);

/// Room in the mailboxes of one group.
struct Room {
    /// The mailboxes that had room for messages, ascending by slot. Those of agents that have ended aren't among them.
    mailboxes: Vec<MailboxRoom>,
    /// Whether no mailbox has room for a notice any more. All notices are of one size.
    is_full: bool,
}

/// Room in one mailbox.
struct MailboxRoom {
    slot: AgentSlot,
    messages: u32,
    bytes: u32,
}

impl MailboxRoom {
    const fn has(&self, message_bytes: u32) -> bool {
        self.messages > 0 && self.bytes >= message_bytes
    }

    /// Takes the room of a message, if it is there.
    const fn take(&mut self, message_bytes: u32) {
        if self.has(message_bytes) {
            self.messages -= 1;
            self.bytes -= message_bytes;
        }
    }
}

impl Rooms {
    /// Returns the room as the frame begins, of the groups that are sent notices; `None` if there are none.
    fn of<'a>(directory: &Directory, inboxes: &Inboxes, notices: impl Iterator<Item = &'a Address>) -> Option<Self> {
        let mut rooms = BTreeMap::new();
        for notice in notices {
            let Some(Recipient::Group(to)) = notice.recipient() else { continue };
            rooms.entry(to).or_insert_with(|| {
                let mailboxes = directory.groups[to].slots().map(|slot| {
                    let (messages, bytes) = inboxes.loads[slot.index()].room();
                    MailboxRoom { slot, messages, bytes }
                });
                Room { mailboxes: mailboxes.filter(|mailbox| mailbox.messages > 0).collect(), is_full: false }
            });
        }
        (!rooms.is_empty()).then_some(Self(rooms))
    }

    /// Returns whether a notice has room in one of a group's mailboxes.
    fn has(&mut self, to: GroupIndex) -> bool {
        self.0.get_mut(&to).is_some_and(|room| {
            room.is_full = room.is_full || !room.mailboxes.iter().any(|mailbox| mailbox.has(NOTICE_BYTES));
            !room.is_full
        })
    }

    /// Takes the room of a notice in all mailboxes of a group that have it.
    fn put_all(&mut self, to: GroupIndex) {
        if let Some(room) = self.0.get_mut(&to).filter(|room| !room.is_full) {
            room.mailboxes.iter_mut().for_each(|mailbox| mailbox.take(NOTICE_BYTES));
        }
    }

    /// Takes the room of a message in the mailbox of a supervisor.
    fn put(&mut self, directory: &Directory, slot: AgentSlot, bytes: u32) {
        let group_index = directory.group_index(directory.group_at(slot).id);
        if let Some(room) = group_index.and_then(|index| self.0.get_mut(&index))
            && let Ok(found) = room.mailboxes.binary_search_by_key(&slot, |mailbox| mailbox.slot)
        {
            room.mailboxes[found].take(bytes);
        }
    }
}
