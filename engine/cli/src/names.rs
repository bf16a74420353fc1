//! Names of agents, groups, topics and kinds of messages, as users write them.

use wasm_engine_components::{AgentId, TopicId};
use wasm_engine_systems::state::StateEntity;

use wasm_engine_core::scenario::Scenario;

/// Returns what an entry of the state belongs to.
pub(super) fn entity_name(entity: &StateEntity, scenario: &Scenario) -> String {
    let group =
        |id| scenario.group(id).map_or_else(|| format!("group {}", id.0), |group| format!("group {}", group.name));
    match entity {
        StateEntity::World => "the world".to_owned(),
        StateEntity::Agent(agent) => scenario.agent_name(*agent),
        StateEntity::Group(id) => group(*id),
        StateEntity::Topic(id) => {
            topic_name(scenario, *id).map_or_else(|| format!("topic {:#x}", id.0), |name| format!("topic {name}"))
        }
        StateEntity::Region(id) => {
            let region = scenario.regions.iter().find(|region| region.id == *id);
            region.map_or_else(|| format!("region {:#x}", id.0), |region| format!("region {}", region.name))
        }
        StateEntity::Model(id) => {
            let model = scenario.models.iter().find(|model| model.id == *id);
            model.map_or_else(|| format!("model {:#x}", id.0), |model| format!("model {}", model.name))
        }
        StateEntity::Message { sender, sequence } => {
            format!("message {sequence} of {}", sender_name(scenario, sender.0))
        }
        other => other.to_string(),
    }
}

fn topic_name(scenario: &Scenario, id: TopicId) -> Option<&str> {
    scenario.topics.iter().find(|topic| topic.id == id).map(|topic| topic.name.as_str())
}

/// Returns the name of a topic, a model or a region with a number, or the number itself if there is none.
pub(super) fn name_of(scenario: &Scenario, number: u64) -> String {
    let models = scenario.models.iter().map(|model| (model.id.0, &model.name));
    let regions = scenario.regions.iter().map(|region| (region.id.0, &region.name));
    let topics = scenario.topics.iter().map(|topic| (topic.id.0, &topic.name));
    let found = topics.chain(models).chain(regions).find(|(id, _)| *id == number);
    found.map_or_else(|| format!("{number:#x}"), |(_, name)| name.clone())
}

/// Returns the sender of a message.
pub(super) fn sender_name(scenario: &Scenario, sender: u64) -> String {
    use wasm_engine_abi::message::sender::{ENGINE, EXTERNAL, NATIVE};
    match sender {
        ENGINE => "the engine".to_owned(),
        EXTERNAL => "outside".to_owned(),
        NATIVE => "a native system".to_owned(),
        agent => scenario.agent_name(AgentId(agent)),
    }
}
