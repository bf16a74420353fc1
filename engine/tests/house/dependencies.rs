//! Dependencies go one way: `abi <- components <- systems <- engine <- bench` and `abi <- sdk <- samples`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tree;

/// Each crate of the house, and on which others of the house it may depend.
const EDGES: [(&str, &[&str]); 12] = [
    ("wasm-engine-abi", &[]),
    ("wasm-engine-components", &["wasm-engine-abi"]),
    ("wasm-engine-systems", &["wasm-engine-abi", "wasm-engine-components"]),
    ("wasm-engine-files", &["wasm-engine-components"]),
    ("wasm-engine-wasm", &["wasm-engine-abi", "wasm-engine-components", "wasm-engine-systems"]),
    (
        "wasm-engine-inference",
        &["wasm-engine-abi", "wasm-engine-components", "wasm-engine-systems", "wasm-engine-files"],
    ),
    (
        "wasm-engine-core",
        &[
            "wasm-engine-abi",
            "wasm-engine-components",
            "wasm-engine-systems",
            "wasm-engine-files",
            "wasm-engine-wasm",
            "wasm-engine-inference",
        ],
    ),
    (
        "wasm-engine-cli",
        &[
            "wasm-engine-abi",
            "wasm-engine-components",
            "wasm-engine-systems",
            "wasm-engine-files",
            "wasm-engine-wasm",
            "wasm-engine-inference",
            "wasm-engine-core",
        ],
    ),
    (
        "wasm-engine",
        &[
            "wasm-engine-components",
            "wasm-engine-files",
            "wasm-engine-wasm",
            "wasm-engine-inference",
            "wasm-engine-core",
            "wasm-engine-cli",
        ],
    ),
    ("wasm-engine-bench", &["wasm-engine-abi", "wasm-engine-components", "wasm-engine-systems", "wasm-engine"]),
    ("wasm-engine-sdk", &["wasm-engine-abi"]),
    ("wasm-engine-unified", &[]),
];
/// What each sample agent may depend on of the house.
const SAMPLE_EDGES: &[&str] = &["wasm-engine-abi", "wasm-engine-sdk"];

/// Crates that must not be below these rooms, however far down: the machine stays in the engine.
const MACHINE: [&str; 5] = ["wasmtime", "ort", "ort-sys", "rayon", "rayon-core"];
const WITHOUT_MACHINE: [&str; 4] =
    ["wasm-engine-abi", "wasm-engine-components", "wasm-engine-systems", "wasm-engine-sdk"];
/// Crates of the host that no agent is built with.
const HOST: [&str; 8] = ["wasmtime", "ort", "rayon", "bevy_ecs", "bevy_app", "tokio", "libc", "wasm-engine"];

/// A workspace's members, as cargo sees them. Nothing is resolved, so nothing is downloaded.
pub fn members(manifest: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(tree::root().join(manifest))
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("it lists packages").clone()
}

/// A library or a program of the workspace.
pub struct Target {
    pub package: String,
    /// Of a program; `None` of the package's library.
    pub program: Option<String>,
    /// From the root of the repository, with slashes on every platform.
    pub root_file: String,
}

impl Target {
    /// A name for people.
    pub fn name(&self) -> String {
        let program = self.program.as_ref().map(|program| format!(" {program}"));
        format!("{}{}", self.package, program.unwrap_or_default())
    }
}

/// The path of a target's root file from the root of the repository.
pub fn root_file(target: &Value) -> String {
    let path = Path::new(target["src_path"].as_str().expect("a target has a source"));
    let path = path.strip_prefix(tree::root()).expect("it lies in the repository");
    path.to_string_lossy().replace('\\', "/")
}

/// Libraries and programs of the workspace.
pub fn targets() -> Vec<Target> {
    let mut found = Vec::new();
    for member in members("Cargo.toml") {
        for target in member["targets"].as_array().expect("a package has targets") {
            let program = match target["kind"][0].as_str() {
                Some("lib") => None,
                Some("bin") => target["name"].as_str().map(str::to_owned),
                _ => continue,
            };
            found.push(Target { package: name(&member).to_owned(), program, root_file: root_file(target) });
        }
    }
    found
}

/// Dependencies of a member that aren't for its tests alone.
fn direct(member: &Value) -> BTreeSet<&str> {
    let dependencies = member["dependencies"].as_array().expect("it lists dependencies");
    dependencies.iter().filter(|one| one["kind"] != "dev").filter_map(|one| one["name"].as_str()).collect()
}

fn name(member: &Value) -> &str {
    member["name"].as_str().expect("a package has a name")
}

/// Complaints about edges of the house that its plan doesn't have.
fn wrong_edges(members: &[Value], allowed: impl Fn(&str) -> Option<&'static [&'static str]>) -> Vec<String> {
    let mut wrong = Vec::new();
    for member in members {
        let Some(allowed) = allowed(name(member)) else {
            wrong.push(format!("{} isn't in the plan of the house", name(member)));
            continue;
        };
        let house = |name: &&str| *name == "wasm-engine" || name.starts_with("wasm-engine-");
        for other in direct(member).into_iter().filter(house).filter(|other| !allowed.contains(other)) {
            wrong.push(format!("{} must not depend on {other}", name(member)));
        }
    }
    wrong
}

