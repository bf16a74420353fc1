//! What agents are given to work with: modules, models and their jobs, topics, shared regions.

use std::collections::BTreeSet;

use wasm_engine_components::{
    AgentId, InferenceJob, JobData, JobId, Members, ModelId, RegionSpec, RegionState, TopicId, TopicSpec,
};

use super::entity::{Entry, StateError};
use super::pass::{Loading, Saving, only};
use super::section::{Reader, Section, write_serde};
use crate::world::digest::{LaneSums, PartDigest, topic_digest};
use crate::world::intentions::NextJob;
use crate::world::models::ModelTable;
use crate::world::swaps::{CurrentModules, SwapCatalog};

/// A module's number is its place among the names of a scenario, which a branch may add to: its name says which it is.
pub(super) fn save_modules(saving: &mut Saving<'_>, section: &mut Section) {
    let catalog = saving.world.resource::<SwapCatalog>();
    for (group, module) in &saving.world.resource::<CurrentModules>().0 {
        section.push(group.0.into(), |bytes| {
            bytes.extend_from_slice(&module.to_le_bytes());
            let name = catalog.modules.get(*module as usize).map_or("", |file| &file.name);
            bytes.extend_from_slice(name.as_bytes());
        });
    }
}

pub(super) fn load_modules(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let mut current = CurrentModules::default();
    for entry in section.items() {
        let at = entry.group(loading.directory)?;
        let (number, name) = entry.read(|value| Some((value.u32()?, value.text()?)))?;
        let modules = &loading.world.resource::<SwapCatalog>().modules;
        let found = (0..).zip(modules).find(|(_, file)| file.name == name).map(|(number, _)| number);
        let module = if name.is_empty() { Some(number) } else { found };
        let module = module.ok_or_else(|| entry.unfit(format!("it runs module `{name}`, which the scenario lacks")))?;
        current.0.insert(loading.directory.groups[at].id, module);
    }
    loading.world.insert_resource(current);
    Ok(())
}

pub(super) fn save_answers(saving: &mut Saving<'_>, section: &mut Section) {
    for (model, with) in &saving.world.resource::<ModelTable>().answers {
        section.push(model.0, |bytes| bytes.extend_from_slice(&with.0.to_le_bytes()));
    }
}

pub(super) fn load_answers(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let mut models = loading.world.resource_mut::<ModelTable>();
    for entry in section.items() {
        let (model, with) = (ModelId(entry.id), ModelId(entry.read(Reader::u64)?));
        if models.loaded(model).is_none() || models.loaded(with).is_none() {
            return Err(entry.unfit("the scenario lacks it, or the one that answers for it since a swap"));
        }
        models.swap(model, with);
    }
    Ok(())
}

/// Models that failed an audit, and those that were given up. That the former are here says all; the latter have the frame.
pub(super) fn save_alone(saving: &mut Saving<'_>, section: &mut Section) {
    let models = saving.world.resource::<ModelTable>();
    let all: BTreeSet<ModelId> = models.alone.iter().chain(models.given_up.keys()).copied().collect();
    for model in all {
        section.push(model.0, |bytes| {
            if let Some(frame) = models.given_up(model) {
                bytes.extend_from_slice(&frame.to_le_bytes());
                bytes.push(u8::from(models.is_alone(model)));
            }
        });
    }
}

pub(super) fn load_alone(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let mut models = loading.world.resource_mut::<ModelTable>();
    for entry in section.items() {
        let model = ModelId(entry.id);
        let given_up = entry.read(|value| match value.rest() {
            [] => Some(None),
            [frame @ .., alone @ 0..=1] => Some(Some((u64::from_le_bytes(frame.try_into().ok()?), *alone == 1))),
            _ => None,
        })?;
        if models.loaded(model).is_none() {
            return Err(entry.unfit("the scenario lacks it, and it failed an audit or was given up"));
        }
        if given_up.is_none_or(|(_, is_alone)| is_alone) {
            models.alone.insert(model);
        }
        if let Some((frame, _)) = given_up {
            models.given_up.insert(model, frame);
        }
    }
    Ok(())
}

pub(super) fn save_next_job(saving: &mut Saving<'_>, section: &mut Section) {
    let next = saving.world.resource::<NextJob>().0;
    section.push(0, |bytes| bytes.extend_from_slice(&next.to_le_bytes()));
}

pub(super) fn load_next_job(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    loading.world.resource_mut::<NextJob>().0 =
        only(section)?.read(|value| value.u64().filter(|next| *next < 1 << 62))?;
    Ok(())
}

/// The jobs in the order of their ids.
fn jobs<'w>(saving: &Saving<'w>) -> Vec<(&'w InferenceJob, &'w JobData)> {
    let Some(jobs) = saving.world.try_query::<(&InferenceJob, &JobData)>() else { return Vec::new() };
    let mut jobs: Vec<_> = jobs.query_manual(saving.world).iter_inner().collect();
    jobs.sort_unstable_by_key(|(job, _)| job.id);
    jobs
}

pub(super) fn save_jobs(saving: &mut Saving<'_>, section: &mut Section) {
    for (job, _) in jobs(saving) {
        section.push(job.id.0, |bytes| {
            for number in [job.agent.0, job.model.0, job.correlation, job.due_frame] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        });
    }
}

