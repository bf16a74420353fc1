//! Snapshots as files: the state of a world and its guests between two frames. A run that is recorded writes them; replay,
//! resume, branch and inspect read them.
//!
//! ```text
//! snapshots/0000000100.wes    full: all of the state before frame 100
//! snapshots/0000000200.wes    incremental: the world, and of the guests what has changed since its base, frame 100
//! ```
//!
//! `docs/RUN_FORMAT.md` has the format, byte by byte. A file is written under a temporary name, synced and renamed, so where it is, it is
//! whole; what was changed afterwards shows in its checksums. Reading checks everything, and allocates no more than the file has blocks
//! for. All of it is plain data that a thread beside the frame's can have.
//!
//! `block` has blocks and their checksums, `content` what stands in them, `folder` the files.

mod block;
mod content;
mod cursor;
mod folder;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use folder::{clean, list, path, read, read_base, read_chain, read_digests, write, write_counted};

use self::block::Unread;
use crate::problem::Problem;
use crate::state::State;
use wasm_engine_wasm::GuestCapture;

/// What to do about a snapshot that the system doesn't let anybody read.
const OTHER_SNAPSHOT: &str = "use the frame of another snapshot, or replay from the start";

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 4;

/// All state between two frames. With a base, only the guests' changes since the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The state, with the guests' memories: all of them without a base, else what has changed.
    pub state: State<GuestCapture>,
    /// The snapshot that the guests' changes go on from. `None` for a full one.
    pub base: Option<SnapshotRef>,
    /// Further parts, by name, in the order of the writer.
    pub extras: Vec<(String, Vec<u8>)>,
}

/// Identifies one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRef {
    /// Its frame, which is its name.
    pub frame: u64,
    /// The checksum of the whole file.
    pub checksum: u128,
}

/// Creates the problem of a file that can't be read as a snapshot.
fn damaged(file: &Path, why: impl Into<Unread>) -> Problem {
    let Unread { what, cause } = why.into();
    let problem = Problem::new(what).file(file);
    match cause {
        Some(error) => problem.caused_by(error).help(OTHER_SNAPSHOT),
        None => problem.help("put an undamaged copy there, or delete the file: an earlier snapshot is used then"),
    }
}
