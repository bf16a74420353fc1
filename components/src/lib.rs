//! The data of a simulated world: fields and pure methods only. The systems that change it are in the crate `wasm-engine-systems`.
//!
//! Everything here is either *state* (hashed into the digest, saved, loaded) or *transient* (derived anew in each frame).
//! Stable ids order everything; a bevy `Entity` never leaves the world it was made in.

#![forbid(unsafe_code)]
#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod agent;
pub mod batch_form;
pub mod causes;
pub mod command;
pub mod excess;
pub mod fault;
pub mod frame;
pub mod group;
pub mod id;
pub mod inference;
pub mod limits;
pub mod mailbox;
pub mod message;
pub mod model;
pub mod region;
pub mod schedule;
pub mod slot;
pub mod state;
pub mod swap;
pub mod text;
pub mod topic;

pub use agent::{FaultHistory, Lifecycle};
pub use batch_form::BatchForm;
pub use command::{Action, Command, CommandTarget, Issuer, LifecycleAction, RefusedCommand};
pub use excess::{
    BeyondAscii, Excess, RunTable, TableBudget, Unkept, bytes_row_bytes, json_text_bytes, text_row_bytes,
};
pub use fault::{AgentFault, FaultCounts, FaultKind, FaultPolicy};
pub use frame::{
    EventCounts, ExternalEvent, FrameCounts, FrameInputs, FrameRecord, GroupRecord, LogLine, NamedOutput, OutputValue,
};
pub use group::{Group, GroupCounters, GroupSpec, GroupTotals};
pub use id::{AgentId, GroupId, JobId, ModelId, StableId, TopicId};
pub use inference::{
    InferenceJob, JobData, LateRows, ModelAnswers, ModelNotice, ModelNoticeKind, ModelResults, RowAnswer, RowResult,
};
pub use limits::{GroupLimits, ModuleLimits};
pub use mailbox::{
    Backlog, Head, HeldMessage, Mailbox, MailboxCounters, MailboxOf, OverflowPolicy, OwnedMailbox, StoredMessage,
};
pub use message::{Address, MessageOffset, Recipient, RecipientSlot};
pub use model::{Model, ModelSpec};
pub use region::{RegionId, RegionOwner, RegionSpec, RegionState};
pub use schedule::{Schedule, SchedulerMode, SchedulerSettings, Tenant, TenantId, Trigger};
pub use slot::{AgentSlot, GroupIndex, RegionIndex, TopicIndex};
pub use state::{Digest, DigestScope, Lane, LaneKind, Lanes};
pub use swap::{LoadedFile, ModuleSwap, Swap, SwapOutcome, SwapRecord};
pub use topic::{Members, TopicSpec};
