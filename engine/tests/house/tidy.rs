//! Tidiness: lengths, dead files, what isn't done yet, lints, bans, and traces of the machine that something was built on.

use std::collections::BTreeSet;

use crate::dependencies::members;
use crate::mask::{line_of, mask, words};
use crate::tree;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 100;

/// Files and functions (`path::name`) that may be longer, and why. An entry that isn't needed is refused.
const LONGER: &[(&str, &str)] = &[];

/// Macros that say that something isn't done.
const UNDONE: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// A function with a body.
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// From its name to its body.
    pub signature: &'a str,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from its `fn` to its closing brace.
    pub lines: usize,
}

/// The functions of masked code that have a body, those in functions included.
pub fn functions(code: &str) -> Vec<Function<'_>> {
    let mut functions = Vec::new();
    for at in words(code, "fn") {
        let signature = code[at + 2..].trim_start();
        let name = signature.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        // `fn(u8) -> u8` is a type.
        if name.is_empty() {
            continue;
        }
        let Some(open) = body(signature) else { continue };
        let start = code.len() - code[at + 2..].len() + (code[at + 2..].len() - signature.len()) + open;
        let end = closing(code, start);
        let line = line_of(code, at);
        functions.push(Function { name, signature: &signature[..open], line, lines: 1 + line_of(code, end) - line });
    }
    functions
}

