//! What can be wrong with a module, and what to do about it. Each problem is one sentence, which says neither where nor what to do.

use wasm_engine_abi::LayoutError;
use wasm_engine_components::text::shown;
use wasmparser::BinaryReaderError;

/// Problem of a module, alone or in a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleProblem {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file isn't WebAssembly.
    #[error("the file isn't a WebAssembly module (it doesn't start with `\\0asm`)")]
    NotWasm,
    /// The file is a component.
    #[error("the file is a WebAssembly component, and agents are core modules")]
    Component,
    /// The file ends early.
    #[error("the file is truncated: it ends inside a section, at byte {offset}")]
    Truncated {
        /// Offset in the file, in bytes.
        offset: u64,
    },
    /// It isn't valid, or uses a feature that agents may not use.
    #[error("it isn't a valid module for agents: {} (at byte {offset})", shown(message))]
    Invalid {
        /// Message of the validator.
        message: String,
        /// Offset in the file, in bytes.
        offset: u64,
    },
    /// It uses an instruction whose effect a snapshot can't hold.
    #[error(
        "it uses `{}` (at byte {offset}), and agents may not change tables or drop segments, because such state can't be saved",
        shown(instruction)
    )]
    Instruction {
        /// Name of the instruction.
        instruction: String,
        /// Offset of the instruction in the file, in bytes.
        offset: u64,
    },
    /// It has a passive data or element segment.
    #[error("it has a passive {what} segment (number {index}), which could be dropped unseen")]
    PassiveSegment {
        /// Kind of segment: `"data"` or `"element"`.
        what: &'static str,
        /// Index of the segment.
        index: u32,
    },
    /// A global holds a reference.
    #[error("its global {index} holds a reference, which can't be saved")]
    ReferenceGlobal {
        /// Index of the global.
        index: u32,
    },
    /// It has too many of something.
    #[error("it has {found} {what}, and a module may have {max}")]
    TooMany {
        /// Things of which it has too many, in words.
        what: &'static str,
        /// Number of them that the module has.
        found: u64,
        /// Number of them that a module may have.
        max: u64,
    },
    /// A constant expression is too long.
    #[error("the {what} {index} has {parts} parts, and a constant expression may have {parts_max}")]
    LongConstant {
        /// Kind of thing that has the expression for its value, such as a global.
        what: &'static str,
        /// Number of that among its kind.
        index: u32,
        /// Number of instructions of the expression.
        parts: u64,
        /// Number of instructions that a constant expression may have.
        parts_max: u64,
    },
    /// It has more of something than its groups allow.
    #[error("it has {found} {what}, and its groups allow {max} (`limits.{key}`)")]
    OverLimit {
        /// Things of which it has too many, in words.
        what: &'static str,
        /// Number of them that the module has.
        found: u64,
        /// Number of them that its groups allow.
        max: u64,
        /// Key of the limit in `limits`.
        key: &'static str,
    },
    /// A function has more of something than its module's groups allow.
    #[error(
        "its function {function}{} has {found} {}, and its groups allow {max} (`limits.{}`)",
        named(name.as_deref()), limit.what(), limit.key()
    )]
    FunctionOverLimit {
        /// Number of the function.
        function: u32,
        /// Name of the function, if the module says it.
        name: Option<String>,
        /// Limit that the function passes.
        limit: FunctionLimit,
        /// Number that was counted until the limit was passed.
        found: u64,
        /// Value of the limit.
        max: u64,
    },
    /// A function needs too large a frame.
    #[error(
        "its function {function} needs {slots} parameters, locals and operands at once, and a function may have {slots_max}"
    )]
    TooManyLocals {
        /// Number of the function.
        function: u32,
        /// Number of slots of 8 bytes that it needs.
        slots: u64,
        /// Number of slots that a function may have.
        slots_max: u32,
    },
    /// It imports something that the engine doesn't offer.
    #[error(
        "it imports `{}.{}`, and the engine offers only `wasm_engine.log` and `wasm_engine.random`",
        shown(module),
        shown(name)
    )]
    UnknownImport {
        /// Name of the module from which it imports.
        module: String,
        /// Name of the import.
        name: String,
    },
    /// An import has another type than the engine's.
    #[error("it imports `wasm_engine.{}` as {}, and it is {expected}", shown(name), shown(found))]
    ImportType {
        /// Name of the import.
        name: String,
        /// Type that the engine's import has.
        expected: &'static str,
        /// Type that the module gives it.
        found: String,
    },
    /// An export is missing.
    #[error("it doesn't export `{export}` ({expected})")]
    MissingExport {
        /// Name of the export.
        export: &'static str,
        /// Kind and type that it must have, in words.
        expected: &'static str,
    },
    /// An export is something else.
    #[error("it exports `{export}` as {}, and it must be {expected}", shown(found))]
    ExportType {
        /// Name of the export.
        export: &'static str,
        /// Kind and type that it must have, in words.
        expected: &'static str,
        /// Kind and type that it has, in words.
        found: String,
    },
    /// An export has a name that the engine keeps for itself.
    #[error("it exports `{}`, and names that start with `$we_` are the engine's own", shown(export))]
    ReservedExport {
        /// Name of the export.
        export: String,
    },
    /// Its exchange block isn't right.
    #[error("{0}")]
    Layout(LayoutError),
    /// Its outbox area is larger than the engine can collect.
    #[error("its outbox area has {bytes} bytes, and it may have {bytes_max}")]
    OutboxTooLarge {
        /// Size of the area, in bytes.
        bytes: u32,
        /// Largest size of an outbox area, in bytes.
        bytes_max: u32,
    },
    /// It needs more memory than a group allows.
    #[error(
        "it starts with {bytes} bytes of memory{}, and group `{}` allows {bytes_max} (`limits.memory_bytes_max`)",
        beside(*beside_bytes),
        shown(group)
    )]
    Memory {
        /// Bytes that its memory starts with.
        bytes: u64,
        /// Bytes that its tables, functions and globals take beside it, as far as they count.
        beside_bytes: u64,
        /// Name of the group that allows less.
        group: String,
        /// Number of bytes that the group allows.
        bytes_max: u64,
    },
    /// It imports what a group wasn't granted.
    #[error("it imports `wasm_engine.{import}`, and group `{}` isn't granted `{capability}`", shown(group))]
    Denied {
        /// Name of the import.
        import: &'static str,
        /// Name of the group that lacks the capability.
        group: String,
        /// Name of the capability that the group lacks.
        capability: &'static str,
    },
    /// A group's parameters don't fit.
    #[error(
        "the parameters of group `{}` take {bytes} bytes as a message, and its inbox area has {bytes_max}",
        shown(group)
    )]
    Params {
        /// Name of the group whose parameters don't fit.
        group: String,
        /// Bytes that they take, with the header of the record.
        bytes: u64,
        /// Size of the module's inbox area, in bytes.
        bytes_max: u32,
    },
    /// The regions that a group reads don't fit.
    #[error(
        "the shared regions that group `{}` reads take {bytes} bytes of its regions area, and it has {bytes_max}",
        shown(group)
    )]
    Regions {
        /// Name of the group whose regions don't fit.
        group: String,
        /// Bytes that they take, with the table.
        bytes: u64,
        /// Size of the module's regions area, in bytes.
        bytes_max: u32,
    },
    /// Its start function, or the placing of its segments, trapped.
    #[error("its start failed: {}", shown(reason))]
    Start {
        /// Message of wasmtime.
        reason: String,
    },
    /// Its start function, or the placing of its segments, used up the fuel of a step.
    #[error(
        "its start used up the fuel of a step, of which group `{}` allows {fuel_max} (`limits.fuel_per_step_max`)",
        shown(group)
    )]
    StartFuel {
        /// Name of the group whose fuel was used up.
        group: String,
        /// Fuel that the group allows.
        fuel_max: u64,
    },
    /// This build of the engine has no compiler, and has no code of it from elsewhere.
    #[error("this build of the engine has no compiler (it was made without the feature `cranelift`), and {missing}")]
    NoCompiler {
        /// Reason why its code isn't there.
        missing: MissingCode,
    },
    /// The compiler refused it.
    #[error("it can't be compiled: {}", shown(reason))]
    Compile {
        /// Reason why it can't be compiled.
        reason: String,
    },
}

