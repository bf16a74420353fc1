//! What each room may not hold. The rules read sources: they are heuristics, and clippy.toml's bans stand beside them.

use crate::mask::{is_name_byte, line_of, mask, words};
use crate::tidy::functions;
use crate::tree;

/// What a room's sources may not contain.
struct Room {
    /// Where its sources lie.
    folders: &'static [&'static str],
    /// Code that stands in none of them, and why.
    banned: &'static [(&'static str, &'static str)],
    /// Modules of std that none of them uses.
    banned_std: &'static [&'static str],
}

/// Clocks, files, the network, threads and the process.
const MACHINE_STD: &[&str] =
    &["std::env", "std::fs", "std::io", "std::net", "std::os", "std::process", "std::thread", "std::time"];

const COMPONENTS: Room = Room {
    folders: &["components/src/", "components/abi/src/"],
    banned: &[
        ("Query<", "components are fields and pure methods; queries are for systems"),
        ("HashMap", "its order depends on a random seed"),
        ("HashSet", "its order depends on a random seed"),
        ("unsafe", "what needs it is in engine/"),
    ],
    banned_std: MACHINE_STD,
};

const SYSTEMS: Room = Room {
    folders: &["systems/src/"],
    banned: &[
        ("Local<", "state lives in components and resources, where the digest finds it"),
        ("unsafe", "what needs it is in engine/"),
    ],
    banned_std: &[
        "std::collections::HashMap",
        "std::collections::HashSet",
        "std::env",
        "std::fs",
        "std::io",
        "std::net",
        "std::os",
        "std::process",
        "std::thread",
        "std::time",
    ],
};

const ENGINE: Room = Room {
    folders: &["engine/src/"],
    banned: &[
        ("impl Component for", "what is, is in components/"),
        ("Query<", "what happens, is in systems/"),
        ("FrameStage::", "what happens, is in systems/"),
        ("add_systems(", "what happens, is in systems/"),
    ],
    banned_std: &[],
};

const AGENTS: Room = Room {
    folders: &["agents/sdk/src/", "agents/samples/"],
    banned: &[("extern crate std", "an agent has core and alloc")],
    // All of it.
    banned_std: &["std"],
};

/// Parameters that only a system has.
const SYSTEM_PARAMETERS: [&str; 8] =
    ["Query<", "Res<", "ResMut<", "Commands", "Single<", "Populated<", "MessageReader<", "MessageWriter<"];

/// Complaints about one source file of a room.
fn complaints(room: &Room, path: &str, source: &str) -> Vec<String> {
    let code = mask(source);
    let mut found = Vec::new();
    for (banned, why) in room.banned {
        found.extend(words(&code, banned).map(|at| format!("{path}:{}: `{banned}`: {why}", line_of(&code, at))));
    }
    for (line, used) in std_paths(&code) {
        let within =
            |banned: &&&str| used.strip_prefix(**banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        if let Some(banned) = room.banned_std.iter().find(within) {
            found.push(format!("{path}:{line}: `{used}`: this room has no `{banned}`"));
        }
    }
    found
}

/// Every path of std that the code names, with its line. Groups in braces are taken apart.
fn std_paths(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for at in words(code, "std::") {
        // `crate::std::` is something else, `::std::` isn't.
        let parent = code[..at].strip_suffix("::").and_then(|before| before.bytes().last());
        if !parent.is_some_and(is_name_byte) {
            expand("std", &code[at + "std::".len()..], line_of(code, at), &mut paths);
        }
    }
    paths
}

/// Adds the paths that start with `prefix::rest`; returns how much of `rest` they take.
fn expand(prefix: &str, rest: &str, line: usize, paths: &mut Vec<(usize, String)>) -> usize {
    let Some(group) = rest.strip_prefix('{') else {
        let name = rest.bytes().take_while(|&byte| is_name_byte(byte)).count();
        let path = format!("{prefix}::{}", &rest[..name]);
        return match rest[name..].strip_prefix("::") {
            Some(deeper) if deeper.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic()) => {
                name + 2 + expand(&path, deeper, line, paths)
            }
            _ => {
                paths.push((line, path));
                name
            }
        };
    };
    let mut at = 0;
    while let Some(next) = group[at..].find(|c: char| !c.is_whitespace() && c != ',') {
        at += next;
        if group[at..].starts_with('}') {
            return at + 2;
        }
        at += expand(prefix, &group[at..], line, paths).max(1);
    }
    rest.len()
}

