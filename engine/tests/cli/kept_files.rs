//! What a run keeps of the files that it was made of: it goes on, is branched and asks its models again after they were replaced or removed, and
//! where neither a copy nor the file is left, the run is told to lack it, and nobody is blamed.

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{engine, stderr, told};
use serde_json::Value;
use wasm_engine::files::sha256_of_file;

/// The post room with files of its own.
struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = common::root();
        let agents = root.join("agents");
        fs::copy(agents.join("models/digits/digits-s8.onnx"), folder.path().join("digits.onnx")).unwrap();
        fs::copy(agents.join("samples/wasm/clerk.wasm"), folder.path().join("clerk.wasm")).unwrap();
        let text = fs::read_to_string(root.join(common::POSTROOM)).unwrap();
        // Without a hash in the scenario, nobody but the run knows which file it was.
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("sha256 = "))
            .fold(String::new(), |all, line| all + line + "\n");
        let text = text.replace("../models/digits/digits-s8.onnx", "digits.onnx");
        let text = text.replace("../samples/wasm/clerk.wasm", "clerk.wasm");
        let text = text.replace("\"../", &format!("\"{}/", agents.display()));
        let text = text.replace("\"postroom/", &format!("\"{}/scenarios/postroom/", agents.display()));
        fs::write(folder.path().join("room.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn model(&self) -> PathBuf {
        self.path().join("digits.onnx")
    }

    /// Puts another model in the place of this one, into the same file, as a download would.
    fn replace_model(&self) {
        let other = common::root().join("engine/tests/models/gemm.onnx");
        fs::write(self.model(), fs::read(other).unwrap()).unwrap();
    }

    fn told(&self, args: &[&str]) -> Value {
        told(&engine(self.path(), &[args, &["--summary", "json"]].concat()))
    }

    /// The copy of the model in a run's folder.
    fn copy(&self, run: &str) -> PathBuf {
        let copies = fs::read_dir(self.path().join(run).join("files")).unwrap().map(|entry| entry.unwrap().path());
        let mut models = copies.filter(|path| path.extension().is_some_and(|extension| extension == "onnx"));
        let copy = models.next().unwrap();
        assert!(models.next().is_none(), "one model, one copy");
        copy
    }
}

const RUN: [&str; 8] = ["run", "room.toml", "--frames", "40", "--snapshot-every", "15", "--out", "run"];

#[test]
fn a_run_goes_on_after_its_model_was_replaced_or_removed() {
    let room = Room::new();
    let whole = room.told(&["run", "room.toml", "--frames", "60", "--out", "whole"]);
    room.told(&RUN);
    let copy = room.copy("run");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(room.model()).unwrap());
    assert_eq!(copy.file_stem().unwrap().to_str().unwrap(), sha256_of_file(&copy).unwrap(), "its name is its hash");

    // In the same file: a hard link would have changed with it.
    room.replace_model();
    let recomputed = room.told(&["replay", "run", "--inference", "recompute"]);
    assert_eq!(recomputed["identical"], true);
    fs::remove_file(room.model()).unwrap();
    let branch = room.told(&["branch", "run", "--at", "20", "--out", "branch", "--frames", "60"]);
    assert_eq!(branch["digest"], whole["digest"], "a branch that sets nothing is the run");
    let resumed = room.told(&["resume", "run", "--frames", "60"]);
    assert_eq!(resumed["digest"], whole["digest"]);

    // So does the branch, which keeps its own; and its files are those of the scenario, not those of another run.
    let manifest = fs::read_to_string(room.path().join("branch/manifest.toml")).unwrap();
    let clerk = room.path().join("clerk.wasm");
    assert!(manifest.contains(&room.model().display().to_string()), "{manifest}");
    assert!(manifest.contains(&clerk.display().to_string()), "{manifest}");
    fs::remove_dir_all(room.path().join("run")).unwrap();
    fs::write(&clerk, "another").unwrap();
    assert_eq!(room.told(&["replay", "branch", "--inference", "recompute"])["identical"], true);
    assert_eq!(room.told(&["resume", "branch", "--frames", "70"])["frames"], 70);
}

#[test]
fn a_damaged_copy_is_made_up_for_by_the_file_and_a_run_without_either_says_so() {
    let room = Room::new();
    room.told(&RUN);
    let (copy, model) = (room.copy("run"), room.model());
    fs::write(&copy, "damaged").unwrap();
    assert_eq!(room.told(&["replay", "run", "--inference", "recompute"])["identical"], true);
    room.replace_model();
    for args in [
        &["resume", "run", "--frames", "60"][..],
        &["branch", "run", "--at", "20", "--out", "branch"],
        &["replay", "run", "--inference", "recompute"],
    ] {
        let output = engine(room.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let copy = Path::new("run/files").join(copy.file_name().unwrap());
        let hashes = [&room.path().join(&copy), &model].map(|file| sha256_of_file(file).unwrap());
        let expected = format!(
            "error: {}: the model `digits` of this run isn't there any more: its copy was changed since the run (its sha256 is {}), \
             and {} was changed since the run (its sha256 is {})\n  help: put one of the two back as it was when the run was recorded\n",
            copy.display(),
            hashes[0],
            model.display(),
            hashes[1]
        );
        assert!(stderr(&output).ends_with(&expected), "{args:?}: {}\n{expected}", stderr(&output));
    }
    assert!(!room.path().join("branch").exists());
    // What models answered is in the journal.
    assert_eq!(room.told(&["replay", "run"])["identical"], true);
    fs::remove_file(&copy).unwrap();
    fs::remove_file(&model).unwrap();
    assert_eq!(room.told(&["replay", "run"])["identical"], true);
    let output = engine(room.path(), &["resume", "run", "--frames", "60"]);
    assert!(stderr(&output).contains("its copy can't be read: No such file"), "{}", stderr(&output));
}

#[test]
fn a_run_that_is_not_recorded_keeps_nothing() {
    let room = Room::new();
    room.told(&["run", "room.toml", "--frames", "3", "--no-record", "--out", "run"]);
    assert!(!room.path().join("run/files").exists());
}
