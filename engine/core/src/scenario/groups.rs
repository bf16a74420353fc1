//! Groups of agents: the entries `[[groups]]` of a scenario.

use base64::Engine as _;
use wasm_engine_abi::{Capabilities, Capability};
use wasm_engine_components::limits::{
    AGENTS_MAX, BACKOFF_FRAMES_MAX, GROUP_AGENTS_MAX, GROUPS_MAX, LimitKey, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX,
    RESTARTS_MAX,
};
use wasm_engine_components::text::shown_path;
use wasm_engine_components::{
    FaultPolicy, GroupId, GroupLimits, GroupSpec, ModuleLimits, OverflowPolicy, Tenant, TenantId, TopicId, TopicSpec,
};

use super::canonical;
use super::fields::{Context, Fields, origin, text};
use super::form::Needed;
use super::node::{Kind, Node, beyond_toml};
use super::order;
use super::resources::too_many;
use super::schedule::schedule;
use super::types::ModuleEntry;
use crate::problem::{Problem, nearest_name, thousands};

const KEYS: [&str; 19] = [
    "name",
    "module",
    "agents",
    "agents_max",
    "enabled",
    "params",
    "params_base64",
    "params_file",
    "subscribe",
    "capabilities",
    "accepts",
    "overflow",
    "on_fault",
    "schedule",
    "after",
    "controls",
    "supervisor",
    "tenant",
    "limits",
];

/// Names that groups may refer to.
pub(super) struct Names<'a> {
    /// Modules, sorted by name.
    pub modules: &'a [ModuleEntry],
    /// Topics, sorted by name.
    pub topics: &'a [TopicSpec],
    /// Tenants, sorted by name.
    pub tenants: &'a [Tenant],
}

/// Reads `[[groups]]`.
pub(super) fn groups(cx: &mut Context, top: &Fields<'_>, names: &Names<'_>) -> Vec<GroupSpec> {
    if top.need(cx, "groups", "add a [[groups]] table").is_none() {
        return Vec::new();
    }
    let Some(items) = top.array(cx, "groups") else { return Vec::new() };
    too_many(cx, items.len(), GROUPS_MAX, top.get("groups"), "groups");
    if items.is_empty() {
        cx.report(top.at, "groups", Problem::new("is empty").help("add a [[groups]] table"));
    }
    let group_names: Vec<&str> = items.iter().map(name_of).collect();
    let mut groups = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let Some(fields) = Fields::open(cx, item, &format!("groups[{i}]"), &KEYS) else { continue };
        groups.push(group(cx, &fields, i, names, &group_names));
    }
    let sum = |count: fn(&GroupSpec) -> u32| -> u64 {
        groups.iter().filter(|group| group.enabled).map(|group| u64::from(count(group))).sum()
    };
    let (agents, agents_max) = (sum(|group| group.agents), sum(|group| group.agents_max));
    if agents_max > AGENTS_MAX.into() {
        let what = match agents > AGENTS_MAX.into() {
            true => format!("all groups together have {} agents", thousands(agents)),
            false => format!("all groups together may have {} agents, by their `agents_max`", thousands(agents_max)),
        };
        let at = items.first().map_or(top.at, |item| item.at);
        cx.report(at, "groups", Problem::new(what).help(format!("use at most {}", thousands(AGENTS_MAX))));
    }
    order::check(cx, items, &groups);
    groups
}

/// Returns the name that a group has, or an empty one where it isn't a text; the group's own reader says what is wrong with it.
fn name_of(node: &Node) -> &str {
    match node.get("name").map(|name| &name.kind) {
        Some(Kind::Text(name)) => name,
        _ => "",
    }
}

