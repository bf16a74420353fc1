//! Agents: sandboxed WebAssembly modules that are stepped in each frame. The guest itself lives behind the port
//! `AgentRuntime`; these are the parts of it that the world knows.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};

wasm_engine_abi::numbered_enum! {
    /// State of an agent's life. State.
    ///
    /// `Initialising -> Active <-> Paused -> Terminating -> Terminated`; a fault leads to `Faulted`, and the group's policy on from there.
    #[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub enum Lifecycle: u8 {
        /// `agent_init` is called next, on a fresh instance: in the first frame whose budgets have room for it.
        #[default]
        Initialising = 0, "initialising";
        /// Stepped when its group's schedule says so.
        Active = 1, "active";
        /// Not stepped; its messages wait in its mailbox.
        Paused = 2, "paused";
        /// It faulted, and is initialised again in the frame that its [`FaultHistory`] names or, where its group's policy is
        /// [`Escalate`](crate::FaultPolicy::Escalate), when its supervisor says so. Its messages wait.
        Faulted = 3, "faulted";
        /// It ended. Messages to it bounce.
        Terminated = 4, "terminated";
        /// Its `agent_shutdown` is called next, in the first frame whose budgets have room for it, and it ends with that call.
        Terminating = 5, "terminating";
    }
}

impl Lifecycle {
    /// Returns whether the agent has ended, or is about to.
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Terminated | Self::Terminating)
    }

    /// Returns whether the agent hasn't ended.
    pub const fn is_alive(self) -> bool {
        !matches!(self, Self::Terminated)
    }
}

/// Faults of an agent so far, and the restarts that they led to. State.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FaultHistory {
    /// Number of faults.
    pub faults: u32,
    /// Number of restarts after a fault.
    pub restarts: u32,
    /// The frame from which on it is initialised again, while it is [`Lifecycle::Faulted`] and isn't up to its supervisor.
    pub restart_frame: u64,
    /// Whether its last initialisation faulted: then it is initialised before it is stepped again.
    pub uninitialised: bool,
}
