//! Time travel: a recorded run, opened again at any of its frames. Replaying, resuming, branching, inspecting and comparing
//! are all the main loop of [`crate::frame_loop`], with a journal for a source.
//!
//! ```text
//! Traveller ── start ──> a simulation, from the nearest snapshot or from the beginning
//!     │                  └─ follow: the journal's frames go in, and each record is held against the journal's
//!     ├── replay         every digest is checked; a divergence is explained
//!     ├── resume         the same up to the journal's end, and then it is a run again
//!     ├── branch         the same up to a frame, and then another run
//!     └── diff           the same with two runs, up to the frame in which they part
//! ```

#[cfg(test)]
mod audits;
mod branch;
mod compare;
mod diff;
mod divergence;
mod follow;
mod kept;
mod replay;
mod resume;
mod traveller;
mod watch;

pub use branch::{BranchError, BranchOptions, Branched, branch};
pub use compare::{Comparison, DIFFERENCES_MAX, compare};
pub use diff::{Difference, diff};
pub use divergence::{Compared, Divergence};
pub use follow::{Follower, JournalSource, Live, Stop, follow};
pub use replay::{ReplayOptions, Replayed, replay};
pub use resume::{ResumeSink, Resumed, resume};
pub use traveller::{Arrival, Traveller};
pub use watch::watch;
