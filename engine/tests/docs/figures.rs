//! Figures in the documents are those of the engine. What `docs/SCENARIO.md` says of keys has a test of its own, in `engine/core/tests/scenario/reference.rs`.

use wasm_engine::inference::ONNX_RUNTIME_VERSION;
use wasm_engine::time_travel::DIFFERENCES_MAX;
use wasm_engine_components::limits::{
    AUDIT_BATCHES, CALL_DEPTH_MAX, CODE_CACHE_BYTES_MAX, CONSTANT_PARTS_MAX, DELIVERIES_LEAST, DELIVERY_BYTES,
    DISK_BYTES_FREE, FUNCTION_SLOTS_MAX, GROUP_AGENTS_MAX, GROUP_REGIONS_BYTES_MAX, IMPORT_FUEL,
    JOURNAL_KEYFRAME_FRAMES, JOURNAL_RECORD_BYTES_MAX, JOURNAL_SEGMENT_BYTES_MAX, MEMORY_GROW_FUEL, MODEL_BYTES_MAX,
    MODEL_COPY_BYTES_MAX, MODEL_GRACE_MS, MODEL_LOAD_MS_DEFAULT, MODEL_MEMORY_BYTES_DEFAULT, MODEL_REASON_BYTES_MAX,
    MODEL_RUN_MS_DEFAULT, PAYLOAD_BYTES_MAX, REF_FUNC_FUEL,
};
use wasm_engine_components::{AgentId, GroupLimits, Lane, ModuleLimits};

use crate::tree;

/// A number with commas, as documents write it.
fn commas(number: u64) -> String {
    wasm_engine::problem::thousands(number)
}

/// A number of bytes in the unit in which it is whole.
fn bytes(number: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if number >> shift > 0 && number.is_multiple_of(1 << shift) {
            return format!("{} {unit}", number >> shift);
        }
    }
    format!("{number} bytes")
}

/// What decisions, tables and the README say.
fn said_elsewhere() -> Vec<(&'static str, String)> {
    let constants = ModuleLimits::DEFAULT.module_constants_max;
    let mut said = vec![
        ("README.md", format!("a copy of ONNX Runtime {ONNX_RUNTIME_VERSION}.")),
        ("README.md", format!("32 agents or more, up to {}", commas(GROUP_AGENTS_MAX.into()))),
        ("docs/ABI.md", format!("| `memory.grow`, whether it is granted or refused | {MEMORY_GROW_FUEL} |")),
        ("docs/ABI.md", format!("| `ref.func` in a function | {REF_FUNC_FUEL} |")),
        ("docs/ABI.md", format!("| a call of an import | {}, ", IMPORT_FUEL + 1)),
        ("docs/ABI.md", format!("each recipient and each {DELIVERY_BYTES} bytes begun")),
        ("docs/INFERENCE.md", format!("tested, for ONNX Runtime {ONNX_RUNTIME_VERSION}.")),
        ("docs/decisions/0007-onnx-runtime-at-run-time.md", format!("`onnxruntime` {ONNX_RUNTIME_VERSION} of PyPI")),
        (
            "docs/decisions/0011-regions-are-copied-once-per-version.md",
            format!("What one group reads is bounded by {}.", bytes(GROUP_REGIONS_BYTES_MAX)),
        ),
        (
            "docs/decisions/0012-what-a-recording-holds.md",
            format!("one of more than {} is left where it is", bytes(MODEL_COPY_BYTES_MAX)),
        ),
        (
            "docs/decisions/0016-compilation-is-bounded.md",
            format!(
                "has {} parts at most, and all of a module {} (`module_constants_max`)",
                commas(CONSTANT_PARTS_MAX),
                commas(constants)
            ),
        ),
        (
            "docs/decisions/0016-compilation-is-bounded.md",
            format!("among the {} locals and operands", commas(FUNCTION_SLOTS_MAX.into())),
        ),
    ];
    said.extend(Lane::ALL.map(|lane| ("docs/DETERMINISM.md", format!("| `{}` |", lane.name()))));
    said
}

