//! What guests, files and paths hold reaches a person through one file each: text is made harmless in `components/src/text.rs`, and printed by
//! the one module of the command line that takes nothing else. These rules find any other way.

use crate::code::{self, Code, Source};
use crate::dependencies::targets;
use crate::modules::Crate;
use crate::tree;

/// Where text is made harmless: the only file that may turn a path into text for people.
const TEXT: &str = "components/src/text.rs";
/// The only file that writes to standard output and standard error.
const TERMINAL: &str = "engine/cli/src/terminal.rs";
/// What is drawn beside it: a bar is told nothing but what `shown` has looked at.
const PROGRESS: &str = "engine/cli/src/progress.rs";
/// What is said where nothing may wait. It takes what makes lines of itself.
const SIGNALS: &str = "engine/cli/src/signals.rs";
/// Where a panic is told.
const PANICS: &str = "engine/cli/src/panics.rs";
/// Programs are started in these alone, with pipes of their own, or nothing to write to.
const STARTERS: [&str; 2] = ["engine/cli/src/doctor.rs", "engine/inference/src/library/fetch.rs"];

/// Ways to a terminal, by the ends of their paths, and the files that go them. (Clippy refuses the macros that print.)
const PATHS: [(&str, &[&str]); 8] = [
    ("io::stdout", &[TERMINAL]),
    ("io::stderr", &[TERMINAL]),
    ("Term::stdout", &[TERMINAL]),
    ("libc::write", &[SIGNALS]),
    ("set_hook", &[PANICS]),
    ("Stdio::inherit", &[]),
    ("Command::new", &STARTERS),
    ("Path::display", &[TEXT]),
];
/// The same, by methods.
const METHODS: [(&str, &[&str]); 2] = [("display", &[TEXT]), ("set_message", &[PROGRESS])];
/// Crates that draw, and who uses them.
const CRATES: [(&str, &[&str]); 1] = [("indicatif", &[PROGRESS])];

/// The ways to a terminal that a source goes and may not.
fn other_ways(path: &str, code: &Code) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |line: usize, way: &str, files: &[&str]| {
        if !files.contains(&path) {
            found.push(format!("{path}:{line}: `{way}`: only in {files:?}"));
        }
    };
    for named in &code.paths {
        PATHS.iter().filter(|(way, _)| named.ends_with(way)).for_each(|(way, files)| add(named.line, way, files));
        CRATES.iter().filter(|(way, _)| named.is_within(way)).for_each(|(way, files)| add(named.line, way, files));
    }
    for call in &code.methods {
        METHODS.iter().filter(|(way, _)| call.name == *way).for_each(|(way, files)| add(call.line, way, files));
    }
    found
}

fn source(path: &str) -> &'static Source {
    code::sources().iter().find(|source| source.path == path).unwrap_or_else(|| panic!("there is no {path}"))
}

#[test]
fn nothing_is_printed_or_named_but_through_one_file() {
    let code_of = |text: &str| Code::without_tests(&syn::parse_file(text).unwrap());
    let canaries = [
        "fn f(path: &Path) -> String { format!(\"{}\", path.display()) }",
        "use std::io;\nfn f() { io::stdout().write_all(b\"x\"); }",
        "fn f() { let _ = writeln!(std::io::stderr(), \"x\"); }",
        "fn f() { bar.set_message(name); }",
        "fn f() { unsafe { libc::write(2, name, 3) }; }",
        "fn f() { let _ = Command::new(\"ls\").status(); }",
        "fn f() { std::panic::set_hook(hook); }",
        "use indicatif::ProgressBar;",
    ];
    for canary in canaries {
        assert_eq!(other_ways("engine/src/a.rs", &code_of(canary)).len(), 1, "{canary}");
    }
    assert!(
        other_ways(TEXT, &code_of(canaries[0])).is_empty() && other_ways(TERMINAL, &code_of(canaries[1])).is_empty()
    );
    let fine = "// io::stdout\nfn f() { shown_path(path); print(&lines); }\n#[cfg(test)]\nmod tests { fn g() { io::stdout(); } }\n";
    assert!(other_ways("engine/src/a.rs", &code_of(fine)).is_empty());

    let (mut read, mut found) = (0, Vec::new());
    for target in targets().iter().filter(|target| target.package != "wasm-engine-bench") {
        let krate = Crate::load(&tree::root(), &target.root_file);
        for (_, file) in krate.sources.iter().enumerate().filter(|(file, _)| !krate.is_test(*file)) {
            read += 1;
            found.extend(other_ways(&file.path, &source(&file.path).without_tests));
        }
    }
    assert!(read > 100, "only {read} sources");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_files_that_print_are_given_what_is_harmless() {
    let messages = source(PROGRESS).without_tests.methods.iter().filter(|call| call.name == "set_message");
    let messages: Vec<&str> = messages.map(|call| call.argument.as_str()).collect();
    assert_eq!(messages, ["shown", "format"], "messages of bars are shown, or made of numbers");

    // What it makes lines or JSON of itself, and a text of the engine's own.
    let signals = &source(SIGNALS).without_tests;
    let say_now = signals.functions.iter().find(|function| function.name == "say_now").expect("it is there");
    assert_eq!(say_now.parameters, ["str", "Said"]);
    assert_eq!((signals.names("libc::write"), signals.names("write_now")), (1, 2));

    for path in STARTERS {
        let code = &source(path).without_tests;
        assert_eq!((code.names("Command::new"), code.calls("stdout"), code.calls("stderr")), (1, 1, 1), "{path}");
    }
    // What prints takes lines, which let nothing else through, and JSON, which it escapes itself.
    let writes = source(TERMINAL).without_tests.calls("write_all");
    assert_eq!(writes, 2, "{TERMINAL} writes in two places: to standard error and to standard output");
}
