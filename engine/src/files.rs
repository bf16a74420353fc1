//! Reading the files that a scenario names: bounded, and checked against the hash that the scenario states.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Why a file wasn't taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't read {what} `{name}`, {path}: {source}", path = path.display())]
    Read {
        /// `"module"` or `"model"`.
        what: &'static str,
        /// Its name in the scenario.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than the limit.
    #[error("{what} `{name}`, {path}, is larger than the limit of {bytes_max} bytes", path = path.display())]
    TooLarge {
        /// `"module"` or `"model"`.
        what: &'static str,
        /// Its name in the scenario.
        name: String,
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// It isn't what the scenario says.
    #[error(
        "{what} `{name}`, {path}, has sha256 {found}, and the scenario says {stated}: restore the file, or state its hash",
        path = path.display()
    )]
    Hash {
        /// `"module"` or `"model"`.
        what: &'static str,
        /// Its name in the scenario.
        name: String,
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash that the scenario states.
        stated: String,
    },
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Reads a file of at most `bytes_max` bytes and gives it with its hash, which must be `stated` if that is given.
///
/// # Errors
/// The file can't be read, is too large, or has another hash.
pub fn read_checked(
    what: &'static str,
    name: &str,
    path: &Path,
    bytes_max: u64,
    stated: Option<[u8; 32]>,
) -> Result<(Vec<u8>, [u8; 32]), FileError> {
    let failed = |source| FileError::Read { what, name: name.into(), path: path.into(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(FileError::TooLarge { what, name: name.into(), path: path.into(), bytes_max });
    }
    let found = sha256(&bytes);
    match stated {
        Some(stated) if stated != found => Err(FileError::Hash {
            what,
            name: name.into(),
            path: path.into(),
            found: hex(&found),
            stated: hex(&stated),
        }),
        _ => Ok((bytes, found)),
    }
}
