//! A terminal for a child process, as an emulator or a login gives it one.

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// A terminal. What is written into it is read from `screen`; once that is dropped, the terminal is closed.
pub struct Terminal {
    pub screen: File,
    /// What programs read and write.
    line: File,
}

impl Terminal {
    pub fn open() -> Self {
        let (mut screen, mut line) = (0, 0);
        let size = libc::winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let none = std::ptr::null_mut();
        // SAFETY: two places for descriptors, which the files own then; no name and no settings are asked for.
        let (screen, line) = unsafe {
            assert_eq!(
                libc::openpty(&raw mut screen, &raw mut line, none, none.cast(), (&raw const size).cast_mut()),
                0
            );
            (File::from_raw_fd(screen), File::from_raw_fd(line))
        };
        for file in [&screen, &line] {
            // SAFETY: the descriptor is open. A child has its own, and is to have no other.
            assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
        }
        Self { screen, line }
    }

    /// One end more, for a stream of a child.
    pub fn stdio(&self) -> Stdio {
        self.line.try_clone().expect("there are descriptors").into()
    }

    /// Makes it the terminal that a child is controlled by, in a session of its own.
    pub fn controls(&self, command: &mut Command) {
        let line = self.line.try_clone().expect("there are descriptors");
        let take = move || {
            // SAFETY: between fork and exec, two calls that may be made there.
            let taken = unsafe { libc::setsid() >= 0 && libc::ioctl(line.as_raw_fd(), libc::TIOCSCTTY, 0) == 0 };
            if taken { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: it allocates nothing and takes no lock.
        unsafe { command.pre_exec(take) };
    }

    /// Leaves the terminal to the children that have it: once `screen` is dropped, too, it is closed.
    pub fn into_screen(self) -> File {
        self.screen
    }
}
