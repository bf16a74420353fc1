//! The code cache: whatever happens to its files, a run's digest is what it is without a cache.

use crate::common;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::common::listener::listen;
use crate::common::{engine, stderr, told, wasm_engine};
use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine_abi::random_u64;
use wasm_engine_components::{Digest, FrameInputs};

fn ring() -> Scenario {
    load(&common::root().join(common::RING), &LoadOptions::default()).unwrap()
}

/// The digest after a few frames, and what was said.
fn run(scenario: &Scenario, cache_dir: Option<&Path>) -> (Digest, Vec<String>) {
    let cache_dir = cache_dir.map(Path::to_path_buf);
    let options = SimulationOptions { cache_dir, threads: Some(1), ..SimulationOptions::default() };
    let (built, lines) = listen(|| Simulation::new(scenario, &options));
    let mut simulation = built.unwrap();
    let records = (0..10).map(|_| simulation.frame(FrameInputs::default()));
    (records.last().unwrap().digest, lines)
}

/// The only entry of a cache.
fn entry(cache: &Path) -> PathBuf {
    let files: Vec<_> = std::fs::read_dir(cache.join("code")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// The status of `doctor` with this cache, and what it says.
fn doctor(cache: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = wasm_engine(&common::root());
    let output = command.env("WASM_ENGINE_CACHE_DIR", cache).arg("doctor").args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// Damages an entry again and again: in a third of the trials a sector is overwritten, in the others a bit is flipped. Each must be seen,
/// said and mended.
fn damage_is_seen(trials: u64) {
    let seed = 0x5eed_c0de_u64;
    println!("seed {seed:#x}, {trials} trials");
    let (folder, scenario) = (tempfile::tempdir().unwrap(), ring());
    let right = run(&scenario, None).0;
    assert_eq!(run(&scenario, Some(folder.path())), (right, Vec::new()));
    let path = entry(folder.path());
    let good = std::fs::read(&path).unwrap();
    for trial in 0..trials {
        let draw = |index: u32| random_u64(seed, trial, 0, index);
        let mut bytes = good.clone();
        if trial % 3 == 0 {
            let at = draw(0) as usize % bytes.len() / 512 * 512;
            let end = bytes.len().min(at + 512);
            let fill = |index: usize| if draw(1) % 2 == 0 { 0 } else { draw(2 + index as u32) as u8 };
            (at..end).for_each(|index| bytes[index] = fill(index));
        } else {
            let bit = draw(0) as usize % (8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if bytes == good {
            continue;
        }
        std::fs::write(&path, &bytes).unwrap();
        let (digest, said) = run(&scenario, Some(folder.path()));
        assert_eq!(digest, right, "trial {trial}");
        // An entry of another version is one of an earlier engine, and nothing to be told of.
        let silent = said.is_empty() && bytes[8..32] != good[8..32];
        assert!(silent || said.len() == 1, "trial {trial}: {said:?}");
        assert!(std::fs::read(&path).unwrap() == good, "trial {trial}: the entry isn't mended");
    }
}

#[test]
fn a_damaged_entry_is_compiled_anew() {
    damage_is_seen(60);
}

/// The long form: see `.ci/parts/code-cache`.
#[test]
#[ignore = "takes minutes"]
fn two_thousand_damaged_entries_are_compiled_anew() {
    damage_is_seen(2_000);
}

#[test]
fn an_entry_of_another_length_or_module_is_compiled_anew() {
    let (folder, scenario) = (tempfile::tempdir().unwrap(), ring());
    let right = run(&scenario, Some(folder.path())).0;
    let path = entry(folder.path());
    let good = std::fs::read(&path).unwrap();
    let mut longer = good.clone();
    longer.push(0);
    let noise: Vec<u8> = (0..9_000_u32).map(|index| random_u64(1, 2, 3, index) as u8).collect();
    for bytes in
        [&b""[..], &good[..1], &good[..good.len() - 1], &longer, &[0; 5_000], &noise, b"\x7fELF wasmtime's own"]
    {
        std::fs::write(&path, bytes).unwrap();
        let (digest, said) = run(&scenario, Some(folder.path()));
        assert_eq!((digest, said.len()), (right, 1), "{} bytes: {said:?}", bytes.len());
        assert!(said[0].starts_with("warning: 1 damaged entry is compiled anew in the code cache "), "{said:?}");
        assert!(std::fs::read(&path).unwrap() == good);
    }
    // A whole entry under the name of another module's.
    let other = load(&common::root().join("agents/scenarios/counter.toml"), &LoadOptions::default()).unwrap();
    let there = tempfile::tempdir().unwrap();
    run(&other, Some(there.path()));
    std::fs::copy(entry(there.path()), &path).unwrap();
    assert_eq!(run(&scenario, Some(folder.path())).0, right);
    assert!(std::fs::read(&path).unwrap() == good);
}

/// What may lie where an entry should: none of it is waited for or read without end.
#[test]
#[cfg(unix)]
fn what_is_no_file_costs_time_only() {
    let (folder, scenario) = (tempfile::tempdir().unwrap(), ring());
    let right = run(&scenario, Some(folder.path())).0;
    let path = entry(folder.path());
    let good = std::fs::read(&path).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "not an entry").unwrap();
    let link = |to: &Path| std::os::unix::fs::symlink(to, &path).unwrap();
    let strange: [(&str, &dyn Fn()); 8] = [
        ("a pipe", &|| common::pipe(&path)),
        ("a socket", &|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap())),
        ("a link to a device", &|| link(Path::new("/dev/zero"))),
        ("a link to nothing", &|| link(&folder.path().join("nothing"))),
        ("a link to itself", &|| link(&path)),
        ("a link to another file", &|| link(&elsewhere)),
        ("a sparse file", &|| std::fs::File::create(&path).unwrap().set_len(10 << 30).unwrap()),
        ("a sparse file that begins well", &|| {
            std::fs::write(&path, &good).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_len(10 << 30).unwrap();
        }),
    ];
    for (what, put) in strange {
        std::fs::remove_file(&path).unwrap();
        put();
        let (status, text) = doctor(folder.path(), &["--verify"]);
        assert!(status == Some(3) && text.contains("0 whole, 0 of other versions, 1 damaged"), "{what}: {text}");
        let (digest, said) = run(&scenario, Some(folder.path()));
        assert!(digest == right && said.len() <= 1, "{what}: {said:?}");
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file(), "{what} stands where the entry was");
        assert!(std::fs::read(&path).unwrap() == good, "{what}");
        assert_eq!(run(&scenario, Some(folder.path())), (right, Vec::new()), "{what}");
    }
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"not an entry", "a link isn't written through");
    // A folder stays where it is, and is said.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let (digest, said) = run(&scenario, Some(folder.path()));
    assert!(digest == right && said.len() == 1 && said[0].contains("can't be written"), "{said:?}");
    assert_eq!(doctor(folder.path(), &["--verify", "--remove-damaged"]).0, Some(3));
    assert_eq!(std::fs::read_dir(folder.path().join("code")).unwrap().count(), 1, "nothing else is left there");
}

/// A cache that isn't one: the run goes on, and says so once.
#[test]
fn a_cache_that_can_not_be_made_costs_time_only() {
    let (folder, scenario) = (tempfile::tempdir().unwrap(), ring());
    let right = run(&scenario, None).0;
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let code_is_a_file = folder.path().join("cache");
    std::fs::create_dir(&code_is_a_file).unwrap();
    std::fs::write(code_is_a_file.join("code"), "").unwrap();
    let mut paths = vec![file.clone(), file.join("below"), code_is_a_file];
    if cfg!(target_os = "linux") {
        paths.push(PathBuf::from("/proc/a-cache"));
    }
    for path in paths {
        let (digest, said) = run(&scenario, Some(&path));
        assert_eq!((digest, said.len()), (right, 1), "{}: {said:?}", path.display());
        assert!(
            said[0].starts_with("warning: compiled modules aren't kept for the next run: the code cache "),
            "{said:?}"
        );
        assert!(said[0].contains(" can't be used: "), "{said:?}");
        // Nothing to verify, or said what is wrong, and never a hang.
        assert!(matches!(doctor(&path, &["--verify"]).0, Some(0 | 3)), "{}", path.display());
    }
}

/// A folder that may be read and not written: what is there is used, and what isn't is said once.
#[test]
#[cfg(unix)]
fn a_cache_that_can_only_be_read_is_read() {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::process::CommandExt as _;

    let folder = tempfile::tempdir().unwrap();
    run(&ring(), Some(folder.path()));
    let (path, code) = (entry(folder.path()), folder.path().join("code"));
    let is_root = std::fs::metadata(&path).unwrap().uid() == 0;
    // Anybody's, so that the run has somewhere to write.
    set_mode(folder.path(), 0o1777);
    set_mode(&code, 0o555);
    let run = |mode: u32| {
        set_mode(&path, mode);
        let mut command = wasm_engine(&common::root());
        if is_root {
            // Nothing is closed to root.
            command.uid(65_534).gid(65_534);
        }
        command.env("WASM_ENGINE_CACHE_DIR", folder.path());
        let output = command
            .args(["run", common::RING, "--frames", "5", "--summary", "json", "--quiet", "--no-record", "--out"])
            .arg(folder.path().join(format!("run{mode}")))
            .output();
        output.ok().map(|output| (output.status.code(), stderr(&output).to_owned()))
    };
    // Where the engine's folder is closed to others, there is nobody to run it as.
    let Some(closed) = run(0o000) else { return };
    assert_eq!(closed.0, Some(0), "{}", closed.1);
    assert!(closed.1.starts_with("warning: compiled modules aren't kept for the next run: "), "{}", closed.1);
    assert_eq!(closed.1.lines().count(), 1, "{}", closed.1);
    assert_eq!(run(0o444), Some((Some(0), String::new())));
    set_mode(&code, 0o755);
    entry(folder.path());
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A checksum is no signature: what others may write isn't run.
#[test]
#[cfg(unix)]
fn a_cache_that_others_may_write_is_not_used() {
    let (folder, scenario) = (tempfile::tempdir().unwrap(), ring());
    let right = run(&scenario, Some(folder.path())).0;
    let (path, code) = (entry(folder.path()), folder.path().join("code"));
    // Where each user has a group of the same number, that group is nobody else.
    let is_own_group = {
        use std::os::unix::fs::MetadataExt as _;

        let code = code.metadata().unwrap();
        code.uid() != 0 && code.uid() == code.gid()
    };
    let group = if is_own_group { (0o777, "anybody") } else { (0o770, "its group") };
    for (mode, who) in [group, (0o777, "anybody"), (0o1777, "anybody")] {
        set_mode(&code, mode);
        let (digest, said) = run(&scenario, Some(folder.path()));
        assert_eq!((digest, said.len()), (right, 1));
        assert!(said[0].contains(&format!("can't be used: {who} may write it")), "{said:?}");
    }
    // Nor is a file that they may.
    set_mode(&code, 0o700);
    set_mode(&path, 0o666);
    assert_eq!(run(&scenario, Some(folder.path())).1.len(), 1);
    assert_eq!(run(&scenario, Some(folder.path())), (right, Vec::new()), "it was written anew");
}

#[test]
fn processes_that_write_one_entry_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let start = |number: u32| -> Child {
        let out = folder.path().join(format!("out{number}"));
        let mut command = wasm_engine(&common::root());
        command.env("WASM_ENGINE_CACHE_DIR", folder.path().join("cache"));
        command.args(["run", common::RING, "--frames", "5", "--summary", "json", "--quiet", "--no-record", "--out"]);
        command.arg(out).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..6).map(start).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let digests: Vec<_> = outputs.iter().map(|output| told(output)["digest"].clone()).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    assert!(outputs.iter().all(|output| stderr(output).is_empty()));
    entry(&folder.path().join("cache"));
}

/// A disk without room: only time is lost, and it is said once.
#[test]
#[cfg(target_os = "linux")]
fn a_cache_on_a_full_disk_costs_time_only() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    // No file may have more than 8 blocks of 512 bytes: the entry is larger, and what else is written isn't.
    let command = format!(
        "ulimit -f 8; WASM_ENGINE_CACHE_DIR={0}/cache exec {1} run {2} --frames 2 --summary json --quiet --no-record --out {3}",
        folder.path().display(),
        env!("CARGO_BIN_EXE_wasm-engine"),
        common::path(common::RING),
        out.display()
    );
    let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    told(&output);
    let said = stderr(&output);
    assert!(said.starts_with("warning: compiled modules aren't kept for the next run: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(std::fs::read_dir(folder.path().join("cache/code")).unwrap().count(), 0, "nothing is left of it");
}

#[test]
fn without_a_cache_none_is_read_or_written() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let out = folder.path().join("out").to_str().unwrap().to_owned();
    let in_cache = |args: &[&str]| {
        let mut command = wasm_engine(&common::root());
        command.env("WASM_ENGINE_CACHE_DIR", &cache).args(args).arg("--no-cache").output().unwrap()
    };
    told(&in_cache(&["run", common::RING, "--frames", "4", "--summary", "json", "--quiet", "--out", &out]));
    let branch = format!("{out}-branch");
    for args in [
        &["replay", &out][..],
        &["inspect", &out, "--at", "2"],
        &["branch", &out, "--at", "2", "--quiet", "--out", &branch],
        &["diff", &out, &branch],
        &["resume", &out, "--frames", "6", "--quiet"],
    ] {
        let output = in_cache(args);
        assert!(output.status.code() == Some(0), "{args:?}: {}", stderr(&output));
    }
    assert!(!cache.exists());
}

/// The line of a check that `doctor` makes.
fn check_line(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.get(8..).is_some_and(|rest| rest.starts_with(&format!("{name}  "))));
    line.unwrap_or_else(|| panic!("no check {name}: {text}")).to_owned()
}

