//! The code cache: whatever happens to its files, a run's digest is what it is without a cache.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use common::{engine, stderr, told, wasm_engine};
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
    let mut lines = Vec::new();
    let mut simulation = Simulation::new(scenario, &options, &mut |line: &str| lines.push(line.to_owned())).unwrap();
    let records = (0..10).map(|_| simulation.frame(FrameInputs::default()));
    (records.last().unwrap().digest, lines)
}

/// The only entry of a cache.
fn entry(cache: &Path) -> PathBuf {
    let files: Vec<_> = std::fs::read_dir(cache.join("code")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
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
    for (mode, who) in [(0o770, "its group"), (0o777, "anybody"), (0o1777, "anybody")] {
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

#[test]
fn doctor_says_what_is_damaged_and_removes_it_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    run(&ring(), Some(folder.path()));
    let path = entry(folder.path());
    let doctor = |args: &[&str]| {
        let mut command = wasm_engine(folder.path());
        let output = command.env("WASM_ENGINE_CACHE_DIR", folder.path()).arg("doctor").args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = doctor(&["--verify"]);
    assert!(status == Some(0) && text.contains(": 1 whole, 0 of other versions, 0 damaged"), "{text}");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[2_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (status, text) = doctor(&["--verify"]);
    assert!(status == Some(3) && text.contains("0 whole, 0 of other versions, 1 damaged"), "{text}");
    assert!(path.exists() && doctor(&[]).0 == Some(0), "nobody asked");
    let (status, text) = doctor(&["--verify", "--remove-damaged"]);
    assert!(status == Some(0) && text.contains("1 damaged, 1 of them removed") && !path.exists(), "{text}");
    assert_eq!(engine(folder.path(), &["doctor", "--remove-damaged"]).status.code(), Some(2));
}
