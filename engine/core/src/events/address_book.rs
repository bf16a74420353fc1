//! The recipients that an event may have: groups and topics by name. Built once for a run, used for each event.

use std::collections::HashMap;

use wasm_engine_abi::{MessageHeader, RECORD_ALIGN};
use wasm_engine_components::limits::PAYLOAD_BYTES_MAX;
use wasm_engine_components::{AgentId, GroupId, GroupLimits, GroupSpec, ModuleSwap, Recipient, Swap, TopicId};

use super::raw_line::LineFault;
use crate::problem::{counted, nearest_name, thousands};
use crate::scenario::Scenario;

/// Groups, topics and prepared swaps by name.
pub(super) struct AddressBook {
    // Hashed by name for lookups only: nothing depends on the order.
    groups: HashMap<String, GroupAddress>,
    topics: HashMap<String, TopicId>,
    /// Prepared swaps, by the name of what is replaced, the name of its replacement, and whether these are modules.
    swaps: HashMap<(String, String, bool), Swap>,
}

/// A group that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupAddress {
    /// Id of the group.
    pub id: GroupId,
    /// Number of agents that it starts with.
    agents: u32,
    /// Largest number of agents that it may have. Ordinals of spawned agents are below it, too.
    agents_max: u32,
    /// Whether it takes part in this run.
    pub enabled: bool,
    /// The largest payload that its agents take.
    pub payload: PayloadLimit,
}

/// A recipient that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Destination {
    /// The recipient.
    pub target: Recipient,
    /// Whether it takes part in this run.
    pub enabled: bool,
    /// The largest payload it takes.
    pub payload: PayloadLimit,
}

/// The largest payload that a recipient takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PayloadLimit {
    /// The bound, in bytes.
    pub bytes_max: u32,
    /// The group's limit that sets the bound; `None` for a topic, whose members may have different limits.
    pub key: Option<&'static str>,
}

impl PayloadLimit {
    /// The bound for a topic.
    const TOPIC: Self = Self { bytes_max: PAYLOAD_BYTES_MAX, key: None };

    /// Returns the bound for a group. A message must also fit into an empty mailbox, as a record with its header and padding.
    fn of_group(limits: &GroupLimits) -> Self {
        let room = (limits.mailbox_bytes_max - MessageHeader::BYTES) / RECORD_ALIGN * RECORD_ALIGN;
        if room < limits.payload_bytes_max {
            Self { bytes_max: room, key: Some("mailbox_bytes_max") }
        } else {
            Self { bytes_max: limits.payload_bytes_max, key: Some("payload_bytes_max") }
        }
    }
}