/// Types whose `derive` makes them components.
fn derived_components(path: &str, source: &str) -> Vec<String> {
    let code = mask(source);
    let derives = code.match_indices("derive(").filter(|(at, _)| {
        let list = &code[*at..];
        words(&list[..list.find(')').unwrap_or(list.len())], "Component").next().is_some()
    });
    derives.map(|(at, _)| format!("{path}:{}: a component outside components/", line_of(&code, at))).collect()
}

/// Systems that return a `Result`: a frame can't fail.
fn failing_systems(path: &str, source: &str) -> Vec<String> {
    let code = mask(source);
    let failing = functions(&code).into_iter().filter(|function| {
        let (parameters, returns) = function.signature.split_once(") ->").unwrap_or((function.signature, ""));
        SYSTEM_PARAMETERS.iter().any(|one| words(parameters, one).next().is_some())
            && words(returns, "Result").next().is_some()
    });
    failing.map(|one| format!("{path}:{}: the system `{}` returns a Result", one.line, one.name)).collect()
}

fn check(folders: &[&str], rule: impl Fn(&str, &str) -> Vec<String>) {
    let files = tree::files();
    let sources =
        files.iter().filter(|file| file.is("rs") && folders.iter().any(|folder| file.path.starts_with(folder)));
    let mut read = 0;
    let mut found = Vec::new();
    for file in sources {
        read += 1;
        found.extend(rule(&file.path, &file.text()));
    }
    assert!(read > 0, "no sources in {folders:?}");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Each canary must be found by the room's rules, and `fine` by none.
fn canaries(room: &Room, canaries: &[&str], fine: &str) {
    for canary in canaries {
        assert!(!complaints(room, "canary.rs", canary).is_empty(), "not found: {canary}");
    }
    assert_eq!(complaints(room, "fine.rs", fine), [""; 0]);
}

#[test]
fn components_are_fields_and_pure_methods() {
    let bad = [
        "fn f(q: Query<&A>) {}",
        "struct A(std::collections::HashMap<u8, u8>);",
        "use hashbrown::HashSet;",
        "fn f() { unsafe { g() } }",
        "use std::{collections::BTreeMap, fs};",
        "use std::{\n    sync::Arc,\n    time::{Duration, Instant},\n};",
        "fn f() { ::std::net::TcpStream::connect(\"x\"); }",
    ];
    canaries(&COMPONENTS, &bad, "//! HashMap, std::fs\nuse std::collections::BTreeMap;\nconst A: &str = \"Query<\";");
    check(COMPONENTS.folders, |path, source| complaints(&COMPONENTS, path, source));
}

#[test]
fn systems_keep_no_hidden_state_and_do_no_io() {
    let bad = ["fn f(mut n: Local<u32>) {}", "use std::time::Instant;", "use std::{fmt, io::Write};"];
    canaries(&SYSTEMS, &bad, "use std::sync::Arc; fn f(q: Query<&A>) {} struct NonLocal<T>(T);");
    check(SYSTEMS.folders, |path, source| complaints(&SYSTEMS, path, source));
}

#[test]
fn systems_cannot_fail() {
    assert_eq!(failing_systems("canary.rs", "fn f(q: Query<&A>) -> Result { Ok(()) }").len(), 1);
    assert_eq!(
        failing_systems("canary.rs", "pub fn f<T: B>(\n    a: ResMut<T>,\n) -> Result<(), E>\nwhere T: C {}").len(),
        1
    );
    assert!(failing_systems("fine.rs", "fn f(a: &[u8]) -> Result<(), E> {} fn g(q: Query<&A>) {}").is_empty());
    check(SYSTEMS.folders, failing_systems);
}

#[test]
fn the_engine_defines_no_components_and_no_frame_systems() {
    let bad = ["fn f(a: &mut App) { a.add_systems(Update, g); }", "fn g(q: Query<&A>) {}", "impl Component for A {}"];
    canaries(&ENGINE, &bad, "fn f(world: &mut World) { world.query::<&A>(); }");
    check(ENGINE.folders, |path, source| complaints(&ENGINE, path, source));
    assert_eq!(derived_components("canary.rs", "#[derive(Clone, Component)]\nstruct A;").len(), 1);
    assert!(derived_components("fine.rs", "#[derive(Resource)]\nstruct A; // derive(Component)").is_empty());
    check(ENGINE.folders, derived_components);
}

#[test]
fn agents_have_core_and_alloc_alone() {
    canaries(&AGENTS, &["use std::vec::Vec;", "extern crate std;"], "extern crate alloc; use core::fmt;");
    check(AGENTS.folders, |path, source| complaints(&AGENTS, path, source));
}