fn group(cx: &mut Context, fields: &Fields<'_>, index: usize, names: &Names<'_>, group_names: &[&str]) -> GroupSpec {
    let id = |index: usize| GroupId(u32::try_from(index + 1).unwrap_or(u32::MAX));
    let find = |name: &str| {
        group_names.iter().position(|known| *known == name).map(id).ok_or_else(|| nearest(name, group_names))
    };
    let (agents, agents_max) = counts(cx, fields);
    let overflow = [
        ("reject", OverflowPolicy::Reject),
        ("drop_oldest", OverflowPolicy::DropOldest),
        ("fault", OverflowPolicy::Fault),
    ];
    GroupSpec::new(id(index), own_name(cx, fields, index, group_names), agents).with(|group| {
        group.enabled = fields.boolean(cx, "enabled", true);
        group.module = module(cx, fields, names.modules);
        group.agents_max = agents_max;
        group.params = params(cx, fields);
        group.subscribe = subscribe(cx, fields, names.topics);
        group.capabilities = capabilities(cx, fields);
        group.accepts = each_name(cx, fields, "accepts", "group", find);
        group.overflow = fields.choice(cx, "overflow", &overflow, OverflowPolicy::default());
        group.on_fault = on_fault(cx, fields);
        (group.limits, group.module_limits) = limits(cx, fields, agents_max);
        group.schedule = schedule(cx, fields);
        group.after = each_name(cx, fields, "after", "group", find).unwrap_or_default();
        group.controls = each_name(cx, fields, "controls", "group", find).unwrap_or_default();
        group.supervisor = one_name(cx, fields, "supervisor", "group", find);
        group.tenant = one_name(cx, fields, "tenant", "tenant", |name| tenant(name, names.tenants));
    })
}

/// Returns the keys `agents` and `agents_max`. A group starts without agents only where it says how many it may have later.
fn counts(cx: &mut Context, fields: &Fields<'_>) -> (u32, u32) {
    fields.need(cx, "agents", "say how many agents the group has");
    let Some(node) = fields.get("agents_max") else {
        let agents = fields.integer_u32(cx, "agents", 1..=GROUP_AGENTS_MAX, 1);
        return (agents, agents);
    };
    let agents = fields.integer_u32(cx, "agents", 0..=GROUP_AGENTS_MAX, 0);
    let agents_max = fields.integer_u32(cx, "agents_max", 1..=GROUP_AGENTS_MAX, GROUP_AGENTS_MAX);
    if agents > agents_max {
        let what =
            format!("{}{} is less than `agents`, which is {}", thousands(agents_max), origin(node), thousands(agents));
        let help = format!("use {} to {}", thousands(agents), thousands(GROUP_AGENTS_MAX));
        cx.report(node.at, &fields.path("agents_max"), Problem::new(what).help(help));
    }
    (agents, agents_max)
}

fn own_name(cx: &mut Context, fields: &Fields<'_>, index: usize, group_names: &[&str]) -> String {
    fields.need(cx, "name", "give the group a name");
    let Some((name, node)) = fields.text(cx, "name") else { return String::new() };
    if !is_plain_name(name) {
        let help = format!("use up to {NAME_BYTES_MAX} letters, digits, `_`, `-` and `.`");
        cx.report(node.at, &fields.path("name"), Problem::new(format!("{name:?} isn't a name of a group")).help(help));
    }
    if let Some(before) = group_names[..index].iter().position(|known| *known == name) {
        let what = format!("groups[{before}] has the name `{name}`, too");
        cx.report(node.at, &fields.path("name"), Problem::new(what).help("rename one"));
    }
    name.to_owned()
}

/// Returns whether a name may be a part of a path and of `group/ordinal`.
pub(crate) fn is_plain_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Returns the number of the module that the key `module` names: its position.
pub(super) fn module(cx: &mut Context, fields: &Fields<'_>, modules: &[ModuleEntry]) -> u32 {
    fields.need(cx, "module", "name an entry of [modules]");
    let Some((name, node)) = fields.text(cx, "module") else { return 0 };
    if let Some((number, _)) = (0..).zip(modules).find(|(_, module)| module.name == name) {
        return number;
    }
    let help = nearest_name(name, modules.iter().map(|module| module.name.as_str()))
        .unwrap_or_else(|| format!("add a table [modules.{name}] with a path"));
    let problem = Problem::new(format!("there is no module `{name}`{}", origin(node))).help(help);
    cx.report(node.at, &fields.path("module"), problem);
    0
}

