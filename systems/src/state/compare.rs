//! Differences of two saved states: lane, stage, component, entity, fields and bytes.

use wasm_engine_components::{AgentId, Lane};

use super::entity::StateEntity;
use super::excerpt::ByteDifference;
use super::parts::find;
use super::registry::Layouts;
use super::section::{Section, WorldState};
use crate::codec::{
    BacklogRuns, Chain, FieldDifference, HeldMessages, Reader, StateCodec, differing, fields, name_at, places, stage_of,
};
use crate::frame::FrameStage;

/// One value that two states don't share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDifference {
    /// The lane that digests it.
    pub lane: Lane,
    /// The stage in which to look first: see [`stage_of`](super::stage_of).
    pub stage: FrameStage,
    /// Name of the component.
    pub component: String,
    /// The entity that has it.
    pub entity: StateEntity,
    /// The bytes that differ, in the value as it is saved.
    pub bytes: ByteDifference,
    /// The name of the first of those, where the layout of the value is known: `steps`, `payload[12]`.
    pub field: Option<String>,
    /// The fields that differ, where the layout is known: the first ones, at most [`StateDifference::FIELDS_MAX`].
    pub fields: Vec<FieldDifference>,
}

impl StateDifference {
    /// Most fields of one value that are listed.
    pub const FIELDS_MAX: usize = 16;
}