#[test]
fn doctor_says_of_a_cache_that_is_not_used_why_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (status, text) = doctor(&file, &[]);
    let line = check_line(&text, "cache");
    // Scenarios run without a cache.
    assert!(status == Some(0) && line.starts_with("unused  cache"), "{text}");
    assert!(line.ends_with("can't be used: it isn't a folder"), "{text}");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let code = folder.path().join("cache/code");
        std::fs::create_dir_all(&code).unwrap();
        std::fs::set_permissions(&code, PermissionsExt::from_mode(0o777)).unwrap();
        let (status, text) = doctor(&folder.path().join("cache"), &[]);
        let line = check_line(&text, "cache");
        assert!(status == Some(0) && line.starts_with("unused  cache"), "{text}");
        assert!(line.contains("anybody may write it, and what lies in it would be run or believed"), "{text}");
    }
}

#[test]
fn doctor_says_what_is_damaged_and_removes_it_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    run(&ring(), Some(folder.path()));
    let path = entry(folder.path());
    let doctor = |args: &[&str]| doctor(folder.path(), args);
    let (status, text) = doctor(&["--verify"]);
    assert!(status == Some(0) && text.contains(": 1 whole, 0 of other versions, 0 damaged"), "{text}");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[2_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (status, text) = doctor(&["--verify"]);
    assert!(status == Some(3) && text.contains("0 whole, 0 of other versions, 1 damaged"), "{text}");
    let (status, text) = doctor(&[]);
    assert!(path.exists() && status == Some(0), "nobody asked");
    // What nobody looked at isn't said to be whole.
    assert!(text.contains("1 file, 0 MiB; what is in it wasn't verified: --verify checks compiled modules"), "{text}");
    let (status, text) = doctor(&["--verify", "--remove-damaged"]);
    assert!(status == Some(0) && text.contains("1 damaged, 1 of them removed") && !path.exists(), "{text}");
    assert_eq!(engine(folder.path(), &["doctor", "--remove-damaged"]).status.code(), Some(2));
}
