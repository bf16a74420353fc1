//! What guests, files and paths hold reaches a person through one file each: text is made harmless in `components/src/text.rs`, and printed by
//! the one module of the command line that takes nothing else. These rules find any other way.

use crate::mask::{line_of, mask, words};
use crate::tree;

/// Where text is made harmless: the only file that may turn a path into text for people.
const TEXT: &str = "components/src/text.rs";
/// The only file that writes to standard output and standard error.
const TERMINAL: &str = "engine/src/cli/terminal.rs";

/// Code that prints, and why it may not stand anywhere else.
const PRINTS: [&str; 7] = ["println!", "print!", "eprintln!", "eprint!", "io::stdout", "io::stderr", "Term::stdout"];

/// What a source has outside of its tests, masked.
fn code(source: &str) -> String {
    let code = mask(source);
    // A module of tests is the last thing in a file.
    let end = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
    code[..end].to_owned()
}

/// Other ways to a terminal in one source.
fn other_ways(path: &str, source: &str) -> Vec<String> {
    let code = code(source);
    let mut found = Vec::new();
    if path != TEXT {
        for at in words(&code, ".display()") {
            found.push(format!("{path}:{}: `.display()`: say `shown_path` of {TEXT}", line_of(&code, at)));
        }
    }
    if path != TERMINAL {
        for print in PRINTS {
            found.extend(
                words(&code, print)
                    .map(|at| format!("{path}:{}: `{print}`: only {TERMINAL} prints", line_of(&code, at))),
            );
        }
    }
    found
}

/// Whether a source is a test's.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

#[test]
fn nothing_is_printed_or_named_but_through_one_file() {
    let canaries = [
        "fn f(path: &Path) -> String { format!(\"{}\", path.display()) }",
        "fn f() { println!(\"{name}\"); }",
        "fn f() { eprint!(\"{name}\"); }",
        "use std::io;\nfn f() { io::stdout().write_all(b\"x\"); }",
        "fn f() { let _ = writeln!(std::io::stderr(), \"x\"); }",
    ];
    for canary in canaries {
        assert_eq!(other_ways("engine/src/a.rs", canary).len(), 1, "{canary}");
        assert_eq!(other_ways("systems/src/a.rs", canary).len(), 1, "{canary}");
    }
    assert!(other_ways(TEXT, canaries[0]).is_empty() && other_ways(TERMINAL, canaries[3]).is_empty());
    let fine = "// println!\nfn f() { shown_path(path); print(&lines); }\n#[cfg(test)]\nmod tests {\n println!(); }\n";
    assert!(other_ways("engine/src/a.rs", fine).is_empty());

    let rooms = ["components/src/", "components/abi/src/", "systems/src/", "engine/src/"];
    let files = tree::files();
    let sources = files
        .iter()
        .filter(|file| file.is("rs") && !is_test(&file.path) && rooms.iter().any(|room| file.path.starts_with(room)));
    let (mut read, mut found) = (0, Vec::new());
    for file in sources {
        read += 1;
        found.extend(other_ways(&file.path, &file.text()));
    }
    assert!(read > 100, "only {read} sources");
    assert!(found.is_empty(), "{}", found.join("\n"));
    // What prints takes lines, which let nothing else through, and JSON, which it escapes itself.
    let terminal = files.iter().find(|file| file.path == TERMINAL).expect("there is such a file").text();
    let writes = mask(&terminal).matches("write_all(").count();
    assert_eq!(writes, 2, "{TERMINAL} writes in two places: to standard error and to standard output");
}
