//! Who listens to what the engine tells may listen on one thread alone. So each thread that the engine starts, or hands work to, tells the
//! listener of the thread that asked for it, or tells nothing. This rule finds threads of which that isn't so.

use crate::code::{self, Code, Source};
use crate::dependencies::targets;
use crate::modules::Crate;
use crate::tree;

/// Files that start threads or enter a pool, and why what happens there is heard.
const STARTERS: [(&str, &str); 7] = [
    ("engine/core/src/threads.rs", "it passes the listener on"),
    ("engine/cli/src/interrupt.rs", "the command line's listener is that of the whole process"),
    ("engine/files/src/progress.rs", "the thread calls the program's own function, and tells nothing else"),
    ("engine/files/src/unfinished.rs", "the thread removes files, and tells nothing"),
    ("engine/inference/src/crew.rs", "the thread that asked for a job tells what came of it"),
    ("engine/inference/src/watchdog.rs", "the thread ends runs, and tells nothing"),
    ("engine/wasm/src/stack.rs", "what the pool is asked measures the stack, and tells nothing"),
];

/// The threads that a source starts, or hands work to.
fn started(path: &str, code: &Code) -> Vec<String> {
    let paths = ["thread::Builder", "thread::spawn", "thread::scope"];
    let paths = code.paths.iter().filter(|named| paths.iter().any(|way| named.name.contains(way)));
    let paths = paths.map(|named| (named.line, named.name.clone()));
    let methods =
        code.methods.iter().filter(|call| call.name == "install").map(|call| (call.line, "install".to_owned()));
    paths.chain(methods).map(|(line, way)| format!("{path}:{line}: `{way}`: who listens wouldn't be told")).collect()
}

/// Those of which nobody said why they are heard.
fn unheard(path: &str, code: &Code) -> Vec<String> {
    if STARTERS.iter().any(|(starter, _)| *starter == path) { Vec::new() } else { started(path, code) }
}

#[test]
fn every_thread_tells_the_listener_of_who_started_it() {
    let of = |text: &str| unheard("engine/core/src/a.rs", &Code::without_tests(&syn::parse_file(text).unwrap())).len();
    for canary in [
        "fn f() { std::thread::spawn(|| {}); }",
        "use std::thread;\nfn f() { thread::Builder::new(); }",
        "use std::thread::{Builder, sleep};",
        "fn f(pool: &rayon::ThreadPool) { pool.install(|| {}) }",
        "fn f() { std::thread::scope(|scope| ()) }",
    ] {
        assert_eq!(of(canary), 1, "{canary}");
    }
    assert_eq!(of("fn f() { std::thread::sleep(S); on_pool(&pool, || {}); }"), 0);

    let mut sources: Vec<&Source> = Vec::new();
    for target in targets().iter().filter(|target| target.root_file.starts_with("engine/")) {
        let krate = Crate::load(&tree::root(), &target.root_file);
        let own = krate.sources.iter().enumerate().filter(|(file, _)| !krate.is_test(*file));
        let paths: Vec<&String> = own.map(|(_, file)| &file.path).collect();
        sources.extend(code::sources().iter().filter(|source| paths.contains(&&source.path)));
    }
    assert!(sources.len() > 100, "they are read");
    let found: Vec<String> = sources.iter().flat_map(|source| unheard(&source.path, &source.without_tests)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    for (starter, why) in STARTERS {
        let starts = |source: &&Source| source.path == starter && !started(starter, &source.without_tests).is_empty();
        assert!(!why.is_empty() && sources.iter().any(starts), "{starter} starts no thread");
    }
    // Below the core, a file that starts threads emits nothing at all.
    let events = ["info", "warn", "debug", "trace", "error"];
    let tells = |code: &Code| code.macros.iter().any(|named| events.iter().any(|event| named.ends_with(event)));
    assert!(tells(&Code::of(&syn::parse_file("fn f() { tracing::info!(\"x\"); }").unwrap())));
    for source in sources.iter().filter(|source| STARTERS[2..].iter().any(|(starter, _)| *starter == source.path)) {
        assert!(!tells(&source.without_tests), "{} emits events", source.path);
    }
}
