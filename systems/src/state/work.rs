//! State of a world that agents work with: modules, models and their jobs, topics, shared regions.

use std::collections::BTreeSet;

use bevy_ecs::component::ComponentId;
use bevy_ecs::world::World;
use wasm_engine_components::{
    InferenceJob, JobData, JobId, Members, ModelId, RegionSpec, RegionState, TopicId, TopicSpec,
};

use super::entity::{Entry, StateError};
use super::part::{Coverage, StatePart, Target};
use super::pass::{Loading, Saving, only};
use super::section::Section;
use crate::codec::{self, AloneModel, AnsweringModels, Job, ModelsAlone, Modules, digest};
use crate::world::digest::{LaneSums, PartDigest};
use crate::world::intentions::NextJob;
use crate::world::models::ModelTable;
use crate::world::swaps::{CurrentModules, SwapCatalog};

impl StatePart for Modules {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let catalog = saving.world.resource::<SwapCatalog>();
        for (group, module) in &saving.world.resource::<CurrentModules>().0 {
            let name = catalog.modules.get(*module as usize).map_or("", |file| &file.name);
            to.put(group.0.into(), (*module, name));
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let mut current = CurrentModules::default();
        for entry in section.items() {
            let at = entry.group(loading.directory)?;
            let (number, name) = entry.decode::<Self>()?;
            let modules = &loading.world.resource::<SwapCatalog>().modules;
            let found = (0..).zip(modules).find(|(_, file)| file.name == name).map(|(number, _)| number);
            let module = if name.is_empty() { Some(number) } else { found };
            let module =
                module.ok_or_else(|| entry.unfit(format!("it runs module `{name}`, which the scenario lacks")))?;
            current.0.insert(loading.directory.groups[at].id, module);
        }
        loading.world.insert_resource(current);
        Ok(())
    }
}

impl StatePart for AnsweringModels {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for (model, with) in &saving.world.resource::<ModelTable>().answers {
            to.put(model.0, *with);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let mut models = loading.world.resource_mut::<ModelTable>();
        for entry in section.items() {
            let (model, with) = (ModelId(entry.id), entry.decode::<Self>()?);
            if models.loaded(model).is_none() || models.loaded(with).is_none() {
                return Err(entry.unfit("the scenario lacks it, or the one that answers for it since a swap"));
            }
            models.swap(model, with);
        }
        Ok(())
    }
}

impl StatePart for ModelsAlone {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let models = saving.world.resource::<ModelTable>();
        let all: BTreeSet<ModelId> = models.alone.iter().chain(models.given_up.keys()).copied().collect();
        for model in all {
            to.put(model.0, AloneModel { is_alone: models.is_alone(model), given_up: models.given_up(model) });
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let mut models = loading.world.resource_mut::<ModelTable>();
        for entry in section.items() {
            let model = ModelId(entry.id);
            let AloneModel { is_alone, given_up } = entry.decode::<Self>()?;
            if models.loaded(model).is_none() {
                return Err(entry.unfit("the scenario lacks it, and it failed an audit or was given up"));
            }
            if is_alone {
                models.alone.insert(model);
            }
            if let Some(frame) = given_up {
                models.given_up.insert(model, frame);
            }
        }
        Ok(())
    }
}

impl StatePart for codec::JobCounter {
    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        to.put(0, saving.world.resource::<NextJob>().0);
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        loading.world.resource_mut::<NextJob>().0 = only(section)?.decode::<Self>()?;
        Ok(())
    }
}

impl StatePart for Job {
    fn components(world: &mut World) -> Vec<ComponentId> {
        vec![world.register_component::<InferenceJob>(), world.register_component::<JobData>()]
    }

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        let jobs = saving.jobs.iter(saving.world);
        if T::IS_ORDERED {
            let mut jobs: Vec<_> = jobs.collect();
            jobs.sort_unstable_by_key(|(job, _)| job.id);
            jobs.into_iter().for_each(|(job, data)| to.put(job.id.0, (job, data)));
        } else {
            jobs.for_each(|(job, data)| to.put(job.id.0, (job, data)));
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        let next = loading.world.resource::<NextJob>().0;
        for entry in section.items() {
            let (job, data) = entry.decode::<Self>()?;
            if entry.id >= next {
                return Err(entry.damaged());
            }
            let row_bytes = loading.world.resource::<ModelTable>().get(job.model).map(|model| model.row_bytes);
            // A job that isn't dispatched yet must be a row of a model that there is.
            if let JobData::Input(row) = &data
                && row_bytes.is_none_or(|bytes| bytes as usize != row.len())
            {
                let problem = "it waits for a model that the scenario lacks, or whose rows have another size";
                return Err(entry.unfit(problem));
            }
            loading.world.spawn((InferenceJob { id: JobId(entry.id), ..job }, data));
        }
        Ok(())
    }
}

