//! Links, paths and names of tests in the documents.

use std::collections::BTreeSet;

use crate::markdown::{anchors, code_spans, documents, split};
use crate::tree;

/// Folders whose paths, where a document names them as code, must exist.
const ROOMS: [&str; 7] = ["components/", "systems/", "engine/", "agents/", "bench/", "docs/", ".ci/"];

/// The targets of a text's links, with their lines.
fn links(prose: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (at, line) in prose.lines().enumerate() {
        // Code isn't a link, whatever brackets it holds.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in plain.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            links.push((at + 1, target.to_owned()));
        }
    }
    links
}

/// Where a relative link of a document leads: a path from the root, and an anchor.
fn resolve(document: &str, target: &str) -> (String, Option<String>) {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let mut parts: Vec<&str> = document.split('/').collect();
    if !path.is_empty() {
        parts.pop();
    }
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    (parts.join("/"), anchor.map(str::to_owned))
}

/// Complaints about the links of a document. `read` gives the text of what exists: a folder's is empty.
fn broken_links(document: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut broken = Vec::new();
    for (line, target) in links(&split(text).1) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = resolve(document, &target);
        let found = read(&path);
        let anchored = |text: &String| anchor.as_ref().is_none_or(|anchor| anchors(text).contains(anchor));
        if !found.as_ref().is_some_and(anchored) {
            broken.push(format!("{document}:{line}: {target} leads nowhere"));
        }
    }
    broken
}

fn read(path: &str) -> Option<String> {
    let path = tree::root().join(path);
    if path.is_dir() {
        Some(String::new())
    } else {
        Some(String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned())
    }
}

