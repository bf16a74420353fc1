//! Snapshots that can't be used, as one warning. Kept by what restores a run and by what checks one.

use crate::problem::{Problem, counted};

/// Snapshots that can't be used. However many they are, they are told of in one sentence.
#[derive(Default)]
pub(super) struct UnreadSnapshots {
    /// Frames before which they are.
    pub frames: Vec<u64>,
    /// Problem of the first one that was tried, as a sentence.
    first: Option<String>,
    /// Problem of the last one.
    pub last: Option<Problem>,
}

impl UnreadSnapshots {
    /// Adds the snapshot before `frame`.
    pub fn add(&mut self, frame: u64, why: Problem) {
        self.frames.push(frame);
        self.first.get_or_insert_with(|| why.head());
        self.last = Some(why);
    }

    /// Returns the warning about them, with what that means; `None` if there are none.
    pub fn warning(&self, meaning: &str) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(match self.frames.len() as u64 - 1 {
            0 => format!("{first}; {meaning}"),
            more => format!("{first}; nor can {} be used; {meaning}", counted(more, "more snapshot")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_told_of_in_one_sentence() {
        let mut unread = UnreadSnapshots::default();
        assert_eq!(unread.warning("so"), None);
        let told = ["a; so", "a; nor can 1 more snapshot be used; so", "a; nor can 2 more snapshots be used; so"];
        for (frame, (why, told)) in ["a", "b", "c"].into_iter().zip(told).enumerate() {
            unread.add(frame as u64, Problem::new(why));
            assert_eq!(unread.warning("so").unwrap(), told);
        }
        assert_eq!((unread.frames, unread.last), (vec![0, 1, 2], Some(Problem::new("c"))));
    }
}
