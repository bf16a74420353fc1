//! Tidiness: lengths, dead files, lints, bans, and traces of the machine that something was built on.

use std::collections::BTreeSet;
use std::path::Path;

use crate::circles::folder_with;
use crate::code::{self, Code};
use crate::dependencies::{members, root_file, targets};
use crate::modules::{Crate, Source};
use crate::tree;

const FILE_LINES_MAX: usize = 500;

/// Files that are too long, with how long they are.
fn too_long<'a>(files: impl Iterator<Item = (&'a str, usize)>) -> Vec<(&'a str, usize)> {
    files.filter(|(_, lines)| *lines > FILE_LINES_MAX).collect()
}

/// Functions are kept short by clippy (`too-many-lines-threshold`).
#[test]
fn files_are_short() {
    let canaries = [("a.rs", FILE_LINES_MAX), ("b.rs", FILE_LINES_MAX + 1)];
    assert_eq!(too_long(canaries.into_iter()), [canaries[1]]);

    let files = tree::files();
    let files = files.iter().filter(|file| file.is("rs")).map(|file| (file.path.as_str(), file.text().lines().count()));
    let found = too_long(files);
    assert!(found.is_empty(), "longer than {FILE_LINES_MAX} lines: {found:?}");
}

/// Sources that no crate's `mod` lines lead to.
fn dead(root: &Path, sources: &[String], root_files: &[String]) -> Vec<String> {
    let mut alive = BTreeSet::new();
    for root_file in root_files {
        alive.extend(Crate::load(root, root_file).sources.into_iter().map(|source| source.path));
    }
    sources.iter().filter(|path| !alive.contains(*path)).cloned().collect()
}

#[test]
fn every_source_belongs_to_a_crate() {
    let canary = [
        (
            "a/src/lib.rs",
            "pub mod b;\n// mod dead;\nmod tests { }\n#[cfg(test)]\n#[path = \"../far.rs\"]\nmod far;\nmod d { mod e; }",
        ),
        ("a/src/b.rs", "mod c;"),
        ("a/src/b/c.rs", ""),
        ("a/far.rs", "mod near;"),
        ("a/near.rs", ""),
        ("a/src/d/e/mod.rs", ""),
        ("a/src/dead.rs", ""),
    ];
    let folder = folder_with(&canary);
    let paths: Vec<String> = canary.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(dead(folder.path(), &paths, &["a/src/lib.rs".to_owned()]), ["a/src/dead.rs"]);

    let mut root_files = Vec::new();
    for manifest in ["Cargo.toml", "agents/samples/Cargo.toml", "agents/large/Cargo.toml"] {
        for member in members(manifest) {
            root_files.extend(member["targets"].as_array().expect("a package has targets").iter().map(root_file));
        }
    }
    let sources: Vec<String> = code::sources().iter().map(|source| source.path.clone()).collect();
    let dead = dead(&tree::root(), &sources, &root_files);
    assert!(dead.is_empty(), "no `mod` leads to {dead:?}");
}

/// Whether a crate's root has an attribute such as `#![forbid(unsafe_code)]`, with these lints.
fn has_lints(root: &Source, level: &str, lints: &[&str]) -> bool {
    root.syntax.attrs.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let named = Code::of_tokens(list.tokens.clone()).paths;
        list.path.is_ident(level) && lints.iter().all(|lint| named.iter().any(|one| one.name == *lint))
    })
}

/// What the root of a crate lacks.
fn lacks(krate: &Crate, is_library: bool) -> Vec<String> {
    let root = &krate.sources[0];
    let is_safe = krate.sources.iter().all(|source| Code::of(&source.syntax).unsafe_lines.is_empty());
    let mut lacks = Vec::new();
    if is_safe && !has_lints(root, "forbid", &["unsafe_code"]) {
        lacks.push(format!("{} has no unsafe code, and lacks #![forbid(unsafe_code)]", root.path));
    }
    if is_library && !has_lints(root, "deny", &["clippy::print_stderr", "clippy::print_stdout"]) {
        lacks.push(format!("{} lacks #![deny(clippy::print_stderr, clippy::print_stdout)]", root.path));
    }
    lacks
}

#[test]
fn crates_forbid_unsafe_code_where_they_have_none_and_libraries_print_nothing() {
    let of = |text: &str| {
        let folder = folder_with(&[("lib.rs", text)]);
        lacks(&Crate::load(folder.path(), "lib.rs"), true).len()
    };
    assert_eq!(of("fn f() {}"), 2);
    assert_eq!(of("#![forbid(unsafe_code)]\n#![deny(clippy::print_stderr, clippy::print_stdout)]"), 0);
    assert_eq!(of("#![deny(unsafe_code)]\n#![deny(clippy::print_stderr)]"), 2);
    assert_eq!(of("#![deny(clippy::print_stdout, clippy::print_stderr)]\nfn f() { unsafe { g() } }"), 0);

    let root = tree::root();
    let lacks: Vec<String> = targets()
        .iter()
        .flat_map(|target| lacks(&Crate::load(&root, &target.root_file), target.program.is_none()))
        .collect();
    assert!(lacks.is_empty(), "{}", lacks.join("\n"));
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
    for room in ["components", "systems"] {
        let (own, bare) = read(&format!("{room}/clippy.toml"));
        assert!(own.is_superset(&workspace), "{room}/clippy.toml lacks {:?}", workspace.difference(&own));
        for needed in ["std::time::Instant::now", "std::collections::HashMap", "std::collections::HashSet"] {
            assert!(own.contains(needed), "{room}/clippy.toml lacks {needed}");
        }
        assert!(bare.is_empty(), "without a reason: {bare:?}");
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

/// The lines of a text at which docs begin an example, which a documentation test would run: a block of code that isn't said to be something else.
fn examples(text: &str) -> Vec<usize> {
    let (mut found, mut is_inside) = (Vec::new(), false);
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let Some(language) = doc.and_then(|doc| doc.trim_start().strip_prefix("```")) else { continue };
        is_inside = !is_inside;
        if is_inside && language.trim() != "text" {
            found.push(number);
        }
    }
    found
}

/// A crate says that it has none if it has none: for nothing, its tests would compile it a second time.
#[test]
fn a_crate_without_documentation_tests_has_no_examples() {
    let canary = "//! ```text\n//! a\n//! ```\n/// ```\n/// b();\n/// ```\n    /// ```no_run\n/// ```\n// ```";
    assert_eq!(examples(canary), [4, 7]);

    let files = tree::files();
    for member in members("Cargo.toml") {
        let libraries = member["targets"].as_array().expect("a package has targets").iter();
        for library in libraries.filter(|one| one["kind"][0] == "lib" && one["doctest"] == false) {
            let root = root_file(library);
            let folder = root.trim_end_matches("lib.rs");
            for file in files.iter().filter(|file| file.is("rs") && file.path.starts_with(folder)) {
                let found = examples(&file.text());
                assert!(found.is_empty(), "{} has examples that nothing runs, in the lines {found:?}", file.path);
            }
        }
    }
}
