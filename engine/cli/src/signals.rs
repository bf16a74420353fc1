//! Signals of the operating system, and the two things that the thread which waits for them can do without waiting for another
//! thread: print a line, and end the process.

use std::fmt::{self, Write};

use wasm_engine_components::text::shown;

use super::said::{Said, TARGET, write_time};
use super::status::Status;
use super::terminal::{Form, form};

/// Longest text that is written at once, in bytes: a pipe with any room takes this much.
const SAID_BYTES_MAX: usize = 4_000;

#[cfg(unix)]
pub(super) use unix::Signals;

#[cfg(not(unix))]
pub(super) use elsewhere::Signals;

#[cfg(unix)]
mod unix {
    use std::io::{self, Read as _};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    /// The signals that end a process, as they come.
    pub struct Signals {
        /// Gets a byte for each signal.
        bytes: UnixStream,
        /// The signal that came last.
        last: Arc<AtomicUsize>,
    }

    impl Signals {
        /// Starts to listen to signals.
        pub fn new() -> io::Result<(Self, impl FnOnce() -> io::Result<()>)> {
            let (bytes, writer) = UnixStream::pair()?;
            let last = Arc::<AtomicUsize>::default();
            let signals = Self { bytes, last: Arc::clone(&last) };
            let begin = move || {
                // A process that was started with `nohup` must outlive its terminal.
                let all =
                    [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| signal != SIGHUP || !is_ignored(signal));
                for signal in all {
                    signal_hook::flag::register_usize(signal, Arc::clone(&last), signal as usize)?;
                    signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
                }
                Ok(())
            };
            Ok((signals, begin))
        }

        /// Returns the next signal; none where there is none before the deadline, or none can come any more.
        pub fn next(&mut self, deadline: Option<Instant>) -> Option<u8> {
            loop {
                let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                if left.is_some_and(|left| left.is_zero()) {
                    return None;
                }
                self.bytes.set_read_timeout(left).ok()?;
                match self.bytes.read(&mut [0]) {
                    Ok(0) => return None,
                    Ok(_) => return u8::try_from(self.last.load(Ordering::Relaxed)).ok(),
                    Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                    Err(_) => return None,
                }
            }
        }
    }

    fn is_ignored(signal: i32) -> bool {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: without a new action, the call only fills in the old one, which is read only if it did.
        unsafe {
            libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
                && action.assume_init().sa_sigaction == libc::SIG_IGN
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::io;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Instant;

    /// Signal that Ctrl-C counts as.
    const SIGINT: u8 = 2;

    /// Each Ctrl-C.
    pub struct Signals(Receiver<()>);

    impl Signals {
        /// Starts to listen to signals.
        pub fn new() -> io::Result<(Self, impl FnOnce() -> io::Result<()>)> {
            let (sender, signals) = channel();
            let begin = move || {
                let handler = move || drop(sender.send(()));
                ctrlc::set_handler(handler).map_err(io::Error::other)
            };
            Ok((Self(signals), begin))
        }

        /// Returns the next signal; none where there is none before the deadline, or none can come any more.
        pub fn next(&mut self, deadline: Option<Instant>) -> Option<u8> {
            let came = match deadline {
                None => self.0.recv().is_ok(),
                Some(deadline) => self.0.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok(),
            };
            came.then_some(SIGINT)
        }
    }
}

/// Says something on standard error without ever waiting: for a reader that no longer reads, or for a thread of this process that
/// waits for the reader. If it would have to wait, it says nothing. Lines begin with `before`, which ends what a terminal shows of Ctrl-C.
pub(super) fn say_now(before: &'static str, said: &Said<'_>) {
    write_now(&match form() {
        Form::Text => format!("{before}{}", said.lines()),
        Form::Json => one_json(said),
    });
}

/// As much JSON as is written at once. What has longer paths in it is cut, so that it stays JSON.
fn one_json(said: &Said<'_>) -> String {
    let json = said.json();
    if json.len() <= SAID_BYTES_MAX {
        return json;
    }
    // What was cut has no characters left that are written as numbers, and others have four bytes at most.
    let cut = |text: &String| shown(text).at_most(SAID_BYTES_MAX / 10).to_string();
    Said { message: cut(&said.message), help: said.help.as_ref().map(cut), ..said.clone() }.json()
}

/// A text of a bounded size, for which nothing is allocated.
struct Stack {
    bytes: [u8; 512],
    length: usize,
}

impl Stack {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Stack {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Writes that there is no memory. Neither text has anything that JSON would escape.
fn no_memory(form: Form) -> Stack {
    const MESSAGE: &str = "there is no more memory to be had";
    const HELP: &str = "give the process more, or run less at once; what is recorded of a run stays: `wasm-engine resume` goes on from there";
    let mut text = Stack { bytes: [0; 512], length: 0 };
    // There is room for it, which a test holds.
    let _ = match form {
        Form::Text => writeln!(text, "error: {MESSAGE}\n  help: {HELP}"),
        Form::Json => text.write_str("{\"time\":\"").and_then(|()| write_time(&mut text)).and_then(|()| {
            writeln!(
                text,
                "\",\"level\":\"ERROR\",\"target\":\"{TARGET}\",\"message\":\"{MESSAGE}\",\"help\":\"{HELP}\"}}"
            )
        }),
    };
    text
}

/// Prints that there is no memory, without allocating any.
pub(super) fn say_no_memory() {
    write_now(no_memory(form()).as_str());
}

#[cfg(unix)]
fn write_now(text: &str) {
    let text = &text[..text.floor_char_boundary(SAID_BYTES_MAX)];
    let mut ready = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one descriptor, of this function's own; and bytes that live through the call. A write that fails tells nobody, as everywhere.
    unsafe {
        if libc::poll(&raw mut ready, 1, 0) == 1 && ready.revents & libc::POLLOUT != 0 {
            libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        }
    }
}

#[cfg(not(unix))]
fn write_now(text: &str) {
    super::terminal::tell(text);
}

/// Ends the process now: no destructor runs, of Rust or of a library whose threads are still at work.
pub(super) fn exit_now(status: Status) -> ! {
    #[cfg(unix)]
    // SAFETY: it doesn't return, and touches nothing of this process.
    unsafe {
        libc::_exit(status.code().into())
    }
    #[cfg(not(unix))]
    std::process::exit(status.code().into())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tracing::Level;

    use super::*;

    #[test]
    fn what_is_said_at_once_is_one_whole_object_however_long_its_paths_are() {
        for text in ["a".repeat(5_000), "\u{1b}".repeat(2_000), "\u{1f469}".repeat(3_000), "\"".repeat(3_000)] {
            let said = Said::new(Level::ERROR, &*text).help(Some(&*text));
            let json = one_json(&said);
            assert!(json.len() <= SAID_BYTES_MAX && json.ends_with("}\n"), "{}", json.len());
            let json: Value = serde_json::from_str(&json).unwrap();
            assert!(json["help"].as_str().unwrap().contains(" more)…"), "{json}");
        }
    }

    #[test]
    fn that_there_is_no_memory_has_the_keys_of_everything_else() {
        let none: Value = serde_json::from_str(no_memory(Form::Json).as_str()).unwrap();
        let other = Said::new(Level::ERROR, "x").help(Some("y")).json();
        let other: Value = serde_json::from_str(&other).unwrap();
        let keys = |json: &Value| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&none), keys(&other));
        assert_eq!((&none["target"], &none["level"]), (&other["target"], &other["level"]));
    }
}