impl StatePart for Members {
    const COVERAGE: Coverage = Coverage::Carried(|saving| saving.sums.topics);

    fn components(world: &mut World) -> Vec<ComponentId> {
        vec![world.register_component::<Self>()]
    }

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for (id, entity) in &saving.directory.topics {
            let Some(members) = saving.world.get::<Self>(*entity) else { continue };
            to.put(id.0, members);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let at = loading.directory.topic(TopicId(entry.id));
            let at = at.ok_or_else(|| entry.unfit("the scenario lacks the topic"))?;
            let members = entry.decode::<Self>()?;
            for &member in &members.0 {
                entry.slot_of(loading.directory, member)?;
            }
            let (_, entity) = loading.directory.topics[at.index()];
            if let Some(mut list) = loading.world.get_mut::<Self>(entity) {
                *list = members;
            }
        }
        let ids = loading.directory.topics.iter().map(|(id, _)| id.0);
        complete(section, ids, "it isn't in the saved state, and a topic can't come in later")
    }

    /// Computes the lane of topics.
    fn finish(loading: &mut Loading<'_>) {
        let mut sum = 0_u128;
        let mut parts = loading.world.query::<(&TopicSpec, &Self, &mut PartDigest)>();
        for (topic, members, mut part) in parts.iter_mut(loading.world) {
            part.0 = digest::<Self>(topic.id.0, members);
            sum = sum.wrapping_add(part.0);
        }
        loading.world.resource_mut::<LaneSums>().topics = sum;
    }
}

impl StatePart for RegionState {
    const COVERAGE: Coverage = Coverage::Carried(|saving| saving.sums.regions);

    fn components(world: &mut World) -> Vec<ComponentId> {
        vec![world.register_component::<Self>()]
    }

    fn save<T: Target<Self>>(saving: &mut Saving<'_>, to: &mut T) {
        for region in saving.directory.regions.iter() {
            let Some(state) = saving.world.get::<Self>(region.entity) else { continue };
            to.put(region.id.0, state);
        }
    }

    fn load(loading: &mut Loading<'_>, section: &Section) -> Result<(), StateError> {
        for entry in section.items() {
            let region = loading.directory.regions.iter().find(|region| region.id.0 == entry.id);
            let region = region.ok_or_else(|| entry.unfit("the scenario lacks the region"))?;
            let read = entry.decode::<Self>()?;
            if read.bytes.len() != region.bytes as usize {
                let (was, is) = (read.bytes.len(), region.bytes);
                let problem = format!("it had {was} bytes, and here has {is}: a region's size can't change later");
                return Err(entry.unfit(problem));
            }
            if let Some(mut state) = loading.world.get_mut::<Self>(region.entity) {
                *state = read;
            }
        }
        let ids = loading.directory.regions.iter().map(|region| region.id.0);
        complete(section, ids, "it isn't in the saved state, and a region can't come in later")
    }

    /// Computes the lane of regions.
    fn finish(loading: &mut Loading<'_>) {
        let mut sum = 0_u128;
        let mut parts = loading.world.query::<(&RegionSpec, &Self, &mut PartDigest)>();
        for (region, state, mut part) in parts.iter_mut(loading.world) {
            part.0 = digest::<Self>(region.id.0, state);
            sum = sum.wrapping_add(part.0);
        }
        loading.world.resource_mut::<LaneSums>().regions = sum;
    }
}

/// Checks that each of `ids` has an entry.
fn complete(section: &Section, ids: impl Iterator<Item = u64>, problem: &str) -> Result<(), StateError> {
    for id in ids {
        if section.of(id).next().is_none() {
            return Err(Entry { section, id, value: &[] }.unfit(problem));
        }
    }
    Ok(())
}