fn planned(name: &str) -> Option<&'static [&'static str]> {
    EDGES.iter().find(|(of, _)| *of == name).map(|(_, on)| *on)
}

fn member(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
    let dependencies: Vec<Value> =
        dependencies.iter().map(|(name, kind)| serde_json::json!({ "name": name, "kind": kind })).collect();
    serde_json::json!({ "name": name, "dependencies": dependencies })
}

#[test]
fn dependencies_go_one_way() {
    let backwards = [member("wasm-engine-systems", &[("wasm-engine", None)])];
    assert_eq!(wrong_edges(&backwards, planned), ["wasm-engine-systems must not depend on wasm-engine"]);
    let at_build = [member("wasm-engine-components", &[("wasm-engine-systems", Some("build"))])];
    assert_eq!(wrong_edges(&at_build, planned).len(), 1);
    let in_tests = [member("wasm-engine-components", &[("wasm-engine-systems", Some("dev"))])];
    assert!(wrong_edges(&in_tests, planned).is_empty());
    assert_eq!(wrong_edges(&[member("wasm-engine-extra", &[])], planned).len(), 1);

    let members = members("Cargo.toml");
    assert_eq!(wrong_edges(&members, planned), [""; 0]);
    assert_eq!(members.len(), EDGES.len(), "every crate of the plan is a member");
}

/// Libraries emit spans and events, and who listens is for a program to say: the command line is one, and so are tests.
const LISTENERS: [(&str, &[&str]); 1] = [("tracing-subscriber", &["wasm-engine-cli"])];

/// Complaints about crates that bring a listener and aren't a program's.
fn wrong_listeners(members: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for member in members {
        for (listener, allowed) in LISTENERS {
            if direct(member).contains(listener) && !allowed.contains(&name(member)) {
                wrong.push(format!("{} must not depend on {listener}", name(member)));
            }
        }
    }
    wrong
}

#[test]
fn libraries_bring_no_listener() {
    let core = [member("wasm-engine-core", &[("tracing", None), ("tracing-subscriber", None)])];
    assert_eq!(wrong_listeners(&core), ["wasm-engine-core must not depend on tracing-subscriber"]);
    assert!(wrong_listeners(&[member("wasm-engine-core", &[("tracing-subscriber", Some("dev"))])]).is_empty());
    assert_eq!(wrong_listeners(&members("Cargo.toml")), [""; 0]);
}

#[test]
fn agents_depend_on_the_abi_and_the_sdk_alone() {
    let agent = [member("clerk", &[("wasm-engine-components", None)])];
    assert_eq!(wrong_edges(&agent, |_| Some(SAMPLE_EDGES)), ["clerk must not depend on wasm-engine-components"]);

    let samples = members("agents/samples/Cargo.toml");
    assert_eq!(wrong_edges(&samples, |_| Some(SAMPLE_EDGES)), [""; 0]);
    for agent in &samples {
        let host: Vec<_> = direct(agent).into_iter().filter(|name| HOST.contains(name)).collect();
        assert!(host.is_empty(), "the agent {} depends on crates of the host: {host:?}", name(agent));
    }
}

/// Everything below a crate in a lock file: all platforms, all features that anyone in the workspace asks for.
fn below(lock: &toml::Value, from: &str) -> BTreeSet<String> {
    let mut edges = BTreeMap::<&str, BTreeSet<&str>>::new();
    for package in lock["package"].as_array().expect("a lock file lists packages") {
        let on = package.get("dependencies").and_then(toml::Value::as_array);
        let on = on.into_iter().flatten().filter_map(|one| one.as_str()?.split(' ').next());
        edges.entry(package["name"].as_str().expect("a package has a name")).or_default().extend(on);
    }
    let mut found = BTreeSet::new();
    let mut next = vec![from];
    while let Some(name) = next.pop() {
        for &on in edges.get(name).into_iter().flatten() {
            if found.insert(on.to_owned()) {
                next.push(on);
            }
        }
    }
    found
}

#[test]
fn the_machine_stays_in_the_engine() {
    let lock = "[[package]]\nname = \"a\"\ndependencies = [\"b 1.0.0\"]\n[[package]]\nname = \"b\"\ndependencies = [\"ort\"]\n";
    assert!(below(&toml::from_str(lock).unwrap(), "a").contains("ort"));

    let lock = std::fs::read_to_string(tree::root().join("Cargo.lock")).unwrap();
    let lock: toml::Value = toml::from_str(&lock).unwrap();
    assert!(below(&lock, "wasm-engine").contains("wasmtime"), "the engine's closure is read");
    for room in WITHOUT_MACHINE {
        let found: Vec<_> = below(&lock, room).into_iter().filter(|name| MACHINE.contains(&name.as_str())).collect();
        assert!(found.is_empty(), "{room} depends, directly or not, on {found:?}");
    }
}
