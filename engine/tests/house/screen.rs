//! What guests, files and paths hold reaches a person through one file each: text is made harmless in `components/src/text.rs`, and printed by
//! the one module of the command line that takes nothing else. These rules find any other way.

use crate::mask::{line_of, mask, words};
use crate::tree;

/// Where text is made harmless: the only file that may turn a path into text for people.
const TEXT: &str = "components/src/text.rs";
/// The only file that writes to standard output and standard error.
const TERMINAL: &str = "engine/src/cli/terminal.rs";

/// Code that prints and may not stand anywhere else; `dbg!` may stand nowhere.
const PRINTS: [&str; 8] =
    ["println!", "print!", "eprintln!", "eprint!", "dbg!", "io::stdout", "io::stderr", "Term::stdout"];
/// Other ways to a terminal, and the files that go them.
const WAYS: [(&str, &str); 6] = [
    // It draws what it is told, and is told nothing but what `shown` has looked at.
    ("indicatif", "engine/src/cli/progress.rs"),
    ("set_message", "engine/src/cli/progress.rs"),
    // Where nothing may wait. It takes `Lines`.
    ("libc::write", "engine/src/cli/signals.rs"),
    ("set_hook", "engine/src/cli/panics.rs"),
    // A program that is started writes where this one does, unless it is told otherwise.
    ("Stdio::inherit", "nowhere"),
    ("Command::new", "engine/src/cli/doctor.rs engine/src/inference/library/fetch.rs"),
];

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
    for (way, files) in WAYS.iter().filter(|(_, files)| !files.split(' ').any(|file| file == path)) {
        found.extend(words(&code, way).map(|at| format!("{path}:{}: `{way}`: only in {files}", line_of(&code, at))));
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
        "fn f() { dbg!(name); }",
        "fn f() { bar.set_message(name); }",
        "fn f() { unsafe { libc::write(2, name, 3) }; }",
        "fn f() { let _ = Command::new(\"ls\").status(); }",
        "fn f() { std::panic::set_hook(hook); }",
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
    let of = |path: &str| files.iter().find(|file| file.path == path).expect("there is such a file").text();
    let progress = code(&of("engine/src/cli/progress.rs"));
    let messages = progress.matches("set_message(").count();
    let harmless = progress.matches("set_message(shown(").count() + progress.matches("set_message(format!(").count();
    assert_eq!((messages, harmless), (2, 2), "messages of bars are shown, or made of numbers");
    let signals = code(&of("engine/src/cli/signals.rs"));
    let count = |what: &str| signals.matches(what).count();
    // Of lines, and of one text of the engine's own.
    assert!(signals.contains("fn say_now(lines: &Lines) {\n    write_now(lines.as_str());"));
    assert_eq!((count("libc::write"), count("write_now(lines.as_str())"), count("    write_now(")), (1, 1, 2));
    // What is started has pipes of its own, or nothing to write to.
    for path in ["engine/src/cli/doctor.rs", "engine/src/inference/library/fetch.rs"] {
        let code = code(&of(path));
        let count = |what: &str| code.matches(what).count();
        assert_eq!((count("Command::new"), count(".stdout(Stdio::"), count(".stderr(Stdio::")), (1, 1, 1), "{path}");
    }
    // What prints takes lines, which let nothing else through, and JSON, which it escapes itself.
    let terminal = files.iter().find(|file| file.path == TERMINAL).expect("there is such a file").text();
    let writes = mask(&terminal).matches("write_all(").count();
    assert_eq!(writes, 2, "{TERMINAL} writes in two places: to standard error and to standard output");
}
