//! No two files of a crate import each other, directly or around others: whoever reads a file then knows that nothing that it imports
//! leads back to it. [`imports`](crate::imports) says what counts as an import.
//!
//! Files that belong together so closely that they can't be read apart may do it all the same, if they lie in one folder and the `//!`
//! of its module says why, in a sentence that begins with [`EXCUSE`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use syn::{Expr, Lit, Meta};

use crate::dependencies::targets;
use crate::imports::{Imports, imports};
use crate::modules::{Crate, Source, split};
use crate::tree;

/// How the sentence of a folder's `//!` begins that allows its files to import each other.
const EXCUSE: &str = "Files here import each other because ";

/// A group of files of which each leads to each other one by imports.
struct Circle {
    files: BTreeSet<usize>,
    /// The shortest way from a file back to itself.
    shortest: Vec<usize>,
}

/// The circles of a crate.
fn circles(imports: &Imports) -> Vec<Circle> {
    let reach: Vec<BTreeSet<usize>> = (0..imports.len()).map(|file| reachable(imports, file)).collect();
    let mut found = Vec::<Circle>::new();
    for file in 0..imports.len() {
        if !reach[file].contains(&file) || found.iter().any(|circle| circle.files.contains(&file)) {
            continue;
        }
        let files: BTreeSet<usize> =
            reach[file].iter().copied().filter(|&other| reach[other].contains(&file)).collect();
        let ways = files.iter().map(|&file| way_back(imports, file));
        let shortest = ways.min_by_key(Vec::len).expect("a circle has files");
        found.push(Circle { files, shortest });
    }
    found
}

/// Files to which the imports of a file lead.
fn reachable(imports: &Imports, from: usize) -> BTreeSet<usize> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        next.extend(imports[file].keys().copied().filter(|&other| found.insert(other)));
    }
    found
}

/// The shortest way from a file of a circle back to itself: the files on it, the first one once.
fn way_back(imports: &Imports, from: usize) -> Vec<usize> {
    let (mut before, mut next) = (BTreeMap::new(), VecDeque::from([from]));
    while let Some(file) = next.pop_front() {
        for &other in imports[file].keys() {
            if other == from {
                let way = std::iter::successors(Some(file), |file| before.get(file).copied());
                let mut way: Vec<usize> = way.collect();
                way.reverse();
                return way;
            }
            if let Entry::Vacant(place) = before.entry(other) {
                place.insert(file);
                next.push_back(other);
            }
        }
    }
    unreachable!("the file is in a circle")
}

/// The folder in which the children of a file's module lie.
fn folder_of_children(path: &str) -> String {
    let (folder, name) = split(path);
    match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        name => format!("{folder}/{}", name.trim_end_matches(".rs")),
    }
}

/// What the `//!` of a file says, on one line.
fn inner_docs(source: &Source) -> String {
    let docs = source.syntax.attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(value) => match &value.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    docs.collect::<Vec<_>>().join(" ")
}

/// The file whose `//!` allows a circle.
fn excuse(krate: &Crate, circle: &Circle) -> Option<usize> {
    let excuses = |source: &Source| {
        let docs = inner_docs(source);
        let reason = docs.split_once(EXCUSE).map(|(_, reason)| reason.trim());
        reason.is_some_and(|reason| reason.split(' ').count() >= 3)
    };
    let holds = |file: usize| {
        let folder = folder_of_children(&krate.sources[file].path);
        circle.files.iter().all(|&other| other == file || split(&krate.sources[other].path).0 == folder)
    };
    (0..krate.sources.len()).find(|&file| excuses(&krate.sources[file]) && holds(file))
}

/// What is wrong with the imports of a crate.
struct Report {
    /// Circles without an excuse, and the files in them.
    circles: usize,
    files: usize,
    /// Each of them, file by file.
    text: String,
    /// Excuses that excuse nothing.
    unneeded: Vec<String>,
}

fn report(krate: &Crate) -> Report {
    let imports = imports(krate);
    let path = |file: usize| &krate.sources[file].path;
    let mut report = Report { circles: 0, files: 0, text: String::new(), unneeded: Vec::new() };
    let mut needed = BTreeSet::new();
    for circle in circles(&imports) {
        if let Some(file) = excuse(krate, &circle) {
            needed.insert(file);
            continue;
        }
        report.circles += 1;
        report.files += circle.files.len();
        let _ = writeln!(report.text, "{} files import each other; the shortest circle:", circle.files.len());
        for (at, &from) in circle.shortest.iter().enumerate() {
            let to = circle.shortest[(at + 1) % circle.shortest.len()];
            let lines: Vec<String> =
                imports[from][&to].iter().take(3).map(|one| format!("{} (line {})", one.path, one.line)).collect();
            let _ = writeln!(report.text, "  {} imports {}: {}", path(from), path(to), lines.join(", "));
        }
        let others: Vec<_> = circle.files.iter().filter(|file| !circle.shortest.contains(file)).collect();
        if !others.is_empty() {
            let others: Vec<_> = others.into_iter().map(|&file| path(file).as_str()).collect();
            let _ = writeln!(report.text, "  and with them {}", others.join(", "));
        }
    }
    let idle = |file: &usize| inner_docs(&krate.sources[*file]).contains(EXCUSE) && !needed.contains(file);
    report.unneeded = (0..krate.sources.len()).filter(idle).map(|file| path(file).clone()).collect();
    report
}

/// Writes files into a temporary folder.
pub fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("the folder can be made");
        std::fs::write(path, text).expect("the file can be written");
    }
    folder
}

fn report_of(files: &[(&str, &str)]) -> Report {
    let folder = folder_with(files);
    report(&Crate::load(folder.path(), "src/lib.rs"))
}

