//! The rooms of the kernel import each other one way, as docs/ARCHITECTURE.md and decision 20 draw it: a table in `world` knows no stage, also
//! where no circle of files would arise.

use crate::circles::folder_with;
use crate::imports::imports;
use crate::modules::Crate;
use crate::tree;

/// Each room of `systems/src`, a file or a folder there, and which others it may import. `lib.rs` may import all of them.
const ROOMS: [(&str, &[&str]); 9] = [
    ("frame", &[]),
    ("codec", &["frame"]),
    ("world", &["codec", "frame"]),
    ("ports", &["world"]),
    ("spans", &["frame"]),
    ("state", &["codec", "world", "frame"]),
    ("stages", &["ports", "codec", "world", "frame"]),
    ("authors", &["state", "codec", "world", "frame"]),
    ("testing", &["state", "world"]),
];

/// The room of a file: the first name below `src`. The root of the crate is none.
fn room(path: &str) -> Option<&str> {
    let (_, below) = path.rsplit_once("/src/").or_else(|| path.split_once("src/"))?;
    let name = below.split('/').next()?.trim_end_matches(".rs");
    (name != "lib").then_some(name)
}

/// Imports that go against the arrows, and rooms that the table doesn't have.
fn complaints(krate: &Crate) -> Vec<String> {
    let mut found = Vec::new();
    for (file, imported) in imports(krate).iter().enumerate().filter(|(file, _)| !krate.is_test(*file)) {
        let path = &krate.sources[file].path;
        let Some(from) = room(path) else { continue };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == from) else {
            found.push(format!("{path}: the table of rooms has no `{from}`"));
            continue;
        };
        for (&other, lines) in imported {
            let to = room(&krate.sources[other].path);
            if to.is_some_and(|to| to != from && !allowed.contains(&to)) {
                let line = lines.iter().next().map_or(0, |one| one.line);
                found.push(format!("{path}:{line}: `{from}` may not import {}", krate.sources[other].path));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn rooms_of_the_kernel_import_each_other_one_way() {
    let folder = folder_with(&[
        ("src/lib.rs", "mod frame;\nmod stages;\nmod world;\nmod attic;\nfn f() { stages::step::go() }"),
        ("src/frame.rs", "pub struct Clock;"),
        ("src/stages/mod.rs", "pub mod step;"),
        ("src/stages/step.rs", "use crate::world::Table;\npub struct Work(Table);\npub fn go() {}"),
        ("src/world/mod.rs", "mod inbox;\nuse crate::frame::Clock;\npub struct Table(Clock);"),
        ("src/world/inbox.rs", "\nuse crate::stages::step::Work;\nstruct Inbox(Work);"),
        ("src/attic.rs", ""),
    ]);
    let canary = complaints(&Crate::load(folder.path(), "src/lib.rs"));
    let expected = [
        "src/attic.rs: the table of rooms has no `attic`",
        "src/world/inbox.rs:2: `world` may not import src/stages/step.rs",
    ];
    assert_eq!(canary, expected);

    let krate = Crate::load(&tree::root(), "systems/src/lib.rs");
    let found = complaints(&krate);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // A room that is gone must not be left in the table.
    for (name, _) in ROOMS {
        assert!(krate.sources.iter().any(|source| room(&source.path) == Some(name)), "there is no room `{name}`");
    }
}
