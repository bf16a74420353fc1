//! What becomes state later in the frame: jobs, and memberships of topics.

use bevy_ecs::resource::Resource;
use wasm_engine_components::{AgentId, InferenceJob, JobData};

/// What agents asked for that becomes state later in the frame. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct Intentions {
    /// Jobs for `Infer`, in the order of their ids.
    pub jobs: Vec<(InferenceJob, JobData)>,
    /// Changes of membership for `Commit`, in order: agent, position of the topic, whether it joins.
    pub memberships: Vec<(AgentId, u32, bool)>,
}

/// The number of the next inference job. State.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub(crate) struct NextJob(pub u64);

/// Who is spawned in this frame and joins a topic at its position, as `change_memberships` takes it. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct Joining(pub(crate) Vec<(AgentId, u32, bool)>);