impl ModuleProblem {
    /// Returns what to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Empty => "build the agent again",
            Self::NotWasm => "give the .wasm file that the agent's build made",
            Self::Component => "build it for `wasm32-unknown-unknown`, without `wasm-tools component new`",
            Self::Truncated { .. } => "copy or build it again",
            Self::Invalid { .. } => {
                "threads, shared memory, memory64, several memories, GC, exceptions, tail calls and relaxed SIMD are off"
            }
            Self::Instruction { .. } => "build it without",
            Self::PassiveSegment { .. } => "build it with active segments (for Rust and C: without `--shared-memory`)",
            Self::ReferenceGlobal { .. } => "use a number",
            Self::TooMany { .. } => "build it with fewer",
            Self::LongConstant { .. } => "shorten it",
            Self::OverLimit { .. } => {
                "build it with optimisation and without debug info, or raise the limit of each group that uses it"
            }
            Self::FunctionOverLimit { .. } => {
                "split the function, or raise the limit of each group that uses the module"
            }
            Self::TooManyLocals { .. } => "build it with optimisation, or split the function",
            Self::UnknownImport { .. } => "build it without (for Rust: for `wasm32-unknown-unknown`)",
            Self::ImportType { .. } => "update the SDK",
            Self::MissingExport { .. } => "use an agent SDK, or see docs/ABI.md",
            Self::ExportType { .. } => "see docs/ABI.md",
            Self::ReservedExport { .. } => "rename it",
            Self::Layout(_) => "build it with the SDK of this engine's version",
            Self::OutboxTooLarge { .. } => "make it smaller",
            Self::Memory { .. } => "raise the limit, or link the agent with a smaller stack (`-z stack-size=`)",
            Self::Denied { .. } => "add it to the group's capabilities",
            Self::Params { .. } => "shorten them, or build the agent with a larger inbox",
            Self::Regions { .. } => {
                "build the agent with a larger one (`regions_bytes` in the Rust SDK), or take the group off the regions' `readers`"
            }
            Self::Start { .. } => {
                "the start function and the module's segments must work alone, without imports and within the group's fuel"
            }
            Self::StartFuel { .. } => "raise the limit, or have the module do less in its start function",
            Self::NoCompiler { .. } => {
                "run the scenario once with a build that has one, of the same release and on a CPU with the same features, and use the cache folder of that run (`WASM_ENGINE_CACHE_DIR`)"
            }
            Self::Compile { .. } => "build it anew, and if that doesn't help, report it",
        }
    }

    /// Returns where in a scenario the cause is: the name of a group, and keys of its table, of which the first one that is there is meant. `None` if
    /// the cause is the module itself.
    pub fn of_group(&self) -> Option<(&str, &'static [&'static [&'static str]])> {
        match self {
            Self::Denied { group, .. } => Some((group, &[&["capabilities"]])),
            Self::Memory { group, .. } => Some((group, &[&["limits", "memory_bytes_max"]])),
            Self::StartFuel { group, .. } => Some((group, &[&["limits", "fuel_per_step_max"]])),
            Self::Params { group, .. } => Some((group, &[&["params"], &["params_base64"], &["params_file"]])),
            Self::Regions { group, .. } => Some((group, &[&["module"]])),
            _ => None,
        }
    }
}

