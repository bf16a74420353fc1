//! Reports which commands from outside weren't carried out, and why: the first ones of a run.

use wasm_engine_abi::BounceReason;
use wasm_engine_components::limits::REFUSED_COMMANDS_TOLD_MAX;
use wasm_engine_components::{CommandTarget, FrameRecord};

use wasm_engine_core::events::word_of;
use wasm_engine_core::problem::thousands;
use wasm_engine_core::scenario::Scenario;

/// Reports of refused commands, and the number of those that were made so far.
pub(super) struct RefusedCommands<'a> {
    scenario: &'a Scenario,
    told: usize,
}

impl<'a> RefusedCommands<'a> {
    /// Creates it with nothing reported.
    pub const fn of(scenario: &'a Scenario) -> Self {
        Self { scenario, told: 0 }
    }

    /// Returns a line for each thing that is new in a frame's record.
    pub fn take(&mut self, record: &FrameRecord) -> Vec<String> {
        let room = REFUSED_COMMANDS_TOLD_MAX - self.told;
        let mut lines = Vec::new();
        for refused in record.refused_commands.iter().take(room) {
            let whom = match refused.target {
                CommandTarget::Spawn(id) => {
                    format!("in group `{}`", self.scenario.group(id).map_or("", |group| &group.name))
                }
                CommandTarget::Agent(agent, _) => format!("for agent `{}`", self.scenario.agent_name(agent)),
            };
            let (word, frame, why) = (word_of(refused.target), thousands(record.frame), why(refused.reason));
            lines.push(format!("the command `{word}` of frame {frame} {whom} wasn't carried out: {why}"));
        }
        self.told += lines.len();
        if !lines.is_empty() && self.told == REFUSED_COMMANDS_TOLD_MAX {
            lines.push("no more is said of commands; the summary counts all (`commands_refused`)".to_owned());
        }
        lines
    }
}

/// Returns why a command from outside isn't carried out.
fn why(reason: BounceReason) -> &'static str {
    match reason {
        BounceReason::UnknownRecipient => "there is no such agent yet",
        BounceReason::Terminated => "the agent has ended",
        BounceReason::GroupFull => "the group, or its tenant, has no place for one more agent",
        BounceReason::WrongState => {
            "it doesn't fit the agent's state: an active agent can be paused, and a paused one resumed"
        }
        other => other.name(),
    }
}
