//! Time travel: a recorded run, opened again at any of its frames. Replaying, resuming, branching, inspecting and comparing
//! are all the main loop of [`crate::frame_loop`], with a journal for a source.
//!
//! ```text
//! RunReplayer ── start ──> a simulation, from the nearest snapshot or from the beginning
//!     │          run_to    JournalSource: the journal's inputs, and what models answered, go in
//!     │                    DigestChecker: each record is compared with the journal's
//!     ├── replay           every digest is checked; a divergence is explained
//!     ├── resume           the same up to the journal's end, and then it is a run again
//!     ├── branch           the same up to a frame, and then another run
//!     └── diff             the same with two runs, up to the frame in which they part
//! ```
//!
//! Source and checker share nothing: each of them reads the journal for itself.

#[cfg(test)]
#[cfg(feature = "inference")]
mod audits;
mod branch;
mod compare;
mod diff;
mod digest_checker;
mod divergence;
mod error;
mod explain;
mod journal_source;
mod recorded_frames;
mod replay;
mod resume;
mod run_replayer;
mod stream_inputs;
mod unread_snapshots;
mod watch;

pub use branch::{BranchError, BranchOptions, Branched, branch};
pub use compare::{Comparison, DIFFERENCES_MAX, compare};
pub use diff::{Difference, diff};
pub use digest_checker::DigestChecker;
pub use divergence::{Compared, Divergence, RowDifference};
pub use error::FollowError;
pub use explain::explain;
pub use journal_source::{JournalSource, LiveTail};
pub use replay::{ReplayOptions, Replayed, replay};
pub use resume::{ResumeSink, Resumed, resume};
pub use run_replayer::{RestoredRun, RunReplayer};
pub use watch::watch;
