//! The form of what agents work with: modules, models and their jobs, topics, shared regions.

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::{AgentId, InferenceJob, JobData, JobId, Lane, Members, ModelId, RegionState};

use super::field::{Fields, Kind, U8, U32, U64};
use super::reader::Reader;
use super::sink::Sink;
use super::{EntityKind, StateCodec};
use crate::frame::FrameStage;

/// The modules of the groups that were swapped: number and name.
///
/// A module's number is its index among the names of a scenario, and a branch may add to those. So a state is loaded by the name; the number counts
/// only for a module without one. Both are in the hash: where a branch numbers a module anew, its digests differ from those of the run that it
/// branched off from the branch on.
pub(crate) enum Modules {}

impl StateCodec for Modules {
    const NAME: &'static str = "CurrentModules";
    const LANE: Lane = Lane::Groups;
    const STAGE: FrameStage = FrameStage::Ingest;
    const OF: EntityKind = EntityKind::Group;
    const FIELDS: Fields = Fields::once(&[("number", U32), ("module", Kind::Text)]);

    type Value<'a> = (u32, &'a str);
    type Decoded<'a> = (u32, &'a str);

    fn encode((number, name): (u32, &str), to: &mut impl Sink) {
        to.u32(number);
        to.put(name.as_bytes());
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<(u32, &'a str)> {
        Some((from.u32()?, from.text()?))
    }
}

/// The models that answer for others, by swaps.
pub(crate) enum AnsweringModels {}

impl StateCodec for AnsweringModels {
    const NAME: &'static str = "ModelAnswers";
    const LANE: Lane = Lane::Inference;
    const STAGE: FrameStage = FrameStage::Ingest;
    const OF: EntityKind = EntityKind::Model;
    const FIELDS: Fields = Fields::once(&[("with", Kind::Name)]);

    type Value<'a> = ModelId;
    type Decoded<'a> = ModelId;

    fn encode(with: ModelId, to: &mut impl Sink) {
        to.u64(with.0);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<ModelId> {
        from.u64().map(ModelId)
    }
}

/// Models that failed an audit, and models that were given up, with the frame in which they were.
pub(crate) enum ModelsAlone {}

/// A model that has no company, or isn't run any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AloneModel {
    /// Whether it failed an audit.
    pub is_alone: bool,
    /// The frame in which a run of it was left behind, if one was.
    pub given_up: Option<u64>,
}

impl StateCodec for ModelsAlone {
    const NAME: &'static str = "ModelsAlone";
    const LANE: Lane = Lane::Inference;
    const OF: EntityKind = EntityKind::Model;
    const FIELDS: Fields = Fields::Fixed { once: &[], again: &[("given_up.frame", U64), ("given_up.alone", U8)] };

    type Value<'a> = AloneModel;
    type Decoded<'a> = AloneModel;

    fn encode(model: AloneModel, to: &mut impl Sink) {
        if let Some(frame) = model.given_up {
            to.u64(frame);
            to.bool(model.is_alone);
        }
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<AloneModel> {
        if from.0.is_empty() {
            return Some(AloneModel { is_alone: true, given_up: None });
        }
        Some(AloneModel { given_up: Some(from.u64()?), is_alone: from.bool()? })
    }
}

/// The number of the next job.
pub(crate) enum JobCounter {}

impl StateCodec for JobCounter {
    const NAME: &'static str = "NextJob";
    const LANE: Lane = Lane::Inference;
    const OF: EntityKind = EntityKind::World;
    const FIELDS: Fields = Fields::once(&[("next", U64)]);

    type Value<'a> = u64;
    type Decoded<'a> = u64;

    fn encode(next: u64, to: &mut impl Sink) {
        to.u64(next);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<u64> {
        from.u64().filter(|next| *next < 1 << 62)
    }
}

/// Inference jobs: the agent, the model and the inputs, the frame in which the result is due, and the result once there is one.
pub(crate) enum Job {}

/// The status of a job that has no result yet.
const ASKED: u8 = u8::MAX;

impl StateCodec for Job {
    const NAME: &'static str = "InferenceJob";
    const LANE: Lane = Lane::Inference;
    const OF: EntityKind = EntityKind::Job;
    const FIELDS: Fields = Fields::once(&[
        ("agent", Kind::Agent),
        ("model", Kind::Name),
        ("correlation", U64),
        ("due_frame", U64),
        ("status", Kind::Word(name_of_status)),
        ("data", Kind::Bytes),
    ]);

    type Value<'a> = (&'a InferenceJob, &'a JobData);
    /// The number of the job is that of its entry.
    type Decoded<'a> = (InferenceJob, JobData);

    fn encode((job, data): Self::Value<'_>, to: &mut impl Sink) {
        to.u64s([job.agent.0, job.model.0, job.correlation, job.due_frame]);
        let (status, bytes) = match data {
            JobData::Input(row) => (ASKED, row),
            JobData::Output { status, bytes } => (*status as u8, bytes),
        };
        to.u8(status);
        to.put(bytes);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self::Decoded<'a>> {
        let [agent, model, correlation, due_frame] = [from.u64()?, from.u64()?, from.u64()?, from.u64()?];
        let (id, agent, model) = (JobId(0), AgentId(agent), ModelId(model));
        let job = InferenceJob { id, agent, model, correlation, due_frame };
        let data = match from.u8()? {
            ASKED => JobData::Input(from.rest().to_vec()),
            number => JobData::Output { status: status(number)?, bytes: from.rest().to_vec() },
        };
        Some((job, data))
    }
}

fn status(number: u8) -> Option<InferenceStatus> {
    InferenceStatus::from_number(number.into())
}

fn name_of_status(number: u8) -> &'static str {
    match status(number) {
        None if number == ASKED => "asked",
        known => known.map_or("unknown", InferenceStatus::name),
    }
}

impl StateCodec for Members {
    const NAME: &'static str = "Members";
    const LANE: Lane = Lane::Topics;
    const OF: EntityKind = EntityKind::Topic;
    const FIELDS: Fields = Fields::Fixed { once: &[], again: &[("members", Kind::Agent)] };

    type Value<'a> = &'a Self;
    type Decoded<'a> = Self;

    fn encode(members: &Self, to: &mut impl Sink) {
        members.0.iter().for_each(|member| to.u64(member.0));
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self> {
        let (ids, rest) = from.rest().as_chunks::<8>();
        let ids: Vec<AgentId> = ids.iter().map(|id| AgentId(u64::from_le_bytes(*id))).collect();
        (rest.is_empty() && ids.is_sorted_by(|a, b| a < b)).then_some(Self(ids))
    }
}

impl StateCodec for RegionState {
    const NAME: &'static str = "RegionState";
    const LANE: Lane = Lane::Regions;
    const OF: EntityKind = EntityKind::Region;
    const FIELDS: Fields = Fields::once(&[("version", U64), ("since_frame", U64), ("bytes", Kind::Bytes)]);

    type Value<'a> = &'a Self;
    type Decoded<'a> = Self;

    fn encode(state: &Self, to: &mut impl Sink) {
        to.u64(state.version);
        to.u64(state.since_frame);
        to.put(&state.bytes);
    }

    fn decode<'a>(from: &mut Reader<'a>) -> Option<Self> {
        Some(Self { version: from.u64()?, since_frame: from.u64()?, bytes: from.rest().to_vec() })
    }
}
