//! What two saved states differ in: lane, stage, component, entity, and the first byte.

use wasm_engine_components::{AgentId, Lane};

use super::entity::StateEntity;
use super::message::decode_places;
use super::parts::CHAIN;
use super::section::{Section, WorldState};
use crate::frame::FrameStage;

/// One value that two states don't share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDifference {
    /// The lane that digests it.
    pub lane: Lane,
    /// The stage that writes it.
    pub stage: FrameStage,
    /// Of which component.
    pub component: String,
    /// Whose.
    pub entity: StateEntity,
    /// The first byte that differs, in the value as it is saved.
    pub offset: usize,
    /// The left one's bytes from there on, at most [`StateDifference::BYTES_MAX`]; `None` where the left has no such value.
    pub left: Option<Vec<u8>>,
    /// The same of the right one.
    pub right: Option<Vec<u8>>,
}

impl StateDifference {
    /// How many bytes of a value are shown.
    pub const BYTES_MAX: usize = 64;
}

/// The stage in which what a lane digests is written last.
pub const fn stage_of(lane: Lane) -> FrameStage {
    match lane {
        Lane::Inputs => FrameStage::Ingest,
        Lane::Mailboxes => FrameStage::Deliver,
        Lane::Schedule => FrameStage::Schedule,
        Lane::Outboxes | Lane::Memories | Lane::Faults | Lane::Logs | Lane::Requests => FrameStage::Step,
        Lane::HostMessages | Lane::Commands | Lane::Groups => FrameStage::Collect,
        Lane::Inference => FrameStage::Infer,
        Lane::Agents | Lane::Topics | Lane::Native | Lane::Regions => FrameStage::Commit,
    }
}

impl WorldState {
    /// What the two states differ in, at most `max` values: in the order of the stages, and of ids within a component. Where there are
    /// more, each component that differs has its share of them. Digests, which differ wherever anything did, come last.
    pub fn differences(&self, other: &Self, max: usize) -> Vec<StateDifference> {
        let names =
            self.sections.iter().chain(&other.sections).map(|section| (section.lane, section.component.as_str()));
        let mut names: Vec<_> = names.collect();
        // A stable sort: components of a stage stay in the order of their sections.
        names.sort_by_key(|&(lane, name)| (name == CHAIN, stage_of(lane)));
        let mut seen = std::collections::BTreeSet::new();
        // What waits is shown in the mailboxes in which it does.
        names.retain(|&name| name != HELD && seen.insert(name));
        let differ: Vec<_> =
            names.into_iter().map(|name| compare(Side::new(self, name), Side::new(other, name), max)).collect();
        let mut shares = vec![0_usize; differ.len()];
        let mut left = max;
        while left > 0 && shares.iter().zip(&differ).any(|(share, all)| *share < all.len()) {
            for (share, _) in shares.iter_mut().zip(&differ).filter(|(share, all)| **share < all.len()) {
                if left > 0 {
                    (*share, left) = (*share + 1, left - 1);
                }
            }
        }
        differ.into_iter().zip(shares).flat_map(|(all, share)| all.into_iter().take(share)).collect()
    }
}

const HELD: (Lane, &str) = (Lane::Mailboxes, "HeldMessages");
const BACKLOG: (Lane, &str) = (Lane::Mailboxes, "Backlog");

/// A state's section of one component.
struct Side<'a> {
    section: Option<&'a Section>,
    /// Of backlogs, where their messages lie; and each message, by the id of its mailbox and its place there.
    held: Option<&'a Section>,
    messages: Vec<(u64, usize)>,
}

/// An entry's place in the order of all: its id, which of those of the id, and where it stands.
type Ordered = ((AgentId, u64), u32, usize);

impl<'a> Side<'a> {
    fn new(state: &'a WorldState, name: (Lane, &str)) -> Self {
        let find = |(lane, name): (Lane, &str)| {
            state.sections.iter().find(|section| section.lane == lane && section.component == name)
        };
        let (section, held) = (find(name), find(HELD).filter(|_| name == BACKLOG));
        let messages = section.zip(held).map_or_else(Vec::new, |(section, held)| {
            let places = |value| decode_places(value, held.len()).into_iter().flatten();
            section.entries().flat_map(|(id, value)| places(value).map(move |place| (id, place))).collect()
        });
        Self { section, held, messages }
    }

    fn ordered(&self) -> Vec<Ordered> {
        let Some(section) = self.section else { return Vec::new() };
        let mut order: Vec<Ordered> = if self.held.is_some() {
            self.messages.iter().zip(0..).map(|(&(id, _), at)| (section.rank(id), 0, at)).collect()
        } else {
            section.entries().zip(0..).map(|((id, _), at)| (section.rank(id), 0, at)).collect()
        };
        order.sort_by_key(|(rank, ..)| *rank);
        let mut last = None;
        for (rank, nth, _) in &mut order {
            *nth = last.filter(|(before, _)| before == rank).map_or(0, |(_, nth)| nth + 1);
            last = Some((*rank, *nth));
        }
        order
    }

    /// The value of an entry; of a backlog, that of a message.
    fn value(&self, at: usize) -> Value<'a> {
        let section = self.section?;
        let (id, value) = match self.held {
            Some(held) => {
                let (id, place) = self.messages[at];
                (id, held.entry(place).1)
            }
            None => section.entry(at),
        };
        Some((section, id, value))
    }
}

/// The first `max` differences of one component.
fn compare(left: Side<'_>, right: Side<'_>, max: usize) -> Vec<StateDifference> {
    let mut found = Vec::new();
    if left.section == right.section && left.held == right.held {
        return found;
    }
    let (a, b) = (left.ordered(), right.ordered());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while found.len() < max {
        let key = |ordered: &Ordered| (ordered.0, ordered.1);
        let Some(next) = a.peek().map(key).into_iter().chain(b.peek().map(key)).min() else { break };
        let one = a.next_if(|one| key(one) == next).and_then(|(.., at)| left.value(at));
        let other = b.next_if(|one| key(one) == next).and_then(|(.., at)| right.value(at));
        found.extend(difference(one, other));
    }
    found
}

type Value<'a> = Option<(&'a Section, u64, &'a [u8])>;

fn difference(left: Value<'_>, right: Value<'_>) -> Option<StateDifference> {
    let bytes = |value: &Value<'_>| value.map_or(&[][..], |(.., bytes)| bytes).to_vec();
    let (a, b) = (bytes(&left), bytes(&right));
    if left.is_some() == right.is_some() && a == b {
        return None;
    }
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let offset = if left.is_some() && right.is_some() { same } else { 0 };
    let shown = |bytes: Vec<u8>| bytes.into_iter().skip(offset).take(StateDifference::BYTES_MAX).collect();
    let (section, id, value) = left.as_ref().or(right.as_ref())?;
    let entity = StateEntity::of(section, *id, value);
    let (lane, component) = (section.lane, section.component.clone());
    let (left, right) = (left.is_some().then(|| shown(a)), right.is_some().then(|| shown(b)));
    Some(StateDifference { lane, stage: stage_of(lane), component, entity, offset, left, right })
}
