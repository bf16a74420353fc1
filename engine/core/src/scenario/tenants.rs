//! Tenants: groups that share limits on totals. Reads the tables `[tenants.NAME]`, and checks that the start of a run is within them.

use wasm_engine_components::limits::{AGENTS_MAX, TENANTS_MAX};
use wasm_engine_components::{GroupLimits, GroupSpec, Tenant, TenantId};

use super::fields::{Context, Fields};
use super::node::path_key;
use super::resources::{check_name, too_many};
use crate::problem::{Problem, thousands};

const KEYS: [&str; 8] = [
    "agents_max",
    "memory_bytes_max",
    "fuel_per_frame_max",
    "messages_per_frame_max",
    "jobs_per_frame_max",
    "deliveries_per_frame_max",
    "log_bytes_per_frame_max",
    "output_bytes_per_frame_max",
];

/// Reads `[tenants]`.
pub(super) fn tenants(cx: &mut Context, top: &Fields<'_>) -> Vec<Tenant> {
    let (min, none) = (GroupLimits::MIN, GroupLimits::UNBOUNDED);
    let entries = top.entries(cx, "tenants");
    too_many(cx, entries.len(), TENANTS_MAX, top.get("tenants"), "tenants");
    let mut tenants = Vec::new();
    for entry in entries {
        let path = path(&entry.key);
        check_name(cx, &entry.key, entry.at, &path);
        let table = Fields::open(cx, &entry.node, &path, &KEYS);
        let mut or = |key: &str, least: u64, most: u64, default: u64| {
            table.as_ref().map_or(default, |table| table.integer(cx, key, least..=most, default))
        };
        let deliveries = or(KEYS[5], min.deliveries_per_frame_max, none, GroupLimits::BY_AGENTS);
        let mut bound = |key: &str, least: u64, most: u64| or(key, least, most, none);
        // An entry that isn't a table keeps its place, so that the others keep their ids.
        tenants.push(Tenant {
            agents_max: bound(KEYS[0], 1, AGENTS_MAX.into()),
            memory_bytes_max: bound(KEYS[1], min.memory_bytes_max, none),
            fuel_per_frame_max: bound(KEYS[2], min.fuel_per_frame_max, none),
            messages_per_frame_max: bound(KEYS[3], min.messages_per_frame_max, none),
            jobs_per_frame_max: bound(KEYS[4], min.jobs_per_frame_max, none),
            deliveries_per_frame_max: deliveries,
            log_bytes_per_frame_max: bound(KEYS[6], min.log_bytes_per_frame_max, none),
            output_bytes_per_frame_max: bound(KEYS[7], min.output_bytes_per_frame_max, none),
            name: entry.key.clone(),
        });
    }
    tenants
}

/// Refuses a start that is beyond a tenant's totals.
pub(super) fn check_starts(cx: &mut Context, top: &Fields<'_>, tenants: &[Tenant], groups: &[GroupSpec]) {
    for (at, tenant) in (0..).map(TenantId).zip(tenants) {
        let own = || groups.iter().filter(move |group| group.enabled && group.tenant == Some(at));
        let agents = own().fold(0_u64, |sum, group| sum.saturating_add(group.agents.into()));
        let bytes = own().fold(0_u64, |sum, group| {
            sum.saturating_add(u64::from(group.agents).saturating_mul(group.limits.memory_bytes_max))
        });
        let names: Vec<String> = own().map(|group| format!("`{}`", group.name)).collect();
        let names = names.join(", ");
        let mut check = |key: &str, start: u64, max: u64, unit: &str, how: &str| {
            if start > max {
                let what = format!(
                    "{} is less than the {} {unit} that its groups start with",
                    thousands(max),
                    thousands(start)
                );
                let help = format!("use at least {}, or start with less in {names}{how}", thousands(start));
                cx.report(
                    place(top, &tenant.name, key),
                    &format!("{}.{key}", path(&tenant.name)),
                    Problem::new(what).help(help),
                );
            }
        };
        check(KEYS[0], agents, tenant.agents_max, "agents", "");
        let how = "; an agent counts with its group's `memory_bytes_max`";
        check(KEYS[1], bytes, tenant.memory_bytes_max, "bytes", how);
    }
}

fn path(name: &str) -> String {
    format!("tenants.{}", path_key(name))
}

/// Returns where a key of a tenant stands.
fn place(top: &Fields<'_>, tenant: &str, key: &str) -> usize {
    let table = top.get("tenants").and_then(|node| node.get(tenant));
    table.and_then(|table| table.get(key)).or(table).map_or(top.at, |node| node.at)
}
