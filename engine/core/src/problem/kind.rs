//! Kinds of errors, which say whose fault they are. Called wherever something can fail; the command line makes its exit status of it.

use std::io;

use wasm_engine_files::{FileProblem, Lack};

/// Kind of an error: whose fault it is. From it follow the exit status of the command line, and the code of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Something bad was given: a scenario, events, an option, the folder of a run.
    Input,
    /// The machine failed, or lacks something: a disk, memory, threads, a library that can't be had.
    Machine,
    /// A run isn't as it should be: an expectation isn't met, or a run doesn't come out as it was recorded.
    Unmet,
}

impl ErrorKind {
    /// The kind of an error of the system: the machine's where the same would have gone well on another one, else bad input, such as a path
    /// that nobody may write to.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        Self::of_lack(Lack::of(error))
    }

    /// The kind of a file that was refused.
    pub(crate) fn of_file(problem: &FileProblem) -> Self {
        Self::of_lack(problem.lack())
    }

    /// The kind of an error that may follow from something that the machine lacks.
    pub(crate) const fn of_lack(lack: Option<Lack>) -> Self {
        if lack.is_some() { Self::Machine } else { Self::Input }
    }

    /// Returns the code of a diagnostic of this kind. It stays what it is from version to version.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Input => "wasm_engine::input",
            Self::Machine => "wasm_engine::machine",
            Self::Unmet => "wasm_engine::unmet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_machine_lacks_is_told_from_bad_input() {
        // Input/output error, no space, too large, no memory, too many files; not there, not allowed, no folder.
        let machine = [5, 28, 27, 12, 24].map(|raw| (raw, ErrorKind::Machine));
        let input = [2, 13, 20].map(|raw| (raw, ErrorKind::Input));
        for (raw, kind) in machine.into_iter().chain(input) {
            assert_eq!(ErrorKind::of_io(&io::Error::from_raw_os_error(raw)), kind, "{raw}");
        }
    }
}
