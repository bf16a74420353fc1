//! Faults of agents are data: recorded, hashed, counted. They never stop the run.

use serde::{Deserialize, Serialize};

use crate::AgentId;

wasm_engine_abi::numbered_enum! {
    /// Kind of a fault. The order is that of the counters in a digest: new kinds go to the end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub enum FaultKind: u8 {
        /// It executed `unreachable`: a panic or an abort.
        Unreachable = 0, "unreachable";
        /// It read or wrote outside its memory.
        MemoryOutOfBounds = 1, "memory_out_of_bounds";
        /// It reached outside a table.
        TableOutOfBounds = 2, "table_out_of_bounds";
        /// It called a null entry of a table, or one of another signature.
        BadIndirectCall = 3, "bad_indirect_call";
        /// It divided an integer by zero, overflowed in a division, or converted a float out of range.
        Arithmetic = 4, "arithmetic";
        /// Its calls nested deeper than the limit.
        CallDepth = 5, "call_depth";
        /// It used up the fuel of its calls of a frame.
        OutOfFuel = 6, "out_of_fuel";
        /// Its outbox isn't well formed: lengths that don't fit, an unknown operation, a reserved value.
        BadOutbox = 7, "bad_outbox";
        /// It asked for more than a limit of its group allows in one step (records, log lines, or a payload's size), or left more state for a
        /// hot swap than fits into the new module's inbox area.
        OverLimit = 8, "over_limit";
        /// It asked for something that its group wasn't granted.
        Denied = 9, "denied";
        /// It said so itself: an export returned a status other than 0.
        Reported = 10, "reported";
        /// Its mailbox was full, and its group's overflow policy is `fault`.
        MailboxFull = 11, "mailbox_full";
        /// Another trap of the WebAssembly runtime.
        Trap = 12, "trap";
        /// It wrote to a shared region that its group doesn't own, or outside the region.
        BadRegionWrite = 13, "bad_region_write";
    }
}

// Counters are indexed by the number of the kind, so that the numbers have no gaps.
const _: () = assert!(FaultKind::ALL[FaultKind::COUNT - 1] as usize == FaultKind::COUNT - 1);

/// One fault, as it stands on the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentFault {
    /// The agent that faulted.
    pub agent: AgentId,
    /// The kind of fault.
    pub kind: FaultKind,
    /// The returned status of [`FaultKind::Reported`]; which limit was passed in [`FaultKind::OverLimit`] and
    /// [`FaultKind::MailboxFull`]; the rule that was broken in [`FaultKind::BadRegionWrite`] and [`FaultKind::BadOutbox`]; the
    /// missing capability in [`FaultKind::Denied`]; else 0.
    pub detail: u32,
    /// Amount that was counted against the limit when the agent was stopped, including what it was refused: 300 for an outbox of 300 records, and one
    /// more than the limit for one call of `log` too many. 0 where the fault is about no limit.
    pub reached: u64,
    /// Amount that the limit allowed in that frame. 0 where the fault is about no limit.
    pub allowed: u64,
}

/// Number of faults of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FaultCounts(pub [u64; FaultKind::COUNT]);

impl FaultCounts {
    /// Counts one fault.
    pub fn add(&mut self, kind: FaultKind) {
        self.0[kind as usize] += 1;
    }

    /// Returns the number of faults of all kinds together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns the kinds that occurred, with how often each did, in the order of [`FaultKind::ALL`].
    pub fn by_kind(&self) -> impl Iterator<Item = (FaultKind, u64)> + '_ {
        FaultKind::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

/// Fault policy of a group: what a fault of one of its agents leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FaultPolicy {
    /// Start again from the initial image, `backoff_frames` later (doubled by each of the first 20 restarts), at most `restarts_max`
    /// times; then terminate.
    Restart {
        /// Most restarts of one agent. Default 3.
        restarts_max: u32,
        /// Frames between the fault and the first restart, at least 1. Default 1.
        backoff_frames: u32,
    },
    /// Keep it as it is, unstepped.
    Pause,
    /// End it.
    Terminate,
    /// Keep it as it is, unstepped, until the group's supervisor restarts or terminates it.
    Escalate,
}

impl Default for FaultPolicy {
    fn default() -> Self {
        Self::Restart { restarts_max: 3, backoff_frames: 1 }
    }
}
