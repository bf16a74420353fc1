//! Fetches the pinned wheel with the user's own pip, and puts its library into the cache. [`super`] calls it when the cache has
//! no valid copy.
//!
//! It uses pip and no HTTP client of its own, because pip knows the user's mirrors, proxies and certificates.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::error::{Attempt, LibraryError};
use super::pin::{ONNX_RUNTIME_VERSION, Pin};
use wasm_engine_files::unfinished::{Unfinished, making};
use wasm_engine_files::{Lack, hex, sha256_of_file};

/// Downloads the wheel into an empty folder. It is a closure, so that tests can bring other files, or none.
pub(crate) type Download<'a> = &'a mut dyn FnMut(&Pin, &Path) -> Result<(), NotFetched>;

/// Why there is no wheel.
#[derive(Debug)]
pub(crate) enum NotFetched {
    /// Each attempt failed for a reason of its own.
    Attempts(Vec<Attempt>),
    /// The machine lacks something, whoever fetches.
    Machine(io::Error),
}

/// Most bytes of a library, so that a wrong archive doesn't fill the disk.
const LIBRARY_BYTES_MAX: u64 = 1 << 30;

/// Most characters of pip's messages that are shown.
const PROBLEM_CHARS_MAX: usize = 600;

/// The commands that may be pip, in the order in which they are tried.
const PIPS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// Fetches the wheel and puts the library at `target`, completely or not at all.
pub(crate) fn fetch(pin: &Pin, target: &Path, download: Download<'_>) -> Result<(), LibraryError> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let cache = |error| LibraryError::Cache { path: folder.to_path_buf(), error };
    // On the same file system as the target, so that the last step is a rename.
    let make = || tempfile::Builder::new().prefix(".fetch-").tempdir_in(folder);
    let (work, _unfinished) = Unfinished::folder(make).map_err(cache)?;
    download(pin, work.path()).map_err(|why| match why {
        NotFetched::Machine(error) => cache(error),
        NotFetched::Attempts(attempts) => LibraryError::Fetch {
            folder: folder.to_path_buf(),
            attempts,
            command: command_line(pin),
            member: format!("{}/{}", Pin::FOLDER, pin.member),
        },
    })?;
    let wheel = only_wheel(work.path())?;
    let found = sha256_of_file(&wheel).map_err(|error| LibraryError::Cache { path: wheel.clone(), error })?;
    if found != pin.wheel_sha256 {
        return Err(LibraryError::WrongHash { what: "the wheel", found, expected: pin.wheel_sha256.clone() });
    }
    let unpacked = unpack(pin, &wheel, work.path())?;
    match making(|| unpacked.persist(target)) {
        // Another process may have put the same file there and loaded it; some systems then refuse to replace it.
        Err(_) if sha256_of_file(target).is_ok_and(|found| found == pin.library_sha256) => Ok(()),
        Err(error) => Err(cache(error.error)),
        Ok(_) => {
            // The name is as durable as the content only once the folder is, too. A crash before costs a second fetch.
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
            Ok(())
        }
    }
}

/// Returns the command that a person can run.
pub(crate) fn command_line(pin: &Pin) -> String {
    format!("python3 -m pip {} onnxruntime=={ONNX_RUNTIME_VERSION}", pin.pip_arguments().join(" "))
}

/// Returns the only wheel that pip has downloaded.
fn only_wheel(folder: &Path) -> Result<PathBuf, LibraryError> {
    let entries = std::fs::read_dir(folder).map_err(|error| LibraryError::Cache { path: folder.into(), error })?;
    let wheels = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut wheels = wheels.filter(|path| path.extension().is_some_and(|extension| extension == "whl"));
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => Err(LibraryError::Unpack { problem: "pip said that it fetched it, but didn't leave one file".into() }),
    }
}

