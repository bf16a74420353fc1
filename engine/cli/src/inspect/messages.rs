//! The messages of a frame: sender, recipient, topic, kind, size.

use base64::Engine as _;
use serde::Serialize;
use wasm_engine_abi::BounceReason;
use wasm_engine_components::text::{Lines, Table};
use wasm_engine_components::{AgentId, FrameRecord, GroupId, Recipient, TopicId};
use wasm_engine_systems::inspect::{self, SeenMessage};

use super::view::{View, kind_name};
use crate::names::sender_name;
use wasm_engine_core::problem::counted;
use wasm_engine_core::scenario::Scenario;
use wasm_engine_core::simulation::Simulation;

/// Number of messages that a text lists.
const LISTED_MAX: usize = 1_000;

#[derive(Serialize)]
pub(super) struct MessagesJson {
    frame: u64,
    /// The agent whose messages these are; `None` for those of all agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    messages: Vec<MessageJson>,
}

#[derive(Serialize)]
pub(super) struct MessageJson {
    pub sender: String,
    pub recipient: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    pub kind: String,
    pub payload_bytes: u32,
    pub sequence: u32,
    pub correlation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
    /// `None` if it was refused at once, because its payload isn't kept then.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl MessagesJson {
    /// Returns all messages, or only those to or from one agent.
    pub fn new(scenario: &Scenario, record: &FrameRecord, simulation: &Simulation, agent: Option<AgentId>) -> Self {
        let is_meant = |message: &SeenMessage<'_>| {
            let is_to = |id| message.to == Recipient::Agent(id) && message.refused.is_none();
            agent.is_none_or(|id| message.header.sender == id.0 || is_to(id))
        };
        let messages = inspect::sent(simulation.world()).into_iter().filter(is_meant);
        let messages = messages.map(|message| shown(scenario, &message)).collect();
        Self { frame: record.frame, agent: agent.map(|id| scenario.agent_name(id)), messages }
    }
}

fn shown(scenario: &Scenario, message: &SeenMessage<'_>) -> MessageJson {
    let topic = |id: TopicId| {
        let topic = scenario.topics.iter().find(|topic| topic.id == id);
        topic.map_or_else(|| format!("{:#x}", id.0), |topic| topic.name.clone())
    };
    let group = |id: GroupId| scenario.group(id).map_or_else(|| id.0.to_string(), |group| group.name.clone());
    let (recipient, of_topic) = match message.to {
        Recipient::Agent(agent) => (scenario.agent_name(agent), None),
        Recipient::Topic(id) => ("members".to_owned(), Some(topic(id))),
        Recipient::Group(id) => (format!("all of {}", group(id)), None),
    };
    MessageJson {
        sender: sender_name(scenario, message.header.sender),
        recipient,
        topic: of_topic,
        kind: kind_name(message.header.kind),
        payload_bytes: message.header.payload_bytes,
        sequence: message.header.sequence,
        correlation: message.header.correlation,
        refused: message.refused.map(BounceReason::name),
        payload_base64: message
            .refused
            .is_none()
            .then(|| base64::engine::general_purpose::STANDARD.encode(message.payload)),
    }
}

impl View for MessagesJson {
    fn text(&self) -> Lines {
        let Self { frame, agent, messages } = self;
        let mut text = Lines::default();
        match (agent, messages.is_empty()) {
            (None, true) => text.line(format_args!("no message was sent in frame {frame}")),
            (Some(agent), true) => {
                text.line(format_args!("in frame {frame}, {agent} sent no message, and nobody sent one to it alone"));
            }
            (agent, false) => {
                let count = counted(messages.len(), "message");
                let of_whom = agent.as_ref().map(|agent| format!(" by {agent}, or to it alone")).unwrap_or_default();
                text.line(format_args!("{count} sent in frame {frame}{of_whom}"));
                text.blank();
                text.append(&table(messages));
            }
        }
        if let Some(more) = messages.len().checked_sub(LISTED_MAX).filter(|&more| more > 0) {
            text.line(format_args!("and {more} more: --summary json has them all"));
        }
        text
    }
}

/// Returns the first of the messages.
fn table(messages: &[MessageJson]) -> Lines {
    let mut table = Table::new(["sender", "recipient", "topic", "kind", "bytes", "refused"]);
    for message in messages.iter().take(LISTED_MAX) {
        table.row([
            message.sender.as_str(),
            &message.recipient,
            message.topic.as_deref().unwrap_or_default(),
            &message.kind,
            &message.payload_bytes.to_string(),
            message.refused.unwrap_or_default(),
        ]);
    }
    table.lines()
}
