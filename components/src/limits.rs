//! Every limit, its default and its bound, and the relations between them. A quantity's name ends in its unit and bound.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use wasm_engine_abi::{FrameContext, MessageHeader, RegionView};

/// Most bytes that the snapshots of a run have together, where nobody said how many are kept: beyond it, the oldest are deleted. A world of a
/// gigabyte has some hundreds of them in a day.
pub const SNAPSHOTS_BYTES_MAX: u64 = 16 << 30;

/// Longest text of a guest or a file that is shown within a sentence or in a cell of a table, in characters.
pub const SHOWN_CHARS_MAX: usize = 160;
/// Longest path that is shown, in characters.
pub const PATH_CHARS_MAX: usize = 1_024;
/// Longest line that is printed, in characters.
pub const LINE_CHARS_MAX: usize = 4_096;

/// Most agents that one group may have.
pub const GROUP_AGENTS_MAX: u32 = 4_000_000;
/// Most agents that a run may have.
pub const AGENTS_MAX: u32 = 8_000_000;
/// Most groups that a scenario may have.
pub const GROUPS_MAX: u32 = 1_000;
/// Most topics that a scenario may have.
pub const TOPICS_MAX: u32 = 100_000;
/// Most models that a scenario may have.
pub const MODELS_MAX: u32 = 1_000;
/// Most swaps that a scenario may have.
pub const SWAPS_MAX: u32 = 10_000;
/// Most expectations that a scenario may have.
pub const EXPECTATIONS_MAX: u32 = 4_096;
/// Most shared regions that a scenario may have.
pub const REGIONS_MAX: u32 = 1_000;
/// Largest shared region, in bytes.
pub const REGION_BYTES_MAX: u32 = 16 << 20;
/// Most bytes that the shared regions of a scenario may have together.
pub const REGIONS_BYTES_MAX: u64 = 1 << 30;
/// Most bytes that the shared regions of one reading group may have together: each of its agents has a copy.
pub const GROUP_REGIONS_BYTES_MAX: u64 = 64 << 20;
/// Most frames that a run may have.
pub const FRAMES_MAX: u64 = 1 << 48;
/// Largest scenario file, in bytes.
pub const SCENARIO_BYTES_MAX: u64 = 16 << 20;
/// Largest module file, in bytes.
pub const MODULE_BYTES_MAX: u64 = 64 << 20;
/// Largest model of which a recorded run keeps a copy, in bytes: one that is larger has to stay where it is, if the run is to go on.
pub const MODEL_COPY_BYTES_MAX: u64 = 256 << 20;
/// Largest model file, in bytes: ONNX Runtime reads a model as one protobuf message, whose size is a signed 32-bit number.
pub const MODEL_BYTES_MAX: u64 = (2 << 30) - 1;
/// Most rows of one batch of a model where its entry says nothing.
pub const BATCH_ROWS_DEFAULT: u32 = 64;
/// Longest time that one run of a model may take where its entry says nothing, in milliseconds.
pub const MODEL_RUN_MS_DEFAULT: u32 = 60_000;
/// Longest time that opening and probing a model may take where its entry says nothing, in milliseconds.
pub const MODEL_LOAD_MS_DEFAULT: u32 = 600_000;
/// Largest value of either of these limits that a model's entry may set, in milliseconds: a day.
pub const MODEL_MS_MAX: u32 = 24 * 60 * 60 * 1_000;
/// Time that a run of a model has to end once it was told to, in milliseconds. One that takes longer is within one huge operator: its
/// thread is left behind, and the model isn't run any more.
pub const MODEL_GRACE_MS: u64 = 5_000;
/// Memory that the intermediate results of a model may take where its entry says nothing, in bytes. It doesn't follow from the machine's:
/// whether a row fits is the same everywhere.
pub const MODEL_MEMORY_BYTES_DEFAULT: u64 = 1 << 30;
/// Smallest value of that limit that a model's entry may set, in bytes.
pub const MODEL_MEMORY_BYTES_MIN: u64 = 1 << 20;
/// Largest value of that limit that a model's entry may set, in bytes.
pub const MODEL_MEMORY_BYTES_MAX: u64 = 1 << 40;
/// Most bytes that are kept of what ONNX Runtime says about a failed run.
pub const MODEL_REASON_BYTES_MAX: usize = 400;
/// One in this many batches of models is audited: one of its rows is run again among other rows.
pub const AUDIT_BATCHES: u64 = 64;
/// Longest line of an events file, in bytes. A payload of [`PAYLOAD_BYTES_MAX`] as decimal numbers fits.
pub const EVENT_LINE_BYTES_MAX: usize = 16 << 20;
/// Most messages and commands that one frame may be given from outside. Each agent that is spawned counts.
pub const EVENTS_PER_FRAME_MAX: u64 = 2 << 20;
/// Most bytes of payloads that one frame may be given from outside; a first message counts for each agent that is spawned with it.
pub const EVENT_BYTES_PER_FRAME_MAX: u64 = 256 << 20;
/// Largest payload of a message or an event, in bytes.
pub const PAYLOAD_BYTES_MAX: u32 = 1 << 20;
/// Largest entry of the code cache, in bytes. A module whose code is larger is compiled in each run.
pub const CODE_CACHE_ENTRY_BYTES_MAX: u64 = 256 << 20;
/// Most bytes of the code cache. Beyond it, the entries that were used longest ago are deleted.
pub const CODE_CACHE_BYTES_MAX: u64 = 1 << 30;
/// Most calls of an agent that may be nested.
pub const CALL_DEPTH_MAX: u32 = 1_000;
/// Most tables of a module.
pub const TABLES_MAX: u64 = 16;
/// Most elements that a module's tables may have together. Each instance has its own.
pub const TABLE_ELEMENTS_MAX: u64 = 65_536;
/// Most globals of a module. Each instance has its own.
pub const GLOBALS_MAX: u64 = 1_000;
/// Most parts (instructions) of one constant expression of a module. All of them together are bounded by `module_constants_max`.
pub const CONSTANT_PARTS_MAX: u64 = 1_000;
/// Bytes that an agent's tables, functions and globals may take, outside its memory, without being counted. Only what is beyond that counts
/// towards `memory_bytes_max`, so that an ordinary module has all of that limit for its memory.
pub const INSTANCE_BYTES_FREE: u64 = 16 << 10;
/// Most locals, parameters and operands (of 8 bytes; a vector counts twice) that one function may have at once.
pub const FUNCTION_SLOTS_MAX: u32 = 1_000;
/// Largest native frame of one such function, in bytes: its slots, spilled once more, and the fixed part.
pub const FUNCTION_FRAME_BYTES_MAX: u32 = 2 * 8 * FUNCTION_SLOTS_MAX + 384;
/// Native stack that guests may use, in bytes. The call depth is reached before it is.
pub const WASM_STACK_BYTES_MAX: u32 = 24 << 20;
/// Native stack of a thread that steps agents, in bytes.
pub const THREAD_STACK_BYTES: usize = 32 << 20;
/// Most threads.
pub const THREADS_MAX: u32 = 1_024;
/// Largest batch that a model may be given, in rows.
pub const BATCH_ROWS_MAX: u32 = 65_536;
/// Largest latency of an inference, in frames.
pub const LATENCY_FRAMES_MAX: u32 = 1_000_000;
/// Largest size of a model's named dimension.
pub const MODEL_DIM_MAX: u32 = 1 << 24;
/// Last dimension of a model's tensor that may hold the rows.
pub const MODEL_AXIS_MAX: u32 = 15;
/// Longest name of a scenario, group, module, model, topic, region or tenant, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Most restarts that a group's fault policy may allow an agent.
pub const RESTARTS_MAX: u32 = 1_000_000;
/// Longest pause before an agent's first restart, in frames.
pub const BACKOFF_FRAMES_MAX: u32 = 1_000_000;
/// Most frames from one step of a group's agents to the next.
pub const PERIOD_FRAMES_MAX: u32 = 1_000_000;
/// Highest priority of a group.
pub const PRIORITY_MAX: u32 = 1_000;
/// Largest number of frames of waiting after which an agent's priority may count one more.
pub const AGEING_FRAMES_MAX: u32 = 1_000_000;
/// Most tenants that a scenario may have.
pub const TENANTS_MAX: u32 = 1_000;
/// Most agents that one line of an events file may spawn.
pub const EVENT_SPAWNS_MAX: u32 = 1_000_000;
/// Most bytes of first messages that one line of an events file may give to the agents that it spawns, all together.
pub const EVENT_SPAWN_BYTES_MAX: u64 = 64 << 20;
/// Most output names that a run's summary keeps, besides those that the scenario expects something of. Each group that takes part has
/// an equal share of them, and [`SUMMARY_GROUP_OUTPUTS_MIN`] at least.
pub const SUMMARY_OUTPUTS_MAX: usize = 10_000;
/// Most commands of one frame that are told as refused, and most of one run. All of them are counted.
pub const REFUSED_COMMANDS_TOLD_MAX: usize = 8;
/// A group's least share of [`SUMMARY_OUTPUTS_MAX`].
pub const SUMMARY_GROUP_OUTPUTS_MIN: usize = 64;
/// Most last values of outputs, one for each agent and name, that a run's summary keeps. Each group that takes part has an equal share,
/// and [`SUMMARY_GROUP_VALUES_MIN`] at least; an output that the scenario expects something of has as many for itself.
pub const SUMMARY_VALUES_MAX: usize = 4_000_000;
/// A group's least share of [`SUMMARY_VALUES_MAX`].
pub const SUMMARY_GROUP_VALUES_MIN: usize = 1_024;
/// Most bytes of a text or bytes output that a run's summary shows.
pub const SUMMARY_TEXT_BYTES_MAX: usize = 200;
/// Size that a log line or an output counts for besides its text, in bytes: frame, agent, level or name's key, and punctuation of its row.
pub const TABLE_ROW_BYTES: u32 = 64;
/// Bytes that each agent that a group may have adds to the default of what the group may write to a table in one frame, where that is more than the
/// default of a small group: several numbers of each agent in each frame.
pub const TABLE_BYTES_PER_AGENT: u64 = 1 << 10;
/// Bytes that a run leaves free on its disk, where nobody says how much its folder may have. On a small disk, it leaves a tenth free.
pub const DISK_BYTES_FREE: u64 = 1 << 30;
/// Fuel of a `memory.grow`, whether it is granted or refused: it takes about as long as that many other instructions.
pub const MEMORY_GROW_FUEL: u8 = 255;
/// Fuel of a `ref.func`: the guest asks the host for the reference, which takes as long as a call of an import.
pub const REF_FUNC_FUEL: u8 = 100;
/// Fuel of a call of an import, besides that of the instruction: it takes about as long as that many others.
pub const IMPORT_FUEL: u64 = 40;
/// Size of a page of WebAssembly memory, in bytes.
pub const WASM_PAGE_BYTES: u64 = 64 << 10;
/// Size of a segment of a run's journal, in bytes, unless one record alone is larger. A reader searches a segment of this size for what follows a
/// broken record in about a second, and a broken file leaves the others readable.
pub const JOURNAL_SEGMENT_BYTES_MAX: u32 = 64 << 20;
/// Most frames of a journal from one that is written whole to the next, and so the most that are read to know any one frame.
/// A frame that is written whole takes about 200 bytes more, which is 3 bytes a frame.
pub const JOURNAL_KEYFRAME_FRAMES: u64 = 64;
/// Largest record of a journal, in bytes: what one frame takes in and gets from models, written down. It is held in memory.
pub const JOURNAL_RECORD_BYTES_MAX: u32 = 1 << 30;
/// Bytes of a message, its header included, for which a delivery to one of many recipients counts once. A message of 129 bytes counts twice
/// for each recipient, so that a delivery counts in proportion to what it costs.
pub const DELIVERY_BYTES: u32 = 128;
/// Deliveries in a frame that a group may make where nobody said how many: as many as there are agents, and at least this many.
pub const DELIVERIES_LEAST: u64 = 1 << 18;
/// Most bytes of a journal that wait in memory to be written.
pub const JOURNAL_BUFFER_BYTES_MAX: usize = 256 << 10;