pub(super) fn load_jobs(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    let next = loading.world.resource::<NextJob>().0;
    for entry in section.items() {
        let [agent, model, correlation, due_frame] =
            entry.read(|value| Some([value.u64()?, value.u64()?, value.u64()?, value.u64()?]))?;
        if entry.id >= next {
            return Err(entry.damaged());
        }
        let (id, agent, model) = (JobId(entry.id), AgentId(agent), ModelId(model));
        let job = InferenceJob { id, agent, model, correlation, due_frame };
        let data = JobData::Input(Vec::new());
        loading.jobs.insert(entry.id, loading.world.spawn((job, data)).id());
    }
    Ok(())
}

pub(super) fn save_job_data(saving: &mut Saving<'_>, section: &mut Section) {
    for (job, data) in jobs(saving) {
        section.push(job.id.0, |bytes| write_serde(bytes, data, "JobData"));
    }
}

pub(super) fn load_job_data(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    if !section.entries().map(|(id, _)| id).eq(loading.jobs.keys().copied()) {
        return Err(StateError::Damaged { component: section.component.clone(), entity: None });
    }
    for (entry, &entity) in section.items().zip(loading.jobs.values()) {
        let data: JobData = entry.read(Reader::serde)?;
        let job = loading.world.get::<InferenceJob>(entity);
        let row_bytes =
            job.and_then(|job| loading.world.resource::<ModelTable>().get(job.model)).map(|model| model.row_bytes);
        // What is dispatched must be a row of a model that there is.
        if let JobData::Input(row) = &data
            && row_bytes.is_none_or(|bytes| bytes as usize != row.len())
        {
            return Err(entry.unfit("it waits for a model that the scenario lacks, or whose rows have another size"));
        }
        loading.world.entity_mut(entity).insert(data);
    }
    Ok(())
}

pub(super) fn save_members(saving: &mut Saving<'_>, section: &mut Section) {
    for (id, entity) in &saving.directory.topics {
        let members = saving.world.get::<Members>(*entity);
        section.push(id.0, |bytes| {
            for member in members.into_iter().flat_map(|members| &members.0) {
                bytes.extend_from_slice(&member.0.to_le_bytes());
            }
        });
    }
}

pub(super) fn load_members(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let at =
            loading.directory.topic(TopicId(entry.id)).ok_or_else(|| entry.unfit("the scenario lacks the topic"))?;
        let members = entry.read(|value| {
            let (ids, rest) = value.rest().as_chunks::<8>();
            let ids: Vec<AgentId> = ids.iter().map(|id| AgentId(u64::from_le_bytes(*id))).collect();
            (rest.is_empty() && ids.is_sorted_by(|a, b| a < b)).then_some(ids)
        })?;
        for &member in &members {
            entry.place_of(loading.directory, member)?;
        }
        let (_, entity) = loading.directory.topics[at as usize];
        if let Some(mut list) = loading.world.get_mut::<Members>(entity) {
            list.0 = members;
        }
    }
    let ids = loading.directory.topics.iter().map(|(id, _)| id.0);
    complete(section, ids, "it isn't in the saved state, and a topic can't come in later")
}

pub(super) fn save_regions(saving: &mut Saving<'_>, section: &mut Section) {
    for place in saving.directory.regions.iter() {
        let Some(state) = saving.world.get::<RegionState>(place.entity) else { continue };
        section.push(place.id.0, |bytes| {
            bytes.extend_from_slice(&state.version.to_le_bytes());
            bytes.extend_from_slice(&state.since_frame.to_le_bytes());
            bytes.extend_from_slice(&state.bytes);
        });
    }
}

pub(super) fn load_regions(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
    for entry in section.items() {
        let place = loading.directory.regions.iter().find(|place| place.id.0 == entry.id);
        let place = place.ok_or_else(|| entry.unfit("the scenario lacks the region"))?;
        let (version, since_frame, bytes) = entry.read(|value| Some((value.u64()?, value.u64()?, value.rest())))?;
        if bytes.len() != place.bytes as usize {
            let (was, is) = (bytes.len(), place.bytes);
            return Err(
                entry.unfit(format!("it had {was} bytes, and here has {is}: a region's size can't change later"))
            );
        }
        if let Some(mut state) = loading.world.get_mut::<RegionState>(place.entity) {
            *state = RegionState { version, since_frame, bytes: bytes.to_vec() };
        }
    }
    let ids = loading.directory.regions.iter().map(|place| place.id.0);
    complete(section, ids, "it isn't in the saved state, and a region can't come in later")
}

/// Each of `ids` has an entry.
fn complete(section: &Section, ids: impl Iterator<Item = u64>, problem: &str) -> Result<(), StateError> {
    for id in ids {
        if section.of(id).next().is_none() {
            return Err(Entry { section, id, value: &[] }.unfit(problem));
        }
    }
    Ok(())
}

/// Makes the lanes of topics and regions anew.
pub(super) fn digest(loading: &mut Loading<'_>) {
    let (mut topics, mut regions) = (0_u128, 0_u128);
    let mut parts = loading.world.query::<(&TopicSpec, &Members, &mut PartDigest)>();
    for (topic, members, mut part) in parts.iter_mut(loading.world) {
        part.0 = topic_digest(topic.id, members);
        topics = topics.wrapping_add(part.0);
    }
    let mut parts = loading.world.query::<(&RegionSpec, &RegionState, &mut PartDigest)>();
    for (region, state, mut part) in parts.iter_mut(loading.world) {
        part.0 = crate::world::regions::digest(region.id, state);
        regions = regions.wrapping_add(part.0);
    }
    let mut lanes = loading.world.resource_mut::<LaneSums>();
    (lanes.topics, lanes.regions) = (topics, regions);
}
