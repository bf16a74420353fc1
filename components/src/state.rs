//! Digests: numbers that two runs share if they share all of their state.

use bevy_ecs::resource::Resource;
use serde::{Deserialize, Serialize};

/// A digest of 128 bits. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub u128);

impl core::fmt::Display for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

wasm_engine_abi::numbered_enum! {
    /// One part of a frame's digest, so that a divergence names its culprit. [`Lane::kind`] says whether a lane covers state,
    /// or what came in or went out in the frame. The order is that of the digest: new lanes go to the end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub enum Lane: u8 {
        /// Inputs from outside in this frame.
        Inputs = 0, "inputs";
        /// Agents' lifecycles and fault histories, and which slots of the groups are free.
        Agents = 1, "agents";
        /// Outboxes of agents in this frame.
        Outboxes = 2, "outboxes";
        /// Messages that wait in mailboxes, and counts of those that were dropped.
        Mailboxes = 3, "mailboxes";
        /// Messages from the host that are in flight: bounces and native systems' messages.
        HostMessages = 4, "host_messages";
        /// Members of topics.
        Topics = 5, "topics";
        /// Inference jobs and results in flight, the number of the next job, which models answer for others, and models that failed an audit
        /// or were given up.
        Inference = 6, "inference";
        /// Groups' counters (steps, fuel, messages, jobs, faults), and modules that were swapped in.
        Groups = 7, "groups";
        /// Registered components of authors' entities.
        Native = 8, "native";
        /// Memories of the agents that stepped in this frame; zero unless the run asks for full digests.
        Memories = 9, "memories";
        /// Faults of this frame: agent, kind and detail, what was reached, and what was allowed.
        Faults = 10, "faults";
        /// Log lines of this frame that agents wrote by import, those of faulted calls among them. Others are in outboxes.
        Logs = 11, "logs";
        /// Commands, and swaps that native systems asked for, that take effect in the next frame.
        Commands = 12, "commands";
        /// Agents' timers, which agents were deferred and since when, the cursor of round-robin, and fuel that is owed.
        Schedule = 13, "schedule";
        /// Requests that wait for a reply.
        Requests = 14, "requests";
        /// Shared regions: versions and contents.
        Regions = 15, "regions";
    }
}

/// Kind of a lane: what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneKind {
    /// State as it is after the frame: the sum of the hashes of what a snapshot has of it.
    State,
    /// Data that came in or went out in this frame alone. No snapshot has it.
    Frame,
}

wasm_engine_abi::numbered_enum! {
    /// Scope of each frame's digest.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Resource, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum DigestScope: u8 {
        /// Everything but the agents' memories.
        #[default]
        Frame = 0, "frame";
        /// The memories of the agents that were called in the frame, too: [`Lane::Memories`].
        Full = 1, "full";
    }
}

impl DigestScope {
    /// Returns whether memories are covered.
    pub const fn covers_memories(self) -> bool {
        matches!(self, Self::Full)
    }
}

impl Lane {
    /// Returns what the lane is made of.
    pub const fn kind(self) -> LaneKind {
        match self {
            Self::Inputs | Self::Outboxes | Self::Memories | Self::Faults | Self::Logs => LaneKind::Frame,
            Self::Agents
            | Self::Mailboxes
            | Self::HostMessages
            | Self::Topics
            | Self::Inference
            | Self::Groups
            | Self::Native
            | Self::Commands
            | Self::Schedule
            | Self::Requests
            | Self::Regions => LaneKind::State,
        }
    }
}

/// One digest for each [`Lane`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lanes(pub [Digest; Lane::COUNT]);

impl core::ops::Index<Lane> for Lanes {
    type Output = Digest;

    fn index(&self, lane: Lane) -> &Digest {
        &self.0[lane as usize]
    }
}

impl core::ops::IndexMut<Lane> for Lanes {
    fn index_mut(&mut self, lane: Lane) -> &mut Digest {
        &mut self.0[lane as usize]
    }
}
