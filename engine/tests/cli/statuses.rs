//! Exit statuses: a table of what happens to whom, against what `docs/CLI.md` says of each number. Signals have tests of their own, in `signals`.

#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{RING, counting_module, path, root, stderr, wasm_engine};

/// What agents do that end by a fault in frame 3: each step but the third is a good one.
const DYING: &str = "(if (i32.eq (global.get $n) (i32.const 3)) (then unreachable))";

fn prepare(folder: &Path) {
    fs::write(folder.join("dying.wasm"), counting_module(DYING)).unwrap();
    let text = "frames = 6\nmodules.a.path = \"dying.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 3\n\
                on_fault = \"terminate\"\n";
    fs::write(folder.join("died.toml"), text).unwrap();
    let expect = "[[expect]]\ngroup = \"g\"\ncount = \"agents\"\nat_least = 1\n";
    fs::write(folder.join("expected.toml"), format!("{text}{expect}")).unwrap();
    fs::write(folder.join("bad.toml"), text.replace("frames", "farmes")).unwrap();
    fs::write(folder.join("trash.wasm"), "no module").unwrap();
    fs::write(folder.join("module.toml"), text.replace("dying", "trash")).unwrap();
    fs::write(folder.join("trash.onnx"), "no model").unwrap();
    fs::write(folder.join("late.jsonl"), "{\"frame\":1,\"to\":\"g/0\"}\n{\"frame\":0,\"to\":\"g/0\"}\n").unwrap();
    fs::create_dir(folder.join("no-run")).unwrap();
    fs::write(folder.join("no-run/mine.txt"), "mine").unwrap();
    let ring = path(RING);
    for (out, seed) in [("one", "1"), ("same", "1"), ("other", "2")] {
        let args = ["run", &ring, "--set", "agents=8", "--frames", "12", "--seed", seed, "--out", out];
        assert_eq!(status(folder, &args).0, 0, "{out}");
    }
}

/// A command's status, and what it said.
fn status(folder: &Path, args: &[&str]) -> (i32, String) {
    let output = wasm_engine(folder).args(args).output().unwrap();
    (output.status.code().unwrap(), stderr(&output).to_owned())
}

#[test]
fn a_run_whose_agents_all_died_is_done_and_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("dying.wasm"), counting_module(DYING)).unwrap();
    fs::write(folder.join("living.wasm"), counting_module("")).unwrap();
    let group = |name: &str, module: &str| {
        format!("[[groups]]\nname = \"{name}\"\nmodule = \"{module}\"\nagents = 3\non_fault = \"terminate\"\n")
    };
    let dying: String = (0..12).map(|at| group(&format!("d{at}"), "dying")).collect();
    let text = format!(
        "frames = 6\nmodules.dying.path = \"dying.wasm\"\nmodules.living.path = \"living.wasm\"\n{}{dying}",
        group("living", "living")
    );
    fs::write(folder.join("s.toml"), text).unwrap();
    let (code, told) = status(folder, &["run", "s.toml", "--quiet", "--out", "run"]);
    assert_eq!(code, 0, "nothing is expected of them");
    let first = "warning: no agent of group `d0` is left; the first that faulted: d0/0 ended in frame 3: ";
    assert!(told.starts_with(first) && told.lines().count() == 11, "{told}");
    assert!(told.ends_with("\nwarning: nor is one of 2 more groups; the summary has all\n"), "{told}");
}