/// Returns what `agent_init` is given.
fn params(cx: &mut Context, fields: &Fields<'_>) -> Vec<u8> {
    let given: Vec<&str> =
        ["params", "params_base64", "params_file"].into_iter().filter(|key| fields.get(key).is_some()).collect();
    let Some(&key) = given.first() else { return Vec::new() };
    let Some(node) = fields.get(key) else { return Vec::new() };
    if let Some(second) = given.get(1) {
        let problem = Problem::new(format!("`{key}` is there, too")).help("keep one of them");
        cx.report(node.at, &fields.path(second), problem);
    }
    let path = fields.path(key);
    let bytes = match key {
        "params_base64" => {
            match text(cx, node, &path).map(|text| base64::engine::general_purpose::STANDARD.decode(text)) {
                Some(Err(error)) => {
                    let help = "write it as `base64 -w0 FILE` prints it";
                    cx.report(node.at, &path, Problem::new(format!("isn't base64: {error}")).help(help));
                    Vec::new()
                }
                Some(Ok(bytes)) => bytes,
                None => Vec::new(),
            }
        }
        "params_file" => fields.file(cx, key).map_or_else(Vec::new, |file| {
            let most = u64::from(PAYLOAD_BYTES_MAX) + 1;
            wasm_engine_files::read_at_most(&file, most).unwrap_or_else(|error| {
                // `file` has reported files that don't exist or aren't regular.
                if file.is_file() {
                    let problem = Problem::new(format!("`{}` can't be read", shown_path(&file))).caused_by(error);
                    cx.report(node.at, &path, problem.help("see that you may read it, or name another file"));
                }
                Vec::new()
            })
        }),
        _ => match &node.kind {
            Kind::Text(text) => text.clone().into_bytes(),
            Kind::Table(entries) => {
                cx.problems.extend(beyond_toml(node, &path));
                canonical::lines(entries).into_bytes()
            }
            _ => {
                cx.wrong_type(node, &path, &Needed::TableOrText);
                Vec::new()
            }
        },
    };
    if bytes.len() > PAYLOAD_BYTES_MAX as usize {
        let help = format!("use at most {}", thousands(PAYLOAD_BYTES_MAX));
        cx.report(node.at, &path, Problem::new("has more bytes than the limit").help(help));
    }
    bytes
}

fn subscribe(cx: &mut Context, fields: &Fields<'_>, topics: &[TopicSpec]) -> Vec<TopicId> {
    let found = each_name(cx, fields, "subscribe", "topic", |name| {
        match topics.binary_search_by(|topic| topic.name.as_str().cmp(name)) {
            Ok(position) => Ok(topics[position].id),
            Err(_) if topics.is_empty() => Err(Some("add it to the key `topics`".to_owned())),
            Err(_) => Err(nearest_name(name, topics.iter().map(|topic| topic.name.as_str()))),
        }
    });
    found.unwrap_or_default()
}

fn capabilities(cx: &mut Context, fields: &Fields<'_>) -> Capabilities {
    let names = Capability::ALL.map(Capability::name);
    let granted = each_name(cx, fields, "capabilities", "capability", |name| {
        Capability::from_name(name).ok_or_else(|| nearest(name, &names))
    });
    granted.map_or(Capabilities::ALL, |granted| granted.into_iter().fold(Capabilities::NONE, Capabilities::with))
}

/// Returns an array of names, each of which `find` knows: sorted; `None` where the key is missing.
pub(super) fn each_name<T: Ord>(
    cx: &mut Context,
    fields: &Fields<'_>,
    key: &str,
    sort: &str,
    find: impl Fn(&str) -> Result<T, Option<String>>,
) -> Option<Vec<T>> {
    let items = fields.array(cx, key)?;
    let mut found = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let path = format!("{}[{i}]", fields.path(key));
        let Some(name) = text(cx, item, &path) else { continue };
        found.extend(known_name(cx, item, &path, sort, find(name), name));
    }
    found.sort();
    let count = found.len();
    found.dedup();
    if found.len() < count {
        let at = fields.get(key).map_or(fields.at, |node| node.at);
        cx.report(at, &fields.path(key), Problem::new(format!("names a {sort} twice")).help("remove one"));
    }
    Some(found)
}

/// Returns a name that `find` knows; `None` where the key is missing.
fn one_name<T>(
    cx: &mut Context,
    fields: &Fields<'_>,
    key: &str,
    sort: &str,
    find: impl Fn(&str) -> Result<T, Option<String>>,
) -> Option<T> {
    let (name, node) = fields.text(cx, key)?;
    known_name(cx, node, &fields.path(key), sort, find(name), name)
}