#[test]
fn a_circle_is_found_by_its_shortest_way() {
    let found = report_of(&[
        ("src/lib.rs", "//! Root.\nmod a;\nmod b;\nmod c;\nmod d;\npub use a::A;"),
        ("src/a.rs", "use crate::b::B;\nuse crate::c::C;\npub struct A(B, C);"),
        ("src/b.rs", "pub struct B;\nfn f() { crate::d::g() }"),
        ("src/c.rs", "//! No `use`.\npub struct C;\nfn f() -> Option<u8> { assert!(crate::A::is_long(), \"\"); None }"),
        ("src/d.rs", "pub fn g() { super::c::C; }"),
    ]);
    assert_eq!((found.circles, found.files), (1, 4));
    assert!(found.text.contains("src/a.rs imports src/c.rs: crate::c::C (line 2)"), "{}", found.text);
    assert!(found.text.contains("src/c.rs imports src/a.rs: crate::A::is_long (line 3)"), "{}", found.text);
    assert!(found.text.contains("and with them src/b.rs, src/d.rs"), "{}", found.text);
}

#[test]
fn files_that_only_declare_show_and_test_each_other_are_in_no_circle() {
    let found = report_of(&[
        // It says where A is, and doesn't use it; B, it uses.
        (
            "src/lib.rs",
            "mod a;\nmod b;\npub use crate::a::{A, Kind};\npub use crate::b::*;\nfn f(_: B) {}\npub mod own { pub struct Own; }",
        ),
        (
            "src/a/mod.rs",
            "mod inner;\npub use self::inner::A;\npub enum Kind { One }\npub const N: usize = inner::LENGTH;",
        ),
        (
            "src/a/inner.rs",
            "pub const LENGTH: usize = 1;\npub struct A;\n#[cfg(test)]\nmod tests { use crate::a::Kind; use crate::own::Own; }\n#[cfg(test)]\nfn f() -> crate::Kind { crate::Kind::One }",
        ),
        (
            "src/b.rs",
            "use crate::Kind;\nuse serde;\nuse std::fmt;\npub struct B(Kind);\nimpl fmt::Debug for B { fn f(&self) { let b = 1; b + serde::x(Kind::One) } }",
        ),
    ]);
    assert_eq!((found.circles, found.text.as_str()), (0, ""));
}

#[test]
fn ways_through_globs_blocks_renames_and_macros_are_found() {
    let two =
        |a: &str, b: &str| report_of(&[("src/lib.rs", "mod a;\nmod b;\n"), ("src/a.rs", a), ("src/b.rs", b)]).files;
    let back = "use crate::a::A;\npub struct B(A);\npub mod deep { pub fn g() {} }";
    assert_eq!(two("pub struct A;", back), 0);
    for way in [
        "use super::b::*; fn f(_: B) {}",
        "fn f() { use crate::b; b::deep::g(); }",
        "use crate::b as other; fn f() { other::deep::g() }",
        "use crate::{b::{self}}; fn f() { let x = vec![b::deep::g()]; }",
        "fn f() { println!(\"{}\", crate::b::deep::g()); }",
        "macro_rules! m { ($x:ident) => { $crate::b::deep::$x() } } use crate::b::deep::g;",
        "mod nested { fn f() { super::super::b::deep::g() } }",
        "impl Into<crate::b::B> for A {}",
        "fn f(x: u8) { match x { crate::b::B => {} } }",
    ] {
        assert_eq!(two(&format!("pub struct A;\n{way}"), back), 2, "not found: {way}");
    }
    let by_text = report_of(&[
        ("src/lib.rs", "#[macro_use]\nmod a;\nmod b;"),
        ("src/a.rs", "macro_rules! m { () => {} }\npub struct A;\nfn f() { crate::b::g() }"),
        ("src/b.rs", "pub fn g() { m!() }"),
    ]);
    assert_eq!(by_text.files, 2);
}

#[test]
fn a_folder_that_says_why_may_have_a_circle() {
    let with = |docs: &str, outside: &str| {
        let folder = format!("//! {docs}\nmod c;\nmod d;");
        report_of(&[
            ("src/lib.rs", "mod a;\nmod b;"),
            ("src/a/mod.rs", &folder),
            ("src/a/c.rs", "pub struct C;\nuse super::d::D;"),
            ("src/a/d.rs", &format!("pub struct D;\nuse super::c::C;\n{outside}")),
            ("src/b.rs", "use crate::a::d::D;\npub struct B;"),
        ])
    };
    let reason = format!("Pairs. {EXCUSE}a C can't be\n//! without its D.");
    assert_eq!(with("Pairs.", "").circles, 1);
    assert_eq!(with(&format!("Pairs. {EXCUSE}so."), "").circles, 1, "that is no reason");
    assert_eq!(with(&reason, "").circles, 0);
    let wider = with(&reason, "use crate::b::B;");
    assert_eq!((wider.circles, wider.files), (1, 3), "a reason holds for its folder alone");
    assert_eq!(wider.unneeded, ["src/a/mod.rs"]);
    assert!(with(&reason, "").unneeded.is_empty());
}

#[test]
fn no_two_files_import_each_other() {
    let root = tree::root();
    let mut wrong = String::new();
    let mut read = 0;
    for target in targets() {
        let name = target.name();
        let krate = Crate::load(&root, &target.root_file);
        let report = report(&krate);
        read += krate.sources.len();
        if report.circles > 0 {
            let _ = writeln!(wrong, "{name}: {}", report.text);
        }
        for path in report.unneeded {
            let _ = writeln!(wrong, "{path} excuses a circle that isn't there");
        }
    }
    assert!(read > 300, "only {read} files were read");
    assert!(wrong.is_empty(), "{wrong}");
}