const _: () = assert!(CALL_DEPTH_MAX as u64 * FUNCTION_FRAME_BYTES_MAX as u64 <= WASM_STACK_BYTES_MAX as u64);
const _: () = assert!((WASM_STACK_BYTES_MAX as usize) < THREAD_STACK_BYTES);
const _: () = assert!(PAYLOAD_BYTES_MAX as usize * 8 <= EVENT_LINE_BYTES_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX as u64 <= EVENT_SPAWN_BYTES_MAX);
const _: () = assert!(GROUP_AGENTS_MAX <= AGENTS_MAX && GROUPS_MAX < u32::MAX);
const _: () =
    assert!(REGION_BYTES_MAX as u64 <= GROUP_REGIONS_BYTES_MAX && GROUP_REGIONS_BYTES_MAX <= REGIONS_BYTES_MAX);
// A record of nothing but the largest payload fits.
const _: () =
    assert!(PAYLOAD_BYTES_MAX < JOURNAL_RECORD_BYTES_MAX && EVENT_SPAWN_BYTES_MAX < JOURNAL_RECORD_BYTES_MAX as u64);
// A line by itself fits into a frame, and a frame's events, with 64 bytes for what each says beside its payload, into a record.
const _: () =
    assert!(EVENT_SPAWNS_MAX as u64 <= EVENTS_PER_FRAME_MAX && EVENT_SPAWN_BYTES_MAX <= EVENT_BYTES_PER_FRAME_MAX);
