//! The inputs of a run's frames. A file is read twice: once before frame 0, so that a bad line fails before anything runs,
//! and once frame by frame. What can't be read twice, such as standard input, is checked as it comes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasm_engine_components::{FrameInputs, Swap};

use super::address_book::AddressBook;
use super::line::EventLine;
use super::raw_line::Input;
use super::reader::{EventLines, ReadError};
use super::stream::InterruptibleReader;
use super::stream_inputs::{StreamFrame, StreamInputs};
use crate::frame_loop::FrameSource;
use crate::problem::{Problem, RunError};
use crate::scenario::Scenario;
use crate::threads;

/// External events and the scenario's swaps, frame by frame, up to the run's last frame or until the run is asked to end.
pub struct EventSource {
    addresses: AddressBook,
    lines: Option<EventLines>,
    /// Events that an earlier run had. They take the place of lines.
    stored: StreamInputs,
    path: PathBuf,
    pending: Option<EventLine>,
    /// The scenario's swaps, by frame. `next_swap` is the index of the first one that wasn't taken.
    swaps: Vec<(u64, Swap)>,
    next_swap: usize,
    frames: u64,
    /// Whether all events can be read again from where they come.
    repeats: bool,
    /// Events of earlier frames have been taken already.
    first_frame: u64,
    interrupted: Arc<AtomicBool>,
    /// Lines for a frame after the last one.
    late: u64,
}

/// Opens the events of a scenario. `interrupted` ends the source before its next frame once it is set.
///
/// # Errors
/// The file can't be read, or a line of it is wrong; or there is no thread to be had for what has to be waited for.
pub fn open(scenario: &Scenario, interrupted: Arc<AtomicBool>) -> Result<EventSource, RunError> {
    let mut source = EventSource::stored(scenario, Vec::new(), interrupted);
    source.repeats = true;
    let Some(path) = &scenario.input else { return Ok(source) };
    let interrupted = Arc::clone(&source.interrupted);
    let input: Box<dyn Read + Send> = if scenario.reads_standard_input() {
        source.repeats = false;
        source.path = PathBuf::from("standard input");
        Box::new(InterruptibleReader::start(|| Ok(std::io::stdin().lock()), interrupted).map_err(no_thread)?)
    } else if is_file(path)? {
        let late = open_file(path).and_then(|file| source.check(file));
        source.late = late?;
        Box::new(open_file(path)?)
    } else {
        source.repeats = false;
        let path = path.clone();
        // A pipe may have nobody yet who writes to it.
        Box::new(InterruptibleReader::start(move || File::open(path), interrupted).map_err(no_thread)?)
    };
    source.lines = Some(EventLines::new(Box::new(BufReader::new(input)), &source.path));
    Ok(source)
}

/// Returns whether there is a file, and not a pipe or a device, from which everything can be read twice.
fn is_file(path: &Path) -> Result<bool, Problem> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    match metadata.is_dir() {
        true => Err(no_events(path, "is a folder, an events file is needed")),
        false => Ok(metadata.is_file()),
    }
}

fn open_file(path: &Path) -> Result<File, Problem> {
    File::open(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::NotFound => no_events(path, "doesn't exist"),
        _ => no_events(path, "can't be read").caused_by(error),
    }
}

fn no_thread(error: std::io::Error) -> RunError {
    let problem = Problem::new("can't start the thread that reads events").caused_by(error);
    RunError::of_machine(problem.help(threads::more_threads()))
}

fn no_events(path: &Path, what: &str) -> Problem {
    Problem::new(what).file(path).help("name an events file, or `-` for standard input")
}

impl EventSource {
    /// Returns a source of the external events that an earlier run of the scenario had. It reads no file.
    pub fn stored(scenario: &Scenario, stored: Vec<StreamFrame>, interrupted: Arc<AtomicBool>) -> Self {
        Self {
            addresses: AddressBook::new(scenario),
            lines: None,
            stored: StreamInputs::new(stored),
            path: scenario.input.clone().unwrap_or_default(),
            pending: None,
            swaps: scenario.swaps.iter().filter_map(|entry| Some((entry.frame?, entry.swap))).collect(),
            next_swap: 0,
            frames: scenario.frames,
            repeats: false,
            first_frame: 0,
            interrupted,
            late: 0,
        }
    }