/// What documents say, with the engine's figures in it.
fn said() -> Vec<(&'static str, String)> {
    let limits = GroupLimits::DEFAULT;
    vec![
        ("docs/ABI.md", format!("calls nested deeper than {}", commas(CALL_DEPTH_MAX.into()))),
        ("docs/ABI.md", format!("An ordinal has {} holders at most", commas(u64::from(AgentId::GENERATION_MAX) + 1))),
        ("docs/CLI.md", format!("in the user's), up to {}:", bytes(CODE_CACHE_BYTES_MAX))),
        ("docs/CLI.md", format!("a run ends while {} of the disk is still free", bytes(DISK_BYTES_FREE))),
        ("docs/INFERENCE.md", format!("| the file | less than {}, ", bytes(MODEL_BYTES_MAX + 1))),
        ("docs/INFERENCE.md", "by default ten minutes".to_owned()),
        ("docs/INFERENCE.md", "by default a minute".to_owned()),
        ("docs/INFERENCE.md", format!("by default {} |", bytes(MODEL_MEMORY_BYTES_DEFAULT))),
        ("docs/INFERENCE.md", format!("a row of outputs | {} each", bytes(PAYLOAD_BYTES_MAX.into()))),
        ("docs/INFERENCE.md", format!("told to end | {} seconds more", MODEL_GRACE_MS / 1_000)),
        ("docs/INFERENCE.md", format!("didn't within {} seconds is left behind", MODEL_GRACE_MS / 1_000)),
        ("docs/INFERENCE.md", format!("one line of at most {MODEL_REASON_BYTES_MAX} bytes")),
        ("docs/INFERENCE.md", format!("of {AUDIT_BATCHES} batches of a model one is audited")),
        ("docs/RUN_FORMAT.md", format!("more than {} (`MODEL_COPY_BYTES_MAX`)", bytes(MODEL_COPY_BYTES_MAX))),
        (
            "docs/RUN_FORMAT.md",
            format!("at most {} long (`JOURNAL_SEGMENT_BYTES_MAX`)", bytes(JOURNAL_SEGMENT_BYTES_MAX.into())),
        ),
        (
            "docs/RUN_FORMAT.md",
            format!("at most {} (`JOURNAL_RECORD_BYTES_MAX`)", bytes(JOURNAL_RECORD_BYTES_MAX.into())),
        ),
        ("docs/RUN_FORMAT.md", format!("a multiple of {JOURNAL_KEYFRAME_FRAMES} (`JOURNAL_KEYFRAME_FRAMES`)")),
        ("docs/RUN_FORMAT.md", format!("version of the format: {}.", wasm_engine::snapshot::VERSION)),
        (
            "docs/decisions/0017-what-a-run-writes-is-bounded.md",
            format!(
                "of a step ({} and {})",
                bytes(limits.log_bytes_per_step_max.into()),
                bytes(limits.output_bytes_per_step_max.into())
            ),
        ),
        ("docs/how-to/schedule-and-supervise.md", format!("{} times in a small run", commas(DELIVERIES_LEAST))),
        ("docs/how-to/travel-in-time.md", format!("At most {DIFFERENCES_MAX} differences of the world's state")),
    ]
}

#[test]
fn figures_are_those_of_the_engine() {
    let text = |path: &str| {
        let text = std::fs::read_to_string(tree::root().join(path)).expect("the document is there");
        // Lines are broken anywhere.
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let missing: Vec<_> =
        said().into_iter().chain(said_elsewhere()).filter(|(path, said)| !text(path).contains(said)).collect();
    assert!(missing.is_empty(), "not said: {missing:#?}");
    // What is said in words.
    assert_eq!((MODEL_LOAD_MS_DEFAULT, MODEL_RUN_MS_DEFAULT), (10 * 60_000, 60_000));
}
