//! Shared regions: the entries `[regions.NAME]` of a scenario.

use std::collections::{BTreeMap, HashMap};

use wasm_engine_abi::Capability;
use wasm_engine_components::limits::{GROUP_REGIONS_BYTES_MAX, REGION_BYTES_MAX, REGIONS_BYTES_MAX, REGIONS_MAX};
use wasm_engine_components::{GroupId, GroupSpec, RegionOwner, RegionSpec};

use super::fields::{Context, Fields, origin};
use super::groups::each_name;
use super::node::path_key;
use super::resources::{check_name, too_many, unique_id};
use crate::problem::{Problem, nearest_name, thousands};

/// Name of the writer that isn't a group.
const NATIVE: &str = "native";

/// Reads `[regions]`.
pub(super) fn regions(cx: &mut Context, top: &Fields<'_>, groups: &[GroupSpec]) -> Vec<RegionSpec> {
    let entries = top.entries(cx, "regions");
    too_many(cx, entries.len(), REGIONS_MAX, top.get("regions"), "regions");
    let mut ids = HashMap::new();
    let mut regions = Vec::new();
    for entry in entries {
        let path = top.path(&format!("regions.{}", path_key(&entry.key)));
        check_name(cx, &entry.key, entry.at, &path);
        unique_id(cx, &mut ids, &entry.key, entry.at, &path);
        let Some(fields) = Fields::open(cx, &entry.node, &path, &["bytes", "writer", "readers"]) else { continue };
        fields.need(cx, "bytes", "say how many bytes the region has");
        let readers = each_name(cx, &fields, "readers", "group", |name| {
            groups.iter().find(|group| group.name == name).map(|group| group.id).ok_or_else(|| nearest(name, groups))
        });
        let bytes = fields.integer_u32(cx, "bytes", 1..=REGION_BYTES_MAX, 1);
        let writer = writer(cx, &fields, groups).unwrap_or(RegionOwner::Native);
        let region = RegionSpec::new(&entry.key, bytes, writer);
        regions.push(region.with(|region| region.readers = readers.unwrap_or_default()));
    }
    check_sums(cx, top, &regions, groups);
    regions
}

/// Returns the key `writer`: a group that may write, or native systems.
fn writer(cx: &mut Context, fields: &Fields<'_>, groups: &[GroupSpec]) -> Option<RegionOwner> {
    fields.need(cx, "writer", "name the group whose agents write to the region, or use `native`");
    let (name, node) = fields.text(cx, "writer")?;
    let found = groups.iter().find(|group| group.name == name);
    let problem = match found {
        None if name == NATIVE => return Some(RegionOwner::Native),
        Some(group) if name != NATIVE && group.capabilities.has(Capability::Regions) => {
            return Some(RegionOwner::Group(group.id));
        }
        Some(_) if name == NATIVE => {
            Problem::new("there is a group `native`, too, and here it means native systems").help("rename the group")
        }
        Some(_) => Problem::new(format!("group `{name}` isn't granted `{}`", Capability::Regions.name()))
            .help("add it to the group's capabilities"),
        None => {
            let problem = Problem::new(format!("there is no group `{name}`{}", origin(node)));
            match nearest(name, groups) {
                Some(help) => problem.help(format!("{help}; native systems are `{NATIVE}`")),
                None => problem.help(format!("native systems are `{NATIVE}`; the scenario has no group")),
            }
        }
    };
    cx.report(node.at, &fields.path("writer"), problem);
    None
}

fn nearest(name: &str, groups: &[GroupSpec]) -> Option<String> {
    nearest_name(name, groups.iter().map(|group| group.name.as_str()).filter(|known| !known.is_empty()))
}

/// Checks the total size of all regions, and of those that one group reads.
fn check_sums(cx: &mut Context, top: &Fields<'_>, regions: &[RegionSpec], groups: &[GroupSpec]) {
    let at = top.get("regions").map_or(top.at, |node| node.at);
    let total: u64 = regions.iter().map(|region| u64::from(region.bytes)).sum();
    if total > REGIONS_BYTES_MAX {
        let what = format!("all regions together have {} bytes", thousands(total));
        cx.report(at, "regions", Problem::new(what).help(format!("use at most {}", thousands(REGIONS_BYTES_MAX))));
    }
    let mut read = BTreeMap::<GroupId, u64>::new();
    for region in regions {
        for reader in &region.readers {
            *read.entry(*reader).or_default() += u64::from(region.bytes);
        }
    }
    for (reader, bytes) in read.into_iter().filter(|&(_, bytes)| bytes > GROUP_REGIONS_BYTES_MAX) {
        let name = groups.iter().find(|group| group.id == reader).map_or("", |group| group.name.as_str());
        let what = format!("group `{name}` reads regions of {} bytes together", thousands(bytes));
        let help = format!("use at most {}: each agent has a copy", thousands(GROUP_REGIONS_BYTES_MAX));
        cx.report(at, "regions", Problem::new(what).help(help));
    }
}
