//! Run folders from others: a symbolic link in one never leads anything that is written elsewhere.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::{RING, engine, path, stderr};

const PRECIOUS: &str = "written 1\n";

/// Puts a link in the place of something in a copy of a run, and gives each command that folder.
fn each_command(folder: &Path, name: &str) {
    let (run, victim) = (folder.join("linked"), folder.join("victim"));
    let commands: [&[&str]; 6] = [
        &["inspect", "linked"],
        &["replay", "linked"],
        &["diff", "linked", "run"],
        &["branch", "linked", "--at", "4", "--out", "branch"],
        &["resume", "linked", "--frames", "12"],
        &["resume", "linked"],
    ];
    for args in commands {
        let _ = fs::remove_dir_all(&run);
        let copied = std::process::Command::new("cp").current_dir(folder).args(["-r", "run", "linked"]).status();
        assert!(copied.unwrap().success());
        let place = run.join(name);
        match place.is_dir() {
            true => {
                let _ = fs::remove_dir_all(&victim);
                fs::rename(&place, &victim).unwrap();
                fs::write(victim.join("mine.txt"), PRECIOUS).unwrap();
            }
            false => {
                let _ = fs::remove_dir_all(&victim);
                let _ = fs::remove_file(&place);
                // What a lock says, so that its text isn't what refuses it.
                fs::write(&victim, PRECIOUS).unwrap();
            }
        }
        symlink(&victim, &place).unwrap();
        let before = listing(&victim);
        let output = engine(folder, args);
        assert_eq!(output.status.code(), Some(2), "{name}: {args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("is a symbolic link: "), "{name}: {args:?}: {}", stderr(&output));
        assert_eq!(listing(&victim), before, "{name}: {args:?}");
        fs::remove_file(&place).unwrap();
        let _ = fs::remove_file(&victim);
        assert!(!folder.join("branch").exists());
    }
}

/// What is in a file, or in the files of a folder.
fn listing(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_file() {
        return vec![(String::new(), fs::read(path).unwrap())];
    }
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

#[test]
fn links_in_a_run_folder_lead_nothing_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let args = ["run", &path(RING), "--set", "agents=8", "--frames", "8", "--snapshot-every", "4", "--out", "run"];
    assert!(engine(folder, &args).status.success());
    for name in ["lock", "frames.jsonl", "logs.jsonl", "summary.json", "journal", "journal/000000.wej", "snapshots"] {
        assert!(name == "lock" || folder.join("run").join(name).exists(), "{name}");
        each_command(folder, name);
    }
    each_command(folder, "snapshots/.0000000008.wes.tmp");
}

/// A folder that seems to be free: the lock and the mark in it are links to files that look as if they were those.
#[test]
fn links_in_a_folder_that_is_taken_over_lead_nothing_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ring = path(RING);
    for (name, text) in [("lock", PRECIOUS), ("lock", ""), (".starting", "A run directory"), (".starting", "")] {
        let (out, victim) = (folder.join("out"), folder.join("victim"));
        fs::create_dir(&out).unwrap();
        fs::write(&victim, text).unwrap();
        symlink(&victim, out.join(name)).unwrap();
        let output = engine(folder, &["run", &ring, "--set", "agents=8", "--frames", "8", "--out", "out"]);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{name}: {}", stderr(&output));
        assert_eq!(fs::read_to_string(&victim).unwrap(), text, "{name}");
        fs::remove_dir_all(&out).unwrap();
    }
}
