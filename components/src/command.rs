//! Commands, which change agents' lives. Each takes effect at the start of a frame: one from outside in the frame that it is an
//! input of, one from an agent or a native system in the frame after it was given.

use serde::{Deserialize, Serialize};
use wasm_engine_abi::BounceReason;

use crate::{AgentId, GroupId};

/// Change of agents' lives that a command makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Spawns an agent. If there is a payload, it is the agent's first message.
    Spawn {
        /// Group of the new agent.
        group: GroupId,
        /// The first message's kind.
        kind: u32,
        /// The first message's payload; empty for none.
        payload: Vec<u8>,
    },
    /// Changes the lifecycle of an agent.
    Agent(AgentId, LifecycleAction),
}

/// A command from outside that wasn't carried out, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedCommand {
    /// Change that the command was to make.
    pub target: CommandTarget,
    /// Why it wasn't carried out.
    pub reason: BounceReason,
}

/// A command without the first message of an agent that it spawns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandTarget {
    /// Spawns an agent in a group.
    Spawn(GroupId),
    /// Changes the lifecycle of an agent.
    Agent(AgentId, LifecycleAction),
}

impl Action {
    /// Returns the command without the first message of an agent that it spawns.
    pub const fn target(&self) -> CommandTarget {
        match self {
            Self::Spawn { group, .. } => CommandTarget::Spawn(*group),
            Self::Agent(agent, action) => CommandTarget::Agent(*agent, *action),
        }
    }
}

wasm_engine_abi::numbered_enum! {
    /// Change of an agent's lifecycle by a command. Its name is the word for it in an events file.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub enum LifecycleAction: u8 {
        /// It isn't stepped until it is resumed. Fits an agent that is active.
        Pause = 0, "pause";
        /// It is stepped again. Fits an agent that is paused.
        Resume = 1, "resume";
        /// It ends: after a call of `agent_shutdown` if it was active or paused, else at once. Fits any that hasn't ended.
        Terminate = 2, "terminate";
        /// It is initialised anew. Fits any that hasn't ended.
        Restart = 3, "restart";
    }
}

/// Issuer of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Issuer {
    /// The outside.
    External,
    /// A native system.
    Native,
    /// An agent, which is told if the command can't be carried out.
    Agent {
        /// The agent.
        id: AgentId,
        /// Its own number for the command.
        correlation: u64,
        /// Index of the command among the records of its outbox.
        sequence: u32,
    },
}

/// A command that waits for the frame in which it takes effect. State.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Issuer of the command.
    pub issuer: Issuer,
    /// Change that it makes.
    pub action: Action,
}
