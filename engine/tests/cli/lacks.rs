//! What a command says that the machine lacks: the advice fits the cause, and what can't be read isn't called damaged.

#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{RING, engine, path, stderr, wasm_engine};

/// Runs a command with a limit, such as `-n 10`.
fn limited(folder: &Path, limit: &str, args: &[&str]) -> Output {
    let script = format!(r#"ulimit {limit}; exec "$0" "$@""#);
    let mut command = Command::new("sh");
    command.current_dir(folder).args(["-c", &script, env!("CARGO_BIN_EXE_wasm-engine")]).args(args);
    command.env("WASM_ENGINE_CACHE_DIR", folder.join("cache")).output().unwrap()
}

#[test]
fn too_few_open_files_are_the_machines_fault_and_never_damage() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ring = path(RING);
    let args =
        ["run", &ring, "--set", "agents=8", "--frames", "12", "--snapshot-every", "3", "--out", "run", "--quiet"];
    assert!(engine(folder, &args).status.success());
    let commands: [&[&str]; 6] = [
        &["replay", "run"],
        &["replay", "run", "--from", "7"],
        &["inspect", "run", "--at", "7"],
        &["resume", "run", "--frames", "20"],
        &["branch", "run", "--at", "7", "--out", "branch"],
        &["run", &ring, "--frames", "3", "--out", "another"],
    ];
    for args in commands {
        let mut lacked = 0;
        for files in 5..24 {
            let output = limited(folder, &format!("-n {files}"), args);
            let told = stderr(&output);
            match output.status.code() {
                Some(0) => assert!(!told.contains("Too many open files"), "{files}: {args:?}: {told}"),
                Some(3) => {
                    assert!(told.contains("\n  help: raise the limit of open files (`ulimit -n`)"), "{files}: {told}");
                    assert!(!told.contains("damaged"), "{files}: {told}");
                    lacked += 1;
                }
                // The loader of the program itself, or the shell, had too few.
                _ => assert!(!told.contains("error: "), "{files}: {args:?}: {told}"),
            }
            for out in ["branch", "another"] {
                let _ = fs::remove_dir_all(folder.join(out));
            }
        }
        assert!(lacked > 0, "{args:?}");
    }
}

#[test]
fn a_file_in_the_place_of_a_folder_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("file"), "").unwrap();
    let run = |cache: &str, out: &str| {
        let mut command = wasm_engine(folder);
        command.env("WASM_ENGINE_CACHE_DIR", folder.join(cache));
        command.args(["run", &path(RING), "--frames", "3", "--quiet", "--out", out]).output().unwrap()
    };
    for cache in ["file", "file/below"] {
        let output = run(cache, "out");
        let told = stderr(&output);
        assert!(output.status.success(), "{told}");
        let named = told.contains("file is no folder: move it away, or name another folder");
        assert!(named && told.starts_with("warning: compiled modules aren't kept"), "{told}");
        fs::remove_dir_all(folder.join("out")).unwrap();
    }
    fs::create_dir(folder.join("here")).unwrap();
    fs::write(folder.join("here/runs"), "").unwrap();
    let mut command = wasm_engine(&folder.join("here"));
    let output = command.args(["run", &path(RING), "--frames", "3", "--quiet"]).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("runs is no folder: move it away, or name another folder"), "{told}");
}
