//! What each room may not hold, beside what rustc and clippy refuse: its crates forbid unsafe code, and `clippy.toml` bans methods and types.

use crate::code::{self, Code, Named};

/// What a room's sources may not contain.
struct Room {
    /// Where its sources lie.
    folders: &'static [&'static str],
    /// Names that stand in no path of its code, and why. After one that ends in `::` there is something more.
    names: &'static [(&'static str, &'static str)],
    /// Modules of std that none of them uses.
    std: &'static [&'static str],
}

/// Clocks, files, the network, threads and the process.
const MACHINE_STD: &[&str] =
    &["std::env", "std::fs", "std::io", "std::net", "std::os", "std::process", "std::thread", "std::time"];

const COMPONENTS: Room = Room {
    folders: &["components/src/", "components/abi/src/"],
    names: &[("Query", "components are fields and pure methods; queries are for systems")],
    std: MACHINE_STD,
};

const SYSTEMS: Room = Room {
    folders: &["systems/src/"],
    names: &[("Local", "state lives in components and resources, where the digest finds it")],
    std: MACHINE_STD,
};

const ENGINE: Room = Room {
    folders: &[
        "engine/src/",
        "engine/files/src/",
        "engine/wasm/src/",
        "engine/inference/src/",
        "engine/core/src/",
        "engine/cli/src/",
    ],
    names: &[
        ("Query", "what happens, is in systems/"),
        ("FrameStage::", "what happens, is in systems/"),
        ("add_systems", "what happens, is in systems/"),
    ],
    std: &[],
};

const AGENTS: Room = Room {
    folders: &["agents/sdk/src/", "agents/samples/"],
    names: &[],
    // All of it.
    std: &["std"],
};

/// Parameters that only a system has.
const SYSTEM_PARAMETERS: [&str; 8] =
    ["Query", "Res", "ResMut", "Commands", "Single", "Populated", "MessageReader", "MessageWriter"];

/// Complaints about one source of a room.
fn complaints(room: &Room, path: &str, code: &Code) -> Vec<String> {
    let methods = code.methods.iter().map(|call| Named { line: call.line, name: call.name.clone() });
    let mut found = Vec::new();
    for named in code.paths.iter().cloned().chain(methods) {
        let line = named.line;
        for (name, why) in room.names.iter().filter(|(name, _)| named.has(name)) {
            found.push(format!("{path}:{line}: `{name}`: {why}"));
        }
        for module in room.std.iter().filter(|module| named.is_within(module)) {
            found.push(format!("{path}:{line}: `{}`: this room has no `{module}`", named.name));
        }
    }
    found
}

/// Components that a source defines.
fn components(path: &str, code: &Code) -> Vec<String> {
    let defined = code.derives.iter().chain(&code.traits).filter(|named| named.ends_with("Component"));
    defined.map(|named| format!("{path}:{}: a component outside components/", named.line)).collect()
}

/// Systems that return a `Result`: a frame can't fail.
fn failing_systems(path: &str, code: &Code) -> Vec<String> {
    let failing = code.functions.iter().filter(|function| {
        let is_system = function.parameters.iter().any(|name| SYSTEM_PARAMETERS.contains(&name.as_str()));
        is_system && function.returns.iter().any(|name| name == "Result")
    });
    failing.map(|one| format!("{path}:{}: the system `{}` returns a Result", one.line, one.name)).collect()
}

fn check(room: &Room, rule: impl Fn(&str, &Code) -> Vec<String>) {
    let of_room = |path: &str| room.folders.iter().any(|folder| path.starts_with(folder));
    let (mut read, mut found) = (0, Vec::new());
    for source in code::sources().iter().filter(|source| of_room(&source.path)) {
        read += 1;
        found.extend(rule(&source.path, &source.code));
    }
    assert!(read > 0, "no sources in {:?}", room.folders);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn code_of(source: &str) -> Code {
    Code::of(&syn::parse_file(source).unwrap_or_else(|error| panic!("{source}: {error}")))
}

/// Each canary must be found by the room's rules, and `fine` by none.
fn canaries(room: &Room, canaries: &[&str], fine: &str) {
    for canary in canaries {
        assert!(!complaints(room, "canary.rs", &code_of(canary)).is_empty(), "not found: {canary}");
    }
    assert_eq!(complaints(room, "fine.rs", &code_of(fine)), [""; 0]);
}

#[test]
fn components_are_fields_and_pure_methods() {
    let bad = [
        "fn f(q: Query<&A>) {}",
        "use std::{collections::BTreeMap, fs};",
        "use std::{\n    sync::Arc,\n    time::{Duration, Instant},\n};",
        "use std::io::{self, Write};",
        "use std::env::*;",
        "fn f() { ::std::net::TcpStream::connect(\"x\"); }",
        "fn f() { format!(\"{}\", std::process::id()); }",
    ];
    let fine = "//! std::fs\nuse std::collections::BTreeMap;\nconst A: &str = \"Query<\";\nfn f() { crate::std::fs() }";
    canaries(&COMPONENTS, &bad, fine);
    check(&COMPONENTS, |path, code| complaints(&COMPONENTS, path, code));
}

#[test]
fn systems_keep_no_hidden_state_and_do_no_io() {
    let bad = ["fn f(mut n: Local<u32>) {}", "use std::time::Instant;", "use std::{fmt, io::Write};"];
    canaries(&SYSTEMS, &bad, "use std::sync::Arc; fn f(q: Query<&A>) {} struct NonLocal<T>(T);");
    check(&SYSTEMS, |path, code| complaints(&SYSTEMS, path, code));
}

#[test]
fn systems_cannot_fail() {
    let bad = [
        "fn f(q: Query<&A>) -> Result { Ok(()) }",
        "pub fn f<T: B>(\n    a: ResMut<T>,\n) -> Result<(), E>\nwhere T: C {}",
    ];
    for canary in bad {
        assert_eq!(failing_systems("canary.rs", &code_of(canary)).len(), 1, "{canary}");
    }
    let fine = code_of("fn f(a: &[u8]) -> Result<(), E> {} fn g(q: Query<&A>) {}");
    assert!(failing_systems("fine.rs", &fine).is_empty());
    check(&SYSTEMS, failing_systems);
}

#[test]
fn the_engine_defines_no_components_and_no_frame_systems() {
    let bad = [
        "fn f(a: &mut App) { a.add_systems(Update, g); }",
        "fn g(q: Query<&A>) {}",
        "fn f() -> FrameStage { FrameStage::Step }",
    ];
    canaries(&ENGINE, &bad, "fn f(world: &mut World) { world.query::<&A>(); }");
    check(&ENGINE, |path, code| complaints(&ENGINE, path, code));
    for canary in ["#[derive(Clone, Component)]\nstruct A;", "impl bevy_ecs::Component for A {}"] {
        assert_eq!(components("canary.rs", &code_of(canary)).len(), 1, "{canary}");
    }
    assert!(components("fine.rs", &code_of("#[derive(Resource)]\nstruct A; // derive(Component)")).is_empty());
    check(&ENGINE, components);
}

#[test]
fn agents_have_core_and_alloc_alone() {
    canaries(&AGENTS, &["use std::vec::Vec;", "extern crate std;"], "extern crate alloc; use core::fmt;");
    check(&AGENTS, |path, code| complaints(&AGENTS, path, code));
}
