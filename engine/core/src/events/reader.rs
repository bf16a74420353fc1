//! Reads the lines of an events file, one at a time. Only one is in memory, and a line that is too long is an error before all of it is read.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use wasm_engine_components::limits::{
    EVENT_BYTES_PER_FRAME_MAX, EVENT_LINE_BYTES_MAX, EVENTS_PER_FRAME_MAX, LINE_CHARS_MAX,
};

use super::address_book::AddressBook;
use super::line::{EventLine, parse};
use super::raw_line::LineFault;
use crate::problem::{Problem, SourceText, thousands};

/// Why there is no next line.
pub(super) enum ReadError {
    /// A line is wrong.
    Line(Problem),
    /// Reading failed.
    Io(io::Error),
}

/// Reads lines and checks their order.
pub(super) struct EventLines {
    input: Box<dyn BufRead + Send>,
    path: PathBuf,
    buffer: Vec<u8>,
    number: usize,
    /// Line and frame of the event before.
    before: Option<(usize, u64)>,
    /// Messages and commands of that frame, and bytes of their payloads.
    amount: (u64, u64),
}

impl EventLines {
    /// Creates a reader of `input`. Errors name it `path`.
    pub fn new(input: Box<dyn BufRead + Send>, path: &Path) -> Self {
        Self { input, path: path.to_path_buf(), buffer: Vec::new(), number: 0, before: None, amount: (0, 0) }
    }

    /// Returns the next line that isn't blank.
    pub fn next(&mut self, addresses: &AddressBook) -> Result<Option<EventLine>, ReadError> {
        loop {
            self.buffer.clear();
            let most = EVENT_LINE_BYTES_MAX as u64 + 1;
            let length =
                Read::take(&mut self.input, most).read_until(b'\n', &mut self.buffer).map_err(ReadError::Io)?;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            let ended = self.buffer.last() == Some(&b'\n');
            if !ended && length > EVENT_LINE_BYTES_MAX {
                let what = format!("the line is longer than {} bytes", thousands(EVENT_LINE_BYTES_MAX));
                return Err(self.wrong(LineFault::of_line(what).help("send less in one event")));
            }
            let Ok(text) = std::str::from_utf8(&self.buffer) else {
                return Err(self.wrong(LineFault::of_line("isn't UTF-8").help("save it as UTF-8 text")));
            };
            // A byte order mark at the start of the file isn't a part of its first line.
            let text = if self.number == 1 { text.trim_start_matches('\u{feff}') } else { text };
            if text.trim().is_empty() {
                continue;
            }
            let line = parse(text.trim_end(), addresses).map_err(|fault| self.wrong(fault))?;
            if let Some((number, frame)) = self.before.filter(|(_, frame)| line.frame < *frame) {
                let what = format!("frame {} comes after frame {frame} of line {number}", line.frame);
                return Err(self.wrong(LineFault::new("frame", what).help("sort the events by frame")));
            }
            if self.before.is_none_or(|(_, frame)| line.frame > frame) {
                self.amount = (0, 0);
            }
            self.before = Some((self.number, line.frame));
            self.take(&line).map_err(|fault| self.wrong(fault))?;
            return Ok(Some(line));
        }
    }

    /// Counts a line against the limits of a frame.
    fn take(&mut self, line: &EventLine) -> Result<(), LineFault> {
        let (events, bytes) = line.amount();
        self.amount = (self.amount.0 + events, self.amount.1 + bytes);
        let what = match self.amount {
            (events, _) if events > EVENTS_PER_FRAME_MAX => format!("{} events", thousands(EVENTS_PER_FRAME_MAX)),
            (_, bytes) if bytes > EVENT_BYTES_PER_FRAME_MAX => {
                format!("{} bytes of payloads", thousands(EVENT_BYTES_PER_FRAME_MAX))
            }
            _ => return Ok(()),
        };
        let fault = LineFault::new("frame", format!("frame {} is given more than {what}", line.frame));
        Err(fault.help("give it less, or spread it over several frames"))
    }

    fn wrong(&self, fault: LineFault) -> ReadError {
        let mut problem = Problem::new(fault.what).file(&self.path).line(self.number);
        if let Some(column) = fault.column {
            problem = problem.column(column);
        }
        if let Some(key) = fault.key {
            problem = problem.key(key);
        }
        if let Some(help) = fault.help {
            problem = problem.help(help);
        }
        // A longer line would be shown by nobody.
        if let Ok(line) = std::str::from_utf8(&self.buffer)
            && line.len() <= LINE_CHARS_MAX
        {
            problem = problem.text(SourceText::from_line(&self.path, line, self.number));
        }
        ReadError::Line(problem)
    }
}