impl WorldState {
    /// Returns what the two states differ in, at most `max` values: in the order of the stages, and of ids within a component. Where there are
    /// more, each component that differs has its share of them. Digests, which differ wherever anything did, come last.
    ///
    /// Values of authors have fields if `authors` knows their layouts.
    pub fn differences(&self, other: &Self, authors: &Layouts, max: usize) -> Vec<StateDifference> {
        let names =
            self.sections.iter().chain(&other.sections).map(|section| (section.lane, section.component.as_str()));
        let mut names: Vec<_> = names.collect();
        // The sort is stable: components of a stage stay in the order of their sections.
        names.sort_by_key(|&(lane, name)| (name == Chain::NAME, blamed(lane, name)));
        let mut seen = std::collections::BTreeSet::new();
        // Messages that wait are shown with the mailboxes in which they wait.
        names.retain(|&name| name != HELD && seen.insert(name));
        let sides = |name| (Side::new(self, name), Side::new(other, name));
        let differ: Vec<_> = names.into_iter().map(|name| compare(sides(name), authors, max)).collect();
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

/// Returns the stage in which to look first if that component differs.
fn blamed(lane: Lane, component: &str) -> FrameStage {
    let own = find(component).filter(|_| lane != Lane::Native);
    own.map_or_else(|| stage_of(lane), |part| part.stage)
}

const HELD: (Lane, &str) = (HeldMessages::LANE, HeldMessages::NAME);
const BACKLOG: (Lane, &str) = (BacklogRuns::LANE, BacklogRuns::NAME);

/// A state's section of one component.
struct Side<'a> {
    section: Option<&'a Section>,
    /// In a section of backlogs, the section of the messages, and each message by the id of its mailbox and its index there.
    held: Option<&'a Section>,
    messages: Vec<(u64, usize)>,
}

/// Sort key of an entry and its index in the section. The key is the id, and the entry's number among those of the id.
type Ordered = ((AgentId, u64), u32, usize);

impl<'a> Side<'a> {
    fn new(state: &'a WorldState, name: (Lane, &str)) -> Self {
        let find = |(lane, name): (Lane, &str)| {
            state.sections.iter().find(|section| section.lane == lane && section.component == name)
        };
        let (section, held) = (find(name), find(HELD).filter(|_| name == BACKLOG));
        let messages = section.zip(held).map_or_else(Vec::new, |(section, held)| {
            let runs = |value| BacklogRuns::decode(&mut Reader(value));
            let places = |value| runs(value).and_then(|runs| places(runs, held.len())).into_iter().flatten();
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

    /// Returns the value of an entry; of a backlog, that of a message.
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

/// Returns the first `max` differences of one component.
fn compare((left, right): (Side<'_>, Side<'_>), authors: &Layouts, max: usize) -> Vec<StateDifference> {
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
        found.extend(difference(one, other, authors));
    }
    found
}

type Value<'a> = Option<(&'a Section, u64, &'a [u8])>;

fn difference(left: Value<'_>, right: Value<'_>, authors: &Layouts) -> Option<StateDifference> {
    let [a, b] = [left, right].map(|value| value.map(|(.., bytes)| bytes));
    let bytes = ByteDifference::of(a, b)?;
    let (section, id, value) = left.as_ref().or(right.as_ref())?;
    let entity = StateEntity::of(section, *id, value);
    let (lane, component) = (section.lane, section.component.clone());
    let of = match lane {
        Lane::Native => authors.get(&component),
        _ => find(&component).map(|part| part.fields),
    };
    let fields_of = |value: &[u8]| of.map_or_else(Vec::new, |of| fields(of, value, bytes.offset));
    let [of_a, of_b] = [a, b].map(|value| value.map_or_else(Vec::new, fields_of));
    let field = name_at(&of_a, bytes.offset).or_else(|| name_at(&of_b, bytes.offset));
    let fields = differing((&of_a, a), (&of_b, b), StateDifference::FIELDS_MAX);
    let stage = blamed(lane, &component);
    Some(StateDifference { lane, stage, component, entity, bytes, field, fields })
}

#[cfg(test)]
mod tests {
    use wasm_engine_components::{AgentId, GroupId};

    use super::*;
    use crate::codec::{EntityKind, FieldValue};

    fn section(component: &str, of: EntityKind, lane: Lane, id: u64, value: &[u8]) -> WorldState {
        let mut section = Section::new(component, lane, of);
        section.push(id, |bytes| bytes.extend_from_slice(value));
        WorldState { sections: vec![section] }
    }

    /// Counters: steps, fuel, messages, jobs, and a count for each kind of fault.
    fn counters(change: (usize, u64)) -> WorldState {
        let mut numbers = [7_u64; 4 + wasm_engine_components::FaultKind::COUNT];
        numbers[change.0] = change.1;
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        section("GroupCounters", EntityKind::Group, Lane::Groups, 3, &bytes)
    }

    #[test]
    fn fields_are_named_wherever_they_lie() {
        let before = counters((0, 7));
        let last = 4 + wasm_engine_components::FaultKind::COUNT - 1;
        let kinds = wasm_engine_components::FaultKind::ALL.map(wasm_engine_components::FaultKind::name);
        for (at, name) in
            [(0, "steps".to_owned()), (1, "fuel".to_owned()), (last, format!("faults.{}", kinds[last - 4]))]
        {
            let found = before.differences(&counters((at, 0x0107)), &Layouts::default(), 9);
            let [one] = &found[..] else { panic!("{found:?}") };
            assert_eq!(one.field.as_deref(), Some(name.as_str()));
            // The lowest bytes of both are 7: it is the second one that differs.
            assert_eq!((one.bytes.offset, one.bytes.count), (8 * at + 1, 1));
            let (left, right) = (Some(FieldValue::Number(7)), Some(FieldValue::Number(0x0107)));
            assert_eq!(one.fields, [FieldDifference { name, offset: 8 * at, left, right }]);
        }
    }

    #[test]
    fn lists_and_payloads_are_named_with_their_places() {
        let agents = |ordinals: &[u32]| -> Vec<u8> {
            ordinals.iter().flat_map(|&ordinal| AgentId::new(GroupId(1), ordinal).0.to_le_bytes()).collect()
        };
        let topic = |members: &[u32]| section("Members", EntityKind::Topic, Lane::Topics, 1, &agents(members));
        let found = topic(&[1, 2]).differences(&topic(&[1, 2, 5]), &Layouts::default(), 9);
        assert_eq!(found[0].field.as_deref(), Some("members[2]"));
        assert_eq!((found[0].bytes.offset, found[0].bytes.count, found[0].fields[0].left.as_ref()), (16, 8, None));
        let region = |bytes: &[u8]| {
            let value = [&9_u64.to_le_bytes(), &4_u64.to_le_bytes(), bytes].concat();
            section("RegionState", EntityKind::Region, Lane::Regions, 1, &value)
        };
        let found = region(b"abcdef").differences(&region(b"abcXef"), &Layouts::default(), 9);
        assert_eq!((found[0].field.as_deref(), found[0].bytes.offset), (Some("bytes[3]"), 19));
        let gone = region(b"abc").differences(&WorldState::default(), &Layouts::default(), 9);
        assert_eq!((gone[0].bytes.right.as_ref(), gone[0].fields.len(), gone[0].bytes.count), (None, 3, 19));
    }

    #[test]
    fn what_does_not_fit_its_layout_or_is_an_authors_has_no_fields() {
        let short = |value: &[u8]| section("FrameClock", EntityKind::World, Lane::Inputs, 0, value);
        let found = short(b"abc").differences(&short(b"abd"), &Layouts::default(), 9);
        assert_eq!((found[0].field.as_ref(), found[0].fields.len(), found[0].bytes.offset), (None, 0, 2));
        let native = |value: &[u8; 8]| section("Timers", EntityKind::Native, Lane::Native, 1, value);
        let found = native(&[0; 8]).differences(&native(&[1; 8]), &Layouts::default(), 9);
        assert_eq!((found[0].field.as_ref(), found[0].bytes.count), (None, 8));
    }
}