/// Where a function's body begins; `None` where a semicolon ends its declaration.
fn body(signature: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The offset of the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Names of what is too long in a source, with how long it is.
fn too_long(path: &str, source: &str) -> Vec<(String, usize)> {
    let lines = source.lines().count();
    let file = (lines > FILE_LINES_MAX).then(|| (path.to_owned(), lines));
    let code = mask(source);
    let long = functions(&code).into_iter().filter(|one| one.lines > FUNCTION_LINES_MAX);
    file.into_iter().chain(long.map(|one| (format!("{path}::{}", one.name), one.lines))).collect()
}

#[test]
fn files_and_functions_are_short() {
    let long = format!("fn short() {{}}\nfn long() {{\n{}}}\n", "    work();\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(too_long("a.rs", &long), [("a.rs::long".to_owned(), FUNCTION_LINES_MAX + 2)]);
    assert_eq!(too_long("a.rs", &"//\n".repeat(FILE_LINES_MAX + 1)), [("a.rs".to_owned(), FILE_LINES_MAX + 1)]);

    let mut unneeded: BTreeSet<&str> = LONGER.iter().map(|(name, _)| *name).collect();
    let mut found = Vec::new();
    for file in rust_files() {
        for (name, lines) in too_long(&file.path, &file.text()) {
            if !unneeded.remove(name.as_str()) {
                found.push(format!("{name} has {lines} lines"));
            }
        }
    }
    assert!(
        found.is_empty(),
        "longer than {FILE_LINES_MAX} a file or {FUNCTION_LINES_MAX} a function:\n{}",
        found.join("\n")
    );
    assert!(unneeded.is_empty(), "short enough by now, so no exception: {unneeded:?}");
    assert!(LONGER.iter().all(|(_, why)| !why.is_empty()), "an exception needs a reason");
}

/// Macros in a source that say that something isn't done.
fn undone(path: &str, source: &str) -> Vec<String> {
    let code = mask(source);
    let found = UNDONE.iter().flat_map(|name| words(&code, name).map(move |at| (at, name)));
    found.map(|(at, name)| format!("{path}:{}: {name}", line_of(&code, at))).collect()
}

#[test]
fn nothing_is_left_undone() {
    let canary = "fn a() { todo!() }\nfn b() { unimplemented!(\"x\") }\nfn c() { dbg!(1); }";
    assert_eq!(undone("a.rs", canary), ["a.rs:1: todo!", "a.rs:2: unimplemented!", "a.rs:3: dbg!"]);
    assert!(undone("a.rs", "// todo!()\nconst A: &str = \"dbg!\";").is_empty());
    let found: Vec<_> = rust_files().iter().flat_map(|file| undone(&file.path, &file.text())).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The files that a source's `mod name;` lines may stand for. `is_root` where the file is a crate's.
fn declared(path: &str, source: &str, is_root: bool) -> Vec<String> {
    let code = mask(source);
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let below = if is_root || stem == "mod" { folder.to_owned() } else { format!("{folder}/{stem}") };
    let mut files = Vec::new();
    for at in words(&code, "mod") {
        let rest = code[at + 3..].trim_start();
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        if name.is_empty() || !rest[name.len()..].trim_start().starts_with(';') {
            continue;
        }
        // The mask keeps offsets, so that an attribute's text can be read in the source.
        let attribute = code[..at].rfind("#[path").filter(|&start| !code[start..at].contains([';', '}']));
        match attribute.and_then(|start| source[start..at].split('"').nth(1)) {
            Some(other) => files.push(normal(&format!("{folder}/{other}"))),
            None => files.extend([format!("{below}/{name}.rs"), format!("{below}/{name}/mod.rs")]),
        }
    }
    files
}

/// A path without `..`.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Sources that no crate's `mod` lines lead to.
fn dead(sources: &[(String, String)], roots: &[String]) -> Vec<String> {
    let mut alive = BTreeSet::new();
    let mut next: Vec<(String, bool)> = roots.iter().map(|root| (root.clone(), true)).collect();
    while let Some((path, is_root)) = next.pop() {
        if let Some((_, source)) = sources.iter().find(|(own, _)| *own == path)
            && alive.insert(path.clone())
        {
            next.extend(declared(&path, source, is_root).into_iter().map(|path| (path, false)));
        }
    }
    sources.iter().map(|(path, _)| path.clone()).filter(|path| !alive.contains(path)).collect()
}

#[test]
fn every_source_belongs_to_a_crate() {
    let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let canary = [
        source(
            "a/src/lib.rs",
            "pub mod b;\n// mod dead;\nmod tests { }\n#[cfg(test)]\n#[path = \"../far.rs\"]\nmod far;",
        ),
        source("a/src/b.rs", "mod c;"),
        source("a/src/b/c.rs", ""),
        source("a/far.rs", ""),
        source("a/src/dead.rs", ""),
    ];
    assert_eq!(dead(&canary, &["a/src/lib.rs".to_owned()]), ["a/src/dead.rs"]);

    let root = tree::root();
    let mut roots = Vec::new();
    for manifest in ["Cargo.toml", "agents/samples/Cargo.toml", "agents/large/Cargo.toml"] {
        for member in members(manifest) {
            for target in member["targets"].as_array().expect("a package has targets") {
                let path = std::path::Path::new(target["src_path"].as_str().expect("a target has a source"));
                let path = path.strip_prefix(&root).expect("it lies in the repository");
                roots.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    let sources: Vec<_> = rust_files().iter().map(|file| (file.path.clone(), file.text())).collect();
    let dead = dead(&sources, &roots);
    assert!(dead.is_empty(), "no `mod` leads to {dead:?}");
}

/// Whether a member's manifest takes the workspace's lints.
fn has_workspace_lints(manifest: &str) -> bool {
    let manifest: toml::Value = toml::from_str(manifest).expect("a manifest is TOML");
    manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    assert!(has_workspace_lints("[package]\n[lints]\nworkspace = true"));
    assert!(!has_workspace_lints("[package]\n[lints.rust]\nmissing_docs = \"allow\""));
    for member in members("Cargo.toml") {
        let path = member["manifest_path"].as_str().expect("a package has a manifest");
        assert!(has_workspace_lints(&std::fs::read_to_string(path).unwrap()), "{path} lacks `lints.workspace = true`");
    }
}

/// The paths that a clippy.toml bans, and those banned without a reason.
fn bans(config: &str) -> (BTreeSet<String>, Vec<String>) {
    let config: toml::Value = toml::from_str(config).expect("clippy.toml is TOML");
    let lists = ["disallowed-methods", "disallowed-types"].map(|key| config.get(key).and_then(toml::Value::as_array));
    let (mut paths, mut bare) = (BTreeSet::new(), Vec::new());
    for ban in lists.into_iter().flatten().flatten() {
        let path = ban.get("path").and_then(toml::Value::as_str).unwrap_or_default();
        paths.insert(path.to_owned());
        if ban.get("reason").and_then(toml::Value::as_str).unwrap_or_default().is_empty() {
            bare.push(path.to_owned());
        }
    }
    (paths, bare)
}

/// Clippy reads the nearest clippy.toml and merges none, so a room's must hold the workspace's bans, too.
#[test]
fn bans_have_reasons_and_no_room_loses_the_workspace_bans() {
    let canary = bans("disallowed-methods = [{ path = \"a\" }, { path = \"b\", reason = \"c\" }]");
    assert_eq!((canary.0.len(), canary.1), (2, vec!["a".to_owned()]));

    let read = |path: &str| bans(&std::fs::read_to_string(tree::root().join(path)).unwrap());
    let (workspace, bare) = read("clippy.toml");
    assert!(workspace.contains("f32::sin") && bare.is_empty(), "without a reason: {bare:?}");
    for (room, needed) in [("components", "std::time::Instant::now"), ("systems", "std::time::Instant::now")] {
        let (own, bare) = read(&format!("{room}/clippy.toml"));
        assert!(own.is_superset(&workspace), "{room}/clippy.toml lacks {:?}", workspace.difference(&own));
        assert!(own.contains(needed) && bare.is_empty(), "without a reason: {bare:?}");
    }
}

/// Folders of a particular machine that a file's bytes name, programs and modules included.
fn machine_paths(bytes: &[u8]) -> Vec<String> {
    // In two parts, so that this file passes.
    let starts =
        [["/ho", "me/"], ["/ro", "ot/"], ["/Us", "ers/"], ["/tmp", "/wt/"], [":\\Us", "ers\\"]].map(|two| two.concat());
    let mut found = Vec::new();
    for start in &starts {
        for (at, window) in bytes.windows(start.len()).enumerate() {
            let after = bytes.get(at + start.len()).is_some_and(u8::is_ascii_alphanumeric);
            if window == start.as_bytes() && after {
                let end = bytes.len().min(at + 60);
                found.push(String::from_utf8_lossy(&bytes[at..end]).lines().next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

#[test]
fn no_file_names_a_folder_of_the_machine_it_was_made_on() {
    let canary = ["built in /ho", "me/ada/src and /ro", "ot/.cargo /ro", "ot/x"].concat();
    assert_eq!(machine_paths(canary.as_bytes()).len(), 2);
    for file in tree::files() {
        let found = machine_paths(&file.bytes);
        assert!(found.is_empty(), "{} names {found:?}", file.path);
    }
}

fn rust_files() -> Vec<tree::File> {
    tree::files().into_iter().filter(|file| file.is("rs")).collect()
}
