//! The models of the run: which answers for which, and which are run without company or not at all any more.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::resource::Resource;
use wasm_engine_components::{Lane, Model, ModelId};

use crate::world::digest::part_digest;

/// The models of the run.
#[derive(Resource, Debug, Default)]
pub(crate) struct ModelTable {
    /// Sorted by id. Fixed.
    loaded: Vec<Model>,
    /// Which of them answers for another, by swaps. State.
    pub(crate) answers: BTreeMap<ModelId, ModelId>,
    /// Those that failed an audit. State.
    pub(crate) alone: BTreeSet<ModelId>,
    /// Those that aren't run any more, and the frame in which a run was left behind. State.
    pub(crate) given_up: BTreeMap<ModelId, u64>,
}

impl ModelTable {
    /// The table of these models.
    pub(crate) fn new(mut models: Vec<Model>) -> Self {
        models.sort_unstable_by_key(|model| model.spec.id);
        Self { loaded: models, ..Self::default() }
    }

    /// The model that answers jobs for `id`.
    pub(crate) fn get(&self, id: ModelId) -> Option<&Model> {
        self.loaded(self.answering(id))
    }

    /// The model that was loaded under that id, whoever answers for it by now.
    pub(crate) fn loaded(&self, id: ModelId) -> Option<&Model> {
        self.loaded.binary_search_by_key(&id, |model| model.spec.id).ok().map(|at| &self.loaded[at])
    }

    /// The id of the model that answers jobs for `id`: its own, unless it was swapped.
    pub(crate) fn answering(&self, id: ModelId) -> ModelId {
        self.answers.get(&id).copied().unwrap_or(id)
    }

    /// Whether each of its rows is run without company, because it failed an audit.
    pub(crate) fn is_alone(&self, id: ModelId) -> bool {
        self.alone.contains(&id)
    }

    /// The frame in which a run of the model was left behind, if one was. It isn't run any more.
    pub(crate) fn given_up(&self, id: ModelId) -> Option<u64> {
        self.given_up.get(&id).copied()
    }

    /// The digest of the models that failed an audit or were given up; 0 for none.
    pub(crate) fn digest(&self) -> u128 {
        // Their places are those of no job, and not that of the next job's number.
        const ALONE: u64 = u64::MAX - 1;
        const GIVEN_UP: u64 = u64::MAX - 2;
        let part = |place, bytes: Vec<u8>| match bytes.is_empty() {
            true => 0,
            false => part_digest(Lane::Inference, place, &bytes),
        };
        let alone = part(ALONE, self.alone.iter().flat_map(|id| id.0.to_le_bytes()).collect());
        let given_up = self.given_up.iter().flat_map(|(id, frame)| [id.0, *frame]).flat_map(u64::to_le_bytes);
        alone.wrapping_add(part(GIVEN_UP, given_up.collect()))
    }

    /// From now on, `with` answers jobs for `id`, as it was loaded, whoever answers jobs for `with`.
    pub(crate) fn swap(&mut self, id: ModelId, with: ModelId) {
        self.answers.insert(id, with);
    }
}