impl AddressBook {
    /// Creates the address book of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let address = |group: &GroupSpec| GroupAddress {
            id: group.id,
            agents: group.agents,
            agents_max: group.agents_max,
            enabled: group.enabled,
            payload: PayloadLimit::of_group(&group.limits),
        };
        Self {
            groups: scenario.groups.iter().map(|group| (group.name.clone(), address(group))).collect(),
            topics: scenario.topics.iter().map(|topic| (topic.name.clone(), topic.id)).collect(),
            swaps: scenario
                .swaps
                .iter()
                .filter_map(|entry| Some((swap_names(scenario, entry.swap)?, entry.swap)))
                .collect(),
        }
    }

    /// Returns the prepared swap of a group to a module, or of a model to a model.
    pub fn swap(&self, of: &str, with: &str, is_module: bool) -> Result<Swap, LineFault> {
        let (replaced, by) = if is_module { ("group", "module") } else { ("model", "with") };
        self.swaps.get(&(of.to_owned(), with.to_owned(), is_module)).copied().ok_or_else(|| {
            let help =
                format!("add an entry to the scenario: `[[swaps]]`, `{replaced} = \"{of}\"`, `{by} = \"{with}\"`");
            LineFault::new(by, format!("the {replaced} `{of}` isn't prepared to get `{with}`")).help(help)
        })
    }

    /// Returns the agent that the key `to` names, or, as `group/*`, all agents of a group.
    pub fn recipient(&self, to: &str) -> Result<Destination, LineFault> {
        if let Some(name) = to.strip_suffix("/*") {
            let group = self.group("to", name)?;
            return Ok(Destination {
                target: Recipient::Group(group.id),
                enabled: group.enabled,
                payload: group.payload,
            });
        }
        let (agent, group) = self.agent("to", to)?;
        Ok(Destination { target: Recipient::Agent(agent), enabled: group.enabled, payload: group.payload })
    }

    /// Returns the agent that `written` names, and its group: `group/ordinal`, `group/ordinal#generation`, or `group` where that may
    /// have one agent only.
    pub fn agent(&self, key: &'static str, written: &str) -> Result<(AgentId, GroupAddress), LineFault> {
        let (name, number) = written.split_once('/').map_or((written, None), |(name, number)| (name, Some(number)));
        let group = self.group(key, name)?;
        let last = group.agents_max - 1;
        let Some(number) = number else {
            if group.agents_max == 1 {
                return Ok((AgentId::new(group.id, 0), group));
            }
            let what = match group.agents == group.agents_max {
                true => format!("the group `{name}` has {}", counted(group.agents, "agent")),
                false => format!("the group `{name}` may have {}", counted(group.agents_max, "agent")),
            };
            return Err(LineFault::new(key, what).help(format!("name one of them: `{name}/0` to `{name}/{last}`")));
        };
        let (ordinal, generation) =
            number.split_once('#').map_or((number, None), |(ordinal, generation)| (ordinal, Some(generation)));
        let Some(ordinal) = decimal(ordinal).filter(|ordinal| *ordinal < group.agents_max) else {
            let what = format!("the group `{name}` has no agent `{ordinal}`");
            return Err(LineFault::new(key, what).help(format!("use `{name}/0` to `{name}/{last}`")));
        };
        let Some(generation) = generation else { return Ok((AgentId::new(group.id, ordinal), group)) };
        match decimal(generation).filter(|generation| *generation <= AgentId::GENERATION_MAX) {
            Some(generation) => Ok((AgentId::of_generation(group.id, ordinal, generation), group)),
            None => {
                let what = format!("`{generation}` doesn't say how many agents had the number {ordinal} before");
                let most = thousands(AgentId::GENERATION_MAX);
                Err(LineFault::new(key, what).help(format!("write 0 to {most} behind the `#`")))
            }
        }
    }

    /// Returns the group of that name.
    pub fn group(&self, key: &'static str, name: &str) -> Result<GroupAddress, LineFault> {
        self.groups.get(name).copied().ok_or_else(|| {
            let known = sorted(self.groups.keys());
            LineFault::new(key, format!("there is no group `{name}`")).helped(nearest_name(name, known))
        })
    }

    /// Returns the topic of that name.
    pub fn topic(&self, name: &str) -> Result<Destination, LineFault> {
        match self.topics.get(name) {
            Some(id) => Ok(Destination { target: Recipient::Topic(*id), enabled: true, payload: PayloadLimit::TOPIC }),
            None => {
                let known = sorted(self.topics.keys());
                let help = nearest_name(name, known).or_else(|| Some("the scenario has no topics".to_owned()));
                Err(LineFault::new("topic", format!("there is no topic `{name}`")).helped(help))
            }
        }
    }
}

/// Parses a number that consists of digits alone.
fn decimal(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Returns what a swap replaces, by what, and whether that is a module.
fn swap_names(scenario: &Scenario, swap: Swap) -> Option<(String, String, bool)> {
    let model = |id| scenario.models.iter().find(|model| model.id == id).map(|model| model.name.clone());
    match swap {
        Swap::Module(ModuleSwap { group, module }) => {
            let module = scenario.modules.get(module as usize)?;
            Some((scenario.group(group)?.name.clone(), module.name.clone(), true))
        }
        Swap::Model { model: of, with } => Some((model(of)?, model(with)?, false)),
    }
}
