//! The models of the run: which one answers for which, which ones run each row alone, and which ones aren't run any more.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::resource::Resource;
use wasm_engine_components::{Model, ModelId};

/// The models of the run.
#[derive(Resource, Debug, Default)]
pub(crate) struct ModelTable {
    /// Sorted by id. Fixed.
    loaded: Vec<Model>,
    /// Models that answer for others, by swaps. State.
    pub(crate) answers: BTreeMap<ModelId, ModelId>,
    /// Those that failed an audit. State.
    pub(crate) alone: BTreeSet<ModelId>,
    /// Those that aren't run any more, and the frame in which a run was left behind. State.
    pub(crate) given_up: BTreeMap<ModelId, u64>,
}

impl ModelTable {
    /// Returns the table of these models.
    pub(crate) fn new(mut models: Vec<Model>) -> Self {
        models.sort_unstable_by_key(|model| model.spec.id);
        Self { loaded: models, ..Self::default() }
    }

    /// Returns the model that answers jobs for `id`.
    pub(crate) fn get(&self, id: ModelId) -> Option<&Model> {
        self.loaded(self.answering(id))
    }

    /// Returns the model that was loaded under that id, whichever one answers for it by now.
    pub(crate) fn loaded(&self, id: ModelId) -> Option<&Model> {
        self.loaded.binary_search_by_key(&id, |model| model.spec.id).ok().map(|at| &self.loaded[at])
    }

    /// Returns the id of the model that answers jobs for `id`: its own, unless it was swapped.
    pub(crate) fn answering(&self, id: ModelId) -> ModelId {
        self.answers.get(&id).copied().unwrap_or(id)
    }

    /// Returns whether each of its rows is run alone, because it failed an audit.
    pub(crate) fn is_alone(&self, id: ModelId) -> bool {
        self.alone.contains(&id)
    }

    /// Returns the frame in which a run of the model was left behind, if one was. Such a model isn't run any more.
    pub(crate) fn given_up(&self, id: ModelId) -> Option<u64> {
        self.given_up.get(&id).copied()
    }

    /// Lets `with` answer jobs for `id` from now on, as it was loaded, whichever model answers jobs for `with`.
    pub(crate) fn swap(&mut self, id: ModelId, with: ModelId) {
        self.answers.insert(id, with);
    }
}
