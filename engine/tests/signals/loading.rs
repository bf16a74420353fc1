//! Signals before there is a first frame: modules are compiled, a model is tried, ONNX Runtime is fetched, a lock is waited for.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::{pipe, root, stderr, wasm_engine};
use crate::process::{signalled, start, start_of, temporaries, wait_until};

const NOTHING: &str = "ended before the first frame: nothing was run\n";

/// A module that takes a while to be compiled, though no function of it is large. Each number gives another one.
fn heavy_module(number: u32) -> Vec<u8> {
    let mut text = String::from(
        r#"(module
  (memory (export "memory") 1)
  (global (export "agent_exchange") i32 (i32.const 1024))
  (data (i32.const 1024) "WAGT\01\00\00\00\80\00\00\00\00\01\00\00\00\02\00\00\00\01\00\00")
  (func (export "agent_init") (param i32) (result i32) i32.const 0)
  (func (export "agent_step") (param i32) (result i32) i32.const 0)"#,
    );
    for function in 0..200 {
        let _ = write!(text, "\n  (func (param $x i64) (result i64) (local.get $x)");
        for at in 0..100 {
            let _ = write!(text, "(i64.const {}) (i64.xor) (local.get $x) (i64.mul)", at * 7_919 + function + number);
        }
        text.push(')');
    }
    wat::parse_str(text + ")").unwrap()
}

#[test]
fn modules_that_are_being_compiled_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut scenario = String::from("frames = 2\n");
    for number in 0..24 {
        fs::write(folder.join(format!("m{number}.wasm")), heavy_module(number)).unwrap();
        let _ = writeln!(scenario, "modules.m{number}.path = \"m{number}.wasm\"");
    }
    for number in 0..24 {
        let _ = writeln!(scenario, "[[groups]]\nname = \"g{number}\"\nmodule = \"m{number}\"\nagents = 1");
    }
    fs::write(folder.join("s.toml"), scenario).unwrap();
    for (number, delay_ms) in [(libc::SIGINT, 150), (libc::SIGTERM, 600)] {
        let mut command = wasm_engine(folder);
        command.env("WASM_ENGINE_CACHE_DIR", folder.join("cache")).args(["run", "s.toml", "--out", "out"]);
        let mut child = start_of(&mut command);
        std::thread::sleep(Duration::from_millis(delay_ms));
        assert!(child.try_wait().unwrap().is_none(), "it takes longer");
        let (output, took) = signalled(child, number);
        println!("ended after {took:?}");
        assert_eq!((output.status.code(), stderr(&output)), (Some(128 + number), NOTHING));
        assert!(!folder.join("out").exists());
    }
}

/// The cache has whole files and no others, though the signal comes while one is written.
#[test]
fn files_of_the_cache_that_are_being_written_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut scenario = String::from("frames = 2\n");
    for number in 0..12 {
        fs::write(folder.join(format!("m{number}.wasm")), heavy_module(number)).unwrap();
        let _ = writeln!(scenario, "modules.m{number}.path = \"m{number}.wasm\"");
    }
    for number in 0..12 {
        let _ = writeln!(scenario, "[[groups]]\nname = \"g{number}\"\nmodule = \"m{number}\"\nagents = 1");
    }
    fs::write(folder.join("s.toml"), scenario).unwrap();
    let new_files = |cache: &Path| walk(cache).into_iter().filter(|path| path.contains("/.new-")).collect::<Vec<_>>();
    let mut caught = 0;
    for turn in 0..12 {
        if caught == 3 {
            break;
        }
        let cache = folder.join(format!("cache-{turn}"));
        let mut command = wasm_engine(folder);
        command.env("WASM_ENGINE_CACHE_DIR", &cache).args(["run", "s.toml", "--out", "out"]);
        let mut child = start_of(&mut command);
        // Without a pause: such a file is there for a few milliseconds.
        while child.try_wait().unwrap().is_none() && new_files(&cache).is_empty() {}
        if child.try_wait().unwrap().is_some() {
            fs::remove_dir_all(folder.join("out")).unwrap();
            continue;
        }
        let (output, _) = signalled(child, libc::SIGTERM);
        assert_eq!((output.status.code(), stderr(&output)), (Some(143), NOTHING));
        assert_eq!(new_files(&cache), [""; 0]);
        caught += 1;
    }
    assert!(caught > 0, "no file was seen while it was written");
}

