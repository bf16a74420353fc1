//! Run directories that were damaged, changed, or are in other hands: whatever was done to them, a replay and a resumed run have
//! the right digest, or say which file is wrong.

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{counting_module, engine, stderr, summary, wasm_engine};
use wasm_engine::frame_loop;
use wasm_engine::problem::RunError;
use wasm_engine::run_dir::{Access, Inference, OpenRun};
use wasm_engine::simulation::SimulationOptions;
use wasm_engine::snapshot;
use wasm_engine::time_travel::{FollowError, ReplayOptions, RunReplayer, replay, resume};

/// What agents do that keep the number of their steps in their memory.
const KEEPING: &str = "(i32.store (i32.const 60000) (global.get $n))";

const SCENARIO: &str =
    "frames = 6\nmodules.a.path = \"a.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 2\n";

/// A small run with snapshots, in `run`.
fn small_run(folder: &Path) -> String {
    fs::write(folder.join("a.wasm"), counting_module(KEEPING)).unwrap();
    fs::write(folder.join("s.toml"), SCENARIO).unwrap();
    let output = engine(folder, &["run", "s.toml", "--out", "run", "--snapshot-every", "2", "--summary", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    summary(&output)["digest"].as_str().unwrap().to_owned()
}

fn no_plugins(_: &mut bevy_app::App) {}

fn replayer(run: &OpenRun) -> RunReplayer<'_> {
    let options = SimulationOptions { threads: Some(1), ..SimulationOptions::default() };
    RunReplayer { run, options, inference: Inference::Recorded, author: &no_plugins }
}

/// The digest of a replay, or what is wrong.
fn replayed(path: &Path, from: Option<u64>) -> Result<(String, u64), String> {
    let run = OpenRun::open(path, Access::Read).map_err(|problems| format!("{problems:#}"))?;
    let result = replay(&replayer(&run), ReplayOptions { from, to: None }, &mut |_| {});
    let result = result.map_err(|error| format!("{error:#}"))?;
    match result.divergence {
        None => Ok((result.digest.to_string(), run.end_frame())),
        Some(divergence) => Err(format!("frame {} diverges", divergence.frame)),
    }
}

/// The digest of a run that goes on, or what is wrong.
fn resumed(path: &Path) -> Result<String, String> {
    let text = |error: RunError| format!("{error:#}");
    let run = OpenRun::open(path, Access::Write).map_err(|problems| format!("{problems:#}"))?;
    let resumed = resume(&replayer(&run), Arc::default()).map_err(text)?;
    let (mut simulation, mut source, mut sink) = (resumed.simulation, resumed.source, resumed.sink);
    match frame_loop::run(&mut simulation, &mut source, &mut sink) {
        Ok(()) => Ok(simulation.digest().to_string()),
        Err(FollowError::Error(error)) => Err(text(error)),
        Err(FollowError::Diverged(divergence)) => Err(format!("frame {} diverges", divergence.frame)),
        Err(other) => Err(other.to_string()),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Bytes of a file that are damaged: each 13th and those of both ends. `.ci/parts/damage` damages all of them, which takes minutes.
fn tried(bytes: usize) -> impl Iterator<Item = usize> {
    let all = std::env::var_os("WASM_ENGINE_EVERY_BYTE").is_some();
    (0..bytes).filter(move |&at| all || at % 13 == 0 || at < 40 || at + 40 >= bytes)
}

#[test]
fn a_flipped_bit_anywhere_is_told_or_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let digest = small_run(folder.path());
    let whole = folder.path().join("run");
    assert_eq!(replayed(&whole, None), Ok((digest.clone(), 6)));
    let mut told = 0;
    for file in files(&whole) {
        let name = file.strip_prefix(&whole).unwrap().to_path_buf();
        let bytes = fs::read(&file).unwrap();
        for at in tried(bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&file, &damaged).unwrap();
            for from in [None, Some(5)] {
                match replayed(&whole, from) {
                    Ok(found) => assert_eq!(found, (digest.clone(), 6), "{} byte {at}", name.display()),
                    Err(what) => {
                        told += 1;
                        let file = name.file_name().unwrap().to_str().unwrap();
                        assert!(what.contains(file), "{} byte {at}: {what}", name.display());
                    }
                }
            }
        }
        fs::write(&file, &bytes).unwrap();
    }
    assert!(told > 100, "the journal and the manifest are checked: {told}");
    assert_eq!(replayed(&whole, None), Ok((digest, 6)), "all is as it was");
}

#[test]
fn a_damaged_run_is_resumed_to_the_right_digest_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let digest = small_run(folder.path());
    let (whole, copied) = (folder.path().join("run"), folder.path().join("copy"));
    // As a run that was killed after its last frame: there is no summary, and so no end that must be there.
    fs::remove_file(whole.join("summary.json")).unwrap();
    for file in files(&whole) {
        let name = file.strip_prefix(&whole).unwrap().to_path_buf();
        let bytes = fs::read(&file).unwrap();
        for at in tried(bytes.len()) {
            let _ = fs::remove_dir_all(&copied);
            copy(&whole, &copied);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(copied.join(&name), &damaged).unwrap();
            match resumed(&copied) {
                Ok(found) => assert_eq!(found, digest, "{} byte {at}", name.display()),
                Err(what) => {
                    let file = name.file_name().unwrap().to_str().unwrap();
                    assert!(what.contains(file), "{} byte {at}: {what}", name.display());
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_short_or_gone_is_told_or_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let digest = small_run(folder.path());
    let whole = folder.path().join("run");
    for file in files(&whole) {
        let name = file.strip_prefix(&whole).unwrap().to_path_buf();
        let bytes = fs::read(&file).unwrap();
        let lengths = tried(bytes.len()).map(Some).chain([None]);
        for length in lengths {
            match length {
                Some(length) => fs::write(&file, &bytes[..length]).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            match replayed(&whole, Some(5)) {
                Ok((found, 6)) => assert_eq!(found, digest, "{} cut to {length:?}", name.display()),
                // Without its summary, a run is one that was killed: what is left of its journal is right.
                Ok((_, frames)) => assert!(name.ends_with("summary.json"), "{frames} frames of {}", name.display()),
                Err(what) => {
                    let file = name.file_name().unwrap().to_str().unwrap();
                    assert!(
                        what.contains(file) || what.contains("journal"),
                        "{} cut to {length:?}: {what}",
                        name.display()
                    );
                }
            }
        }
        fs::write(&file, &bytes).unwrap();
    }
}

#[test]
fn what_is_no_run_of_this_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_run(folder);
    let told = |args: &[&str]| {
        let output = engine(folder, args);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output).to_owned()
    };
    fs::create_dir(folder.join("empty")).unwrap();
    for command in ["replay", "resume", "inspect"] {
        assert!(told(&[command, "nowhere"]).contains("nowhere/manifest.toml: isn't there, nor is its folder"));
        assert!(told(&[command, "empty"]).contains("isn't that of a run"));
    }
    let manifest = folder.join("run/manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("format = 3", "format = 9")).unwrap();
    assert!(told(&["replay", "run"]).contains("format 9"));
    fs::write(&manifest, text.replace("format = 3", "format = 1")).unwrap();
    assert!(told(&["replay", "run"]).contains("kept no journal"));
    // What an earlier version wrote stays as it is: its digests aren't ours, so that a run that went on would cut it to nothing.
    fs::write(&manifest, text.replace("format = 3", "format = 2")).unwrap();
    let kept = |folder: &Path| {
        let names = ["frames.jsonl", "summary.json", "journal/000000.wej"];
        names.map(|name| fs::read(folder.join("run").join(name)).unwrap())
    };
    let before = kept(folder);
    for command in ["replay", "resume", "inspect"] {
        assert!(
            told(&[command, "run"]).contains("format 2, of an earlier version of wasm-engine, which had other digests")
        );
    }
    assert_eq!(kept(folder), before);
    fs::write(&manifest, text.replace("frames = 6", "frames = 7")).unwrap();
    assert!(told(&["replay", "run"]).contains("manifest.toml"));
}

/// A checksum that is right proves nothing: it is no secret.
#[test]
fn values_that_no_run_has_are_refused_by_their_key_though_the_checksum_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_run(folder);
    let branched = engine(folder, &["branch", "run", "--at", "3", "--out", "branch"]);
    assert!(branched.status.success(), "{}", stderr(&branched));
    let manifest = folder.join("branch/manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let body = text.split_inclusive('\n').filter(|line| !line.starts_with("# checksum ")).collect::<String>();
    let of_module = "[modules.a]\n";
    let hash = |table: &str| body.split_once(table).unwrap().1.split_once("sha256 = \"").unwrap().1[..64].to_owned();
    let digest = body.split_once("[branch]").unwrap().1.split_once("digest = \"").unwrap().1[..32].to_owned();
    let model = |keys: &str| {
        format!("\n[models.m]\npath = \"m.onnx\"\nsha256 = \"{}\"\n{keys}\n[environment]\n", "ab".repeat(32))
    };
    let cases: [(&str, &str, &str, String); 24] = [
        ("digest", "isn't `frame` or `full`", "digest = \"frame\"", "digest = \"x\"".to_owned()),
        ("engine", "isn't a version", "engine = \"0", "engine = \"\\u001b[2J".to_owned()),
        ("frames", "0 isn't from 1", "frames = 6", "frames = 0".to_owned()),
        ("frames", "isn't from 1", "frames = 6", "frames = 9_000_000_000_000_000_000".to_owned()),
        ("", "an id has 32 hexadecimal digits", "id = \"", "id = \"+".to_owned()),
        ("", "a seed is a whole number", "seed = 0", "seed = \"+5\"".to_owned()),
        ("snapshot_every", "0 isn't from 1", "snapshot_every = 2", "snapshot_every = 0".to_owned()),
        (
            "input_sha256",
            "is the hash of no file",
            "recorded = true",
            format!("recorded = true\ninput_sha256 = \"{}\"", "ab".repeat(32)),
        ),
        (
            "input_sha256",
            "isn't a SHA-256",
            "recorded = true",
            "recorded = true\ninput = \"e\"\ninput_sha256 = \"ab\"".to_owned(),
        ),
        ("scenario.name", "isn't the name of a scenario", "name = \"s\"", "name = \"../s\"".to_owned()),
        ("scenario.sha256", "isn't a SHA-256", &hash("[scenario]"), "x".to_owned()),
        ("modules.a.sha256", "isn't a SHA-256", &hash(of_module), hash(of_module).to_uppercase()),
        ("modules.a.sha256", "isn't a SHA-256", &hash(of_module), String::new()),
        ("modules.a", "is missing, and is in the scenario", "[modules.a]", "[modules.b]".to_owned()),
        (
            "modules.\"b c\"",
            "isn't in the scenario",
            "\n[environment]\n",
            format!("\n[modules.\"b c\"]\npath = \"b\"\nsha256 = \"{}\"\n\n[environment]\n", hash(of_module)),
        ),
        ("models.m", "isn't in the scenario", "\n[environment]\n", model("row_bytes = 4\n")),
        (
            "models.m.row_bytes",
            "is more than a row can have",
            "\n[environment]\n",
            model("row_bytes = 4_000_000_000\n"),
        ),
        ("models.m.form", "isn't a form", "\n[environment]\n", model("row_bytes = 4\nform = \"multiple of 0\"\n")),
        (
            "models.m.earlier_forms",
            "beyond the run",
            "\n[environment]\n",
            model("row_bytes = 4\nform = \"alone\"\nearlier_forms = [{ form = \"any\", before_frame = 7 }]\n"),
        ),
        (
            "refused_swaps[0].model",
            "there is no model `m`",
            "\n[environment]\n",
            "\n[[refused_swaps]]\nmodel = \"m\"\nwith = \"m\"\nreason = \"\"\n\n[environment]\n".to_owned(),
        ),
        (
            "environment.os",
            "is an array, and neither a text nor a whole number",
            "os = \"linux\"",
            "os = []".to_owned(),
        ),
        ("branch.frame", "7 is beyond the run", "frame = 3", "frame = 7".to_owned()),
        ("branch.digest", "isn't a digest", &digest, "x".to_owned()),
        ("branch.set", "`a` isn't NAME=VALUE", "set = []", "set = [\"a\"]".to_owned()),
    ];
    for (key, what, from, to) in cases {
        let changed = body.replacen(from, &to, 1);
        assert_ne!(changed, body, "{key}");
        fs::write(&manifest, wasm_engine::run_dir::seal_text(&changed)).unwrap();
        for command in ["replay", "resume"] {
            let output = engine(folder, &[command, "branch"]);
            let told = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{key}: {told}");
            let start = if key.is_empty() {
                "error: branch/manifest.toml: ".to_owned()
            } else {
                format!("error: branch/manifest.toml: {key}: ")
            };
            assert!(told.starts_with(&start) && told.contains(what) && told.contains("\n  help: "), "{key}: {told}");
        }
    }
    fs::write(&manifest, &text).unwrap();
    assert!(engine(folder, &["replay", "branch"]).status.success());
}

#[test]
fn a_module_that_was_changed_is_still_the_runs_own() {
    let folder = tempfile::tempdir().unwrap();
    let digest = small_run(folder.path());
    let run = folder.path().join("run");
    fs::write(folder.path().join("a.wasm"), "changed").unwrap();
    assert_eq!(replayed(&run, None), Ok((digest.clone(), 6)), "the run has a copy");
    let copied = files(&run.join("files")).pop().unwrap();
    let bytes = fs::read(&copied).unwrap();
    fs::write(&copied, "damaged").unwrap();
    let what = replayed(&run, None).unwrap_err();
    assert!(what.contains("module `a`") && what.contains("was changed since the run"), "{what}");
    fs::write(folder.path().join("a.wasm"), bytes).unwrap();
    assert_eq!(replayed(&run, None), Ok((digest, 6)), "the file that it was copied from serves as well");
}

/// A snapshot says what all agents' memories were, which no frame's digest does. It is held against them in passing.
#[test]
fn memories_that_are_not_what_a_snapshot_says_diverge_there() {
    let folder = tempfile::tempdir().unwrap();
    small_run(folder.path());
    let run = folder.path().join("run");
    let snapshots = run.join("snapshots");
    let (mut forged, _) = snapshot::read(&snapshots, 4).unwrap();
    forged.state.guests.digest.0 ^= 1;
    snapshot::write(&snapshots, &forged).unwrap();
    assert_eq!(replayed(&run, None), Err("frame 3 diverges".to_owned()));
    let output = engine(folder.path(), &["replay", "run"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("lanes      memories"), "{text}");
    // One that is damaged says nothing, and that is said.
    let file = snapshot::path(&snapshots, 4);
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = engine(folder.path(), &["replay", "run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("0000000004.wes: it is damaged"), "{}", stderr(&output));
    assert!(stderr(&output).contains("memories aren't checked before frame 4"), "{}", stderr(&output));
}

#[test]
fn tables_that_are_changed_or_gone_are_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let digest = small_run(folder.path());
    let run = folder.path().join("run");
    let frames = run.join("frames.jsonl");
    let whole = fs::read(&frames).unwrap();
    fs::remove_file(run.join("summary.json")).unwrap();
    for damage in [Some(b"{}\n".to_vec()), None] {
        match damage {
            Some(bytes) => fs::write(&frames, bytes).unwrap(),
            None => fs::remove_file(&frames).unwrap(),
        }
        let output = engine(folder.path(), &["resume", "run", "--summary", "json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("frames.jsonl: isn't ") && said.contains("the tables written anew"), "{said}");
        assert_eq!(summary(&output)["digest"], digest.as_str());
        assert_eq!(fs::read(&frames).unwrap(), whole);
        fs::remove_file(run.join("summary.json")).unwrap();
    }
}

/// Nobody writes to such a pipe: who opened it would wait for ever.
#[cfg(unix)]
#[test]
fn a_folder_in_the_place_of_the_summary_is_refused_before_anything_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    small_run(folder.path());
    let run = folder.path().join("run");
    fs::remove_file(run.join("summary.json")).unwrap();
    fs::create_dir(run.join("summary.json")).unwrap();
    let tables = || fs::read(run.join("frames.jsonl")).unwrap();
    let before = tables();
    let said = resumed(&run).unwrap_err();
    assert!(said.contains("summary.json: can't be replaced: it is a folder"), "{said}");
    assert_eq!(tables(), before);
}

#[test]
fn pipes_in_the_place_of_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    small_run(folder.path());
    let run = folder.path().join("run");
    fs::remove_file(run.join("summary.json")).unwrap();
    for (file, commands) in [("manifest.toml", &["replay", "resume", "inspect"][..]), ("faults.jsonl", &["resume"])] {
        let file = run.join(file);
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        common::pipe(&file);
        for command in commands {
            let output = engine(folder.path(), &[command, "run"]);
            assert_eq!(output.status.code(), Some(2), "{command}: {}", stderr(&output));
            assert!(stderr(&output).contains("it is a device or a pipe"), "{command}: {}", stderr(&output));
        }
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn snapshots_that_are_gone_are_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let digest = small_run(folder.path());
    let run = folder.path().join("run");
    fs::remove_file(files(&run.join("snapshots")).remove(0)).unwrap();
    assert_eq!(replayed(&run, Some(5)), Ok((digest.clone(), 6)), "the first of a chain is gone");
    fs::remove_dir_all(run.join("snapshots")).unwrap();
    assert_eq!(replayed(&run, Some(5)), Ok((digest, 6)));
}

/// A limit on the size of files stands in for a full disk. What was written before it is enough to go on.
#[test]
#[cfg(unix)]
fn a_run_whose_disk_was_full_goes_on_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ring = common::root().join(common::RING);
    let ring = ring.to_str().unwrap();
    let args = ["run", ring, "--frames", "300", "--set", "agents=20", "--quiet", "--snapshot-every", "10", "--out"];
    let script = r#"ulimit -f 60; exec "$0" "$@""#;
    let output = std::process::Command::new("sh")
        .current_dir(folder)
        .args(["-c", script, env!("CARGO_BIN_EXE_wasm-engine")])
        .args(args)
        .arg("full")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("can't be written"), "{}", stderr(&output));
    let whole = engine(folder, &[&args[..], &["whole", "--summary", "json"]].concat());
    let resumed = engine(folder, &["resume", "full", "--summary", "json"]);
    assert_eq!(summary(&resumed)["digest"], summary(&whole)["digest"], "{}", stderr(&resumed));
    assert_eq!(summary(&resumed)["frames"], 300);
}

#[test]
fn a_run_that_is_to_have_more_frames_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_run(folder);
    let output = engine(folder, &["resume", "run", "--frames", "9", "--summary", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let manifest = fs::read_to_string(folder.join("run/manifest.toml")).unwrap();
    assert!(manifest.contains("\nframes = 9\n") && manifest.contains("\n[scenario]\n"), "{manifest}");
    let again = engine(folder, &["resume", "run", "--summary", "json"]);
    assert_eq!(summary(&again)["digest"], summary(&output)["digest"]);
    assert_eq!(replayed(&folder.join("run"), None).unwrap().1, 9);
    // To stop at fewer frames once doesn't make it a shorter run.
    let shorter = engine(folder, &["run", "s.toml", "--frames", "3", "--out", "shorter", "--quiet"]);
    assert!(shorter.status.success(), "{}", stderr(&shorter));
    for (args, frames) in [(&["--frames", "8"][..], 8), (&["--frames", "12"], 12), (&[], 12)] {
        let output = engine(folder, &[&["resume", "shorter", "--summary", "json"], args].concat());
        assert_eq!(summary(&output)["frames"], frames, "{}", stderr(&output));
    }
    fs::copy(folder.join("s.toml"), folder.join("long.toml")).unwrap();
    let long = fs::read_to_string(folder.join("long.toml")).unwrap().replace("frames = 6", "frames = 400_000");
    fs::write(folder.join("long.toml"), long).unwrap();
    let mut child = wasm_engine(folder).args(["run", "long.toml", "--out", "long", "--quiet"]).spawn().unwrap();
    while !folder.join("long/manifest.toml").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let recorded = OpenRun::open(&folder.join("long"), Access::Read).unwrap().end_frame();
    let next = (recorded + 5).to_string();
    let output = engine(folder, &["resume", "long", "--frames", &next, "--summary", "json"]);
    assert_eq!(summary(&output)["frames"], recorded + 5, "{}", stderr(&output));
    let manifest = fs::read_to_string(folder.join("long/manifest.toml")).unwrap();
    assert!(manifest.contains("\nframes = 400000\n"), "{manifest}");
}
