//! External events: JSON lines, from a file or standard input, become the inputs of frames.
//!
//! [`open`] is called by the command line before a run; the [`EventSource`] it gives back is the run's
//! [`crate::frame_loop::FrameSource`]. A line is read by `line`, from its JSON (`raw_line`) and the names of
//! the scenario (`address_book`); one that is a command by `command`, what a message carries by `payload`, and standard input or a pipe,
//! which may keep a run waiting, by `stream`. `stream_inputs` has what a branch is given where the events can't be read again.

mod address_book;
mod command;
mod line;
mod payload;
mod raw_line;
mod reader;
mod source;
mod stream;
mod stream_inputs;

pub use command::word_of;
pub use source::{EventSource, open};
pub use stream_inputs::StreamFrame;
