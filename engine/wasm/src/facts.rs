//! What the steps of a load share: the features that modules may use, the names that are the engine's, and what is known of a valid module.

use wasmparser::WasmFeatures;

use super::imports::IMPORTS;

/// What the names of the engine's own exports start with. A module that uses it is refused.
pub(super) const RESERVED_PREFIX: &str = "$we_";
/// The export of the depth counter, a mutable `i32` global.
pub(super) const DEPTH_EXPORT: &str = "$we_depth";

/// What the exports of mutable globals are named, before the global's index.
pub(super) const GLOBAL_PREFIX: &str = "$we_global_";

/// What agents may use. Everything here is deterministic, given canonical NaNs.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::EXTENDED_CONST);

/// What the later steps want to know of a valid module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ModuleFacts {
    /// Size of its memory at the start, in pages.
    pub memory_pages_min: u64,
    /// Largest size of its memory that it states itself, in pages.
    pub memory_pages_max: Option<u64>,
    /// Which of [`IMPORTS`] it uses, by position.
    pub imports: [bool; IMPORTS.len()],
    /// Whether it exports `agent_receive`.
    pub has_receive: bool,
    /// Whether it exports `agent_shutdown`.
    pub has_shutdown: bool,
    /// The address of its exchange block.
    pub exchange: u32,
    /// Bytes of its tables, its functions and its globals in each instance, outside the memory.
    pub instance_bytes: u64,
}

/// The values of immutable `i32` globals: where a compiler's `static` lies.
#[derive(Default)]
pub(super) struct GlobalValues(pub Vec<Option<i32>>);
