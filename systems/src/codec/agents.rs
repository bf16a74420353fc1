//! The form of groups' slots and of the agents in them: lifecycles, fault histories, counters.

use std::collections::VecDeque;

use wasm_engine_components::{FaultCounts, FaultHistory, GroupCounters, GroupTotals, Lane, Lifecycle};

use super::field::{Fields, Kind, LIST_BY_FAULT, U8, U32, U64};
use super::reader::Reader;
use super::sink::Sink;
use super::{EntityKind, StateCodec};

/// The slots of a group.
pub(crate) enum Places {}

/// Use of a group's slots so far.
#[derive(Clone, Debug)]
pub(crate) struct GroupSlots<V> {
    /// Number of agents with which it began.
    pub first_agents: u32,
    /// Number of slots that were ever used.
    pub used: u32,
    /// Whether a slot may be given to another agent later.
    pub grows: bool,
    /// Frames in which agents ended, and their ordinals: in the order of the frames.
    pub vacating: V,
}

impl StateCodec for Places {
    const NAME: &'static str = "Places";
    const LANE: Lane = Lane::Agents;
    const OF: EntityKind = EntityKind::Group;
    const FIELDS: Fields = Fields::Fixed {
        once: &[("first_agents", U32), ("used", U32), ("grows", U8)],
        again: &[("vacating.frame", U64), ("vacating.ordinal", U32)],
    };

    type Value<'a> = GroupSlots<&'a VecDeque<(u64, u32)>>;
    type Decoded<'a> = GroupSlots<VecDeque<(u64, u32)>>;

    fn encode(slots: Self::Value<'_>, to: &mut impl Sink) {
        to.u32(slots.first_agents);
        to.u32(slots.used);
        to.bool(slots.grows);
        for (frame, ordinal) in slots.vacating {
            to.u64(*frame);
            to.u32(*ordinal);
        }
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self::Decoded<'a>> {
        let (first_agents, used, grows) = (from.u32()?, from.u32()?, from.bool()?);
        let mut vacating = VecDeque::new();
        while !from.0.is_empty() {
            vacating.push_back((from.u64()?, from.u32()?));
        }
        let is_ordered = vacating.iter().is_sorted_by_key(|(frame, _)| frame);
        is_ordered.then_some(GroupSlots { first_agents, used, grows, vacating })
    }
}

impl StateCodec for Lifecycle {
    const NAME: &'static str = "Lifecycle";
    const LANE: Lane = Lane::Agents;
    const OF: EntityKind = EntityKind::Agent;
    const FIELDS: Fields = Fields::once(&[("lifecycle", Kind::Word(name_of_lifecycle))]);

    type Value<'a> = Self;
    type Decoded<'a> = Self;

    fn encode(lifecycle: Self, to: &mut impl Sink) {
        to.u8(lifecycle as u8);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self> {
        Self::from_number(from.u8()?)
    }
}

fn name_of_lifecycle(number: u8) -> &'static str {
    Lifecycle::from_number(number).map_or("unknown", Lifecycle::name)
}

impl StateCodec for FaultHistory {
    const NAME: &'static str = "FaultHistory";
    const LANE: Lane = Lane::Agents;
    const OF: EntityKind = EntityKind::Agent;
    const FIELDS: Fields =
        Fields::once(&[("faults", U32), ("restarts", U32), ("restart_frame", U64), ("uninitialised", U8)]);

    type Value<'a> = &'a Self;
    type Decoded<'a> = Self;

    fn encode(history: &Self, to: &mut impl Sink) {
        to.u32(history.faults);
        to.u32(history.restarts);
        to.u64(history.restart_frame);
        to.bool(history.uninitialised);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self> {
        let (faults, restarts) = (from.u32()?, from.u32()?);
        Some(Self { faults, restarts, restart_frame: from.u64()?, uninitialised: from.bool()? })
    }
}

impl StateCodec for GroupCounters {
    const NAME: &'static str = "GroupCounters";
    const LANE: Lane = Lane::Groups;
    const OF: EntityKind = EntityKind::Group;
    const FIELDS: Fields = Fields::Fixed {
        once: &[("steps", U64), ("fuel", U64), ("messages", U64), ("inference_jobs", U64)],
        again: &[(LIST_BY_FAULT, U64)],
    };

    type Value<'a> = &'a Self;
    type Decoded<'a> = Self;

    fn encode(counters: &Self, to: &mut impl Sink) {
        let GroupTotals { steps, fuel, messages, inference_jobs, faults } = counters.0;
        to.u64s([steps, fuel, messages, inference_jobs]);
        to.u64s(faults.0);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self> {
        let [steps, fuel, messages, inference_jobs] = [from.u64()?, from.u64()?, from.u64()?, from.u64()?];
        let mut faults = FaultCounts::default();
        for count in &mut faults.0 {
            *count = from.u64()?;
        }
        Some(Self(GroupTotals { steps, fuel, messages, inference_jobs, faults }))
    }
}
