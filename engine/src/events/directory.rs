//! Who may receive an event: groups and topics by name. Built once for a run, read for each event.

use std::collections::HashMap;

use wasm_engine_abi::{MessageHeader, RECORD_ALIGN};
use wasm_engine_components::limits::PAYLOAD_BYTES_MAX;
use wasm_engine_components::{AgentId, EventTarget, GroupId, GroupLimits, TopicId};

use super::line::Fault;
use crate::problem::{nearest_name, thousands};
use crate::scenario::Scenario;

/// Groups and topics by name.
pub(super) struct Directory {
    // Hashed by name for lookups only: nothing depends on the order.
    groups: HashMap<String, GroupAddress>,
    topics: HashMap<String, TopicId>,
}

#[derive(Clone, Copy)]
struct GroupAddress {
    id: GroupId,
    agents: u32,
    enabled: bool,
    payload: PayloadLimit,
}

/// A recipient that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Address {
    /// Who.
    pub target: EventTarget,
    /// Whether it takes part in this run.
    pub enabled: bool,
    /// The largest payload it takes.
    pub payload: PayloadLimit,
}

/// The largest payload that a recipient takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PayloadLimit {
    /// In bytes.
    pub bytes_max: u32,
    /// The limit of the group that says so; `None` for a topic, whose members may differ.
    pub key: Option<&'static str>,
}

impl PayloadLimit {
    /// What one payload of a topic may have.
    const TOPIC: Self = Self { bytes_max: PAYLOAD_BYTES_MAX, key: None };

    /// That of a group: a message must also fit into a mailbox that is empty, as a record with its header and padding.
    fn of_group(limits: &GroupLimits) -> Self {
        let room = (limits.mailbox_bytes_max - MessageHeader::BYTES) / RECORD_ALIGN * RECORD_ALIGN;
        if room < limits.payload_bytes_max {
            Self { bytes_max: room, key: Some("mailbox_bytes_max") }
        } else {
            Self { bytes_max: limits.payload_bytes_max, key: Some("payload_bytes_max") }
        }
    }
}

impl Directory {
    /// The directory of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let address = |group: &crate::scenario::GroupEntry| GroupAddress {
            id: group.id,
            agents: group.agents,
            enabled: group.enabled,
            payload: PayloadLimit::of_group(&group.limits),
        };
        Self {
            groups: scenario.groups.iter().map(|group| (group.name.clone(), address(group))).collect(),
            topics: scenario.topics.iter().map(|topic| (topic.name.clone(), topic.id)).collect(),
        }
    }

    /// The agent that `to` names: `group/ordinal`, or `group` where it has one agent.
    pub fn agent(&self, to: &str) -> Result<Address, Fault> {
        let (name, ordinal) = to.split_once('/').map_or((to, None), |(name, ordinal)| (name, Some(ordinal)));
        let Some(group) = self.groups.get(name) else {
            let known = sorted(self.groups.keys());
            return Err(Fault::new("to", format!("there is no group `{name}`")).helped(nearest_name(name, known)));
        };
        let last = group.agents - 1;
        let ordinal = match ordinal {
            None if group.agents == 1 => 0,
            None => {
                let what = format!("the group `{name}` has {} agents", thousands(group.agents));
                return Err(Fault::new("to", what).help(format!("name one of them: `{name}/0` to `{name}/{last}`")));
            }
            Some(digits) => match digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit())) {
                Some(ordinal) if ordinal < group.agents => ordinal,
                _ => {
                    let what = format!("the group `{name}` has no agent `{digits}`");
                    return Err(Fault::new("to", what).help(format!("use `{name}/0` to `{name}/{last}`")));
                }
            },
        };
        Ok(Address {
            target: EventTarget::Agent(AgentId::new(group.id, ordinal)),
            enabled: group.enabled,
            payload: group.payload,
        })
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Result<Address, Fault> {
        match self.topics.get(name) {
            Some(id) => Ok(Address { target: EventTarget::Topic(*id), enabled: true, payload: PayloadLimit::TOPIC }),
            None => {
                let known = sorted(self.topics.keys());
                let help = nearest_name(name, known).or_else(|| Some("the scenario has no topics".to_owned()));
                Err(Fault::new("topic", format!("there is no topic `{name}`")).helped(help))
            }
        }
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    names
}
