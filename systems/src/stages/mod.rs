//! The stages of a frame, in the order of the frame: each module holds the systems of one stage, or of a part of one. What they work on
//! is in [`crate::world`]; [`crate::run_frame`] runs them in the order of [`crate::FrameStage`].

pub(crate) mod command;
pub(crate) mod ingest;
pub(crate) mod swap;

pub(crate) mod deliver;
pub(crate) mod notices;
pub(crate) mod overflow;

pub(crate) mod schedule;

pub(crate) mod admit;
pub(crate) mod backlog;
pub(crate) mod step;

pub(crate) mod collect;

pub(crate) mod answers;
pub(crate) mod infer;

pub(crate) mod commit;
pub(crate) mod region;

pub(crate) mod digest;
pub(crate) mod seal;
