//! Facts that the steps of a load share: the features that modules may use, names that are reserved for the engine, and facts about a valid module.

use wasmparser::WasmFeatures;

use super::imports::IMPORTS;

/// Prefix of the names of the engine's own exports. A module that uses it is refused.
pub(super) const RESERVED_PREFIX: &str = "$we_";
/// Name of the export of the depth counter, a mutable `i32` global.
pub(super) const DEPTH_EXPORT: &str = "$we_depth";

/// Prefix of the names of exported mutable globals, before the global's index.
pub(super) const GLOBAL_PREFIX: &str = "$we_global_";

/// Features of WebAssembly that agents may use. All of them are deterministic, given canonical NaNs.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::EXTENDED_CONST);

/// Facts about a valid module that the later steps need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ModuleFacts {
    /// Initial size of its memory, in pages.
    pub memory_pages_min: u64,
    /// Largest size of its memory that the module itself states, in pages.
    pub memory_pages_max: Option<u64>,
    /// Whether it uses each of [`IMPORTS`], by index.
    pub imports: [bool; IMPORTS.len()],
    /// Whether it exports `agent_receive`.
    pub has_receive: bool,
    /// Whether it exports `agent_shutdown`.
    pub has_shutdown: bool,
    /// Address of its exchange block.
    pub exchange: u32,
    /// Bytes of its tables, its functions and its globals in each instance, outside the memory.
    pub instance_bytes: u64,
}

/// Values of immutable `i32` globals, which are the addresses of a compiler's `static`s.
#[derive(Default)]
pub(super) struct GlobalValues(pub Vec<Option<i32>>);
