//! Starts that die: by a kill, a full disk, a limit. What is left of them is taken over, and help never names what then refuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{POSTROOM, RING, engine, path, stderr, told, wasm_engine};
use crate::process::slow_scenario;

/// A command with a limit on the size of files, in blocks of 512 bytes: a disk that is full after so many.
fn limited(folder: &Path, blocks: u32, args: &[&str]) -> Output {
    let script = format!(r#"ulimit -f {blocks}; exec "$0" "$@""#);
    let mut command = Command::new("sh");
    command.current_dir(folder).args(["-c", &script, env!("CARGO_BIN_EXE_wasm-engine")]).args(args);
    command.output().unwrap()
}

#[test]
fn help_after_a_full_disk_names_a_command_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut never, mut later) = (0, 0);
    for blocks in [1, 8, 32, 64, 128, 256] {
        let out = format!("run-{blocks}");
        let args = ["run", &path(RING), "--frames", "400", "--out", &out, "--quiet"];
        let output = limited(folder, blocks, &args);
        let said = stderr(&output);
        if output.status.success() {
            continue;
        }
        assert_eq!(output.status.code(), Some(3), "{blocks}: {said}");
        assert!(said.contains("  help: ") && !said.contains("panicked"), "{blocks}: {said}");
        if said.contains("resume") {
            later += 1;
            assert_eq!(told(&engine(folder, &["resume", &out, "--summary", "json"]))["frames"], 400);
        } else {
            never += 1;
            assert!(said.contains("nothing was run"), "{blocks}: {said}");
            assert!(!folder.join(&out).exists(), "{blocks}: nothing is left");
            assert!(engine(folder, &args).status.success());
        }
    }
    assert!(never > 0 && later > 0, "{never} {later}");
    // The case that was found.
    let output = limited(folder, 8, &["run", &path(POSTROOM), "--frames", "1", "--out", "post"]);
    assert!(output.status.success() || !stderr(&output).contains("resume"), "{}", stderr(&output));
    // Without a recording there is nothing to resume.
    let output = limited(folder, 64, &["run", &path(RING), "--frames", "400", "--out", "unrecorded", "--no-record"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("run it again") && !stderr(&output).contains("resume"), "{}", stderr(&output));
}

#[test]
fn what_a_dead_start_has_left_is_taken_over_by_the_same_command_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ring = path(RING);
    let args = ["run", &ring, "--frames", "20", "--out", "run", "--summary", "json"];
    let whole = told(&engine(folder, &args))["digest"].clone();
    // What a kill before the manifest leaves: all but that, and the mark.
    let run = folder.join("run");
    fs::remove_file(run.join("manifest.toml")).unwrap();
    fs::remove_file(run.join("summary.json")).unwrap();
    let refused = engine(folder, &args);
    assert_eq!(refused.status.code(), Some(2), "without the mark, it may be anybody's");
    let mark = "A run directory is being made here. The next run that is given this folder takes it over.\n";
    fs::write(run.join(".starting"), mark).unwrap();
    let refused = engine(folder, &["resume", "run"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("give the command that was to make it once more"), "{}", stderr(&refused));
    // With something in it that no start makes, it stays as it is.
    fs::write(run.join("mine.txt"), "mine").unwrap();
    assert_eq!(engine(folder, &args).status.code(), Some(2));
    assert_eq!(fs::read_to_string(run.join("mine.txt")).unwrap(), "mine");
    fs::remove_file(run.join("mine.txt")).unwrap();
    assert_eq!(told(&engine(folder, &args))["digest"], whole);
    assert!(!run.join(".starting").exists());
    assert_eq!(engine(folder, &["replay", "run"]).status.code(), Some(0));
}

/// The command `engine` in a folder, for another user, who may have so many threads.
#[cfg(target_os = "linux")]
fn with_threads(folder: &Path, threads: u32) -> Command {
    let nproc = format!("--nproc={threads}");
    let mut command = Command::new("setpriv");
    command.current_dir(folder);
    command.args(["--reuid=54321", "--regid=54321", "--clear-groups", "prlimit", &nproc, "./engine"]);
    command.env("WASM_ENGINE_CACHE_DIR", folder.join("cache")).stdin(std::process::Stdio::null());
    command
}

