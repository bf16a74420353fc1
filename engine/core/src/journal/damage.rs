//! Problems of a journal: which file, which byte, what to do.

use std::io;
use std::path::Path;

use wasm_engine_components::text::shown_path;

use super::TornTail;
use super::format::{FORMAT_VERSION, HeaderFault, at};
use crate::problem::Problem;

/// Help for damage.
const HELP: &str = "take the file from a copy of the run directory; without one, `run` the scenario again";

/// Returns the problem of a file that isn't as it was written.
pub(super) fn damaged(file: &Path, offset: u64, why: &str) -> Problem {
    Problem::new(format!("is damaged at byte {offset}: {why}")).file(file).help(HELP)
}

/// Returns the problem of a segment without a valid header.
pub(super) fn header(file: &Path, fault: HeaderFault) -> Problem {
    match fault {
        HeaderFault::Magic => damaged(file, 0, "it doesn't begin as a segment of a journal does"),
        HeaderFault::Sum => damaged(file, 0, "its header doesn't match its checksum"),
        HeaderFault::Version(version) => {
            let version = format!(
                "has the journal format {version} (at byte {}), this engine reads {FORMAT_VERSION}",
                at::VERSION
            );
            Problem::new(version)
                .file(file)
                .help("use the version of the engine that made this run; `manifest.toml` names it")
        }
    }
}

/// Returns the problem of a record of an unknown kind.
pub(super) fn unknown_kind(file: &Path, offset: u64, kind: u8) -> Problem {
    Problem::new(format!("has a record of kind {kind} at byte {offset}, which this engine doesn't know"))
        .file(file)
        .help("use the version of the engine that made this run; `manifest.toml` names it")
}

/// Returns the problem of a segment that is of another run.
pub(super) fn other_run(file: &Path, found: u128, run_id: u128) -> Problem {
    let what = format!("belongs to another run (at byte {}): {found:032x}, not {run_id:032x}", at::RUN);
    Problem::new(what).file(file).help(HELP)
}

/// Returns the problem of a missing segment, if a later one is there or there is none at all.
pub(super) fn missing(file: &Path, later: Option<&Path>) -> Problem {
    let what = match later.and_then(Path::file_name) {
        Some(later) => format!("is missing, but {} is there", shown_path(Path::new(later))),
        None => "is missing".to_owned(),
    };
    Problem::new(what).file(file).help(HELP)
}

/// Returns the problem of a file that can't be read.
pub(super) fn unreadable(file: &Path, error: io::Error) -> Problem {
    let help = "see that it is there and may be read: all of the journal is needed";
    Problem::new("can't be read").caused_by(error).file(file).help(help)
}

/// Returns the problem of a file that can't be written.
pub(super) fn unwritable(file: &Path, error: io::Error) -> Problem {
    let help = match error.kind() {
        io::ErrorKind::AlreadyExists => "name another folder with --out; a run never overwrites another",
        _ => "name a folder that you may write to with --out",
    };
    let room = "make room, then `resume` the run: it goes on from the last whole frame that was written";
    Problem::new("can't be written").caused_by(error).file(file).help(help).room_help(room)
}

/// Returns the problem of a torn tail in a run that ended orderly.
pub(super) fn torn(tail: &TornTail) -> Problem {
    let why = match tail.bytes {
        0 => "it is empty, although the run ended orderly".to_owned(),
        1 => "the last byte is no whole record, although the run ended orderly".to_owned(),
        bytes => format!("the last {bytes} bytes are no whole record, although the run ended orderly"),
    };
    damaged(&tail.file, tail.offset, &why)
}
