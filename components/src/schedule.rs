//! When agents are stepped, and what a frame may cost. Fixed for a run.

use serde::{Deserialize, Serialize};

use crate::GroupLimits;

/// When a group's agents are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Trigger {
    /// In each frame `f` with `f % period == phase`.
    Every {
        /// Frames from one step to the next, at least 1. Default 1.
        period: u32,
        /// Below the period. Default 0.
        phase: u32,
    },
    /// In a frame in which there are messages for them, or for which they asked to be woken.
    Message,
    /// In a frame for which they asked to be woken. Messages wait.
    Timer,
}

impl Default for Trigger {
    fn default() -> Self {
        Self::Every { period: 1, phase: 0 }
    }
}

/// Schedule of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule {
    /// When its agents are due.
    pub trigger: Trigger,
    /// Priority of the group: where not all agents fit into a frame, those of the group with the higher number go first. Default 0.
    pub priority: u32,
}

/// Order in which agents are chosen where not all fit into a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SchedulerMode {
    /// The agent with the highest priority goes first; of those with one priority, the one that has waited longest; then the one with the lowest id.
    #[default]
    Priority,
    /// Agents that were deferred go first, those that have waited longest before others. Then the round goes on in the order of ids, after the agent
    /// at which it stopped: the last one that was stepped before the first one that didn't fit.
    RoundRobin,
}

/// Budgets of a frame, and the order in which agents are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerSettings {
    /// Order in which agents are chosen where not all fit.
    pub mode: SchedulerMode,
    /// Calls in one frame. Default: no bound.
    pub steps_per_frame_max: u64,
    /// Fuel in one frame: no call is begun once the frames so far have used more than this on average. Default: no bound.
    pub fuel_per_frame_max: u64,
    /// In mode `Priority`, number of frames of waiting after each of which an agent's priority counts one more. Default 0: waiting changes no
    /// priority.
    pub ageing_frames: u32,
    /// Deliveries in one frame of all messages to many: see [`GroupLimits::deliveries_per_frame_max`]. By default,
    /// [`GroupLimits::BY_AGENTS`], that many are for all groups and tenants together, and as many again are divided among those for which the
    /// scenario sets no limit. What it sets for one is that one's own part.
    pub deliveries_per_frame_max: u64,
    /// Bytes of log lines in one frame of all groups together. By default, [`GroupLimits::BY_AGENTS`], as many as a small group may write are for all
    /// groups together, and as many again are divided among them. A group's part is at least [`crate::limits::TABLE_BYTES_PER_AGENT`] for
    /// each of its agents, or what the scenario sets for it.
    pub log_bytes_per_frame_max: u64,
    /// Bytes of named outputs in one frame, likewise.
    pub output_bytes_per_frame_max: u64,
    /// Deliveries of what events and native systems publish and broadcast, together. Default:
    /// [`GroupLimits::BY_AGENTS`].
    pub host_deliveries_per_frame_max: u64,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            mode: SchedulerMode::Priority,
            steps_per_frame_max: u64::MAX,
            fuel_per_frame_max: u64::MAX,
            ageing_frames: 0,
            deliveries_per_frame_max: GroupLimits::BY_AGENTS,
            log_bytes_per_frame_max: GroupLimits::BY_AGENTS,
            output_bytes_per_frame_max: GroupLimits::BY_AGENTS,
            host_deliveries_per_frame_max: GroupLimits::BY_AGENTS,
        }
    }
}

/// The number of a tenant, in the order of their names, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub u32);

/// Groups that share totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Most agents that haven't ended. By default, neither this nor the limits below are bounded.
    pub agents_max: u64,
    /// Most memory of those, in bytes. Each agent counts as much as its group's limit allows it.
    pub memory_bytes_max: u64,
    /// Fuel in one frame.
    pub fuel_per_frame_max: u64,
    /// Messages in one frame.
    pub messages_per_frame_max: u64,
    /// Inference jobs in one frame.
    pub jobs_per_frame_max: u64,
    /// Deliveries in one frame of what its groups publish and broadcast. Default: [`GroupLimits::BY_AGENTS`].
    pub deliveries_per_frame_max: u64,
    /// Bytes of log lines in one frame.
    pub log_bytes_per_frame_max: u64,
    /// Bytes of named outputs in one frame.
    pub output_bytes_per_frame_max: u64,
}
