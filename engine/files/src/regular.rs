//! Files that users name. Only regular files are read, up to a bound, and hashed.

use std::error::Error;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasm_engine_components::text::{shown, shown_path};

use crate::hash::{hex, sha256};
use crate::lack::Lack;

/// A file of a module that was refused.
#[derive(Debug)]
pub struct FileError {
    /// Purpose of the file: `"module"`.
    pub what: &'static str,
    /// Name of the file in the scenario.
    pub name: String,
    /// Path of the file.
    pub path: PathBuf,
    /// Problem of the file.
    pub problem: FileProblem,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, path, problem } = self;
        write!(f, "the {what} `{}` ({}) {problem}", shown(name), shown_path(path))
    }
}

/// The text of this error has that of the file's problem in it, so that its source is that problem's source.
impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// Why a file was refused. Its `Display` continues a sentence that begins with the file's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// The file can't be read.
    #[error("can't be read")]
    Unreadable(#[from] io::Error),
    /// The file is larger than the limit.
    #[error("has {bytes} bytes, more than the limit of {bytes_max}")]
    TooLarge {
        /// The file's size in bytes.
        bytes: u64,
        /// The limit in bytes.
        bytes_max: u64,
    },
    /// The file doesn't have the hash that the scenario states.
    #[error("has the sha256 {}, but the scenario says {}", shown(found), shown(stated))]
    WrongHash {
        /// SHA-256 of the file, in hexadecimal digits.
        found: String,
        /// SHA-256 that the scenario states, in hexadecimal digits.
        stated: String,
    },
}

impl FileProblem {
    /// Returns what the machine lacks; `None` where the file is at fault.
    pub fn lack(&self) -> Option<Lack> {
        match self {
            Self::Unreadable(error) => Lack::of(error),
            _ => None,
        }
    }

    /// Returns what to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => self.lack().map_or("see that it is there, is a file, and may be read", Lack::remedy),
            Self::TooLarge { .. } => "use a smaller one: modules are small without debug info",
            Self::WrongHash { .. } => {
                "put the right file there, or write the new hash into the scenario if the file was changed on purpose"
            }
        }
    }
}

/// Opens a regular file. Others are refused: a folder has no content, a device may have no end, and opening a pipe may wait for ever.
///
/// # Errors
/// The file isn't regular, or can't be opened.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() {
        let mut options = std::fs::OpenOptions::new();
        // A pipe may have been put there meanwhile: opening it must not wait for a writer.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        return options.read(true).open(path);
    }
    let found = if metadata.is_dir() { "a folder" } else { "a device or a pipe" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {found}, a file is needed")))
}

/// Returns options for opening a file in a folder that others may have made: they don't follow a symbolic link in its place.
pub fn no_link(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW);
    options
}

/// Returns the first `bytes_max` bytes of a regular file.
///
/// # Errors
/// The file can't be read.
pub fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the SHA-256 of a regular file of any size, in hexadecimal digits.
///
/// # Errors
/// The file can't be read.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = open_regular(path)?;
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(length) => hash.update(&block[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a regular file of at most `bytes_max` bytes and returns it with its hash, which must be `stated` if that is given.
/// A file that is too large is refused by its size, before any of it is read.
///
/// # Errors
/// The file can't be read, is too large, or has another hash.
pub fn read_checked(path: &Path, bytes_max: u64, stated: Option<[u8; 32]>) -> Result<(Vec<u8>, [u8; 32]), FileProblem> {
    let within_limit = |bytes: u64| match bytes <= bytes_max {
        true => Ok(()),
        false => Err(FileProblem::TooLarge { bytes, bytes_max }),
    };
    let file = open_regular(path)?;
    within_limit(file.metadata()?.len())?;
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    within_limit(bytes.len() as u64)?;
    let found = sha256(&bytes);
    match stated {
        Some(stated) if stated != found => Err(FileProblem::WrongHash { found: hex(&found), stated: hex(&stated) }),
        _ => Ok((bytes, found)),
    }
}

/// Syncs a folder: which files are in it, and under which names.
///
/// # Errors
/// The folder can't be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // On other systems, a folder can't be opened as a file, and its entries are journaled with the files.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use wasm_engine_components::causes::with_causes;

    use super::*;

    #[test]
    fn the_kind_of_what_the_system_said_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        let problem = read_checked(&path, 3, None).unwrap_err();
        let error = FileError { what: "module", name: "m".to_owned(), path, problem };
        assert!(!error.to_string().contains("os error") && with_causes(&error).contains("can't be read: No such file"));
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn no_name_of_others_reaches_a_terminal_as_it_is() {
        let evil = || "a\u{1b}[2J\r\nerror: forged\u{202e}".to_owned();
        let problem = FileProblem::WrongHash { found: evil(), stated: evil() };
        let error = FileError { what: "module", name: evil(), path: evil().into(), problem };
        let text = error.to_string();
        assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
        assert_eq!(text.matches(r"a\u{1b}[2J\r\nerror: forged\u{202e}").count(), 4, "{text}");
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_compared_with_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"abc").unwrap();
        let (bytes, hash) = read_checked(&path, 3, None).unwrap();
        assert_eq!((bytes.as_slice(), hash), (&b"abc"[..], sha256(b"abc")));
        assert_eq!(hex(&hash), sha256_of_file(&path).unwrap());
        assert_eq!(read_at_most(&path, 2).unwrap(), b"ab");
        assert!(matches!(read_checked(&path, 2, Some(hash)), Err(FileProblem::TooLarge { bytes: 3, bytes_max: 2 })));
        assert!(read_checked(&path, 3, Some(hash)).is_ok());
        let told = read_checked(&path, 3, Some([0; 32])).unwrap_err().to_string();
        assert!(told.contains(&hex(&hash)) && told.contains(&"0".repeat(64)), "{told}");
    }

    /// A sparse file of a tebibyte: reading it would fill the memory, or take minutes.
    #[test]
    fn a_file_that_is_too_large_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read_checked(&path, (2 << 30) - 1, None).unwrap_err();
        assert_eq!(error.to_string(), "has 1099511627776 bytes, more than the limit of 2147483647");
    }

    #[test]
    fn what_is_no_regular_file_is_never_opened() {
        let told = |path: &Path| with_causes(&read_checked(path, 1 << 40, None).unwrap_err());
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(told(folder.path()), "can't be read: it is a folder, a file is needed");
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt as _;

            // The device has no end, and the pipe no writer: reading the device would fill the memory, opening the pipe would wait.
            let pipe = folder.path().join("pipe");
            let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
            // SAFETY: a string that ends with a zero, and lives through the call.
            assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
            for path in [Path::new("/dev/zero"), &pipe] {
                assert_eq!(told(path), "can't be read: it is a device or a pipe, a file is needed");
                assert!(sha256_of_file(path).is_err());
            }
        }
    }
}
