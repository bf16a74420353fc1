//! The stages of a frame, in the order of the frame: each module holds the systems of one stage, or of a part of one. What they work on
//! is in [`crate::world`]; [`crate::run_frame`] runs them in the order of [`crate::FrameStage`].

pub mod command;
pub mod ingest;
pub mod swap;

pub mod deliver;
pub mod notices;
pub(crate) mod overflow;

pub mod schedule;

pub mod admit;
pub mod step;

pub mod collect;
pub(crate) mod debts;

pub mod infer;

pub mod commit;
pub mod region;

pub mod seal;