    /// Begins at a later frame: events of earlier ones were taken by a run that goes on here. They are read past.
    #[must_use]
    pub const fn starting_at(mut self, frame: u64) -> Self {
        self.first_frame = frame;
        self
    }

    /// Returns the number of lines for a frame after the last one. It is known for a file; standard input is read no further than the
    /// run.
    pub const fn late_lines(&self) -> u64 {
        self.late
    }

    /// Returns whether all its events can be read again from where they come. Those of standard input, of a pipe or a device can't, nor those
    /// that were stored.
    pub const fn repeats(&self) -> bool {
        self.repeats
    }

    /// Returns where the events come from, for people.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file to its end, and counts the events after the last frame.
    fn check(&self, file: File) -> Result<u64, Problem> {
        let mut lines = EventLines::new(Box::new(BufReader::new(file)), &self.path);
        let mut late = 0;
        while let Some(line) = lines.next(&self.addresses).map_err(|error| self.problem(error))? {
            late += u64::from(line.frame >= self.frames);
            if self.interrupted.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(late)
    }

    /// Returns the scenario's swaps of a frame. Frames are asked for in their order.
    fn swaps_of(&mut self, frame: u64) -> Vec<Swap> {
        let rest = &self.swaps[self.next_swap..];
        let past = rest.partition_point(|(at, _)| *at < frame);
        let end = rest.partition_point(|(at, _)| *at <= frame);
        self.next_swap += end;
        rest[past..end].iter().map(|(_, swap)| *swap).collect()
    }

    /// Returns the inputs of a frame, in order. `None` where the wait for them was interrupted, which it is only where they are waited for:
    /// a run that was asked to end may still want those of frames that it had before.
    ///
    /// # Errors
    /// The events can't be read, or a line of them is wrong.
    pub(crate) fn inputs(&mut self, frame: u64) -> Result<Option<FrameInputs>, RunError> {
        let mut inputs = FrameInputs { swaps: self.swaps_of(frame), ..FrameInputs::default() };
        if let Some(mut stored) = self.stored.of(frame) {
            inputs.swaps.append(&mut stored.swaps);
            inputs = FrameInputs { swaps: inputs.swaps, ..stored };
        }
        while let Some(lines) = &mut self.lines {
            let next = match self.pending.take() {
                Some(line) => Ok(Some(line)),
                None => lines.next(&self.addresses),
            };
            match next {
                Ok(Some(line)) if line.frame > frame => {
                    self.pending = Some(line);
                    break;
                }
                Ok(Some(line)) if line.frame < self.first_frame => {}
                Ok(Some(EventLine { input: Some(input), .. })) => {
                    inputs.counts.delivered += 1;
                    match input {
                        Input::Event(event) => inputs.events.push(event),
                        Input::Swap(swap) => inputs.swaps.push(swap),
                        Input::Commands { action, count } => {
                            inputs.commands.extend(std::iter::repeat_n(action, count as usize));
                        }
                    }
                }
                Ok(Some(EventLine { input: None, .. })) => inputs.counts.disabled += 1,
                Ok(None) => self.lines = None,
                // A wait for input that was interrupted isn't a failure.
                Err(ReadError::Io(_)) if self.stopped() => return Ok(None),
                Err(error) => {
                    self.lines = None;
                    return Err(RunError::from(self.problem(error)));
                }
            }
        }
        Ok(Some(inputs))
    }

    fn problem(&self, error: ReadError) -> Problem {
        match error {
            ReadError::Line(problem) if self.repeats => problem,
            ReadError::Line(problem) => {
                let kept =
                    "the frames before it are kept: `wasm-engine resume` goes on with them, and with other events";
                let help = problem.help_text().map_or_else(|| kept.to_owned(), |help| format!("{help}; {kept}"));
                problem.help(help)
            }
            ReadError::Io(error) => {
                let help = "see that it is there and may be read";
                Problem::new("can't be read").caused_by(error).file(&self.path).help(help)
            }
        }
    }

    fn stopped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl FrameSource for EventSource {
    type Error = RunError;

    fn next_frame(&mut self, frame: u64) -> Result<Option<FrameInputs>, RunError> {
        if frame >= self.frames || self.stopped() { Ok(None) } else { self.inputs(frame) }
    }
}