const _: () = assert!(EVENT_BYTES_PER_FRAME_MAX + EVENTS_PER_FRAME_MAX * 64 < JOURNAL_RECORD_BYTES_MAX as u64);
const _: () = assert!(JOURNAL_KEYFRAME_FRAMES > 0);
// The newest entry always fits.
const _: () = assert!(CODE_CACHE_ENTRY_BYTES_MAX <= CODE_CACHE_BYTES_MAX);
// A reader's copies, and the table before them, fit into a memory, and 32 bits address them.
const _: () = assert!(
    GROUP_REGIONS_BYTES_MAX + (REGIONS_MAX as u64 + 1) * (size_of::<RegionView>() as u64 + 8)
        <= GroupLimits::MAX.memory_bytes_max / 2
);

/// One limit that a scenario may set under `limits`.
#[derive(Clone, Copy, Debug)]
pub struct LimitKey<L> {
    /// Its key in a scenario.
    pub name: &'static str,
    /// Returns its value among some limits, which may be the smallest, the largest or the default ones.
    pub of: fn(&L) -> u64,
}

/// Declares limits as a table, one row each: `name: type = default, in minimum..=maximum`.
macro_rules! limits {
    (
        $(#[$about:meta])*
        $limits:ident { $($(#[$doc:meta])* $key:ident: $number:ident = $default:expr, in $range:expr;)* }
    ) => {
        $(#[$about])*
        pub struct $limits {
            $($(#[$doc])* pub $key: $number,)*
        }

        impl $limits {
            /// The limits where a scenario says nothing.
            pub const DEFAULT: Self = Self { $($key: $default),* };
            /// The smallest value of each that a scenario may set.
            pub const MIN: Self = Self { $($key: *RangeInclusive::<$number>::start(&($range))),* };
            /// The largest value of each that a scenario may set.
            pub const MAX: Self = Self { $($key: *RangeInclusive::<$number>::end(&($range))),* };
            /// The keys of all limits, in their order.
            pub const KEYS: &'static [LimitKey<Self>] =
                &[$(LimitKey { name: stringify!($key), of: |limits| limits.$key as u64 }),*];

            /// Returns limits that each have the value that `value` gives for their key, or the largest that fits into their type.
            pub fn of_keys(mut value: impl FnMut(&LimitKey<Self>) -> u64) -> Self {
                Self {
                    $($key: value(&LimitKey { name: stringify!($key), of: |limits| limits.$key as u64 })
                        .min($number::MAX as u64) as $number),*
                }
            }
        }

        impl Default for $limits {
            fn default() -> Self {
                Self::DEFAULT
            }
        }
    };
}

limits! {
    /// Limits of one agent of a group. A scenario may set each under `limits`, from its minimum to its maximum.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    GroupLimits {
        /// Fuel of an agent's calls in one frame, those of `agent_receive` included: roughly, WebAssembly instructions.
        fuel_per_step_max: u64 = 1_000_000, in 1..=1 << 40;
        /// Bytes of an agent's memory, and of its tables, functions and globals where those take more than [`INSTANCE_BYTES_FREE`]. A growth
        /// of the memory beyond it fails in the guest.
        memory_bytes_max: u64 = 1 << 20, in WASM_PAGE_BYTES..=4 << 30;
        /// Outbox records of one step.
        records_per_step_max: u32 = 256, in 0..=1 << 20;
        /// Payload of one message, in bytes.
        payload_bytes_max: u32 = 64 << 10, in 0..=PAYLOAD_BYTES_MAX;
        /// Inference jobs of one step.
        jobs_per_step_max: u32 = 16, in 0..=1 << 16;
        /// Log lines of one step, by outbox and import together.
        log_lines_per_step_max: u32 = 16, in 0..=1 << 16;
        /// Messages that a mailbox holds.
        mailbox_messages_max: u32 = 1_024, in 1..=1 << 20;
        /// Bytes that a mailbox holds, headers included. The module's inbox area bounds it, too.
        mailbox_bytes_max: u32 = 1 << 20, in MessageHeader::BYTES..=1 << 30;
        /// Requests of an agent that wait for a reply at one time.
        requests_max: u32 = 64, in 0..=1 << 16;
        /// Fuel of the whole group in one frame: no call is begun once the frames so far have used more than this on average.
        fuel_per_frame_max: u64 = Self::UNBOUNDED, in 1..=Self::UNBOUNDED;
        /// Messages of the whole group in one frame.
        messages_per_frame_max: u64 = Self::UNBOUNDED, in 0..=Self::UNBOUNDED;
        /// Bytes of those, headers included.
        message_bytes_per_frame_max: u64 = Self::UNBOUNDED, in 0..=Self::UNBOUNDED;
        /// Inference jobs of the whole group in one frame.
        jobs_per_frame_max: u64 = Self::UNBOUNDED, in 0..=Self::UNBOUNDED;
        /// Log lines of the whole group in one frame. Those beyond aren't kept.
        log_lines_per_frame_max: u64 = Self::UNBOUNDED, in 0..=Self::UNBOUNDED;
        /// Deliveries of what one agent publishes and broadcasts in a step: one for each recipient and [`DELIVERY_BYTES`].
        deliveries_per_step_max: u64 = Self::BY_AGENTS, in 0..=Self::UNBOUNDED;
        /// Deliveries of what the whole group publishes and broadcasts in one frame.
        deliveries_per_frame_max: u64 = Self::BY_AGENTS, in 0..=Self::UNBOUNDED;
        /// Bytes of the log lines of one step, by outbox and import together, as [`crate::text_row_bytes`] counts them. What doesn't fit
        /// isn't kept.
        log_bytes_per_step_max: u32 = 16 << 10, in 0..=64 << 20;
        /// Bytes of the named outputs of one step, likewise.
        output_bytes_per_step_max: u32 = 64 << 10, in 0..=64 << 20;
        /// Bytes of the log lines of the whole group in one frame, likewise.
        log_bytes_per_frame_max: u64 = 1 << 20, in 0..=Self::UNBOUNDED;
        /// Bytes of the named outputs of the whole group in one frame, likewise.
        output_bytes_per_frame_max: u64 = 1 << 20, in 0..=Self::UNBOUNDED;
    }
}

impl GroupLimits {
    /// No bound, for what is counted over a whole group. TOML's whole numbers end here.
    pub const UNBOUNDED: u64 = i64::MAX as u64;

    /// The default of what is counted in deliveries: as many as [`deliveries_of`] says. No scenario can set it.
    pub const BY_AGENTS: u64 = u64::MAX;

    /// Returns the limits of a group that may have `agents_max` agents, where its scenario says nothing.
    #[must_use]
    pub const fn default_of(agents_max: u32) -> Self {
        let table = agents_max as u64 * TABLE_BYTES_PER_AGENT;
        let mut limits = Self::DEFAULT;
        if table > limits.log_bytes_per_frame_max {
            limits.log_bytes_per_frame_max = table;
            limits.output_bytes_per_frame_max = table;
        }
        limits
    }
}

/// Returns how many deliveries a limit allows in a frame that begins with `agents` agents that haven't ended.
pub const fn deliveries_of(limit: u64, agents: u64) -> u64 {
    match limit {
        GroupLimits::BY_AGENTS if agents > DELIVERIES_LEAST => agents,
        GroupLimits::BY_AGENTS => DELIVERIES_LEAST,
        limit => limit,
    }
}

/// Returns what a message to many counts for each of its recipients. `bytes` is what it takes in an inbox.
pub const fn delivery_units(bytes: u32) -> u64 {
    bytes.div_ceil(DELIVERY_BYTES) as u64
}

limits! {
    /// Limits of a module that agents of a group are made of: how long it takes to load, and the memory that takes. A scenario may set each under
    /// `limits`, from its minimum to its maximum. Where several groups use a module, the smallest limit counts.
    ///
    /// A module within the defaults is loaded in 2 seconds and 256 MB on 2 cores.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    ModuleLimits {
        /// Size of the file, in bytes.
        module_bytes_max: u64 = 4 << 20, in 8..=MODULE_BYTES_MAX;
        /// Functions, those that are imported included.
        module_functions_max: u64 = 5_000, in 1..=1_000_000;
        /// Types of functions.
        module_types_max: u64 = 1_000, in 1..=1_000_000;
        /// Data and element segments.
        module_segments_max: u64 = 1_000, in 0..=100_000;
        /// Bytes of those; a function in a table counts 8.
        module_segment_bytes_max: u64 = 4 << 20, in 0..=MODULE_BYTES_MAX;
        /// Bytes of the names of imports and exports.
        module_names_bytes_max: u64 = 64 << 10, in 0..=MODULE_BYTES_MAX;
        /// Parts (instructions) of all constant expressions: the values of globals and of elements, and where segments lie.
        module_constants_max: u64 = 100_000, in 0..=MODULE_BYTES_MAX;
        /// Estimated compilation of the whole module, in microseconds of one core.
        module_cost_max: u64 = 3_600_000, in 1..=1 << 40;
        /// Code of one function, in bytes.
        function_bytes_max: u64 = 128 << 10, in 2..=MODULE_BYTES_MAX;
        /// Blocks, loops and conditions of one function.
        function_blocks_max: u64 = 4_000, in 0..=1 << 20;
        /// Targets of all branches of one function.
        function_branches_max: u64 = 16_000, in 0..=1 << 20;
        /// Parameters and results of all calls of one function, and values that its branches take along.
        function_operands_max: u64 = 40_000, in 0..=1 << 30;
        /// Estimated compilation of one function, in microseconds of one core.
        function_cost_max: u64 = 400_000, in 1..=1 << 40;
    }
}

impl ModuleLimits {
    /// Returns the smaller one of each limit.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self::of_keys(|key| (key.of)(&self).min((key.of)(&other)))
    }
}

const _: () = assert!(ModuleLimits::DEFAULT.function_bytes_max <= ModuleLimits::DEFAULT.module_bytes_max);
const _: () = assert!(ModuleLimits::DEFAULT.function_cost_max <= ModuleLimits::DEFAULT.module_cost_max);
// A memory has room for what isn't counted beside it.
const _: () = assert!(INSTANCE_BYTES_FREE < GroupLimits::MIN.memory_bytes_max);

const _: () = assert!(GroupLimits::DEFAULT.payload_bytes_max <= GroupLimits::DEFAULT.mailbox_bytes_max);
const _: () = assert!(GroupLimits::DEFAULT.log_bytes_per_frame_max == GroupLimits::DEFAULT.output_bytes_per_frame_max);
const _: () = assert!(GroupLimits::MIN.mailbox_bytes_max as usize == size_of::<MessageHeader>());
const _: () = assert!(size_of::<FrameContext>() == 64);
