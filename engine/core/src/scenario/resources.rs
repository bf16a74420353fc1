//! Modules, models and topics of a scenario: what groups refer to by name.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use wasm_engine_abi::name_id;
use wasm_engine_components::limits::{
    BATCH_ROWS_MAX, LATENCY_FRAMES_MAX, MODEL_AXIS_MAX, MODEL_DIM_MAX, MODEL_MEMORY_BYTES_MAX, MODEL_MEMORY_BYTES_MIN,
    MODEL_MS_MAX, MODELS_MAX, NAME_BYTES_MAX, TOPICS_MAX,
};
use wasm_engine_components::{ModelSpec, TopicSpec};

use super::fields::{Context, Fields, integer, text};
use super::node::{Node, path_key};
use super::types::ModuleEntry;
use crate::problem::{Problem, thousands};

/// Reads `[modules]`.
pub(super) fn modules(cx: &mut Context, top: &Fields<'_>) -> Vec<ModuleEntry> {
    let mut modules = Vec::new();
    for entry in top.entries(cx, "modules") {
        let path = top.path(&format!("modules.{}", path_key(&entry.key)));
        check_name(cx, &entry.key, entry.at, &path);
        let Some(fields) = Fields::open(cx, &entry.node, &path, &["path", "sha256"]) else { continue };
        fields.need(cx, "path", "name the .wasm file");
        let file = fields.file(cx, "path").unwrap_or_default();
        modules.push(ModuleEntry { name: entry.key.clone(), path: file, sha256: fields.sha256(cx, "sha256") });
    }
    modules
}

/// Reads `[models]`.
pub(super) fn models(cx: &mut Context, top: &Fields<'_>) -> Vec<ModelSpec> {
    let entries = top.entries(cx, "models");
    too_many(cx, entries.len(), MODELS_MAX, top.get("models"), "models");
    let mut ids = HashMap::new();
    let mut models = Vec::new();
    for entry in entries {
        let path = top.path(&format!("models.{}", path_key(&entry.key)));
        check_name(cx, &entry.key, entry.at, &path);
        unique_id(cx, &mut ids, &entry.key, entry.at, &path);
        let known = [
            "path",
            "sha256",
            "batch_rows_max",
            "latency_frames",
            "refuse_non_finite",
            "dims",
            "batch_axes",
            "run_ms_max",
            "load_ms_max",
            "run_memory_bytes_max",
        ];
        let Some(fields) = Fields::open(cx, &entry.node, &path, &known) else { continue };
        fields.need(cx, "path", "name the .onnx file");
        let dims = numbers(cx, &fields, "dims", 1..=MODEL_DIM_MAX);
        let batch_axes = numbers(cx, &fields, "batch_axes", 0..=MODEL_AXIS_MAX);
        let memory = MODEL_MEMORY_BYTES_MIN..=MODEL_MEMORY_BYTES_MAX;
        models.push(ModelSpec::new(&entry.key, fields.file(cx, "path").unwrap_or_default()).with(|model| {
            model.sha256 = fields.sha256(cx, "sha256");
            let rows = 1..=BATCH_ROWS_MAX;
            model.batch_rows_max = fields.integer_u32(cx, "batch_rows_max", rows, model.batch_rows_max);
            let latency = 1..=LATENCY_FRAMES_MAX;
            model.latency_frames = fields.integer_u32(cx, "latency_frames", latency, model.latency_frames);
            model.refuse_non_finite = fields.boolean(cx, "refuse_non_finite", model.refuse_non_finite);
            model.run_ms_max = fields.integer_u32(cx, "run_ms_max", 1..=MODEL_MS_MAX, model.run_ms_max);
            model.load_ms_max = fields.integer_u32(cx, "load_ms_max", 1..=MODEL_MS_MAX, model.load_ms_max);
            model.run_memory_bytes_max = fields.integer(cx, "run_memory_bytes_max", memory, model.run_memory_bytes_max);
            (model.dims, model.batch_axes) = (dims, batch_axes);
        }));
    }
    models
}

/// Reads a table of whole numbers by free names, sorted by name.
fn numbers(cx: &mut Context, fields: &Fields<'_>, key: &str, range: RangeInclusive<u32>) -> Vec<(String, u32)> {
    let range = u64::from(*range.start())..=u64::from(*range.end());
    let mut numbers = Vec::new();
    for entry in fields.entries(cx, key) {
        let path = fields.path(&format!("{key}.{}", path_key(&entry.key)));
        let number = integer(cx, &entry.node, &path, range.clone()).and_then(|number| number.try_into().ok());
        numbers.push((entry.key.clone(), number.unwrap_or_default()));
    }
    numbers
}

/// Reads `topics`.
pub(super) fn topics(cx: &mut Context, top: &Fields<'_>) -> Vec<TopicSpec> {
    let items = top.array(cx, "topics").unwrap_or_default();
    too_many(cx, items.len(), TOPICS_MAX, top.get("topics"), "topics");
    let mut ids = HashMap::new();
    let mut topics = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let path = format!("topics[{i}]");
        let Some(name) = text(cx, item, &path) else { continue };
        check_name(cx, name, item.at, &path);
        unique_id(cx, &mut ids, name, item.at, &path);
        topics.push(TopicSpec::new(name));
    }
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics
}

/// Returns the number of `name`, which no other name of its sort may have.
pub(super) fn unique_id<'a>(
    cx: &mut Context,
    ids: &mut HashMap<u64, &'a str>,
    name: &'a str,
    at: usize,
    path: &str,
) -> u64 {
    let id = name_id(name);
    match ids.insert(id, name) {
        Some(before) if before == name => {
            cx.report(at, path, Problem::new(format!("`{name}` is there twice")).help("remove one"));
        }
        Some(before) => {
            let what = format!("`{name}` and `{before}` have the same number, {id:#018x}");
            cx.report(at, path, Problem::new(what).help("rename one"));
        }
        None => {}
    }
    id
}

/// Refuses a name that is too long, or that can't be shown on one line.
pub(super) fn check_name(cx: &mut Context, name: &str, at: usize, path: &str) {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let help = format!("use 1 to {NAME_BYTES_MAX} bytes without control characters");
        cx.report(at, path, Problem::new(format!("{name:?} isn't a name")).help(help));
    }
}

/// Refuses a list that is too long.
pub(super) fn too_many(cx: &mut Context, count: usize, max: u32, node: Option<&Node>, path: &str) {
    if let Some(node) = node.filter(|_| count > max as usize) {
        let what = format!("there are {}, more than the limit", thousands(count));
        cx.report(node.at, path, Problem::new(what).help(format!("use at most {}", thousands(max))));
    }
}
