//! What a run writes, and worlds that are run without the command line.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod journal;
mod output_room;
mod records;
mod regions;

/// Makes a folder for thousands of small files, in memory where the system has a folder of that kind: a disk would be most of a test's time.
fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