/// Returns what `name` was found to be. If there is none, reports that with the help of the search.
fn known_name<T>(
    cx: &mut Context,
    node: &Node,
    path: &str,
    sort: &str,
    found: Result<T, Option<String>>,
    name: &str,
) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(help) => {
            let problem = Problem::new(format!("there is no {sort} `{name}`{}", origin(node)));
            let help =
                help.unwrap_or_else(|| format!("the scenario has none: add a {sort} of that name, or remove this"));
            cx.report(node.at, path, problem.help(help));
            None
        }
    }
}

fn tenant(name: &str, tenants: &[Tenant]) -> Result<TenantId, Option<String>> {
    let position = tenants.iter().position(|tenant| tenant.name == name).and_then(|at| u32::try_from(at).ok());
    position.map(TenantId).ok_or_else(|| {
        let known = tenants.iter().map(|tenant| tenant.name.as_str());
        nearest_name(name, known).or_else(|| Some(format!("add a table [tenants.{}]", canonical::key(name))))
    })
}

fn nearest(name: &str, known: &[&str]) -> Option<String> {
    nearest_name(name, known.iter().copied().filter(|known| !known.is_empty()))
}

/// `"restart"`, `"pause"`, `"terminate"`, `"escalate"`, or a table with the key `policy` and, for a restart, its numbers.
fn on_fault(cx: &mut Context, fields: &Fields<'_>) -> FaultPolicy {
    let policy = fault_policy(cx, fields);
    if let (FaultPolicy::Escalate, Some(node), None) = (policy, fields.get("on_fault"), fields.get("supervisor")) {
        let help = "name the group that decides what happens to the agent, such as `supervisor = \"overseers\"`";
        cx.report(node.at, &fields.path("on_fault"), Problem::new("`escalate` needs a supervisor").help(help));
    }
    policy
}

fn fault_policy(cx: &mut Context, fields: &Fields<'_>) -> FaultPolicy {
    let choices = [
        ("restart", FaultPolicy::default()),
        ("pause", FaultPolicy::Pause),
        ("terminate", FaultPolicy::Terminate),
        ("escalate", FaultPolicy::Escalate),
    ];
    let Some(node) = fields.get("on_fault") else { return FaultPolicy::default() };
    if !matches!(node.kind, Kind::Table(_)) {
        return fields.choice(cx, "on_fault", &choices, FaultPolicy::default());
    }
    let known = ["policy", "restarts_max", "backoff_frames"];
    let Some(table) = Fields::open(cx, node, &fields.path("on_fault"), &known) else { return FaultPolicy::default() };
    table.need(cx, "policy", "use `restart`, `pause`, `terminate` or `escalate`");
    match table.choice(cx, "policy", &choices, FaultPolicy::default()) {
        FaultPolicy::Restart { restarts_max, backoff_frames } => FaultPolicy::Restart {
            restarts_max: table.integer_u32(cx, "restarts_max", 0..=RESTARTS_MAX, restarts_max),
            backoff_frames: table.integer_u32(cx, "backoff_frames", 1..=BACKOFF_FRAMES_MAX, backoff_frames),
        },
        policy => {
            for key in ["restarts_max", "backoff_frames"] {
                if let Some(node) = table.get(key) {
                    let problem = Problem::new("belongs to the policy `restart` only").help("remove it");
                    cx.report(node.at, &table.path(key), problem);
                }
            }
            policy
        }
    }
}

/// Reads the limits of agents and of modules, which share one table.
fn limits(cx: &mut Context, fields: &Fields<'_>, agents_max: u32) -> (GroupLimits, ModuleLimits) {
    let defaults = (GroupLimits::default_of(agents_max), ModuleLimits::DEFAULT);
    let Some(node) = fields.get("limits") else { return defaults };
    let known: Vec<&str> =
        GroupLimits::KEYS.iter().map(|key| key.name).chain(ModuleLimits::KEYS.iter().map(|key| key.name)).collect();
    let Some(table) = Fields::open(cx, node, &fields.path("limits"), &known) else { return defaults };
    let (of_agents, of_modules) = defaults;
    let of_agents = GroupLimits::of_keys(|LimitKey { name, of }| {
        table.integer(cx, name, of(&GroupLimits::MIN)..=of(&GroupLimits::MAX), of(&of_agents))
    });
    let of_modules = ModuleLimits::of_keys(|LimitKey { name, of }| {
        table.integer(cx, name, of(&ModuleLimits::MIN)..=of(&ModuleLimits::MAX), of(&of_modules))
    });
    (of_agents, of_modules)
}