impl From<BinaryReaderError> for ModuleProblem {
    fn from(error: BinaryReaderError) -> Self {
        let offset = error.offset() as u64;
        // The parser offers no other way to tell that the file ended early.
        if error.message().contains("unexpected end") {
            return Self::Truncated { offset };
        }
        Self::Invalid { message: error.message().to_owned(), offset }
    }
}

/// Why there is no compiled code of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MissingCode {
    /// No code cache is used.
    #[error("no code cache is used")]
    NoCache,
    /// The cache has no entry for it.
    #[error("the code cache has no entry of it")]
    NoEntry,
    /// The entry isn't what was kept.
    #[error("its entry in the code cache is damaged")]
    Damaged,
    /// The entry is that of another compiler.
    #[error("its entry in the code cache was made by another release, or for a CPU with other features")]
    Unfit,
}

/// A limit of one function: see `ModuleLimits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FunctionLimit {
    /// Size of its code.
    Bytes,
    /// Number of its blocks, loops and conditions.
    Blocks,
    /// Number of targets of its branches.
    Branches,
    /// Number of values that its calls and branches take along.
    Operands,
    /// Estimated time of its compilation.
    Cost,
}

impl FunctionLimit {
    /// Returns what is counted, as a message says it, and the key of the limit in `limits`.
    const fn what_and_key(self) -> (&'static str, &'static str) {
        match self {
            Self::Bytes => ("bytes of code", "function_bytes_max"),
            Self::Blocks => ("blocks, loops and conditions", "function_blocks_max"),
            Self::Branches => ("targets of branches", "function_branches_max"),
            Self::Operands => ("parameters and results of its calls and branches, together", "function_operands_max"),
            Self::Cost => ("microseconds of estimated compilation", "function_cost_max"),
        }
    }

    /// Returns what is counted, as a message says it.
    pub const fn what(self) -> &'static str {
        self.what_and_key().0
    }

    /// Returns the key of the limit in `limits`.
    pub const fn key(self) -> &'static str {
        self.what_and_key().1
    }
}

/// Returns the name of a function, as a message has it.
fn named(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" (`{}`)", shown(name).at_most(FUNCTION_NAME_CHARS_MAX)))
}

/// Returns what is counted beside the memory, as a message has it.
fn beside(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!(" and {bytes} of tables, functions and globals") }
}

/// Most characters of a function's name in a message.
const FUNCTION_NAME_CHARS_MAX: usize = 100;