/// A scenario of a ring with a model.
fn with_model(folder: &Path, model: &Path) {
    fs::copy(root().join("agents/samples/wasm/ring.wasm"), folder.join("ring.wasm")).unwrap();
    fs::copy(model, folder.join("m.onnx")).unwrap();
    let text = "frames = 2\nmodules.ring.path = \"ring.wasm\"\nmodels.m.path = \"m.onnx\"\n[[groups]]\nname = \"ring\"\n\
                module = \"ring\"\nagents = 4\nparams = { agents = 4, tokens = 4, audit_every = 5 }\n";
    fs::write(folder.join("s.toml"), text).unwrap();
}

/// Programs that were started end, too, with what they have started; and what they have fetched so far goes.
#[test]
#[cfg(target_os = "linux")]
fn a_download_is_ended_with_all_its_processes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    with_model(folder, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/gemm.onnx"));
    let (bin, cache) = (folder.join("bin"), folder.join("cache"));
    fs::create_dir(&bin).unwrap();
    // As pip does, it works in another process of its own.
    slow_program(&bin.join("python3"), &bin.join("pid"));
    let mut command = wasm_engine(folder);
    command.env("WASM_ENGINE_CACHE_DIR", &cache).env_remove("ORT_DYLIB_PATH");
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).args(["run", "s.toml", "--out", "out"]);
    let mut child = start_of(&mut command);
    assert!(wait_until(&mut child, || !said(&bin.join("pid")).is_empty()));
    let (output, took) = signalled(child, libc::SIGINT);
    println!("ended after {took:?}");
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_ended(&said(&bin.join("pid")));
    let left = walk(&cache).into_iter().filter(|name| name.contains(".fetch-")).collect::<Vec<_>>();
    assert_eq!(left, [""; 0]);
}

/// The programs that `doctor` asks end with it.
#[test]
#[cfg(target_os = "linux")]
fn what_doctor_asks_is_ended_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // One after the other: pip, then the compiler.
    for slow in ["python3", "rustc"] {
        let (bin, pid) = (folder.join(slow), folder.join(format!("{slow}.pid")));
        fs::create_dir(&bin).unwrap();
        slow_program(&bin.join(slow), &pid);
        let mut command = wasm_engine(folder);
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("RUSTC", "rustc").arg("doctor");
        let mut child = start_of(&mut command);
        assert!(wait_until(&mut child, || !said(&pid).is_empty()), "{slow}");
        let (output, took) = signalled(child, libc::SIGTERM);
        println!("{slow}: ended after {took:?}");
        assert_eq!((output.status.code(), stderr(&output)), (Some(143), "ended before there was a result\n"));
        assert_ended(&said(&pid));
    }
}

/// A program that starts another one, says its number in a file, and waits for it.
fn slow_program(path: &Path, pid: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    let script = format!("#!/bin/sh\necho half > half.whl\nsleep 600 &\necho $! > {}\nwait\n", pid.display());
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn said(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

/// A process ends soon, though nobody may have waited for it yet.
fn assert_ended(pid: &str) {
    let is_there = || {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that has ended, and that nobody has waited for yet, is a zombie.
        !status.is_empty() && !status.contains(") Z ")
    };
    for _ in 0..400 {
        if !is_there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the process that it started goes on");
}

/// The paths under a folder.
fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

/// Nobody writes into the pipe: the run waits for its events, and no frame begins.
#[test]
fn a_run_that_waits_for_a_pipe_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    with_model(folder, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/gemm.onnx"));
    let text = fs::read_to_string(folder.join("s.toml")).unwrap().replace("models.m.path = \"m.onnx\"\n", "");
    fs::write(folder.join("s.toml"), text).unwrap();
    pipe(&folder.join("events"));
    let mut child = start(folder, &["run", "s.toml", "--input", "events", "--out", "out"]);
    assert!(wait_until(&mut child, || folder.join("out/manifest.toml").exists()));
    std::thread::sleep(Duration::from_millis(100));
    let (output, _) = signalled(child, libc::SIGTERM);
    assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
    assert!(folder.join("out/summary.json").exists(), "it ends in order");
    assert_eq!(temporaries(&folder.join("out")), [""; 0]);
}
