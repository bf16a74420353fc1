//! Digests: what two runs have in common if they have everything in common.

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

/// What a frame's digest covers, each in a lane of its own, so that a divergence names its culprit. [`Lane::kind`] says whether a lane covers
/// state, or what came in or went out in the frame. The order is that of the digest: new lanes go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Lane {
    /// What came from outside in this frame.
    Inputs,
    /// Agents' lifecycles and fault histories, and the places of groups.
    Agents,
    /// What agents asked for in this frame: their outboxes.
    Outboxes,
    /// What waits in mailboxes, and what was dropped.
    Mailboxes,
    /// Messages from the host that are in flight: bounces and native systems' messages.
    HostMessages,
    /// Members of topics.
    Topics,
    /// Inference jobs and results in flight, the number of the next job, which models answer for others, and models that failed an audit
    /// or were given up.
    Inference,
    /// Groups' counters (steps, fuel, messages, jobs, faults), and modules that were swapped in.
    Groups,
    /// Registered components of authors' entities.
    Native,
    /// Memories of the agents that stepped in this frame; zero unless the run asks for full digests.
    Memories,
    /// Faults of this frame: who, what, its detail, and what was reached of which limit.
    Faults,
    /// Log lines of this frame that agents wrote by import, those of faulted calls among them. Others are in outboxes.
    Logs,
    /// Commands, and swaps that native systems asked for, that take effect in the next frame.
    Commands,
    /// Agents' timers, who was deferred and since when, the cursor of round-robin, and fuel that is owed.
    Schedule,
    /// Requests that wait for a reply.
    Requests,
    /// Shared regions: versions and contents.
    Regions,
}

/// What a lane is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneKind {
    /// State as it is after the frame: the sum of the hashes of what a snapshot has of it.
    State,
    /// What came in or went out in this frame alone. No snapshot has it.
    Frame,
}

/// How much the digest of each frame covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Resource, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestScope {
    /// Everything but the agents' memories.
    #[default]
    Frame,
    /// The memories of the agents that were called in the frame, too: [`Lane::Memories`].
    Full,
}

impl DigestScope {
    /// Each scope, in order.
    pub const ALL: [Self; 2] = [Self::Frame, Self::Full];

    /// The name by which it is asked for, and recorded.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Full => "full",
        }
    }

    /// Returns the scope of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Returns whether memories are covered.
    pub const fn covers_memories(self) -> bool {
        matches!(self, Self::Full)
    }
}

impl Lane {
    /// How many lanes there are.
    pub const COUNT: usize = 16;

    /// Every lane, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Inputs,
        Self::Agents,
        Self::Outboxes,
        Self::Mailboxes,
        Self::HostMessages,
        Self::Topics,
        Self::Inference,
        Self::Groups,
        Self::Native,
        Self::Memories,
        Self::Faults,
        Self::Logs,
        Self::Commands,
        Self::Schedule,
        Self::Requests,
        Self::Regions,
    ];

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

    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Agents => "agents",
            Self::Outboxes => "outboxes",
            Self::Mailboxes => "mailboxes",
            Self::HostMessages => "host_messages",
            Self::Topics => "topics",
            Self::Inference => "inference",
            Self::Groups => "groups",
            Self::Native => "native",
            Self::Memories => "memories",
            Self::Faults => "faults",
            Self::Logs => "logs",
            Self::Commands => "commands",
            Self::Schedule => "schedule",
            Self::Requests => "requests",
            Self::Regions => "regions",
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