/// Without the thread that ends what models do, they would have no limits of time: they aren't loaded then.
#[test]
#[cfg(target_os = "linux")]
fn models_are_not_loaded_where_nobody_could_end_them() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_wasm-engine"), folder.join("engine")).unwrap();
    fs::copy(path("engine/tests/models/gemm.onnx"), folder.join("m.onnx")).unwrap();
    let told = "the thread that ends what models do when it takes too long can't be started";
    let (mut refused, mut later) = (0, 0);
    for threads in 1..=8 {
        let mut command = with_threads(folder, threads);
        // Who gets past the thread finds no library, and doesn't fetch one.
        command.args(["model", "check", "m.onnx"]).env("ORT_DYLIB_PATH", "/no/such/library.so");
        let Ok(output) = command.output() else { return };
        let said = stderr(&output);
        if said.starts_with("setpriv") || said.starts_with("prlimit") {
            println!("no other user to be had here: {said}");
            return;
        }
        let code = output.status.code();
        if said.contains(told) {
            assert_eq!(code, Some(3), "{threads}: {said}");
            assert!(said.contains("raise the limit of threads and processes (`ulimit -u`)"), "{said}");
            refused += 1;
        } else {
            assert!(matches!(code, Some(2 | 3)) && said.contains("error: "), "{threads}: {code:?}: {said}");
            later += u32::from(code == Some(2));
        }
    }
    assert!(refused > 0 && later > 0, "{refused} {later}");
}

/// A process that may start no more threads is told so, at whichever thread it is.
#[test]
#[cfg(target_os = "linux")]
fn threads_that_cannot_be_started_are_an_error_and_no_panic() {
    use std::os::unix::fs::PermissionsExt as _;

    // The limit doesn't hold for the superuser: another user is needed, who may use a folder of the system's.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    for (from, to) in
        [(env!("CARGO_BIN_EXE_wasm-engine"), "engine"), (&path("agents/samples/wasm/ring.wasm"), "ring.wasm")]
    {
        fs::copy(from, folder.join(to)).unwrap();
    }
    let text = "frames = 20\nmodules.ring.path = \"ring.wasm\"\n[[groups]]\nname = \"ring\"\nmodule = \"ring\"\nagents = 40\n\
                params = { agents = 40, tokens = 4, audit_every = 5 }\n";
    fs::write(folder.join("s.toml"), text).unwrap();
    let mut seen = [0; 4];
    for threads in 1..=12 {
        let out = format!("run-{threads}");
        let mut command = with_threads(folder, threads);
        command.args([
            "run",
            "s.toml",
            "--threads",
            "3",
            "--snapshot-every",
            "5",
            "--quiet",
            "--input",
            "-",
            "--out",
            &out,
        ]);
        let Ok(output) = command.output() else { return };
        let said = stderr(&output);
        if said.starts_with("setpriv") || said.starts_with("prlimit") {
            println!("no other user to be had here: {said}");
            return;
        }
        let code = output.status.code().and_then(|code| usize::try_from(code).ok()).unwrap_or(101);
        assert!(matches!(code, 0 | 3), "{threads}: {code}: {said}");
        assert!(code == 0 || said.contains("error: can't ") && said.contains("`ulimit -u`"), "{threads}: {said}");
        seen[code] += 1;
    }
    assert!(seen[0] > 0 && seen[3] > 0, "{seen:?}");
}

#[test]
fn a_folder_in_use_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("run")).unwrap();
    let _lock = wasm_engine::run_dir::RunLock::exclusive(&folder.join("run")).unwrap();
    let output = wasm_engine(folder).args(["run", &path(RING), "--out", "run"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is being written by process"), "{}", stderr(&output));
}

/// Memory that can't be had ends a run with the machine's status, wherever it is needed: for agents' memories, for the events of a frame.
#[test]
#[cfg(target_os = "linux")]
fn memory_that_cannot_be_had_is_the_machines_failure() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    slow_scenario(folder, 1);
    // All of them wait until their frame begins.
    let event = format!("{{\"frame\":1,\"to\":\"g/0\",\"text\":\"{}\"}}\n", "x".repeat(200));
    fs::write(folder.join("events.jsonl"), event.repeat(1_000_000)).unwrap();
    let ring = path(RING);
    let cases: [&[&str]; 2] = [&[&ring, "--set", "agents=1000000"], &["slow.toml", "--input", "events.jsonl"]];
    for (at, args) in cases.into_iter().enumerate() {
        let mut failed = 0;
        for kilobytes in [200_000, 300_000, 400_000] {
            let script = format!(r#"ulimit -v {kilobytes}; exec "$0" run "$@""#);
            let out = format!("run-{at}-{kilobytes}");
            let mut command = Command::new("sh");
            command.current_dir(folder).args(["-c", &script, env!("CARGO_BIN_EXE_wasm-engine")]).args(args);
            let output = command.args(["--frames", "2", "--out", &out, "--threads", "1", "--quiet"]).output().unwrap();
            let (said, code) = (stderr(&output), output.status.code());
            assert!(matches!(code, Some(0 | 3)), "{args:?} in {kilobytes} kB: {:?}: {said}", output.status);
            assert!(code == Some(0) || said.contains("error: "), "{args:?} in {kilobytes} kB: {said}");
            failed += u32::from(code == Some(3));
        }
        assert!(failed > 0, "{args:?}");
    }
}
