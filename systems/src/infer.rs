//! Stage `Infer`: jobs become entities, are sorted and batched by model in the order of their ids, and go through the port.

use std::collections::BTreeMap;

use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Commands, Query, ResMut};
use wasm_engine_components::{InferenceJob, JobData, Model, ModelId};

use crate::collect::Intentions;
use crate::frame::FrameReport;
use crate::ports::{ModelBatch, ModelPort, ModelResults};

/// The models of the run.
#[derive(Resource, Debug, Default)]
pub struct Models {
    /// Sorted by id. Fixed.
    loaded: Vec<Model>,
    /// Which of them answers for another, by swaps. State.
    pub(crate) answers: BTreeMap<ModelId, ModelId>,
}

impl Models {
    /// The table of these models.
    pub fn new(mut models: Vec<Model>) -> Self {
        models.sort_unstable_by_key(|model| model.id);
        Self { loaded: models, answers: BTreeMap::new() }
    }

    /// The model that answers jobs for `id`.
    pub fn get(&self, id: ModelId) -> Option<&Model> {
        self.loaded(self.answering(id))
    }

    /// The model that was loaded under that id, whoever answers for it by now.
    pub fn loaded(&self, id: ModelId) -> Option<&Model> {
        self.loaded.binary_search_by_key(&id, |model| model.id).ok().map(|at| &self.loaded[at])
    }

    /// The id of the model that answers jobs for `id`: its own, unless it was swapped.
    pub fn answering(&self, id: ModelId) -> ModelId {
        self.answers.get(&id).copied().unwrap_or(id)
    }

    /// From now on, `with` answers jobs for `id`, as it was loaded, whoever answers jobs for `with`.
    pub fn swap(&mut self, id: ModelId, with: ModelId) {
        self.answers.insert(id, with);
    }
}

/// Buffers of the stage. Transient.
#[derive(Resource, Debug, Default)]
pub struct InferenceBuffers(ModelResults);

/// Spawns an entity for each new job.
pub fn spawn_jobs(mut commands: Commands, mut intentions: ResMut<Intentions>) {
    if !intentions.jobs.is_empty() {
        commands.spawn_batch(std::mem::take(&mut intentions.jobs));
    }
}

/// Dispatches the jobs that have an input. A batch holds jobs of one model, and at most as many as the model takes.
pub fn dispatch_jobs(
    models: bevy_ecs::system::Res<Models>,
    mut port: ResMut<ModelPort>,
    mut buffers: ResMut<InferenceBuffers>,
    mut report: ResMut<FrameReport>,
    mut jobs: Query<(Entity, &InferenceJob, &mut JobData)>,
) {
    let mut order: Vec<_> = jobs
        .iter()
        .filter(|(_, _, data)| matches!(data, JobData::Input(_)))
        .map(|(entity, job, _)| (models.answering(job.model), job.id, entity))
        .collect();
    if order.is_empty() {
        return;
    }
    order.sort_unstable_by_key(|&(model, id, _)| (model, id));
    let rows: Vec<&[u8]> = order
        .iter()
        .map(|&(_, _, entity)| match jobs.get(entity) {
            Ok((_, _, JobData::Input(row))) => row.as_slice(),
            _ => &[],
        })
        .collect();
    let mut batches = Vec::new();
    let mut start = 0;
    for same_model in order.chunk_by(|a, b| a.0 == b.0) {
        let model = same_model[0].0;
        let most = models.loaded(model).map_or(1, |model| model.batch_rows_max.max(1)) as usize;
        let end = start + same_model.len();
        batches.extend(rows[start..end].chunks(most).map(|rows| ModelBatch { model, rows }));
        start = end;
    }
    report.counts.inference_jobs += order.len() as u64;
    report.counts.inference_batches += batches.len() as u64;

    let results = &mut buffers.0;
    results.clear();
    port.0.infer(&batches, results);
    assert_eq!(results.rows.len(), order.len(), "the model runtime gives one result for each row");
    for (&(_, _, entity), row) in order.iter().zip(&results.rows) {
        if let Ok((_, _, mut data)) = jobs.get_mut(entity) {
            *data = JobData::Output { status: row.status, bytes: results.output(row).to_vec() };
        }
    }
}
