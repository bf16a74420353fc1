//! Faults of calls, before they are on the record under the agents' ids.

use wasm_engine_components::{AgentFault, AgentId, FaultKind};

/// The limit that a fault of kind [`FaultKind::OverLimit`] is about, which is its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OverLimit {
    /// `records_per_step_max`.
    Records = 1,
    /// `payload_bytes_max`.
    PayloadBytes = 2,
    /// `log_lines_per_step_max`.
    LogLines = 3,
    /// The inbox area of the module that a swap puts in place: the state that the old one left doesn't fit.
    StateBytes = 4,
}

/// The limit that a fault of kind [`FaultKind::MailboxFull`] is about, which is its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MailboxLimit {
    /// `mailbox_messages_max`.
    Messages = 1,
    /// `mailbox_bytes_max`, or the module's inbox area where that is smaller.
    Bytes = 2,
}

/// A fault of a call, before it is on the record under the agent's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// See [`AgentFault::detail`].
    pub detail: u32,
    /// See [`AgentFault::reached`].
    pub reached: u64,
    /// See [`AgentFault::allowed`].
    pub allowed: u64,
}

impl CallFault {
    /// Returns a fault that is about no limit.
    pub const fn new(kind: FaultKind, detail: u32) -> Self {
        Self::past(kind, detail, 0, 0)
    }

    /// Returns a fault that is about a limit: `reached` is what was counted against what is `allowed`.
    pub const fn past(kind: FaultKind, detail: u32, reached: u64, allowed: u64) -> Self {
        Self { kind, detail, reached, allowed }
    }

    /// Returns a fault of kind [`FaultKind::OverLimit`].
    pub const fn over(limit: OverLimit, reached: u32, allowed: u32) -> Self {
        Self::past(FaultKind::OverLimit, limit as u32, reached as u64, allowed as u64)
    }

    /// Returns the fault as it stands on the record.
    pub const fn of(self, agent: AgentId) -> AgentFault {
        let Self { kind, detail, reached, allowed } = self;
        AgentFault { agent, kind, detail, reached, allowed }
    }
}
