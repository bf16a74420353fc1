//! Hot swaps: the entries `[[swaps]]` of a scenario.

use wasm_engine_components::limits::{FRAMES_MAX, SWAPS_MAX};
use wasm_engine_components::{GroupSpec, ModelId, ModelSpec, ModuleSwap, Swap};

use super::expect::group;
use super::fields::{Context, Fields, origin};
use super::groups::module;
use super::resources::too_many;
use super::types::{ModuleEntry, SwapEntry};
use crate::problem::{Problem, nearest_name};

const KEYS: [&str; 5] = ["frame", "group", "module", "model", "with"];

/// Reads `[[swaps]]`, sorted by frame. Swaps of groups that don't take part are checked and left out.
pub(super) fn swaps(
    cx: &mut Context,
    top: &Fields<'_>,
    groups: &[GroupSpec],
    modules: &[ModuleEntry],
    models: &[ModelSpec],
) -> Vec<SwapEntry> {
    let items = top.array(cx, "swaps").unwrap_or_default();
    too_many(cx, items.len(), SWAPS_MAX, top.get("swaps"), "swaps");
    // Each with its position, and whether it takes part.
    let mut found: Vec<(usize, bool, SwapEntry)> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let Some(fields) = Fields::open(cx, item, &format!("swaps[{i}]"), &KEYS) else { continue };
        let frame = fields.get("frame").map(|_| fields.integer(cx, "frame", 0..=FRAMES_MAX - 1, 0));
        let Some((takes_part, swap)) = what(cx, &fields, groups, modules, models) else { continue };
        if let Some((before, ..)) = found.iter().find(|(_, _, other)| other.frame == frame && same(other.swap, swap)) {
            let what = format!("swaps[{before}] replaces the same group or model in the same frame");
            cx.report(fields.at, &fields.path, Problem::new(what).help("remove one, or choose another frame"));
        }
        found.push((i, takes_part, SwapEntry { frame, swap }));
    }
    let mut swaps: Vec<_> = found.into_iter().filter_map(|(_, takes_part, swap)| takes_part.then_some(swap)).collect();
    swaps.sort_by_key(|swap| swap.frame);
    swaps
}

/// Returns whether both swap the same group, or the same model.
fn same(a: Swap, b: Swap) -> bool {
    match (a, b) {
        (Swap::Module(a), Swap::Module(b)) => a.group == b.group,
        (Swap::Model { model: a, .. }, Swap::Model { model: b, .. }) => a == b,
        _ => false,
    }
}

/// Returns what is replaced by what, and whether it takes part in the run.
fn what(
    cx: &mut Context,
    fields: &Fields<'_>,
    groups: &[GroupSpec],
    modules: &[ModuleEntry],
    models: &[ModelSpec],
) -> Option<(bool, Swap)> {
    let (of_group, of_model) = (fields.get("group").is_some(), fields.get("model").is_some());
    let strange = if of_group { fields.get("with") } else { fields.get("module") };
    if of_group == of_model || strange.is_some() {
        let problem = Problem::new("doesn't say what is swapped");
        cx.report(fields.at, &fields.path, problem.help("use the keys `group` and `module`, or `model` and `with`"));
        return None;
    }
    if of_group {
        let module = module(cx, fields, modules);
        let group = group(cx, fields, groups)?;
        return Some((group.enabled, Swap::Module(ModuleSwap { group: group.id, module })));
    }
    let (model, with) = (model(cx, fields, "model", models), model(cx, fields, "with", models));
    Some((true, Swap::Model { model: model?, with: with? }))
}

fn model(cx: &mut Context, fields: &Fields<'_>, key: &str, models: &[ModelSpec]) -> Option<ModelId> {
    fields.need(cx, key, "name an entry of [models]");
    let (name, node) = fields.text(cx, key)?;
    let found = models.iter().find(|model| model.name == name);
    if found.is_none() {
        let help = nearest_name(name, models.iter().map(|model| model.name.as_str()))
            .unwrap_or_else(|| format!("add a table [models.{name}] with a path"));
        let problem = Problem::new(format!("there is no model `{name}`{}", origin(node))).help(help);
        cx.report(node.at, &fields.path(key), problem);
    }
    found.map(|model| model.id)
}