#[test]
fn every_way_to_end_has_the_status_that_the_documents_say() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let ring = path(RING);
    let of_strings = path("engine/tests/models/string.onnx");
    let cases: [(i32, &str, &[&str]); 30] = [
        (0, "a run that does what is expected", &["run", &ring, "--out", "ring"]),
        (0, "a run whose agents all died, where nothing is expected of them", &["run", "died.toml", "--out", "died"]),
        (0, "a replay that is identical", &["replay", "one"]),
        (0, "two runs that are the same", &["diff", "one", "same"]),
        (0, "a run that is looked at", &["inspect", "one", "--at", "5"]),
        (0, "a branch", &["branch", "one", "--at", "5", "--out", "branch"]),
        (0, "a run that is complete and goes on", &["resume", "one"]),
        (0, "help", &["run", "--help"]),
        (0, "the version", &["--version"]),
        (0, "this machine", &["doctor"]),
        (
            1,
            "a run whose agents all died, where it is expected that they live",
            &["run", "expected.toml", "--out", "expected"],
        ),
        (0, "a run that is complete is left as it is, whatever it came to", &["resume", "expected"]),
        (1, "two runs that aren't the same", &["diff", "one", "other"]),
        (2, "no command", &[]),
        (2, "an option that isn't there", &["run", &ring, "--no-such-option"]),
        (2, "a scenario that isn't there", &["run", "no.toml"]),
        (2, "a scenario with a key that isn't there", &["run", "bad.toml"]),
        (2, "a parameter that isn't there", &["run", &ring, "--set", "no=1"]),
        (2, "a module that is none", &["run", "module.toml"]),
        (2, "a model that is none", &["model", "check", "trash.onnx"]),
        (2, "a model that can't be used", &["model", "check", &of_strings]),
        (2, "events out of order", &["run", "died.toml", "--input", "late.jsonl"]),
        (2, "a folder for results that holds something else", &["run", &ring, "--out", "no-run"]),
        (2, "a folder that isn't a run", &["replay", "no-run"]),
        (2, "a run that isn't there", &["resume", "no"]),
        (2, "a frame that the run doesn't have", &["inspect", "one", "--at", "500"]),
        (2, "an agent that the run doesn't have", &["inspect", "one", "--agent", "ring/900"]),
        (2, "a branch at a frame that the run doesn't have", &["branch", "one", "--at", "500", "--out", "late"]),
        (2, "less than the run's copies take", &["run", &ring, "--out", "copies", "--disk-max", "20kB"]),
        (3, "more than the folder may have", &["run", &ring, "--out", "full", "--disk-max", "100kB"]),
    ];
    for (expected, what, args) in cases {
        let (found, said) = status(folder, args);
        assert_eq!(found, expected, "{what}: {args:?}: {said}");
        // Whoever is told that something is wrong is told what.
        let is_told = match expected {
            0 => !said.contains("error: "),
            2 if args.is_empty() => said.contains("Usage: "),
            2 | 3 => said.contains("error: "),
            _ => true,
        };
        assert!(is_told, "{what}: {args:?}: {said}");
    }
    machine(folder);
    library(folder);
    // A replay of what isn't as it was run: one byte of the recorded scenario's seed.
    let manifest = folder.join("same/manifest.toml");
    fs::write(&manifest, fs::read_to_string(&manifest).unwrap() + "#").unwrap();
    assert_eq!(status(folder, &["replay", "same"]).0, 2, "a manifest that was changed");
}

/// A library that the user names, and that is none, is bad input: the machine may have another one, which isn't taken in its place.
fn library(folder: &Path) {
    let model = path("engine/tests/models/gemm.onnx");
    let text = fs::read_to_string(folder.join("died.toml")).unwrap();
    fs::write(folder.join("model.toml"), format!("models.m.path = '{model}'\n{text}")).unwrap();
    for (library, told) in [("/no/such/library.so", "doesn't exist"), ("trash.onnx", "can't be loaded as ONNX Runtime")]
    {
        for args in [&["model", "check", &model][..], &["run", "model.toml", "--out", "model"]] {
            let mut command = wasm_engine(folder);
            let output = command.args(args).env("ORT_DYLIB_PATH", library).output().unwrap();
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{library}: {said}");
            assert!(
                said.contains("error: ") && said.contains("ORT_DYLIB_PATH") && said.contains(told),
                "{library}: {said}"
            );
            assert!(!folder.join("model").exists());
        }
    }
}

/// A disk that is full, wherever the result goes.
fn machine(folder: &Path) {
    let full = || fs::File::options().write(true).open("/dev/full");
    let Ok(stdout) = full() else { return };
    let mut command = wasm_engine(folder);
    let output = command.args(["inspect", "one", "--at", "3"]).stdout(stdout).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    for help in [&["--help"][..], &["--version"], &["run", "--help"], &["help", "run"]] {
        let output = wasm_engine(folder).args(help).stdout(full().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{help:?}: {}", stderr(&output));
    }
    let mut command = Command::new("sh");
    let limited = r#"ulimit -f 16; exec "$0" "$@""#;
    command.current_dir(folder).args([
        "-c",
        limited,
        env!("CARGO_BIN_EXE_wasm-engine"),
        "run",
        &path(RING),
        "--out",
        "limited",
    ]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn the_documents_name_each_status() {
    let text = fs::read_to_string(root().join("docs/CLI.md")).unwrap();
    let table = text.split("## Exit statuses\n\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let first = |line: &str| line.strip_prefix("| ")?.split(" |").next().map(str::to_owned);
    let statuses: Vec<String> = table.lines().filter_map(first).filter(|cell| cell != "status").collect();
    assert_eq!(statuses, ["0", "1", "2", "3", "129, 130, 143"]);
}
