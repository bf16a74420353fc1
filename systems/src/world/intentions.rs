//! Requests of agents that become state later in the frame: jobs, and memberships of topics.

use bevy_ecs::resource::Resource;
use wasm_engine_components::{AgentId, InferenceJob, JobData, TopicIndex};

/// Requests of agents that become state later in the frame. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct Intentions {
    /// Jobs for `Infer`, in the order of their ids.
    pub jobs: Vec<(InferenceJob, JobData)>,
    /// Changes of memberships for `Commit`, in order.
    pub memberships: Vec<MembershipChange>,
}

/// The number of the next inference job. State.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub(crate) struct NextJob(pub u64);

/// Memberships of agents that are spawned in this frame. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct Joining(pub(crate) Vec<MembershipChange>);

/// An agent joins a topic, or leaves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MembershipChange {
    /// The agent.
    pub agent: AgentId,
    /// The topic.
    pub topic: TopicIndex,
    /// Whether it joins.
    pub joins: bool,
}
