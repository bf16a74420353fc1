//! The frame: its schedule, its stages in order, and what is carried through it.

use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::{ScheduleLabel, SystemSet};
use wasm_engine_components::{
    AgentFault, Excess, FrameCounts, FrameInputs, FrameRecord, LateRows, LogLine, ModelNotice, ModelResults,
    NamedOutput, RefusedCommand, SwapRecord,
};

/// The schedule that runs once for each frame.
#[derive(ScheduleLabel, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame;

wasm_engine_abi::numbered_enum! {
    /// The stages of a frame. The order of the variants is the order of the frame.
    ///
    /// ```text
    /// Frame
    /// ├── Ingest     the frame's inputs are taken in: the only door into the world
    /// ├── Deliver    messages of the last frame, results that are due and events reach mailboxes
    /// │   └── AuthorSystems::Sense
    /// ├── Schedule   the frame's budgets are opened
    /// ├── Step       wave after wave, who is due and fits into the budgets is called, in parallel, behind the port
    /// ├── Collect    what they asked for, in the order of their ids
    /// ├── Infer      jobs are batched and dispatched
    /// ├── Commit     lifecycles and memberships change
    /// │   └── AuthorSystems::Simulate
    /// └── Seal       the digest and the record: the only door out
    /// ```
    #[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum FrameStage: u8 {
        /// The frame's inputs are taken in.
        Ingest = 0, "ingest";
        /// Messages reach mailboxes.
        Deliver = 1, "deliver";
        /// The frame's budgets are opened. Who is due, and who of them is called, is decided in the waves of [`Step`](Self::Step): a message
        /// along `after` may wake an agent in the same frame.
        Schedule = 2, "schedule";
        /// Agents run, wave after wave.
        Step = 3, "step";
        /// The records that agents wrote beside messages are processed.
        Collect = 4, "collect";
        /// Inference jobs are dispatched.
        Infer = 5, "infer";
        /// Lifecycles, memberships and regions change.
        Commit = 6, "commit";
        /// The frame's digest and record.
        Seal = 7, "seal";
    }
}

/// Sets for the systems of a simulation's author.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthorSystems {
    /// At the end of [`FrameStage::Deliver`]: reads what agents are about to read.
    Sense,
    /// In [`FrameStage::Commit`], after the agents: changes the authors' own components, and sends messages.
    Simulate,
}

/// The frame that is running, or the next one between frames. State.
#[derive(Resource, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameClock {
    /// Number of the frame, from 0.
    pub frame: u64,
}

/// The run's seed, for the random numbers of native systems. State.
#[derive(Resource, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSeed(pub u64);

impl RunSeed {
    /// Returns a random number for a native system: a function of the seed, `entity` (a stable id), frame, stream and index.
    pub const fn random_u64(self, entity: u64, frame: u64, stream: u32, index: u32) -> u64 {
        let key = wasm_engine_abi::random::random_u64(self.0, entity, 0x6e61_7469, 0x7665_0000);
        wasm_engine_abi::random_u64(key, frame, stream, index)
    }
}

/// The inputs of the frame that is running. Set from outside, read by `Ingest`, `Deliver` and `Infer`, and moved into the record by
/// `Seal`. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct Inputs(pub FrameInputs);

/// Report of the frame so far. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct FrameReport {
    /// Counts of what happened.
    pub counts: FrameCounts,
    /// Faults of this frame.
    pub faults: Vec<AgentFault>,
    /// Log lines of this frame.
    pub logs: Vec<LogLine>,
    /// Named outputs of this frame.
    pub outputs: Vec<NamedOutput>,
    /// Log lines and outputs that were over a limit, group by group.
    pub excess: Vec<Excess>,
    /// Swaps of this frame.
    pub swaps: Vec<SwapRecord>,
    /// Results of models in this frame, and notices about them.
    pub inference: ModelResults,
    /// Rows that took too long to be compared.
    pub late_rows: Option<LateRows>,
    /// Notices about jobs for models that were given up.
    pub given_up_notices: Vec<ModelNotice>,
    /// The first commands from outside that weren't carried out.
    pub refused_commands: Vec<RefusedCommand>,
}

/// The record of the last frame. Made by `Seal`, taken from outside. Transient.
#[derive(Resource, Debug, Default)]
pub(crate) struct Sealed(pub FrameRecord);
