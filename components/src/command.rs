//! Commands, which change agents' lives. Each takes effect at the start of a frame: one from outside in the frame that it is an
//! input of, one from an agent or a native system in the frame after it was given.

use serde::{Deserialize, Serialize};
use wasm_engine_abi::BounceReason;

use crate::{AgentId, GroupId};

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A new agent. A payload is its first message.
    Spawn {
        /// Group of the new agent.
        group: GroupId,
        /// The first message's kind.
        kind: u32,
        /// The first message's payload; empty for none.
        payload: Vec<u8>,
    },
    /// Something that happens to one agent.
    Agent(AgentId, LifecycleAction),
}

/// A command from outside that wasn't carried out, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedCommand {
    /// What was to happen.
    pub target: CommandTarget,
    /// Why it didn't.
    pub reason: BounceReason,
}

/// A command without what it brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandTarget {
    /// A new agent in a group.
    Spawn(GroupId),
    /// Something that happens to an agent.
    Agent(AgentId, LifecycleAction),
}

impl Action {
    /// Returns the command without what it brings along.
    pub const fn target(&self) -> CommandTarget {
        match self {
            Self::Spawn { group, .. } => CommandTarget::Spawn(*group),
            Self::Agent(agent, order) => CommandTarget::Agent(*agent, *order),
        }
    }
}

wasm_engine_abi::numbered_enum! {
    /// What is to happen to an agent. Its name is the word for it in an events file.
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

/// Who gave the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Issuer {
    /// The outside.
    External,
    /// A native system.
    Native,
    /// An agent, which is told of what can't be done.
    Agent {
        /// The agent.
        id: AgentId,
        /// Its own number for the command.
        correlation: u64,
        /// Position of the command in its outbox.
        sequence: u32,
    },
}

/// A command on its way. State.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Who gave the command.
    pub issuer: Issuer,
    /// What is to happen.
    pub action: Action,
}
