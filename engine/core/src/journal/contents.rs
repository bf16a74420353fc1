//! Contents of an opened journal. The journal and the readers of its frames share them.

use std::path::PathBuf;

use super::{End, TornTail};

/// Contents of a journal: its frames, segments and keyframes, and how it ends.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub folder: PathBuf,
    pub run_id: u128,
    /// Number of the first frame; unknown where not even the first segment has a header.
    pub first_frame: Option<u64>,
    pub frames: u64,
    /// Number of segment files.
    pub segments: u32,
    pub keyframes: Vec<Keyframe>,
    pub end: Option<End>,
    pub torn: Option<TornTail>,
}

/// Position of a keyframe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyframe {
    pub frame: u64,
    pub offset: u64,
    pub segment: u32,
}

impl Contents {
    /// Returns the number of the frame that would be appended next.
    pub fn next_frame(&self) -> u64 {
        self.first_frame.unwrap_or(0).saturating_add(self.frames)
    }
}