#[test]
fn links_lead_somewhere() {
    let texts = |path: &str| (path == "docs/B.md").then(|| "# One two\n".to_owned());
    let canary = "[a](B.md#one-two) [b](C.md) [c](B.md#three) [d](https://e.f) `[g](h)`\n```\n[i](j)\n```\n";
    let broken = broken_links("docs/A.md", canary, texts);
    assert_eq!(broken, ["docs/A.md:1: C.md leads nowhere", "docs/A.md:1: B.md#three leads nowhere"]);

    let broken: Vec<_> = documents().iter().flat_map(|file| broken_links(&file.path, &file.text(), read)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Paths of the repository that a document's prose names as code and that don't exist, and tests (`path.rs::name`) that aren't in their file.
fn missing_paths(document: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for (at, line) in split(text).1.lines().enumerate() {
        for span in code_spans(line) {
            let (path, test) = span.split_once("::").map_or((span, None), |(path, test)| (path, Some(test)));
            let is_path = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
            if !ROOMS.iter().any(|room| path.starts_with(room)) || !path.chars().all(is_path) {
                continue;
            }
            let is_there = read(path).is_some_and(|source| test.is_none_or(|test| has_test(&source, test)));
            if !is_there {
                missing.push(format!("{document}:{}: there is no `{span}`", at + 1));
            }
        }
    }
    missing
}

#[test]
fn paths_and_tests_in_the_documents_exist() {
    let canary = "`engine/src/lib.rs` and `engine/src/gone.rs`, `engine/src/<name>.rs`, `a/b`\n`engine/src/lib.rs::a`, `engine/src/lib.rs::b`";
    let texts = |path: &str| (path == "engine/src/lib.rs").then(|| "#[test]\nfn a() {}\nfn b() {}\n".to_owned());
    let expected = ["A.md:1: there is no `engine/src/gone.rs`", "A.md:2: there is no `engine/src/lib.rs::b`"];
    assert_eq!(missing_paths("A.md", canary, texts), expected);

    let missing: Vec<_> = documents().iter().flat_map(|file| missing_paths(&file.path, &file.text(), read)).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Names of code in a table of a document (`Mailroom`, `Op::name`) that occur in none of the sources that their row names.
fn missing_names(document: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for (at, line) in split(text).1.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        let of_rooms = |span: &&str| ROOMS.iter().any(|room| span.starts_with(room)) && !span.contains([':', '<']);
        let sources: Vec<String> = code_spans(line).filter(of_rooms).filter_map(&read).collect();
        if sources.is_empty() {
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names =
            code_spans(line).filter(|span| span.split("::").all(|part| !part.is_empty() && part.chars().all(is_name)));
        for name in names {
            let is_there =
                |part: &str| sources.iter().any(|source| source.split(|c| !is_name(c)).any(|word| word == part));
            if !name.split("::").all(is_there) {
                missing.push(format!("{document}:{}: no source of this row has `{name}`", at + 1));
            }
        }
    }
    missing
}

/// The text of a source, or of all sources in a folder.
fn sources(path: &str) -> Option<String> {
    let folder = tree::root().join(path);
    if !folder.is_dir() {
        return read(path);
    }
    let below = format!("{}/", path.trim_end_matches('/'));
    let files = tree::files().into_iter().filter(|file| file.is("rs") && file.path.starts_with(&below));
    Some(files.map(|file| file.text()).collect())
}

#[test]
fn names_in_the_tables_of_the_architecture_are_in_the_sources_beside_them() {
    let canary = "| `run`, `Gone`, `Op::name` | `engine/src/a.rs` |\n| `Op::gone` | `engine/src/a.rs` |\n| `other` | no source |\n";
    let texts = |path: &str| (path == "engine/src/a.rs").then(|| "fn run() { Op::name() }".to_owned());
    let expected = ["A.md:1: no source of this row has `Gone`", "A.md:2: no source of this row has `Op::gone`"];
    assert_eq!(missing_names("A.md", canary, texts), expected);

    let text = read("docs/ARCHITECTURE.md").expect("docs/ARCHITECTURE.md is there");
    let missing = missing_names("docs/ARCHITECTURE.md", &text, sources);
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// What stands in a document until somebody writes what belongs there.
const PLACEHOLDERS: [&str; 5] = ["SAMPLE-OUTPUT", "NAME:", "TODO", "FIXME", "TBD"];

fn placeholders(document: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let found =
        lines.flat_map(|(at, line)| PLACEHOLDERS.iter().filter(|one| line.contains(**one)).map(move |one| (at, one)));
    found.map(|(at, one)| format!("{document}:{}: {one}", at + 1)).collect()
}

#[test]
fn documents_are_finished() {
    assert_eq!(placeholders("A.md", "# a\nTODO: b\n"), ["A.md:2: TODO"]);
    let found: Vec<_> = documents().iter().flat_map(|file| placeholders(&file.path, &file.text())).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Complaints about the rows of docs/REQUIREMENTS.md: `| R1 | what | shown by |`. A row names tests (`path::name`) or
/// scripts (`path`), or says that it is open; open and shown in part is fine.
fn unshown(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut ids = BTreeSet::new();
    for row in split(text).1.lines().filter(|line| line.starts_with("| R") && !line.starts_with("| Requirement")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (id, shown) = (cells[0], cells.last().copied().unwrap_or_default());
        if cells.len() != 3 || !ids.insert(id.to_owned()) {
            complaints.push(format!("{id}: three cells and a number of its own, please"));
        }
        let mut named = 0;
        for span in code_spans(shown) {
            named += 1;
            let (path, test) = span.split_once("::").map_or((span, None), |(path, test)| (path, Some(test)));
            let is_there = read(path).is_some_and(|source| test.is_none_or(|test| has_test(&source, test)));
            if !is_there {
                complaints.push(format!("{id}: there is no `{span}`"));
            }
        }
        if named == 0 && !shown.contains("open (") {
            complaints.push(format!("{id}: names no test and isn't open"));
        }
    }
    if ids.is_empty() {
        complaints.push("no requirements".to_owned());
    }
    complaints
}

/// Whether a source has a test function of that name. A last part behind `::` is the function, the rest are modules.
fn has_test(source: &str, test: &str) -> bool {
    let name = test.rsplit("::").next().unwrap_or(test);
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let is_it = line.strip_prefix("fn ").is_some_and(|rest| rest.starts_with(&format!("{name}(")));
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with('#'));
        is_it && attributes.into_iter().any(|line| line.starts_with("#[test]"))
    })
}

#[test]
fn every_requirement_is_shown_or_open() {
    let source = |path: &str| (path == "a.rs").then(|| "#[test]\nfn b() {}\nfn c() {}\n".to_owned());
    let canary = "| R1 | x | `a.rs::b` |\n| R2 | x | `a.rs::c` |\n| R3 | x | open (issue 4) |\n| R3 | x | |\n| R4 | x | `d.rs` |\n";
    let complaints = unshown(canary, source);
    let expected = [
        "R2: there is no `a.rs::c`",
        "R3: three cells and a number of its own, please",
        "R3: names no test and isn't open",
        "R4: there is no `d.rs`",
    ];
    assert_eq!(complaints, expected);
    assert_eq!(unshown("", source), ["no requirements"]);

    let text = read("docs/REQUIREMENTS.md").expect("docs/REQUIREMENTS.md is there");
    let complaints = unshown(&text, read);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
