//! The calls of a frame.

use bevy_ecs::resource::Resource;
use wasm_engine_abi::CallKind;
use wasm_engine_components::{AgentSlot, Lifecycle};

use crate::world::chunk::StepRequest;
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;

/// The calls of this frame. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct Calls {
    /// The calls: wave after wave, each in the order of the agents' ids.
    pub requests: Vec<StepRequest>,
    /// Whether one of them isn't a step.
    pub has_lifecycle_calls: bool,
    /// For each agent, by slot, one more than the last frame in which it was handed its inbox. Kept only if `is_selective`.
    pub handed: Vec<u64>,
    /// Whether some agents may not be due in some frames.
    pub is_selective: bool,
    /// Value of [`Directory::changes`] from which `requests` were made, where all active agents are called.
    made_from: Option<u64>,
}

impl Calls {
    /// Makes the calls of a frame in which all active agents are called. They are those of the frame before, unless a lifecycle has changed.
    pub(crate) fn requests_for_all(&mut self, directory: &mut Directory) {
        if self.is_selective {
            self.requests.clear();
            self.has_lifecycle_calls = false;
            return;
        }
        if self.made_from == Some(directory.changes) {
            return;
        }
        self.made_from = Some(directory.changes);
        directory.pending.clear();
        self.requests.clear();
        let calls = directory.groups.iter().flat_map(GroupRange::slots).filter_map(|slot| {
            let (agent, state) = (directory.ids[slot.index()], directory.lifecycles[slot.index()]);
            Some(StepRequest { agent, slot, call: call_for(state)? })
        });
        self.requests.extend(calls);
        self.has_lifecycle_calls = self.requests.iter().any(|request| request.call != CallKind::Step);
    }

    /// Returns whether the agent in a slot was handed its inbox in this frame.
    pub(crate) fn was_handed(&self, directory: &Directory, slot: AgentSlot, frame: u64) -> bool {
        if self.is_selective {
            return self.handed.get(slot.index()) == Some(&(frame + 1));
        }
        matches!(directory.lifecycles[slot.index()], Lifecycle::Active | Lifecycle::Terminating)
    }
}

/// Returns the export to call in a lifecycle, if any.
pub(crate) const fn call_for(state: Lifecycle) -> Option<CallKind> {
    match state {
        Lifecycle::Active => Some(CallKind::Step),
        Lifecycle::Initialising => Some(CallKind::Init),
        Lifecycle::Terminating => Some(CallKind::Shutdown),
        Lifecycle::Paused | Lifecycle::Faulted | Lifecycle::Terminated => None,
    }
}