/// Writes the library to a temporary file, hashes it meanwhile, and returns it synced.
fn unpack(pin: &Pin, wheel: &Path, folder: &Path) -> Result<tempfile::NamedTempFile, LibraryError> {
    let broken = |problem: &dyn std::fmt::Display| LibraryError::Unpack { problem: problem.to_string() };
    let cache = |error| LibraryError::Cache { path: folder.to_path_buf(), error };
    let file = File::open(wheel).map_err(cache)?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| broken(&error))?;
    let name = format!("{}/{}", Pin::FOLDER, pin.member);
    let mut member =
        archive.by_name(&name).map_err(|error| broken(&format!("{name}: {error}")))?.take(LIBRARY_BYTES_MAX);

    let mut target = making(|| tempfile::NamedTempFile::new_in(folder)).map_err(cache)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = member.read(&mut buffer).map_err(|error| match Lack::of(&error) {
            None => broken(&error),
            Some(_) => cache(error),
        })?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        target.write_all(&buffer[..count]).map_err(cache)?;
    }
    let found = hex(&hash.finalize());
    if found != pin.library_sha256 {
        return Err(LibraryError::WrongHash { what: "the library", found, expected: pin.library_sha256.clone() });
    }
    target.as_file().sync_all().map_err(cache)?;
    Ok(target)
}

/// Downloads a wheel with the first pip that works.
pub(crate) fn download_with_pip(pin: &Pin, folder: &Path) -> Result<(), NotFetched> {
    let requirements = folder.join("requirements.txt");
    making(|| std::fs::write(&requirements, pin.requirement())).map_err(NotFetched::Machine)?;
    let mut attempts = Vec::new();
    for pip in PIPS {
        // A pip that failed has been patient enough for the others, too: where there is no network, all will fail.
        let patience: &[&str] = if attempts.is_empty() { &[] } else { &["--retries", "0", "--timeout", "10"] };
        match run_pip(pip, patience, pin, folder, &requirements) {
            Ok(()) => return Ok(()),
            Err(PipProblem::Machine(error)) => return Err(NotFetched::Machine(error)),
            Err(PipProblem::Said(problem)) => attempts.push(Attempt { program: pip.join(" "), problem }),
        }
    }
    Err(NotFetched::Attempts(attempts))
}

/// Why a pip failed.
enum PipProblem {
    /// It said why, or couldn't be started.
    Said(String),
    /// The machine lacks something, and another pip would meet the same.
    Machine(io::Error),
}

/// Returns the last error of the system in what a program in Python has said, if it says what the machine lacks, such as
/// `OSError: [Errno 28] No space left on device` or `OSError(28, 'No space left on device')`. `None` on systems whose numbers aren't C's.
pub(super) fn said_by_system(text: &str) -> Option<io::Error> {
    if !cfg!(unix) {
        return None;
    }
    let number = |start: &str| {
        let (_, rest) = text.rsplit_once(start)?;
        let digits = rest.find(|character: char| !character.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        let error = io::Error::from_raw_os_error(digits.parse().ok()?);
        Lack::of(&error).map(|_| error)
    };
    ["[Errno ", "OSError("].into_iter().find_map(number)
}

/// Runs one pip.
fn run_pip(pip: &[&str], more: &[&str], pin: &Pin, folder: &Path, requirements: &Path) -> Result<(), PipProblem> {
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).args(pin.pip_arguments()).args(more);
    command.args(["--require-hashes", "--quiet", "--disable-pip-version-check", "--no-input"]);
    command.arg("--dest").arg(folder).arg("--requirement").arg(requirements);
    // `python -m` looks for modules in the current folder first, and that may hold a pip of somebody else.
    command.current_dir(folder);
    // Nothing is installed, so a rule against installing outside a virtual environment doesn't apply.
    command.env("PIP_REQUIRE_VIRTUALENV", "false");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // What it keeps on the way goes with the folder, too, where it is ended.
    command.env("TMPDIR", folder);
    let run = |command: &mut Command| {
        let (child, _unfinished) = Unfinished::child(command)?;
        child.wait_with_output()
    };
    match run(&mut command) {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let all = String::from_utf8_lossy(&output.stderr);
            if let Some(error) = said_by_system(&all) {
                return Err(PipProblem::Machine(error));
            }
            let said = last_chars(all.trim(), PROBLEM_CHARS_MAX);
            let said = if said.is_empty() { output.status.to_string() } else { said.replace('\n', "\n    ") };
            Err(PipProblem::Said(said))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(PipProblem::Said("there is no such program".into()))
        }
        Err(error) if Lack::of(&error).is_some() || error.kind() == io::ErrorKind::WouldBlock => {
            Err(PipProblem::Machine(error))
        }
        Err(error) => Err(PipProblem::Said(error.to_string())),
    }
}

/// Returns the end of a text, because a program that fails gives the reason last.
fn last_chars(text: &str, chars_max: usize) -> String {
    let skipped = text.chars().count().saturating_sub(chars_max);
    text.chars().skip(skipped).collect()
}
