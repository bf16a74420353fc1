//! The bytes of the format: a journal that was written once is read for good. `BLESS=1` writes it anew.

use std::path::{Path, PathBuf};

use wasm_engine_components::Digest;
use wasm_engine_core::journal::{FORMAT_VERSION, Journal};

use super::{RUN, SUMMARY, files, frames, last_digest, put, read, write};

const SEGMENT_BYTES: u32 = 1_200;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/run_format/journal")
}

#[test]
fn the_format_is_the_one_that_is_kept() {
    assert_eq!(FORMAT_VERSION, 3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let frames = frames(16);
    write(&path, &frames, SEGMENT_BYTES, true);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(golden()).unwrap();
        put(&golden(), &files(&path));
    }
    let journal = Journal::open(&golden(), RUN).unwrap();
    assert_eq!(read(&journal).unwrap(), frames);
    let end = journal.ended().unwrap();
    assert_eq!((end.frames, end.digest, end.summary), (16, last_digest(&frames), SUMMARY));
    assert_ne!(end.digest, Digest(0));
    let (kept, written) = (files(&golden()), files(&path));
    assert!(kept.len() >= 2);
    assert!(kept == written, "the bytes differ: run with BLESS=1 if this is meant, and give the format a new version");
}

#[test]
fn another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(&golden());
    files.get_mut("000000.wej").unwrap()[8] = 4;
    put(folder.path(), &files);
    // One of a version to come, and those that were written by earlier engines.
    for (folder, version) in
        [(folder.path(), 4), (&golden().with_file_name("journal-v1"), 1), (&golden().with_file_name("journal-v2"), 2)]
    {
        let text = format!("{:#}", Journal::open(folder, RUN).unwrap_err());
        assert_eq!(
            text,
            format!(
                "{}: has the journal format {version} (at byte 8), this engine reads 3; help: use the version of the \
                 engine that made this run; `manifest.toml` names it",
                folder.join("000000.wej").display()
            )
        );
    }
}
