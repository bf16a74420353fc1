//! Modules, models and topics of a scenario: what groups refer to by name.

use std::collections::HashMap;

use wasm_engine_abi::name_id;
use wasm_engine_components::limits::{
    BATCH_ROWS_MAX, LATENCY_FRAMES_MAX, MODEL_AXIS_MAX, MODEL_DIM_MAX, MODEL_LOAD_MS_DEFAULT,
    MODEL_MEMORY_BYTES_DEFAULT, MODEL_MEMORY_BYTES_MAX, MODEL_MEMORY_BYTES_MIN, MODEL_MS_MAX, MODEL_RUN_MS_DEFAULT,
    MODELS_MAX, NAME_BYTES_MAX, TOPICS_MAX,
};
use wasm_engine_components::{ModelId, ModelSpec, TopicId};

use super::fields::{Context, Fields, integer, text};
use super::node::{Node, path_key};
use super::types::{ModuleEntry, TopicEntry};
use crate::problem::{Problem, thousands};

/// Most rows of one batch where a model's entry says nothing.
const BATCH_ROWS_DEFAULT: u32 = 64;

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
        let id = unique_id(cx, &mut ids, &entry.key, entry.at, &path);
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
        let mut dims = Vec::new();
        for dim in fields.entries(cx, "dims") {
            let path = fields.path(&format!("dims.{}", path_key(&dim.key)));
            let size = integer(cx, &dim.node, &path, 1..=MODEL_DIM_MAX.into()).and_then(|size| size.try_into().ok());
            dims.push((dim.key.clone(), size.unwrap_or(1)));
        }
        let mut batch_axes = Vec::new();
        for axis in fields.entries(cx, "batch_axes") {
            let path = fields.path(&format!("batch_axes.{}", path_key(&axis.key)));
            let at = integer(cx, &axis.node, &path, 0..=MODEL_AXIS_MAX.into()).and_then(|at| at.try_into().ok());
            batch_axes.push((axis.key.clone(), at.unwrap_or(0)));
        }
        models.push(ModelSpec {
            name: entry.key.clone(),
            id: ModelId(id),
            path: fields.file(cx, "path").unwrap_or_default(),
            sha256: fields.sha256(cx, "sha256"),
            batch_rows_max: fields.integer_u32(cx, "batch_rows_max", 1..=BATCH_ROWS_MAX, BATCH_ROWS_DEFAULT),
            latency_frames: fields.integer_u32(cx, "latency_frames", 1..=LATENCY_FRAMES_MAX, 1),
            refuse_non_finite: fields.boolean(cx, "refuse_non_finite", true),
            dims,
            run_ms_max: fields.integer_u32(cx, "run_ms_max", 1..=MODEL_MS_MAX, MODEL_RUN_MS_DEFAULT),
            load_ms_max: fields.integer_u32(cx, "load_ms_max", 1..=MODEL_MS_MAX, MODEL_LOAD_MS_DEFAULT),
            run_memory_bytes_max: fields.integer(
                cx,
                "run_memory_bytes_max",
                MODEL_MEMORY_BYTES_MIN..=MODEL_MEMORY_BYTES_MAX,
                MODEL_MEMORY_BYTES_DEFAULT,
            ),
            batch_axes,
        });
    }
    models
}

/// Reads `topics`.
pub(super) fn topics(cx: &mut Context, top: &Fields<'_>) -> Vec<TopicEntry> {
    let items = top.array(cx, "topics").unwrap_or_default();
    too_many(cx, items.len(), TOPICS_MAX, top.get("topics"), "topics");
    let mut ids = HashMap::new();
    let mut topics = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let path = format!("topics[{i}]");
        let Some(name) = text(cx, item, &path) else { continue };
        check_name(cx, name, item.at, &path);
        let id = unique_id(cx, &mut ids, name, item.at, &path);
        topics.push(TopicEntry { name: name.to_owned(), id: TopicId(id) });
    }
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics
}

/// The number of `name`, which no other name of its sort may have.
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
