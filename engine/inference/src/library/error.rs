//! Why there is no ONNX Runtime. Each message says what is wrong and what to do.

use std::io;
use std::path::PathBuf;

use wasm_engine_components::limits::LINE_CHARS_MAX;
use wasm_engine_components::text::{shown, shown_path};

use super::pin::{ONNX_RUNTIME_MINOR_MIN, ONNX_RUNTIME_VERSION};
use wasm_engine_files::{CACHE_VARIABLE, Lack};

/// Room that the wheel and the library take together, in megabytes.
const ROOM_MB: u32 = 100;

/// Why ONNX Runtime couldn't be found, fetched or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// `ORT_DYLIB_PATH` is set and doesn't name a file. Nothing else is tried then.
    #[error(
        "ORT_DYLIB_PATH is set to {}, which {}: let it name the library file of ONNX Runtime \
             {ONNX_RUNTIME_VERSION}, or unset it so that the engine fetches one",
        shown_path(path),
        shown(problem).at_most(LINE_CHARS_MAX)
    )]
    Override {
        /// Path that the variable has for its value.
        path: PathBuf,
        /// Problem of the file that it names.
        problem: String,
    },
    /// No build is pinned for this operating system and architecture.
    #[error(
        "no build of ONNX Runtime is known for {}: set ORT_DYLIB_PATH to the library file of ONNX Runtime \
             {ONNX_RUNTIME_VERSION} that was built for it",
        shown(platform)
    )]
    UnknownPlatform {
        /// Operating system and architecture.
        platform: String,
    },
    /// The user has no home, so there is no place for a cache.
    #[error(
        "there is no folder for caches, because this user has no home directory: set WASM_ENGINE_CACHE_DIR to a \
             folder that may be written, or ORT_DYLIB_PATH to the library file of ONNX Runtime {ONNX_RUNTIME_VERSION}"
    )]
    NoCacheFolder,
    /// The cache can't be read or written.
    #[error("{} can't be used as the cache of ONNX Runtime ({error}): {}", shown_path(path), cache_remedy(error))]
    Cache {
        /// File or folder that can't be used.
        path: PathBuf,
        /// Error of the system.
        error: std::io::Error,
    },
    /// Others may write what would be loaded.
    #[error(
        "ONNX Runtime isn't loaded from the cache: {who} may write {}, and with it what would be run; make it yours alone (`chown`, `chmod go-w`), or set \
             WASM_ENGINE_CACHE_DIR to a folder of yours",
        shown_path(path)
    )]
    OthersMayWrite {
        /// The file, or a folder above it.
        path: PathBuf,
        /// Those besides the user who may write it, in words.
        who: &'static str,
    },
    /// No pip could fetch the wheel.
    #[error(
        "ONNX Runtime {ONNX_RUNTIME_VERSION} couldn't be fetched into {} ({}): on a machine that has pip and a network, run \
         `{}`, then take {} out of the wheel (it is a zip file), and set ORT_DYLIB_PATH to that file",
        shown_path(folder),
        attempts.iter().map(|a| format!("{}: {}", shown(&a.program), shown(&a.problem))).collect::<Vec<_>>().join("; "),
        shown(command).at_most(LINE_CHARS_MAX),
        shown(member)
    )]
    Fetch {
        /// Folder into which it was to be fetched.
        folder: PathBuf,
        /// Attempts that failed, in order.
        attempts: Vec<Attempt>,
        /// Command that a person can run.
        command: String,
        /// Name of the library in the wheel.
        member: String,
    },
    /// The fetched file doesn't have the pinned hash.
    #[error(
        "{what} of ONNX Runtime {ONNX_RUNTIME_VERSION} has the sha256 {}, but {} is the right one: it isn't \
             used; look at where pip fetches from, or set ORT_DYLIB_PATH to the library file",
        shown(found),
        shown(expected)
    )]
    WrongHash {
        /// Kind of file: the wheel, or the library in it.
        what: &'static str,
        /// SHA-256 that was found, in hexadecimal digits.
        found: String,
        /// Pinned SHA-256, in hexadecimal digits.
        expected: String,
    },
    /// The wheel can't be unpacked.
    #[error(
        "the wheel of ONNX Runtime {ONNX_RUNTIME_VERSION} can't be unpacked ({}): fetch again, or set \
             ORT_DYLIB_PATH to the library file",
        shown(problem).at_most(LINE_CHARS_MAX)
    )]
    Unpack {
        /// Problem of the wheel.
        problem: String,
    },
    /// The file isn't a library that this process can load, or isn't ONNX Runtime.
    #[error(
        "{} can't be loaded as ONNX Runtime ({}): {}",
        shown_path(path),
        shown(problem).at_most(LINE_CHARS_MAX),
        remedy(*from_override)
    )]
    Load {
        /// File that can't be loaded.
        path: PathBuf,
        /// Error of the system's loader.
        problem: String,
        /// Whether `ORT_DYLIB_PATH` named it.
        from_override: bool,
    },
    /// The thread that ends calls which take too long can't be started.
    #[error(
        "the thread that ends what models do when it takes too long can't be started ({0}): {remedy}",
        remedy = Lack::Threads.remedy()
    )]
    NoThread(std::io::Error),
    /// The file is an ONNX Runtime that lacks functions which the engine calls.
    #[error(
        "{} is ONNX Runtime {}, but 1.{ONNX_RUNTIME_MINOR_MIN} or newer is needed, and \
             {ONNX_RUNTIME_VERSION} is what results are promised for: {}",
        shown_path(path),
        shown(found),
        remedy(*from_override)
    )]
    Version {
        /// File that was loaded.
        path: PathBuf,
        /// Version of the file.
        found: String,
        /// Whether `ORT_DYLIB_PATH` named it.
        from_override: bool,
    },
}

impl LibraryError {
    /// Returns whether the error is about a setting of the user, and not about the machine.
    pub const fn is_of_user(&self) -> bool {
        match self {
            Self::Override { .. } => true,
            Self::Load { from_override, .. } | Self::Version { from_override, .. } => *from_override,
            _ => false,
        }
    }
}

/// Returns what to do about a cache that can't be used.
fn cache_remedy(error: &io::Error) -> String {
    match Lack::of(error) {
        Some(lack) if lack.is_room() => format!(
            "{}; {CACHE_VARIABLE} names another folder for the cache, which takes about {ROOM_MB} MB while it is filled",
            lack.remedy()
        ),
        Some(lack) => lack.remedy().to_owned(),
        None if error.kind() == io::ErrorKind::WouldBlock => Lack::Threads.remedy().to_owned(),
        None if error.kind() == io::ErrorKind::NotADirectory => {
            format!("{CACHE_VARIABLE} names the folder for the cache")
        }
        None => format!(
            "make it writable, or set {CACHE_VARIABLE} to another folder, or ORT_DYLIB_PATH to the library file of ONNX Runtime \
             {ONNX_RUNTIME_VERSION}"
        ),
    }
}

/// Returns what to do about a library that doesn't load.
const fn remedy(from_override: bool) -> &'static str {
    if from_override {
        "let ORT_DYLIB_PATH name another file, or unset it so that the engine fetches one"
    } else {
        "set ORT_DYLIB_PATH to a library file that was built for this system"
    }
}

/// An attempt to fetch that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The command.
    pub program: String,
    /// Problem of the attempt.
    pub problem: String,
}
