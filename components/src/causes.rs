//! The text of an error together with its causes, in one line for a person.
//!
//! An error of this engine doesn't say what its [`source`](Error::source) says, so that whoever prints a chain of errors says nothing twice. Where a
//! cause belongs into the middle of a sentence, the error says it itself, holds it in a field, and has no source.

use core::error::Error;

/// Returns what an error says and, each after a colon, what its causes say. A cause that says nothing more is left out, as some errors of
/// other crates repeat theirs.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use core::fmt;

    use super::*;

    #[derive(Debug)]
    struct Said(&'static str, Option<Box<Self>>);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Said {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|error| error as _)
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        let of = |text, cause| Some(Box::new(Said(text, cause)));
        let error = Said("a can't be read", of("the disk: gone", of("gone", of("pulled out", None))));
        assert_eq!(with_causes(&error), "a can't be read: the disk: gone: pulled out");
        assert_eq!(with_causes(&Said("alone", None)), "alone");
    }
}
