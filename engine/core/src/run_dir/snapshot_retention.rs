//! Removes the oldest snapshots, if no interval was set, once all of them take more than
//! [`SNAPSHOTS_BYTES_MAX`](wasm_engine_components::limits::SNAPSHOTS_BYTES_MAX) or half of what the run's folder may have: usually the
//! last frames are the ones that are visited again.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::table::failed;
use crate::problem::RunError;
use crate::snapshot;

/// The snapshots of a folder, the oldest first.
pub(super) struct SnapshotRetention {
    folder: PathBuf,
    chains: VecDeque<Chain>,
    bytes_max: u64,
}

/// A full snapshot and the incremental ones that are based on it. They are removed together.
#[derive(Default)]
struct Chain {
    frames: Vec<u64>,
    bytes: u64,
}

impl SnapshotRetention {
    /// Lists the snapshots that are there already, without the one before `first_frame`: a branch needs the one that it begins with.
    pub fn of(folder: &Path, first_frame: u64, bytes_max: u64) -> Self {
        let mut retention = Self { folder: folder.to_path_buf(), chains: VecDeque::new(), bytes_max };
        for frame in snapshot::list(folder).unwrap_or_default() {
            // A damaged one is left for the user to look at.
            if frame > first_frame
                && let Ok(base) = snapshot::read_base(folder, frame)
            {
                retention.add(frame, base.is_none());
            }
        }
        retention
    }

    /// Adds a snapshot that was written.
    pub fn add(&mut self, frame: u64, is_whole: bool) {
        if is_whole {
            self.chains.push_back(Chain::default());
        }
        let Some(chain) = self.chains.back_mut() else { return };
        chain.frames.push(frame);
        chain.bytes += std::fs::metadata(snapshot::path(&self.folder, frame)).map_or(0, |file| file.len());
    }

    /// Removes the oldest as long as there are too many. The last chain stays. Returns the number of bytes that were removed.
    pub fn thin_out(&mut self) -> Result<u64, RunError> {
        let mut gone = 0;
        while self.chains.len() > 1 && self.chains.iter().map(|chain| chain.bytes).sum::<u64>() > self.bytes_max {
            // The latest goes first, so that what is left of a chain is usable if this is interrupted.
            let Some(chain) = self.chains.pop_front() else { break };
            gone += chain.bytes;
            for frame in chain.frames.into_iter().rev() {
                let file = snapshot::path(&self.folder, frame);
                match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&file, error)),
                    _ => {}
                }
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Snapshot, SnapshotRef};
    use crate::state::State;
    use wasm_engine_components::Digest;
    use wasm_engine_systems::state::WorldState;
    use wasm_engine_wasm::GuestCapture;

    fn write(folder: &Path, frame: u64, base: Option<SnapshotRef>) -> SnapshotRef {
        let guests = GuestCapture { full: base.is_none(), ..GuestCapture::default() };
        let (digest, world, extras) = (Digest(0), WorldState::default(), vec![("x".to_owned(), vec![7; 100])]);
        snapshot::write(folder, &Snapshot { state: State { frame, digest, world, guests }, base, extras }).unwrap()
    }

    #[test]
    fn the_oldest_chains_go_and_those_of_earlier_sessions_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // What a branch begins with, and two chains of a session that was killed.
        write(path, 3, None);
        let base = write(path, 10, None);
        write(path, 20, Some(base));
        write(path, 30, None);
        let bytes = std::fs::metadata(snapshot::path(path, 30)).unwrap().len();
        let mut retention = SnapshotRetention::of(path, 3, 3 * bytes + bytes / 2);
        retention.thin_out().unwrap();
        assert_eq!(snapshot::list(path).unwrap(), [3, 10, 20, 30], "three of about the same size have room");
        let base = write(path, 40, None);
        retention.add(40, true);
        retention.thin_out().unwrap();
        assert_eq!(snapshot::list(path).unwrap(), [3, 30, 40], "what goes on from another goes with it");
        for frame in [50, 60, 70] {
            write(path, frame, Some(base));
            retention.add(frame, false);
        }
        retention.thin_out().unwrap();
        assert_eq!(snapshot::list(path).unwrap(), [3, 40, 50, 60, 70], "the last chain stays, however long it is");
    }
}
