//! What the machine lacks, and what to do about it, as it follows from an error of the system. Asked wherever such an error becomes
//! advice, so that the advice fits the cause whoever met it.

use std::io;

/// Something that the machine lacks: the same would have gone well on another one, or with higher limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// The user has as many threads and processes as they may have. No error says it by itself: who starts a thread knows it.
    Threads,
    /// The process has as many open files as it may have.
    OpenFiles,
    /// The system has as many open files as it may have.
    OpenFilesOfSystem,
    /// There is no memory.
    Memory,
    /// A disk or a quota is full.
    Room,
    /// A file would be larger than the limit of the process or of the file system.
    FileSize,
    /// A device fails.
    Device,
}

impl Lack {
    /// Returns what the machine lacks according to an error of the system; `None` if the error says something else, such as that a
    /// file isn't there.
    pub fn of(error: &io::Error) -> Option<Self> {
        /// They have no kind.
        const RAW: [(i32, Lack); 3] = [(5, Lack::Device), (23, Lack::OpenFilesOfSystem), (24, Lack::OpenFiles)];
        let raw = error.raw_os_error().filter(|_| cfg!(unix));
        if let Some(&(_, lack)) = RAW.iter().find(|&&(number, _)| Some(number) == raw) {
            return Some(lack);
        }
        match error.kind() {
            io::ErrorKind::OutOfMemory => Some(Self::Memory),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Self::Room),
            io::ErrorKind::FileTooLarge => Some(Self::FileSize),
            _ => None,
        }
    }

    /// Returns what to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Threads => "raise the limit of threads and processes (`ulimit -u`)",
            Self::OpenFiles => "raise the limit of open files (`ulimit -n`)",
            Self::OpenFilesOfSystem => {
                "the whole system has too many open files: end other programs, or raise its limit (`fs.file-max` of sysctl on Linux, `kern.maxfiles` on macOS)"
            }
            Self::Memory => "end other programs that need memory, or raise the limit of memory (`ulimit -v`)",
            Self::Room => "make room on that disk, or use another one",
            Self::FileSize => "raise the limit of a file's size (`ulimit -f`), or make room",
            Self::Device => "see what the system's log says of that disk (`dmesg`): it can't be read or written there",
        }
    }

    /// Returns whether it is room for what is written.
    pub const fn is_room(self) -> bool {
        matches!(self, Self::Room | Self::FileSize)
    }

    /// Returns whether every other file would be met by the same, so that going on without the one that was tried makes no sense.
    pub const fn is_of_all_files(self) -> bool {
        matches!(self, Self::OpenFiles | Self::OpenFilesOfSystem | Self::Memory)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_advised_follows_from_what_the_system_said() {
        let of = |raw| Lack::of(&io::Error::from_raw_os_error(raw));
        for (raw, said) in [
            (libc::EMFILE, "`ulimit -n`"),
            (libc::ENFILE, "fs.file-max"),
            (libc::ENOMEM, "`ulimit -v`"),
            (libc::ENOSPC, "make room"),
            (libc::EDQUOT, "make room"),
            (libc::EFBIG, "`ulimit -f`"),
            (libc::EIO, "dmesg"),
        ] {
            let lack = of(raw).unwrap();
            assert!(lack.remedy().contains(said), "{raw}: {lack:?}");
            assert_eq!(lack.is_room(), [libc::ENOSPC, libc::EDQUOT, libc::EFBIG].contains(&raw));
        }
        for raw in [libc::ENOENT, libc::EACCES, libc::ENOTDIR, libc::EEXIST] {
            assert_eq!(of(raw), None, "{raw}");
        }
    }
}
